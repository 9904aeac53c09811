//! The supervisor's end of the audit: numbers events, holds back floods of rejections, hands records to
//! the writer's thread. Never waits for anything.

use super::chain::{self, Hash};
use super::event::{Event, Sink};
use super::flood::Flood;
use super::queue::{Class, Queue};
use super::render::Format;
use super::schema::Facility;
use super::syslog::Syslog;
use super::writer::{Order, Sinks, Told, Writer};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use super::render::Entry;

/// Records that may wait for the thread.
const QUEUE: usize = 16_384;
/// How long losses and sums gather before they are told.
const GATHER: Duration = Duration::from_secs(1);

/// Where records go, and how they look.
pub struct Settings {
    /// The socket of syslog; none for no syslog.
    pub syslog: Option<PathBuf>,
    /// For all records, where the configuration names one.
    pub facility: Option<Facility>,
    /// APP-NAME.
    pub tag: String,
    /// The audit file, open for reading and appending.
    pub file: Option<(PathBuf, File)>,
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By {
    /// The executable's name.
    pub name: &'static str,
    /// Its pid.
    pub pid: u32,
}

impl By {
    /// The supervisor itself.
    pub fn gwg() -> Self {
        Self { name: "gwg", pid: std::process::id() }
    }
}

/// What was before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Before {
    /// Nothing: gwg starts.
    #[default]
    Nothing,
    /// Another gwg, in this very process: its events are counted on.
    Another {
        /// Its version.
        version: String,
        /// The number of its last event.
        seq: u64,
    },
}

/// The log's rendering of an event.
pub type Line = fn(&Entry);

/// The supervisor's end.
pub struct Audit {
    state: Mutex<State>,
    queue: Arc<Queue<Order>>,
    told: Arc<Told>,
    line: Line,
}

struct State {
    seq: u64,
    flood: Flood,
    /// There is somewhere to write to beside the log.
    sinks: bool,
    /// The audit file holds something else at its end.
    broken: bool,
}

impl Audit {
    /// Starts the thread, and records that gwg has begun. `line` writes each event to the log.
    ///
    /// # Errors
    /// No thread could be started, or the audit file's end can't be read.
    pub fn start(settings: Settings, line: Line, before: Before) -> io::Result<Self> {
        let (queue, told) = (Arc::new(Queue::new(QUEUE)), Arc::<Told>::default());
        let writer = Writer::new(Arc::clone(&queue), Arc::clone(&told));
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        let seq = match &before {
            Before::Nothing => 0,
            Before::Another { seq, .. } => *seq,
        };
        let state = State { seq, flood: Flood::default(), sinks: false, broken: false };
        let audit = Self { state: Mutex::new(state), queue, told, line };
        let chain = audit.configure(settings)?;
        let begun = match before {
            Before::Nothing => Event::ServiceStart { chain },
            Before::Another { version, seq: _ } => Event::ServiceUpgrade { from: version, chain },
        };
        audit.record(By::gwg(), begun);
        Ok(audit)
    }

    /// Other settings from now on. Gives the audit file's last hash, which says something only before the
    /// first record.
    ///
    /// # Errors
    /// The audit file's end can't be read; nothing is changed.
    pub fn configure(&self, settings: Settings) -> io::Result<Option<String>> {
        let Settings { syslog, facility, tag, mut file } = settings;
        let end = file.as_mut().map(|(_, file)| chain::end_of(file)).transpose()?;
        let broken = end.as_ref().is_some_and(|end| end.hash.is_none());
        let chain = end.map(|end| end.hash.unwrap_or_else(Hash::zero).digits().to_owned());
        let syslog = syslog.map(|path| Syslog::new(path, Format::new(&tag, facility)));
        let mut state = self.state();
        (state.sinks, state.broken) = (syslog.is_some() || file.is_some(), broken);
        self.queue.insist(Order::Sinks(Box::new(Sinks { syslog, file })));
        Ok(chain)
    }

    /// Whether the audit file held something at its end that is no record, so that the chain begins anew.
    pub fn is_file_broken(&self) -> bool {
        self.state().broken
    }

    /// Records an event, in the log too, unless it is one of a flood of rejections.
    pub fn record(&self, by: By, event: Event) {
        let mut state = self.state();
        if let Event::DeliveryRejected { delivery, reason } = &event
            && !state.flood.admits(*reason, delivery.source, Instant::now())
        {
            self.told.news.notify_one();
            return;
        }
        self.write(&mut state, by, event);
    }

    fn write(&self, state: &mut State, by: By, event: Event) {
        state.seq += 1;
        let entry = Entry { seq: state.seq, when: SystemTime::now(), by: by.name, by_pid: by.pid, event };
        (self.line)(&entry);
        if !state.sinks {
            return;
        }
        let class = class(&entry.event);
        let counted = match &entry.event {
            Event::LogGap { lost, cause } => Some((*cause, *lost)),
            _ => None,
        };
        if self.queue.give(Order::Record(Box::new(entry)), class).is_err() {
            self.told.lose(Sink::Queue, 1);
            // It was to tell of losses, which are still to be told.
            if let Some((cause, lost)) = counted {
                self.told.lose(cause, lost);
            }
        }
    }

    /// Counts what was lost before it came here.
    pub fn lost(&self, sink: Sink, count: u64) {
        self.told.lose(sink, count);
    }

    /// Waits until there may be something to [`tell`](Self::tell).
    pub async fn news(&self) {
        self.told.news.notified().await;
        tokio::time::sleep(GATHER).await;
    }

    /// Tells sums and losses that are due; `all`: also those that are not. Whether the audit file was
    /// renamed, and wants to be opened anew.
    pub fn tell(&self, all: bool) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        match state.flood.due() {
            Some(due) if due > now && !all => self.told.news.notify_one(),
            Some(_) => {
                for summary in state.flood.take(now) {
                    self.write(&mut state, By::gwg(), Event::RejectSummary(summary));
                }
            }
            None => {}
        }
        for (cause, lost) in self.told.take_lost() {
            self.write(&mut state, By::gwg(), Event::LogGap { lost, cause });
        }
        self.told.renamed.swap(false, Ordering::Relaxed)
    }

    /// The audit file, opened anew.
    pub fn reopened(&self, file: File) {
        self.queue.insist(Order::Reopened(file));
    }

    /// Tells what is left and lets the thread write, but no longer than that. How many records did not
    /// get where they belong.
    pub fn end(&self, limit: Duration) -> u64 {
        self.tell(true);
        let (answer, answered) = mpsc::sync_channel(1);
        self.queue.insist(Order::End(Instant::now() + limit, answer));
        // A thread that is stuck says nothing; the end does not wait for it.
        answered.recv_timeout(limit + Duration::from_millis(50)).unwrap_or_default()
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.state().seq
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests, which strangers make, may not crowd out the rest.
const fn class(event: &Event) -> Class {
    match event {
        Event::DeliveryAccepted { .. } | Event::DeliveryIgnored { .. } | Event::DeliveryRejected { .. } => Class::Request,
        _ => Class::Other,
    }
}
