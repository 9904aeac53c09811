//! Who may stay: connection slots, the byte budget of unverified bodies, and deadlines.
//!
//! Runs in `gwg-listener`; pure: no IO, and time is an argument. Distrusts everybody who has not
//! shown an authentic delivery. It decides whom to end; `serve` and `connection` do it. `H` is
//! whatever the caller needs in order to reach a connection.

use crate::brief::listener::Limits;
use std::time::{Duration, Instant};

/// How long a connection that never asked anything may still begin to, once the listener drains.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// How long what still comes is thrown away, so that the sender gets to its answer.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing, or a request's header is on its way.
    Header,
    /// A body is on its way.
    Body,
    /// The body was authentic, and the worker is asked.
    Waiting,
    /// An answer is on its way.
    Answering,
    /// The answer is out, the connection's own side is closed, and the sender still sends.
    Lingering,
}

/// Why and how a connection, or what it asks, is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Without a word.
    Close,
    /// With 408: the body did not come in time.
    Timeout,
    /// With 503: it holds the most unverified bytes while there are too many.
    Budget,
    /// With 503: the worker did not acknowledge in time.
    Unavailable,
}

/// Names an open connection. Given by [`Admission::enter`], valid until [`Admission::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotId(usize);

struct Slot<H> {
    handle: H,
    stage: Stage,
    /// When the stage began; for the answer after a verified body: when the body was verified.
    since: Instant,
    /// When it last began to be a stranger: came, or was done with a request.
    stranger_since: Instant,
    /// It has shown an authentic delivery.
    known: bool,
    /// It has asked something.
    used: bool,
    /// Bytes of its unverified body.
    received: u64,
    /// It has been told to end.
    ending: bool,
}

/// All open connections.
pub struct Admission<H> {
    limits: Limits,
    slots: Vec<Option<Slot<H>>>,
    free: Vec<usize>,
    /// Bytes of all unverified bodies.
    unverified: u64,
    draining: bool,
}

impl<H> Admission<H> {
    /// Nobody is here yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, slots: Vec::new(), free: Vec::new(), unverified: 0, draining: false }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether one has to leave before another may come.
    pub fn is_full(&self) -> bool {
        self.open() >= self.limits.connections as usize
    }

    /// A connection comes. The caller has seen to it that there is room.
    pub fn enter(&mut self, now: Instant, handle: H) -> SlotId {
        let slot =
            Slot { handle, stage: Stage::Header, since: now, stranger_since: now, known: false, used: false, received: 0, ending: false };
        match self.free.pop() {
            Some(place) => {
                if let Some(empty) = self.slots.get_mut(place) {
                    *empty = Some(slot);
                }
                SlotId(place)
            }
            None => {
                self.slots.push(Some(slot));
                SlotId(self.slots.len() - 1)
            }
        }
    }

    /// A connection is gone.
    pub fn leave(&mut self, id: SlotId) {
        self.forget_bytes(id);
        if self.slots.get_mut(id.0).and_then(Option::take).is_some() {
            self.free.push(id.0);
        }
    }

    /// A request's header has come.
    pub fn begins_body(&mut self, id: SlotId, now: Instant) {
        self.enters(id, Stage::Body, now);
        if let Some(slot) = self.slot(id) {
            slot.used = true;
        }
    }

    /// Bytes of an unverified body have come. Gives whom to end with [`End::Budget`] where there are
    /// too many now: whoever holds most of them.
    #[must_use]
    pub fn receives(&mut self, id: SlotId, bytes: u64) -> Option<&H> {
        let slot = self.slot(id)?;
        slot.received += bytes;
        self.unverified += bytes;
        if self.unverified <= self.limits.unverified {
            return None;
        }
        let largest = self.staying().max_by_key(|(_, slot)| slot.received).map(|(id, _)| id)?;
        self.forget_bytes(largest);
        self.end(largest)
    }

