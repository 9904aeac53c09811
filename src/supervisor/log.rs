//! The log: text or JSON, to standard output or a file. Runs in the supervisor.
//!
//! Lines go through a bounded queue to a thread that writes them, so that a full disk or a reader
//! that stopped reading never holds the supervisor up; what the queue can't take is dropped.

use crate::config::{LogFormat, LogLevel, LogOutput, Logging};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait.
const QUEUE: usize = 65_536;

/// How long the end waits for what the queue still holds: a stop must be done in 5 s.
const END: Duration = Duration::from_millis(400);

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
            LogOutput::File { path, file: _ } => Some(path.clone()),
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
    let (to, colour): (Box<dyn Write + Send>, bool) = match output {
        LogOutput::Stdout => (Box::new(BufWriter::new(io::stdout())), io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        LogOutput::File { file, .. } => (Box::new(BufWriter::new(file)), false),
    };
    let (queue, guard) = NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("log").finish(to);
    (layer(shape, queue, colour), guard)
}

fn layer(shape: &Shape, queue: NonBlocking, colour: bool) -> Writer {
    let log = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colour).with_writer(queue);
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
