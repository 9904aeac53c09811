//! The log: text or JSON, to standard output or a file. Runs in the supervisor.
//!
//! Lines go through a bounded queue to a thread that writes them, so that a full disk or a reader
//! that stopped reading never holds the supervisor up; what the queue can't take is dropped.

use crate::config::{LogFormat, LogLevel, LogOutput, Logging};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait.
const QUEUE: usize = 65_536;

/// How long the end waits for what the queue still holds: a stop must be done in 5 s.
const END: Duration = Duration::from_millis(400);

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

/// Begins the log.
///
/// # Errors
/// It has begun already.
pub fn begin(logging: &Logging, output: LogOutput) -> io::Result<Log> {
    let (writer, colour): (Box<dyn Write + Send>, bool) = match output {
        LogOutput::Stdout => (Box::new(BufWriter::new(io::stdout())), io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        LogOutput::File { file, .. } => (Box::new(BufWriter::new(file)), false),
    };
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("log").finish(writer);
    subscribe(logging, writer, colour).map_err(io::Error::other)?;
    Ok(Log(Some(guard)))
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
