//! A steady stream of deliveries, each over a connection of its own, each answer timed from the moment at
//! which its request was due: one that is slow delays no other.

use crate::push::{PATH, Push};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests a second.
pub const RATE: u32 = 200;
/// Threads that send them in turns.
const THREADS: u32 = 8;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When it was due.
    pub at: Instant,
    /// When it was over.
    pub end: Instant,
    /// The answer; none where there was none.
    pub status: Option<u16>,
    /// The connection was refused.
    pub refused: bool,
}

/// Threads that send until [`Senders::end`].
pub struct Senders {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Senders {
    /// Begins to send.
    pub fn start(port: u16, push: &Push) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Sent>>>::default());
        let begin = Instant::now();
        let gap = Duration::from_secs(1) / RATE;
        let threads = (0..THREADS).map(|thread| {
            let (stop, sent, push) = (Arc::clone(&stop), Arc::clone(&sent), push.clone());
            std::thread::spawn(move || {
                let mut at = begin + gap * thread;
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    let answer = push.send(port, PATH);
                    let refused = answer.as_ref().err().is_some_and(|error| {
                        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
                    });
                    let one = Sent { at, end: Instant::now(), status: answer.ok(), refused };
                    sent.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    at += gap * THREADS;
                }
            })
        });
        Self { threads: threads.collect(), stop, sent }
    }

    /// The longest that a request took which was under way between two moments.
    pub fn slowest(&self, from: Instant, to: Instant) -> crate::Result<Duration> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = sent.iter().filter(|sent| sent.end >= from && sent.at <= to);
        Ok(under_way.map(|sent| sent.end - sent.at).max().ok_or("no request was under way")?)
    }

    /// How long after a moment the first request was answered that was sent after it.
    pub fn first_answer_after(&self, moment: Instant) -> Option<Duration> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().filter(|sent| sent.at >= moment && sent.status == Some(202)).map(|sent| sent.end - moment).min()
    }

    /// Stops, and gives all that was sent.
    pub fn end(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
