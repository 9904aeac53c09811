//! The files of log and audit while gwg runs: opened anew when they were renamed or on SIGUSR1; and what
//! is told late: sums of rejections, and losses. Runs in the supervisor, on its main thread, since it
//! opens files with the rights of the configuration's owner.

use super::journal;
use super::log::{self, LogFile};
use crate::audit::event::Sink;
use crate::audit::{Audit, Settings};
use crate::config::{self, OutputFile};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What is open.
pub struct Outputs {
    log: Option<Arc<LogFile>>,
    audit: Option<OutputFile>,
}

/// Begins the audit. The log has begun: `log` is its file.
///
/// # Errors
/// Those of reading the audit file's end, or of starting a thread.
pub fn begin(config: config::Audit, log: Option<Arc<LogFile>>) -> io::Result<(journal::Begun, Outputs)> {
    let config::Audit { syslog, facility, tag, file } = config;
    let open = file.as_ref().map(|file| Ok::<_, io::Error>((file.path.clone(), file.file.try_clone()?))).transpose()?;
    let audit = Audit::start(Settings { syslog, facility, tag, file: open }, super::lines::write)?;
    if audit.is_file_broken() {
        tracing::error!("the audit file does not end with a record: its chain begins anew; see `gwg audit verify`");
    }
    Ok((journal::begin(audit), Outputs { log, audit: file }))
}

impl Outputs {
    /// Looks after them for as long as gwg runs.
    ///
    /// # Errors
    /// The signal can't be heard.
    pub async fn attend(self) -> io::Result<()> {
        let mut asked = signal(SignalKind::user_defined1())?;
        loop {
            tokio::select! {
                _ = asked.recv() => {
                    self.reopen_log();
                    self.reopen_audit();
                }
                () = log_news(self.log.as_deref()) => {
                    self.tell_lost_lines();
                    self.reopen_log();
                }
                renamed = audit_news() => {
                    self.tell_lost_lines();
                    if renamed {
                        self.reopen_audit();
                    }
                }
            }
        }
    }

    fn tell_lost_lines(&self) {
        let lost = self.log.as_ref().map_or(0, |log| log.take_lost()) + log::newly_dropped();
        if let Some(audit) = journal::audit() {
            audit.lost(Sink::Log, lost);
        }
    }

    fn reopen_log(&self) {
        let Some(log) = &self.log else { return };
        if let Err(error) = log.reopen() {
            tracing::error!(file = %log.path().display(), %error, "the log file can't be opened anew; gwg goes on in the one that is open");
        }
    }

    fn reopen_audit(&self) {
        let (Some(place), Some(audit)) = (&self.audit, journal::audit()) else { return };
        match place.reopen() {
            Ok(file) => audit.reopened(file),
            Err(error) => {
                tracing::error!(file = %place.path.display(), %error, "the audit file can't be opened anew; gwg goes on in the one that is open");
            }
        }
    }
}

async fn log_news(log: Option<&LogFile>) {
    match log {
        Some(log) => {
            log.news.notified().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None => std::future::pending().await,
    }
}

/// Tells what is due; whether the audit file was renamed.
async fn audit_news() -> bool {
    let Some(audit) = journal::audit() else { return std::future::pending().await };
    audit.news().await;
    audit.tell(false)
}
