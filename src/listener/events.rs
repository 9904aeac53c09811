//! What became of each request, said to the supervisor. Runs in `gwg-listener`.
//!
//! Each request makes exactly one event, however it ends: [`Record`] says it when it is dropped.
//! Where the supervisor does not keep up events are lost, and counted: a listener that is to say that it has closed
//! its socket must not find its link full of them.

use crate::audit::{Claim, DeliveryEvent, DeliveryResult, Rejected};
use crate::ids::{DeliveryId, RepoId};
use crate::link::Sender;
use crate::wire::listener::FromListener;
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Instant;

/// The way to the supervisor.
pub struct Events {
    supervisor: Sender<FromListener>,
    lost: Cell<u64>,
}

impl Events {
    /// Says events over this link.
    pub const fn new(supervisor: Sender<FromListener>) -> Self {
        Self { supervisor, lost: Cell::new(0) }
    }

    /// Says what became of a request.
    fn say(&self, event: DeliveryEvent) {
        self.say_lost();
        if self.supervisor.offer(&FromListener::Delivery(event)).is_err() {
            self.lost.set(self.lost.get().saturating_add(1));
        }
    }

    /// Says how many events were lost, where some were and the supervisor takes messages again.
    pub fn say_lost(&self) {
        let lost = self.lost.get();
        if lost > 0 && self.supervisor.offer(&FromListener::Lost(lost)).is_ok() {
            self.lost.set(0);
        }
    }

    /// Waits until all that was said is with the kernel.
    pub async fn flushed(&self) {
        self.say_lost();
        self.supervisor.flushed().await;
    }

    /// Says that a request was no HTTP: it was answered without ever reaching a path.
    pub fn malformed(&self, source: IpAddr) {
        Record::begin(self, source).result = DeliveryResult::Rejected(Rejected::Malformed);
    }
}

/// One request, from the end of its header to its answer.
pub struct Record<'a> {
    events: &'a Events,
    source: IpAddr,
    began: Instant,
    /// The repository whose path was asked for.
    pub repo: Option<RepoId>,
    /// The forge's name for the delivery.
    pub delivery: Option<DeliveryId>,
    /// Bytes of the body so far.
    pub bytes: u64,
    /// What became of it. Until something else is known: it was cut off.
    pub result: DeliveryResult,
    /// Who pushed, by the payload's word.
    pub pusher: Option<Claim>,
}

impl<'a> Record<'a> {
    /// Begins now.
    pub fn begin(events: &'a Events, source: IpAddr) -> Self {
        let result = DeliveryResult::Rejected(Rejected::Timeout);
        Self { events, source, began: Instant::now(), repo: None, delivery: None, bytes: 0, result, pusher: None }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.events.say(DeliveryEvent {
            source: self.source,
            repo: self.repo,
            delivery: self.delivery,
            bytes: self.bytes,
            micros: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            result: self.result,
            pusher: self.pusher.take(),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::link;
    use crate::wire::listener::ToListener;
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixStream;

    #[test]
    fn each_event_is_said_or_counted_as_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (sender, _keep) = link::open::<FromListener, ToListener>(ours.into()).unwrap();
            let events = Events::new(sender);
            let made = 300_000_u64;
            for _ in 0..made {
                events.malformed(Ipv4Addr::LOCALHOST.into());
            }
            assert!(events.lost.get() > 0, "nobody reads, and nothing was lost");
            let (_keep, mut supervisor) = link::open::<ToListener, FromListener>(theirs.into()).unwrap();
            let (mut said, mut lost) = (0, 0);
            while said + lost < made {
                events.say_lost();
                match supervisor.recv().await.unwrap().unwrap() {
                    FromListener::Delivery(_) => said += 1,
                    FromListener::Lost(count) => lost += count,
                    FromListener::Ready { .. } | FromListener::Closed | FromListener::Alive => panic!("said by nobody"),
                }
            }
            assert_eq!((said + lost, events.lost.get()), (made, 0));
        });
    }
}
