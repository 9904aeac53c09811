//! Signed pushes at a steady rate, from several clients with a connection for each request, or one that each
//! keeps, while something else happens.

use super::config::SECRET;
use super::delivery::{Answer, Delivery, Kept};
use super::site::{PATH, Site};
use super::wait;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Running clients.
pub struct Pushing {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

struct Shared {
    stop: AtomicBool,
    port: AtomicU16,
    secret: Mutex<String>,
    sent: AtomicUsize,
    refused: AtomicUsize,
}

/// What came of them.
pub struct Pushed {
    /// How many requests.
    pub sent: usize,
    /// Connections that were refused: whoever comes after a port was left is told so at once, and has lost
    /// nothing.
    pub refused: usize,
    /// All that was neither that nor a 202.
    pub wrong: Vec<String>,
}

impl Pushing {
    /// Starts so many clients, which together make so many requests a second.
    pub fn start(site: &Site, clients: u32, a_second: u32) -> Self {
        Self::start_with(site, clients, a_second, |_, push, port| push.try_send(port))
    }

    /// The same, of clients that keep their connections as long as they may.
    pub fn start_keeping(site: &Site, clients: u32, a_second: u32) -> Self {
        Self::start_with(site, clients, a_second, |kept, push, port| {
            let mut connection = match kept.take().filter(|kept| !kept.is_closed()) {
                Some(kept) => kept,
                None => Kept::open(port)?,
            };
            let (answer, goes_on) = connection.send(&push.request())?;
            *kept = goes_on.then_some(connection);
            Ok(answer)
        })
    }

    fn start_with(
        site: &Site,
        clients: u32,
        a_second: u32,
        send: fn(&mut Option<Kept>, &Delivery, u16) -> std::io::Result<Answer>,
    ) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            port: AtomicU16::new(site.gateway.port()),
            secret: Mutex::new(SECRET.to_owned()),
            sent: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let push = site.gateway.push(PATH, &site.remote.head());
        let threads = (0..clients).map(|client| {
            let (shared, push) = (shared.clone(), push.clone());
            thread::spawn(move || {
                let (mut wrong, mut kept) = (Vec::new(), None);
                // Not all at once.
                sleep(Duration::from_secs(1) * client / a_second);
                while !shared.stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let signed = push.clone().sign(&shared.secret.lock().unwrap().clone());
                    match send(&mut kept, &signed, shared.port.load(Ordering::Relaxed)) {
                        Ok(answer) if answer.status == 202 => {}
                        Ok(answer) => wrong.push(format!("{answer:?}")),
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => drop(shared.refused.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => wrong.push(format!("{error}")),
                    }
                    shared.sent.fetch_add(1, Ordering::Relaxed);
                    sleep((Duration::from_secs(1) * clients / a_second).saturating_sub(began.elapsed()));
                }
                wrong
            })
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Signs with another secret from now on.
    pub fn sign_with(&self, secret: &str) {
        *self.shared.secret.lock().unwrap() = secret.to_owned();
    }

    /// Sends to another port from now on.
    pub fn go_to(&self, port: u16) {
        self.shared.port.store(port, Ordering::Relaxed);
    }

    /// Lets some pass under what is in force now.
    pub fn go_on(&self) {
        let before = self.shared.sent.load(Ordering::Relaxed);
        wait::until_true("more requests were sent", || self.shared.sent.load(Ordering::Relaxed) > before + 40);
    }

    /// Ends.
    pub fn end(self) -> Pushed {
        self.shared.stop.store(true, Ordering::Relaxed);
        let wrong = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Pushed { sent: count(&self.shared.sent), refused: count(&self.shared.refused), wrong }
    }
}
