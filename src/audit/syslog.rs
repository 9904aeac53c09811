//! The way to syslog: a datagram socket, mostly `/dev/log`. Runs in the writer's thread.
//!
//! The `syslog` crate gives transport, facilities and severities. By itself its socket blocks for ever
//! when the daemon stops reading and stays dead when the daemon was restarted; so sending has a time
//! limit here, records wait in a bounded buffer, and the socket is made anew.

use super::event::{Event, Sink};
use super::render::{self, Entry, Format};
use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use syslog::{LogFormat, Logger, LoggerBackend};

/// Records that may wait for a daemon.
pub const ROOM: usize = 4096;
/// How long one record may hold up the thread.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon to look again after a daemon that has not read for [`PATIENCE`]: until it does it is not waited for, so
/// that it does not hold up the audit file.
const LOOK: Duration = Duration::from_millis(5);
/// How long to leave a daemon alone that is not there.
const PAUSE: Duration = Duration::from_millis(250);

/// Records on their way.
pub struct Syslog {
    path: PathBuf,
    format: Format,
    logger: Option<Logger<LoggerBackend, Format>>,
    waiting: VecDeque<Entry>,
    lost: u64,
    /// It has not read for [`PATIENCE`].
    stuck: bool,
    /// Not before this.
    again: Option<Instant>,
}

impl Syslog {
    /// Nothing is connected yet.
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self { path, format, logger: None, waiting: VecDeque::new(), lost: 0, stuck: false, again: None }
    }

    /// Takes a record. Where too many wait already it is lost.
    pub fn push(&mut self, entry: Entry) {
        if self.waiting.len() < ROOM {
            self.waiting.push_back(entry);
        } else {
            self.lose(&entry);
        }
    }

    /// Counts a lost record, and what it had counted itself.
    fn lose(&mut self, entry: &Entry) {
        let counted = match &entry.event {
            Event::LogGap { lost, cause: Sink::Syslog | Sink::Queue } => *lost,
            _ => 0,
        };
        self.lost = self.lost.saturating_add(counted).saturating_add(1);
    }

    /// Sends what waits, as far as the daemon takes it.
    pub fn flush(&mut self, now: Instant) {
        if self.again.is_some_and(|again| now < again) {
            return;
        }
        self.again = None;
        while let Some(entry) = self.waiting.pop_front() {
            match self.send(&entry) {
                Ok(()) => self.be_patient(true),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput || is_too_long(&error) => self.lose(&entry),
                Err(error) => {
                    self.waiting.push_front(entry);
                    if is_full(&error) {
                        self.be_patient(false);
                        self.again = Some(now + LOOK);
                    } else {
                        (self.logger, self.stuck) = (None, false);
                        self.again = Some(now + PAUSE);
                    }
                    return;
                }
            }
        }
    }

    fn send(&mut self, entry: &Entry) -> io::Result<()> {
        let logger = match &mut self.logger {
            Some(logger) => logger,
            none => none.insert(Logger::new(LoggerBackend::Unix(connect(&self.path)?), self.format.clone())),
        };
        let severity = render::of_severity(entry.event.severity());
        logger.formatter.format(&mut logger.backend, severity, entry).map_err(|error| match error {
            syslog::Error::Write(error) | syslog::Error::Io(error) => error,
            syslog::Error::Initialization(error) => io::Error::other(error),
        })
    }

    /// Waits for room in the socket from now on, or does not.
    fn be_patient(&mut self, patient: bool) {
        if self.stuck != patient {
            return;
        }
        if let Some(Logger { backend: LoggerBackend::Unix(socket), .. }) = &self.logger
            && socket.set_nonblocking(!patient).is_ok()
        {
            self.stuck = !patient;
        }
    }

    /// How long the thread may rest: for ever where nothing waits.
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        let soon = || self.again.map_or(Duration::ZERO, |again| again.saturating_duration_since(now));
        (!self.waiting.is_empty()).then(soon)
    }

    /// What was lost, once nothing waits any more: then the daemon is back.
    pub fn take_lost(&mut self) -> u64 {
        if self.waiting.is_empty() { std::mem::take(&mut self.lost) } else { 0 }
    }

    /// How many have not gone out, the lost included.
    pub fn left(&self) -> u64 {
        self.lost.saturating_add(self.waiting.len() as u64)
    }

    /// Takes over what another one did not get rid of.
    pub fn inherit(&mut self, before: Self) {
        self.waiting = before.waiting;
        self.lost = before.lost;
    }
}

