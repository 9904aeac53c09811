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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Records that are taken before what waits for syslog is sent: a syslog that is stuck must not keep the
/// file waiting.
const BATCH: usize = 256;

/// What the thread is told.
pub enum Order {
    /// Write this.
    Record(Box<Entry>),
    /// Other sinks from now on.
    Sinks(Sinks),
    /// The audit file was renamed; this is its successor.
    Reopened(File),
    /// Send what waits, until that moment at the latest; answer how many records were not sent.
    End(Instant, SyncSender<u64>),
}

/// Where records go.
pub struct Sinks {
    /// To syslog.
    pub syslog: Option<Syslog>,
    /// To the audit file, after this hash.
    pub file: Option<(AppendFile, Hash)>,
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

/// The thread's own.
pub struct Writer {
    queue: Arc<Queue<Order>>,
    told: Arc<Told>,
    sinks: Sinks,
    /// Records that the file could not take, since it last took one.
    unwritten: u64,
}

impl Writer {
    /// With nowhere to write yet.
    pub fn new(queue: Arc<Queue<Order>>, told: Arc<Told>) -> Self {
        Self { queue, told, sinks: Sinks { syslog: None, file: None }, unwritten: 0 }
    }

    /// Writes until told to end.
    pub fn run(mut self) {
        loop {
            let rest = self.sinks.syslog.as_ref().and_then(|syslog| syslog.rest(Instant::now()));
            let mut order = self.queue.take(rest);
            let mut taken = 0;
            while let Some(next) = order {
                if let Order::End(until, answer) = next {
                    // Nobody may wait for the answer any more.
                    let _ = answer.try_send(self.end(until));
                    return;
                }
                self.obey(next);
                taken += 1;
                order = if taken < BATCH { self.queue.take(Some(Duration::ZERO)) } else { None };
            }
            self.send();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Record(entry) => self.write(*entry),
            Order::Sinks(sinks) => self.change(sinks),
            Order::Reopened(file) => {
                if let Some((old, _)) = &mut self.sinks.file {
                    old.replace(file);
                }
            }
            Order::End(..) => {}
        }
    }

    fn change(&mut self, sinks: Sinks) {
        let before = std::mem::replace(&mut self.sinks, sinks);
        match (before.syslog, &mut self.sinks.syslog) {
            (Some(before), Some(now)) => now.inherit(before),
            (Some(before), None) => self.told.lose(Sink::Syslog, before.left()),
            (None, _) => {}
        }
        self.tell_unwritten();
    }

    fn write(&mut self, entry: Entry) {
        if let Some((file, last)) = &mut self.sinks.file {
            let (line, hash) = chain::line(&entry, last);
            match file.append(line.as_bytes()) {
                Ok(()) => {
                    *last = hash;
                    self.tell_unwritten();
                }
                Err(_) => self.unwritten += 1,
            }
        }
        if let Some(syslog) = &mut self.sinks.syslog {
            syslog.push(entry);
        }
    }

    fn tell_unwritten(&mut self) {
        self.told.lose(Sink::File, std::mem::take(&mut self.unwritten));
    }

    fn send(&mut self) {
        let now = Instant::now();
        if let Some(syslog) = &mut self.sinks.syslog {
            syslog.flush(now);
            self.told.lose(Sink::Syslog, syslog.take_lost());
        }
        if self.sinks.file.as_mut().is_some_and(|(file, _)| file.is_renamed(now)) {
            self.told.renamed.store(true, Ordering::Relaxed);
            self.told.news.notify_one();
        }
    }

    fn end(&mut self, until: Instant) -> u64 {
        let Some(syslog) = &mut self.sinks.syslog else { return self.unwritten };
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
