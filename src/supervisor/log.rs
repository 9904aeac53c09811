//! The log: text or JSON, to standard output or a file. Runs in the supervisor.
//!
//! Lines go through a bounded queue to a thread that writes them, so that a full disk or a reader
//! that stopped reading never holds the supervisor up; what the queue or the disk can't take is counted.

use crate::audit::file::AppendFile;
use crate::config::{LogFormat, LogLevel, LogOutput, Logging, OutputFile};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait.
const QUEUE: usize = 65_536;

/// How long the end waits for what the queue still holds: a stop must be done in 5 s.
const END: Duration = Duration::from_millis(250);

/// Lines that the queue could not take, and how many of them have been told.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
static TOLD: AtomicUsize = AtomicUsize::new(0);

/// Lines that the queue could not take since this was last asked.
pub fn newly_dropped() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    dropped.saturating_sub(TOLD.swap(dropped, Ordering::Relaxed)) as u64
}

/// The log, as long as this lives. Then what is queued is written, unless nobody takes it.
pub struct Log(Option<WorkerGuard>);

impl Drop for Log {
    fn drop(&mut self) {
        let (ended, end) = mpsc::channel::<()>();
        let guard = self.0.take();
        // On a thread of its own: where standard output is blocked the guard waits for ever, to say
        // on standard output that it could not wait.
        let _detached = thread::Builder::new().spawn(move || {
            drop(guard);
            drop(ended);
        });
        // Disconnected means ended.
        let _ = end.recv_timeout(END);
    }
}

/// The log's file, where it has one: what the writing thread and the supervisor share.
pub struct LogFile {
    place: OutputFile,
    file: Mutex<AppendFile>,
    lost: AtomicU64,
    /// The file was renamed, or lines could be written again after some were lost.
    pub news: Notify,
}

impl LogFile {
    fn new(place: OutputFile) -> io::Result<Self> {
        let file = AppendFile::new(place.path.clone(), place.file.try_clone()?, false);
        Ok(Self { place, file: Mutex::new(file), lost: AtomicU64::new(0), news: Notify::new() })
    }

    /// Lines that the disk did not take since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Goes on in what the path leads to now. Call it from the main thread.
    ///
    /// # Errors
    /// Those of opening; it goes on in the file that is open.
    pub fn reopen(&self) -> io::Result<()> {
        let file: File = self.place.reopen()?;
        self.file.lock().unwrap_or_else(PoisonError::into_inner).replace(file);
        Ok(())
    }

    /// The path.
    pub fn path(&self) -> &std::path::Path {
        &self.place.path
    }

    fn append(&self, lines: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.append(lines) {
            Ok(()) if self.lost.load(Ordering::Relaxed) > 0 || file.is_renamed(Instant::now()) => self.news.notify_one(),
            Ok(()) => {}
            Err(unwritten) => {
                let rest = lines.get(unwritten.written..).unwrap_or_default();
                self.lost.fetch_add(rest.iter().filter(|byte| **byte == b'\n').count() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// The writing thread's end.
struct Shared(Arc<LogFile>);

impl Write for Shared {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        // A full disk is counted, and nothing else: the next line may fit.
        self.0.append(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins the log.
///
/// # Errors
/// It has begun already.
pub fn begin(logging: &Logging, output: LogOutput) -> io::Result<(Log, Option<Arc<LogFile>>)> {
    let mut file = None;
    let (writer, colour): (Box<dyn Write + Send>, bool) = match output {
        LogOutput::Stdout => (Box::new(BufWriter::new(io::stdout())), io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        LogOutput::File(place) => {
            let shared = file.insert(Arc::new(LogFile::new(place)?));
            (Box::new(BufWriter::new(Shared(Arc::clone(shared)))), false)
        }
    };
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("log").finish(writer);
    // There is one log in a process.
    let _ = DROPPED.set(writer.error_counter());
    subscribe(logging, writer, colour).map_err(io::Error::other)?;
    Ok((Log(Some(guard)), file))
}

fn subscribe(logging: &Logging, writer: NonBlocking, colour: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let log = tracing_subscriber::fmt().with_max_level(level(logging.level)).with_target(false).with_ansi(colour).with_writer(writer);
    match (logging.format, logging.timestamp) {
        (LogFormat::Text, true) => log.try_init(),
        (LogFormat::Text, false) => log.without_time().try_init(),
        (LogFormat::Json, true) => log.json().flatten_event(true).try_init(),
        (LogFormat::Json, false) => log.json().flatten_event(true).without_time().try_init(),
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    }
}