fn connect(path: &PathBuf) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A daemon that reads slowly wakes the thread when there is room; one that does not read holds it
    // up for this long only.
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::render::tests::parse;
    use std::time::SystemTime;

    struct Daemon(UnixDatagram);

    impl Daemon {
        fn at(path: &PathBuf) -> Self {
            let socket = UnixDatagram::bind(path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self(socket)
        }

        fn seqs(&self) -> Vec<u64> {
            let mut buffer = [0; 2048];
            let mut seqs = Vec::new();
            while let Ok(length) = self.0.recv(&mut buffer) {
                let parsed = parse(std::str::from_utf8(&buffer[..length]).unwrap()).unwrap();
                seqs.push(parsed.fields.iter().find(|(name, _)| name == "seq").unwrap().1.parse().unwrap());
            }
            seqs
        }
    }

    fn entry(seq: u64) -> Entry {
        Entry { seq, when: SystemTime::now(), by: "gwg", by_pid: 1, event: Event::ServiceStart { chain: None } }
    }

    fn sink(folder: &tempfile::TempDir) -> (PathBuf, Syslog) {
        let path = folder.path().join("log");
        (path.clone(), Syslog::new(path, Format::new("gwg", None)))
    }

    #[test]
    fn f18_a_daemon_that_is_missing_gets_what_waited_when_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut syslog) = sink(&folder);
        let mut now = Instant::now();
        for seq in 0..5 {
            syslog.push(entry(seq));
            syslog.flush(now);
        }
        assert_eq!((syslog.left(), syslog.take_lost()), (5, 0));
        let daemon = Daemon::at(&path);
        syslog.flush(now);
        assert!(daemon.seqs().is_empty(), "it is left alone for a while");
        now += PAUSE;
        syslog.flush(now);
        assert_eq!(daemon.seqs(), [0, 1, 2, 3, 4]);
        assert_eq!((syslog.left(), syslog.rest(now)), (0, None));
    }

    #[test]
    fn f18_a_daemon_that_is_restarted_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut syslog) = sink(&folder);
        let mut now = Instant::now();
        for seq in 0..3 {
            let daemon = Daemon::at(&path);
            syslog.push(entry(seq));
            // The first try tells that the one before is gone.
            for _ in 0..2 {
                syslog.flush(now);
                now += PAUSE;
            }
            assert_eq!(daemon.seqs(), [seq]);
            drop(daemon);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn f18_a_daemon_that_does_not_read_fills_a_bounded_buffer_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut syslog) = sink(&folder);
        let daemon = Daemon::at(&path);
        let made = ROOM as u64 + 2_000;
        for seq in 0..made {
            syslog.push(entry(seq));
            if seq == 600 {
                syslog.flush(Instant::now());
            }
        }
        let waiting = syslog.left();
        assert_eq!(syslog.take_lost(), 0, "told as lost while the daemon is still stuck");
        let mut seen = Vec::new();
        while syslog.rest(Instant::now()).is_some() {
            seen.extend(daemon.seqs());
            syslog.flush(Instant::now());
        }
        seen.extend(daemon.seqs());
        let lost = syslog.take_lost();
        assert!(lost > 0 && lost < waiting);
        assert_eq!(seen.len() as u64 + lost, made);
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "out of order");
    }

    #[test]
    fn a_lost_count_of_losses_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut syslog) = sink(&folder);
        for seq in 0..=ROOM as u64 {
            syslog.push(entry(seq));
        }
        syslog.push(Entry { event: Event::LogGap { lost: 41, cause: Sink::Syslog }, ..entry(0) });
        syslog.push(Entry { event: Event::LogGap { lost: 41, cause: Sink::File }, ..entry(0) });
        let _daemon = Daemon::at(&path);
        syslog.waiting.clear();
        assert_eq!(syslog.take_lost(), 1 + 42 + 1);
    }
}