    /// The body was authentic; the worker is asked. `signed`: it proved so, which an unsigned
    /// repository's body does not.
    pub fn verified(&mut self, id: SlotId, signed: bool, now: Instant) {
        self.forget_bytes(id);
        self.enters(id, Stage::Waiting, now);
        if let Some(slot) = self.slot(id) {
            slot.known |= signed;
        }
    }

    /// The answer is known and on its way. The time for it counts from the verified body on.
    pub fn answers(&mut self, id: SlotId, now: Instant) {
        self.forget_bytes(id);
        let since = self.slot(id).filter(|slot| slot.stage == Stage::Waiting).map_or(now, |slot| slot.since);
        self.enters(id, Stage::Answering, since);
    }

    /// The answer is with the kernel; the next request may come.
    pub fn answered(&mut self, id: SlotId, now: Instant) {
        self.enters(id, Stage::Header, now);
        if let Some(slot) = self.slot(id) {
            slot.stranger_since = now;
        }
    }

    /// The answer is with the kernel, and the sender still sends. May be said again.
    pub fn lingers(&mut self, id: SlotId, now: Instant) {
        if self.stage(id) != Some(Stage::Lingering) {
            self.enters(id, Stage::Lingering, now);
        }
    }

    /// What the connection is doing.
    pub fn stage(&self, id: SlotId) -> Option<Stage> {
        self.slots.get(id.0)?.as_ref().map(|slot| slot.stage)
    }

    /// Whether the connection has asked anything yet.
    pub fn is_used(&self, id: SlotId) -> bool {
        matches!(self.slots.get(id.0), Some(Some(slot)) if slot.used)
    }

    /// Whom to end with [`End::Close`], so that another may come: the one that has been a stranger
    /// longest without showing an authentic delivery; where there are no strangers, the connection
    /// that has been idle longest. `None`: all are at work for authentic deliveries, or told to end.
    pub fn evict(&mut self) -> Option<&H> {
        let evictable = self.staying().filter(|(_, slot)| !slot.known || slot.stage == Stage::Header);
        let slowest = evictable.min_by_key(|(_, slot)| (slot.known, slot.stranger_since)).map(|(id, _)| id)?;
        self.end(slowest)
    }

    /// Ends whoever is beyond a deadline.
    pub fn end_overdue(&mut self, now: Instant, mut end: impl FnMut(&H, End)) {
        let (limits, draining) = (self.limits, self.draining);
        for slot in self.slots.iter_mut().flatten().filter(|slot| !slot.ending) {
            let (time, how) = slot.deadline(&limits, draining);
            if now.saturating_duration_since(slot.since) >= time {
                slot.ending = true;
                end(&slot.handle, how);
            }
        }
    }

    /// From now on nobody comes, and who never asked anything has a moment left for it.
    pub const fn drain(&mut self) {
        self.draining = true;
    }

    /// All that are here.
    pub fn handles(&self) -> impl Iterator<Item = &H> {
        self.slots.iter().flatten().map(|slot| &slot.handle)
    }

    /// The shortest of the deadlines.
    pub fn shortest_deadline(&self) -> Duration {
        let Limits { header_ms, body_ms, acknowledge_ms, answer_ms, .. } = self.limits;
        milliseconds(header_ms.min(body_ms).min(acknowledge_ms).min(answer_ms))
    }

    fn slot(&mut self, id: SlotId) -> Option<&mut Slot<H>> {
        self.slots.get_mut(id.0)?.as_mut()
    }

    fn staying(&self) -> impl Iterator<Item = (SlotId, &Slot<H>)> {
        let all = self.slots.iter().enumerate().filter_map(|(place, slot)| Some((SlotId(place), slot.as_ref()?)));
        all.filter(|(_, slot)| !slot.ending)
    }

    fn enters(&mut self, id: SlotId, stage: Stage, since: Instant) {
        if let Some(slot) = self.slot(id) {
            slot.stage = stage;
            slot.since = since;
            slot.ending = false;
        }
    }

