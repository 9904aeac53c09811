//! The log: text or JSON, to standard output or a file. Runs in the supervisor.
//!
//! Lines go through a bounded queue to a thread that writes them, so that a full disk or a reader
//! that stopped reading never holds the supervisor up; what the queue or the disk can't take is counted.

use super::oneline::{Form, OneLine};
use crate::audit::file::AppendFile;
use crate::config::{LogFormat, LogLevel, LogOutput, Logging, OutputFile};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait.
const QUEUE: usize = 65_536;

/// How long the end waits for what the queue still holds: a stop must be done in 5 s.
const END: Duration = Duration::from_millis(250);

/// What is open, for whoever looks after it: the log is one in a process.
static OPEN: Mutex<Open> = Mutex::new(Open { file: None, dropped: None });

/// The log's file was renamed, or lines could be written again after some were lost.
pub static NEWS: Notify = Notify::const_new();

struct Open {
    file: Option<Arc<LogFile>>,
    /// Counts lines that the queue could not take; and how many of them have been told.
    dropped: Option<(ErrorCounter, usize)>,
}

fn open() -> MutexGuard<'static, Open> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log's file, where it has one.
pub fn file() -> Option<Arc<LogFile>> {
    open().file.clone()
}

/// Lines that the queue could not take since this was last asked.
pub fn newly_dropped() -> u64 {
    let Some((counter, told)) = &mut open().dropped else { return 0 };
    let dropped = counter.dropped_lines();
    dropped.saturating_sub(std::mem::replace(told, dropped)) as u64
}

/// A file that the writing thread and the supervisor share.
pub struct LogFile {
    place: OutputFile,
    /// None where the file that came with the configuration can't be written at all.
    file: Mutex<Option<AppendFile>>,
    lost: AtomicU64,
}

impl LogFile {
    fn new(place: OutputFile) -> Self {
        let file = place.file.try_clone().map(|file| AppendFile::new(place.path.clone(), file, false)).ok();
        Self { place, file: Mutex::new(file), lost: AtomicU64::new(0) }
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
        let file = AppendFile::new(self.place.path.clone(), self.place.reopen()?, false);
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    fn append(&self, lines: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return self.lose(lines) };
        match file.append(lines) {
            Ok(()) if self.lost.load(Ordering::Relaxed) > 0 || file.is_renamed(Instant::now()) => NEWS.notify_one(),
            Ok(()) => {}
            Err(unwritten) => self.lose(lines.get(unwritten.written..).unwrap_or_default()),
        }
    }

    fn lose(&self, lines: &[u8]) {
        self.lost.fetch_add(lines.iter().filter(|byte| **byte == b'\n').count() as u64, Ordering::Relaxed);
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

/// How lines are written, from a layer that a reload may replace.
type Writer = Box<dyn Layer<Registry> + Send + Sync>;

/// How the log is written: what a reload compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    format: LogFormat,
    level: LogLevel,
    timestamp: bool,
    /// None for standard output.
    file: Option<PathBuf>,
}

impl Shape {
    /// The shape that a configuration asks for.
    pub fn of(logging: &Logging, output: &LogOutput) -> Self {
        let file = match output {
            LogOutput::Stdout => None,
            LogOutput::File(file) => Some(file.path.clone()),
        };
        Self { format: logging.format, level: logging.level, timestamp: logging.timestamp, file }
    }
}

/// The log, as long as this lives. Then what is queued is written, unless nobody takes it.
pub struct Log {
    shape: Shape,
    queue: Option<WorkerGuard>,
    layer: Handle<Writer, Registry>,
}

impl Log {
    /// Begins the log.
    ///
    /// # Errors
    /// It has begun already.
    pub fn begin(shape: Shape, output: LogOutput) -> io::Result<Self> {
        let (writer, queue) = writer(&shape, output);
        let (layer, handle) = reload::Layer::new(writer);
        tracing_subscriber::registry().with(layer).try_init().map_err(io::Error::other)?;
        Ok(Self { shape, queue: Some(queue), layer: handle })
    }

    /// How it is written.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Goes on in another shape, or in the same one to a file that was opened anew. What was said before is
    /// written where it was meant to go.
    ///
    /// # Errors
    /// The log is no more.
    pub fn change(&mut self, shape: Shape, output: LogOutput) -> io::Result<()> {
        if shape == self.shape && shape.file.is_none() {
            return Ok(());
        }
        let (writer, queue) = writer(&shape, output);
        self.layer.reload(writer).map_err(io::Error::other)?;
        self.shape = shape;
        // It may take a while where a disk is slow, and must hold nobody up.
        let _end = end(self.queue.replace(queue));
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Disconnected means ended.
        let _ = end(self.queue.take()).recv_timeout(END);
    }
}

/// Lets a queue be written to its end, on a thread of its own: where standard output is blocked the guard
/// waits for ever, to say on standard output that it could not wait.
fn end(queue: Option<WorkerGuard>) -> mpsc::Receiver<()> {
    let (ended, end) = mpsc::channel::<()>();
    let _detached = thread::Builder::new().spawn(move || {
        drop(queue);
        drop(ended);
    });
    end
}

fn writer(shape: &Shape, output: LogOutput) -> (Writer, WorkerGuard) {
    let mut file = None;
    let (to, colour): (Box<dyn Write + Send>, bool) = match output {
        LogOutput::Stdout => (Box::new(BufWriter::new(io::stdout())), io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        LogOutput::File(place) => {
            let shared = file.insert(Arc::new(LogFile::new(place)));
            (Box::new(BufWriter::new(Shared(Arc::clone(shared)))), false)
        }
    };
    let (queue, guard) = NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("log").finish(to);
    *open() = Open { file, dropped: Some((queue.error_counter(), 0)) };
    (layer(shape, queue, colour), guard)
}

fn layer<W: Write + Clone + Send + Sync + 'static>(shape: &Shape, to: W, colour: bool) -> Writer {
    let form = Form::of(shape.format, colour);
    let to = move || OneLine::new(to.clone(), form);
    let log = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colour).with_writer(to);
    let level = LevelFilter::from_level(level(shape.level));
    match (shape.format, shape.timestamp) {
        (LogFormat::Text, true) => level.and_then(log).boxed(),
        (LogFormat::Text, false) => level.and_then(log.without_time()).boxed(),
        (LogFormat::Json, true) => level.and_then(log.json().flatten_event(true)).boxed(),
        (LogFormat::Json, false) => level.and_then(log.json().flatten_event(true).without_time()).boxed(),
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

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What a log is written to.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log has of what is said meanwhile, at any level, in that format.
    pub fn written(format: LogFormat, mut say: impl FnMut(&mut dyn FnMut() -> String)) {
        let shape = Shape { format, level: LogLevel::Trace, timestamp: true, file: None };
        let memory = Memory::default();
        let subscriber = tracing_subscriber::registry().with(layer(&shape, memory.clone(), false));
        let mut taken = || String::from_utf8(std::mem::take(&mut *memory.0.lock().unwrap())).unwrap();
        tracing::subscriber::with_default(subscriber, || say(&mut taken));
    }
}
