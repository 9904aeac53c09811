//! The files of log and audit while gwg runs: opened anew when they were renamed or on SIGUSR1, and
//! changed by a reload; and what is told late: sums of rejections, and losses. Runs in the supervisor, on
//! its main thread, since it opens files with the rights of the configuration's owner.

use super::{journal, lines, log};
use crate::audit::event::Sink;
use crate::audit::{Audit, Before, Facility, Settings};
use crate::config::{self, OutputFile};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::signal::unix::Signal;

/// What is in force, as the log is: one in a process.
static IN_FORCE: Mutex<InForce> = Mutex::new(InForce { shape: None, file: None });

struct InForce {
    shape: Option<Shape>,
    file: Option<OutputFile>,
}

/// Where audit records go: what a reload compares.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    syslog: Option<PathBuf>,
    facility: Option<Facility>,
    tag: String,
    file: Option<PathBuf>,
}

impl Shape {
    fn of(config: &config::Audit) -> Self {
        let config::Audit { syslog, facility, tag, file } = config;
        Self { syslog: syslog.clone(), facility: *facility, tag: tag.clone(), file: file.as_ref().map(|file| file.path.clone()) }
    }
}

fn in_force() -> MutexGuard<'static, InForce> {
    IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins the audit; the log has begun.
///
/// # Errors
/// Those of reading the audit file's end, or of starting a thread.
pub fn begin(config: config::Audit, before: Before) -> io::Result<journal::Begun> {
    let settings = take(config)?;
    let audit = Audit::start(settings, lines::write, before)?;
    if audit.is_file_broken() {
        tracing::error!("the audit file does not end with a record: its chain begins anew; see `gwg audit verify`");
    }
    Ok(journal::begin(audit))
}

/// Whether records go where that configuration wants them already.
pub fn is(config: &config::Audit) -> bool {
    in_force().shape.as_ref() == Some(&Shape::of(config))
}

/// Records go elsewhere from now on.
pub fn change(config: config::Audit) {
    let Some(audit) = journal::audit().filter(|_| !is(&config)) else { return };
    if let Err(error) = take(config).and_then(|settings| audit.configure(settings)) {
        tracing::error!(%error, "audit records go where they went before");
    }
}

fn take(config: config::Audit) -> io::Result<Settings> {
    let shape = Shape::of(&config);
    let config::Audit { syslog, facility, tag, file } = config;
    let open = file.as_ref().map(|file| Ok::<_, io::Error>((file.path.clone(), file.file.try_clone()?))).transpose()?;
    *in_force() = InForce { shape: Some(shape), file };
    Ok(Settings { syslog, facility, tag, file: open })
}

/// Looks after log and audit for as long as gwg runs. `asked`: SIGUSR1.
pub async fn attend(mut asked: Signal) {
    loop {
        tokio::select! {
            _ = asked.recv() => {
                reopen_log();
                reopen_audit();
            }
            () = log_news() => {
                tell_lost_lines();
                reopen_log();
            }
            renamed = audit_news() => {
                tell_lost_lines();
                if renamed {
                    reopen_audit();
                }
            }
        }
    }
}

fn tell_lost_lines() {
    let lost = log::file().map_or(0, |file| file.take_lost()) + log::newly_dropped();
    if let Some(audit) = journal::audit() {
        audit.lost(Sink::Log, lost);
    }
}

fn reopen_log() {
    let Some(log) = log::file() else { return };
    if let Err(error) = log.reopen() {
        tracing::error!(file = %log.path().display(), %error, "the log file can't be opened anew; gwg goes on in the one that is open");
    }
}

fn reopen_audit() {
    let in_force = in_force();
    let (Some(place), Some(audit)) = (&in_force.file, journal::audit()) else { return };
    match place.reopen() {
        Ok(file) => audit.reopened(file),
        Err(error) => {
            tracing::error!(file = %place.path.display(), %error, "the audit file can't be opened anew; gwg goes on in the one that is open");
        }
    }
}

async fn log_news() {
    log::NEWS.notified().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Tells what is due; whether the audit file was renamed.
async fn audit_news() -> bool {
    let Some(audit) = journal::audit() else { return std::future::pending().await };
    audit.news().await;
    audit.tell(false)
}