    fn end(&mut self, id: SlotId) -> Option<&H> {
        let slot = self.slot(id)?;
        slot.ending = true;
        Some(&slot.handle)
    }

    fn forget_bytes(&mut self, id: SlotId) {
        let bytes = self.slot(id).map_or(0, |slot| std::mem::take(&mut slot.received));
        self.unverified = self.unverified.saturating_sub(bytes);
    }
}

impl<H> Slot<H> {
    /// How long it may stay in its stage, and what happens then.
    fn deadline(&self, limits: &Limits, draining: bool) -> (Duration, End) {
        match self.stage {
            Stage::Header if draining && !self.used => (milliseconds(limits.header_ms).min(DRAIN_GRACE), End::Close),
            Stage::Header => (milliseconds(limits.header_ms), End::Close),
            Stage::Body => (milliseconds(limits.body_ms), End::Timeout),
            Stage::Waiting => (milliseconds(limits.acknowledge_ms), End::Unavailable),
            Stage::Answering => (milliseconds(limits.answer_ms), End::Close),
            Stage::Lingering => (milliseconds(limits.answer_ms).min(LINGER), End::Close),
        }
    }
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    struct Clock(Instant);
    impl Clock {
        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    fn room(connections: u32, unverified: u64) -> (Admission<char>, Clock) {
        let limits = Limits { connections, unverified, body: 1000, header_ms: 50, body_ms: 100, acknowledge_ms: 40, answer_ms: 60 };
        (Admission::new(limits), Clock(Instant::now()))
    }

    fn overdue(admission: &mut Admission<char>, now: Instant) -> Vec<(char, End)> {
        let mut ended = Vec::new();
        admission.end_overdue(now, |handle, end| ended.push((*handle, end)));
        ended
    }

    #[test]
    fn slots_are_used_again() {
        let (mut admission, clock) = room(2, 100);
        let a = admission.enter(clock.at(0), 'a');
        let _b = admission.enter(clock.at(0), 'b');
        assert!(admission.is_full());
        admission.leave(a);
        assert!(!admission.is_full());
        assert_eq!(admission.enter(clock.at(1), 'c'), a);
        assert_eq!(admission.open(), 2);
    }

    #[test]
    fn the_longest_stranger_goes_first_then_the_longest_idle_then_nobody() {
        let (mut admission, clock) = room(4, 100);
        let [known_idle, slow, _fresh, at_work] =
            [(0, 'k'), (1, 's'), (2, 'f'), (0, 'w')].map(|(ms, handle)| admission.enter(clock.at(ms), handle));
        for id in [known_idle, at_work] {
            admission.begins_body(id, clock.at(3));
            admission.verified(id, true, clock.at(3));
        }
        admission.answers(known_idle, clock.at(4));
        admission.answered(known_idle, clock.at(4));
        // A body that drips does not make its sender less of a stranger.
        admission.begins_body(slow, clock.at(4));
        assert_eq!(admission.evict(), Some(&'s'));
        assert_eq!(admission.evict(), Some(&'f'));
        assert_eq!(admission.evict(), Some(&'k'));
        assert_eq!(admission.evict(), None);
    }

    #[test]
    fn a_stranger_that_was_answered_and_does_not_take_the_answer_is_evictable() {
        let (mut admission, clock) = room(1, 100);
        let a = admission.enter(clock.at(0), 'a');
        admission.begins_body(a, clock.at(0));
        admission.answers(a, clock.at(0));
        assert_eq!(admission.evict(), Some(&'a'));
    }

    #[test]
    fn an_unsigned_body_makes_nobody_known() {
        let (mut admission, clock) = room(1, 100);
        let a = admission.enter(clock.at(0), 'a');
        admission.begins_body(a, clock.at(0));
        admission.verified(a, false, clock.at(0));
        assert_eq!(admission.evict(), Some(&'a'));
    }

