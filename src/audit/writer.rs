//! The thread that writes records to syslog and to the audit file, so that neither can hold the
//! supervisor up. Runs in the supervisor, after it has given up its capabilities: the thread has no more
//! than `gwg` itself keeps.

use super::chain::{self, Hash};
use super::event::Sink;
use super::file::AppendFile;
use super::queue::Queue;
use super::render::Entry;
use super::syslog::Syslog;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Records that are taken before what waits for syslog is sent: a syslog that is stuck must not keep the
/// file waiting.
const BATCH: usize = 256;
/// So long after the first record others may gather: under load many share one waking of the thread and
/// one write to the file, and nobody waits for either.
const GATHER: Duration = Duration::from_millis(2);

/// What the thread is told.
pub enum Order {
    /// Write this.
    Record(Box<Entry>),
    /// Other sinks from now on.
    Sinks(Box<Sinks>),
    /// The audit file was renamed; this is its successor.
    Reopened(File),
    /// Send what waits, until that moment at the latest; answer how many records were not sent.
    End(Instant, SyncSender<u64>),
}

/// Where records go.
pub struct Sinks {
    /// To syslog.
    pub syslog: Option<Syslog>,
    /// To the audit file, open for reading and appending.
    pub file: Option<(PathBuf, File)>,
}

/// What the thread tells.
#[derive(Default)]
pub struct Told {
    lost: [AtomicU64; 5],
    /// The audit file was renamed.
    pub renamed: AtomicBool,
    /// Something is to be told.
    pub news: Notify,
}

impl Told {
    /// Counts losses.
    pub fn lose(&self, sink: Sink, count: u64) {
        if count > 0 {
            // Saturating: a listener may claim any number.
            let add = |before: u64| Some(before.saturating_add(count));
            let _ = self.count(sink).fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            self.news.notify_one();
        }
    }

    /// Takes the counts that are not zero.
    pub fn take_lost(&self) -> Vec<(Sink, u64)> {
        let all = [Sink::Syslog, Sink::File, Sink::Queue, Sink::Log, Sink::Listener];
        all.into_iter().map(|sink| (sink, self.count(sink).swap(0, Ordering::Relaxed))).filter(|(_, count)| *count > 0).collect()
    }

    fn count(&self, sink: Sink) -> &AtomicU64 {
        let [syslog, file, queue, log, listener] = &self.lost;
        match sink {
            Sink::Syslog => syslog,
            Sink::File => file,
            Sink::Queue => queue,
            Sink::Log => log,
            Sink::Listener => listener,
        }
    }
}

/// Lines of the audit file, and for each where it ends and its hash.
#[derive(Default)]
struct Lines {
    text: String,
    ends: Vec<(usize, Hash)>,
}

/// The thread's own.
pub struct Writer {
    queue: Arc<Queue<Order>>,
    told: Arc<Told>,
    syslog: Option<Syslog>,
    /// The audit file, and the hash that its next line begins with.
    file: Option<(AppendFile, Hash)>,
    /// Lines that are about to be written to it.
    lines: Lines,
    /// Records that the file could not take, since it last took one.
    unwritten: u64,
}

impl Writer {
    /// With nowhere to write yet.
    pub fn new(queue: Arc<Queue<Order>>, told: Arc<Told>) -> Self {
        Self { queue, told, syslog: None, file: None, lines: Lines::default(), unwritten: 0 }
    }

    /// Writes until told to end.
    pub fn run(mut self) {
        loop {
            let rest = self.syslog.as_ref().and_then(|syslog| syslog.rest(Instant::now()));
            let mut order = self.queue.take(rest);
            if matches!(order, Some(Order::Record(_))) {
                std::thread::sleep(GATHER);
            }
            let mut taken = 0;
            while let Some(next) = order {
                if let Order::End(until, answer) = next {
                    self.append();
                    // Nobody may wait for the answer any more.
                    let _ = answer.try_send(self.end(until));
                    return;
                }
                self.obey(next);
                taken += 1;
                order = if taken < BATCH { self.queue.take(Some(Duration::ZERO)) } else { None };
            }
            self.append();
            self.send();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Record(entry) => self.write(*entry),
            Order::Sinks(sinks) => self.change(*sinks),
            Order::Reopened(file) => {
                self.append();
                if let Some((old, hash)) = self.file.take() {
                    self.file = open(old.path().to_owned(), file, Some(hash));
                }
            }
            Order::End(..) => {}
        }
    }

    fn change(&mut self, sinks: Sinks) {
        self.append();
        let before = std::mem::replace(&mut self.syslog, sinks.syslog);
        match (before, &mut self.syslog) {
            (Some(before), Some(now)) => now.inherit(before),
            (Some(before), None) => self.told.lose(Sink::Syslog, before.left()),
            (None, _) => {}
        }
        self.tell_unwritten();
        let last = self.file.take().map(|(_, hash)| hash);
        self.file = sinks.file.and_then(|(path, file)| open(path, file, last));
    }

    fn write(&mut self, entry: Entry) {
        if let Some((_, last)) = &self.file {
            let (line, hash) = chain::line(&entry, self.lines.ends.last().map_or(last, |(_, hash)| hash));
            self.lines.text.push_str(&line);
            self.lines.ends.push((self.lines.text.len(), hash));
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.push(entry);
        }
    }

    /// Writes what has gathered. The chain goes on after the last line that is whole in the file.
    fn append(&mut self) {
        let Lines { text, mut ends } = std::mem::take(&mut self.lines);
        let Some((file, last)) = self.file.as_mut().filter(|_| !ends.is_empty()) else { return };
        let written = file.append(text.as_bytes()).map_or_else(|unwritten| unwritten.written, |()| text.len());
        let whole = ends.partition_point(|(end, _)| *end <= written);
        let missing = (ends.len() - whole) as u64;
        ends.truncate(whole);
        if let Some((_, hash)) = ends.pop() {
            *last = hash;
            self.tell_unwritten();
        }
        self.unwritten += missing;
    }

    fn tell_unwritten(&mut self) {
        self.told.lose(Sink::File, std::mem::take(&mut self.unwritten));
    }

    fn send(&mut self) {
        let now = Instant::now();
        if let Some(syslog) = &mut self.syslog {
            syslog.flush(now);
            self.told.lose(Sink::Syslog, syslog.take_lost());
        }
        if self.file.as_mut().is_some_and(|(file, _)| file.is_renamed(now)) {
            self.told.renamed.store(true, Ordering::Relaxed);
            self.told.news.notify_one();
        }
    }

    fn end(&mut self, until: Instant) -> u64 {
        let Some(syslog) = &mut self.syslog else { return self.unwritten };
        loop {
            let now = Instant::now();
            syslog.flush(now);
            match syslog.rest(now) {
                Some(rest) if now + rest < until => std::thread::sleep(rest),
                Some(_) | None => return syslog.left().saturating_add(self.unwritten),
            }
        }
    }
}

/// A file whose chain goes on where it ends; an empty one goes on from the file before it.
fn open(path: PathBuf, mut file: File, last: Option<Hash>) -> Option<(AppendFile, Hash)> {
    let is_empty = file.metadata().is_ok_and(|about| about.len() == 0);
    let chain::End { hash, torn } = chain::end_of(&mut file).unwrap_or(chain::End { hash: None, torn: true });
    let hash = if is_empty { last.or(hash) } else { hash };
    Some((AppendFile::new(path, file, torn), hash.unwrap_or_else(Hash::zero)))
}