    #[test]
    fn over_the_budget_the_largest_unverified_body_is_ended() {
        let (mut admission, clock) = room(9, 100);
        let [a, b, c] = ['a', 'b', 'c'].map(|handle| admission.enter(clock.at(0), handle));
        assert_eq!(admission.receives(a, 30), None);
        assert_eq!(admission.receives(b, 50), None);
        assert_eq!(admission.receives(c, 20), None);
        assert_eq!(admission.receives(a, 1), Some(&'b'));
        // Its bytes no longer count, and it is not ended twice.
        assert_eq!(admission.receives(a, 49), None);
        assert_eq!(admission.receives(c, 1), Some(&'a'));
    }

    #[test]
    fn verified_bodies_and_gone_connections_do_not_count() {
        let (mut admission, clock) = room(9, 100);
        let [a, b, c] = ['a', 'b', 'c'].map(|handle| admission.enter(clock.at(0), handle));
        assert_eq!(admission.receives(a, 90), None);
        admission.verified(a, true, clock.at(0));
        assert_eq!(admission.receives(b, 90), None);
        admission.leave(b);
        assert_eq!(admission.receives(c, 90), None);
        admission.answers(c, clock.at(0));
        assert_eq!(admission.receives(a, 100), None);
        assert_eq!(admission.receives(a, 1), Some(&'a'));
    }

    #[test]
    fn each_stage_has_its_deadline() {
        let (mut admission, clock) = room(9, 100);
        let [_idle, body, waiting, answering] = ['i', 'b', 'w', 'a'].map(|handle| admission.enter(clock.at(0), handle));
        for id in [body, waiting, answering] {
            admission.begins_body(id, clock.at(0));
        }
        admission.verified(waiting, true, clock.at(0));
        admission.answers(answering, clock.at(0));
        assert_eq!(overdue(&mut admission, clock.at(39)), []);
        assert_eq!(overdue(&mut admission, clock.at(40)), [('w', End::Unavailable)]);
        assert_eq!(overdue(&mut admission, clock.at(50)), [('i', End::Close)]);
        assert_eq!(overdue(&mut admission, clock.at(60)), [('a', End::Close)]);
        assert_eq!(overdue(&mut admission, clock.at(100)), [('b', End::Timeout)]);
        assert_eq!(overdue(&mut admission, clock.at(1000)), []);
        // A dripping body has one deadline, not one for each drop; its 408 has the answer's.
        admission.answers(body, clock.at(100));
        assert_eq!(overdue(&mut admission, clock.at(160)), [('b', End::Close)]);
    }

    #[test]
    fn the_answer_after_an_acknowledgement_counts_from_the_verified_body() {
        let (mut admission, clock) = room(9, 100);
        let a = admission.enter(clock.at(0), 'a');
        admission.verified(a, true, clock.at(0));
        admission.answers(a, clock.at(39));
        assert_eq!(overdue(&mut admission, clock.at(60)), [('a', End::Close)]);
    }

    #[test]
    fn lingering_has_its_deadline_whatever_still_comes() {
        let (mut admission, clock) = room(9, 100);
        let a = admission.enter(clock.at(0), 'a');
        admission.answers(a, clock.at(0));
        for ms in [10, 40, 69] {
            admission.lingers(a, clock.at(ms));
            assert_eq!(overdue(&mut admission, clock.at(ms)), []);
        }
        assert_eq!(overdue(&mut admission, clock.at(70)), [('a', End::Close)]);
    }

    #[test]
    fn drips_of_a_header_and_idleness_between_requests_are_bounded() {
        let (mut admission, clock) = room(9, 100);
        let a = admission.enter(clock.at(0), 'a');
        admission.answered(a, clock.at(49));
        assert_eq!(overdue(&mut admission, clock.at(98)), []);
        assert_eq!(overdue(&mut admission, clock.at(99)), [('a', End::Close)]);
    }
}
