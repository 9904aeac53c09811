//! Which repositories are due, and when: the worker's scheduler. Pure: time and chance come as
//! arguments.
//!
//! A repository has at most one mark, and at most one update that runs, so the state can't
//! overflow, and duplicates, replays and herds are harmless. Deliveries go before reconciles.
//! Nothing but success takes a mark away.

use crate::audit::{Cause, UpdateEvent, UpdateResult};
use crate::brief::worker::Schedule;
use crate::ids::{CommitId, DeliveryId, Moment, RepoId, UpdateId, millis};
use crate::wire::job::Verdict;
use crate::wire::worker::Standing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// The longest wait between the tries that `retry_count` counts.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The wait after those.
const SLOW: Duration = Duration::from_secs(600);
/// So long after an update has begun, another push may be one of a burst: the first of a burst is
/// served at once, and one more update, at its end, serves all the rest of it.
const BURST: Duration = Duration::from_secs(2);
/// A burst has ended when no push came for so long.
const QUIET: Duration = Duration::from_millis(150);

/// Why a repository is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Delivery, reconcile, or retry of either.
    pub cause: Cause,
    /// The newest commit that a forge announced.
    pub announced: Option<CommitId>,
    /// The newest delivery.
    pub delivery: Option<DeliveryId>,
    /// The update that serves it: [`Due::mark`] gives the number.
    pub update: UpdateId,
}

impl Mark {
    /// What a reconcile sets.
    pub const RECONCILE: Self = Self::of(Cause::Reconcile);

    /// Without anything that a delivery says.
    pub const fn of(cause: Cause) -> Self {
        Self { cause, announced: None, delivery: None, update: UpdateId::NONE }
    }

    /// What is told of the update that serves it.
    pub const fn event(&self, repo: RepoId, result: UpdateResult) -> UpdateEvent {
        UpdateEvent { repo, update: self.update, cause: self.cause, delivery: self.delivery, result }
    }

    fn is_urgent(&self) -> bool {
        matches!(self.cause, Cause::Delivery | Cause::Operator) || self.delivery.is_some()
    }
}

/// How an update went, as far as the scheduler needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// The work tree is current.
    Well,
    /// Try again.
    Badly,
    /// The tip is deployed and does not contain the announced commit: try again.
    NotSeen,
}

/// When a failed update is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many tries have failed.
    pub attempt: u32,
    /// Just now they became `retry_count`.
    pub last: bool,
    /// How long until the next.
    pub wait: Duration,
}

#[derive(Default)]
struct Slot {
    mark: Option<Mark>,
    running: Option<Mark>,
    /// When the last update for a push began.
    began: Option<Instant>,
    /// When the last mark was set.
    marked: Option<Instant>,
    /// Tries that failed since the last success or delivery.
    failed: u32,
    /// No retry before this.
    not_before: Option<Instant>,
    /// The brief in force does not have it, and its update has not ended.
    gone: bool,
    /// A hook of the repository waits or runs: no update starts.
    hook: bool,
}

impl Slot {
    fn is_busy(&self) -> bool {
        self.running.is_some() || self.hook
    }

    fn standing(&self, now: Instant) -> Standing {
        match (self.running, self.mark) {
            (Some(running), mark) => Standing::Running { cause: running.cause, again: mark.is_some() },
            (None, Some(mark)) => {
                let wait = self.waits_until(now).map_or(Duration::ZERO, |until| until - now);
                Standing::Due { cause: mark.cause, in_ms: millis(wait), failed: self.failed, announced: mark.announced }
            }
            (None, None) => Standing::Quiet,
        }
    }

    fn waits_until(&self, now: Instant) -> Option<Instant> {
        let quiet = self.marked.map(|marked| marked + QUIET);
        let burst = self.began.map(|began| began + BURST).filter(|end| *end > now);
        let calm = burst.map(|end| quiet.map_or(end, |quiet| quiet.min(end)));
        self.not_before.max(calm).filter(|until| *until > now)
    }
}

/// All repositories of one brief.
pub struct Due {
    schedule: Schedule,
    slots: BTreeMap<RepoId, Slot>,
    urgent: VecDeque<RepoId>,
    calm: VecDeque<RepoId>,
    waiting: BTreeSet<(Instant, RepoId)>,
    running: usize,
    /// The last number that was given to a mark.
    last: UpdateId,
}

impl Due {
    /// Nothing is due yet.
    pub fn new(schedule: Schedule, repos: impl IntoIterator<Item = RepoId>) -> Self {
        let slots = repos.into_iter().map(|id| (id, Slot::default())).collect();
        Self { schedule, slots, urgent: VecDeque::new(), calm: VecDeque::new(), waiting: BTreeSet::new(), running: 0, last: UpdateId::NONE }
    }

    /// Numbers updates from that moment on, so that they go on from those of the worker before.
    #[must_use]
    pub fn numbered_since(self, start: Moment) -> Self {
        Self { last: UpdateId::since(start), ..self }
    }

    /// Goes on under another brief. Marks, tries and running updates of the repositories that stay
    /// are kept; those of the others are forgotten, their updates when they end.
    pub fn rebrief(&mut self, schedule: Schedule, repos: impl IntoIterator<Item = RepoId>) {
        let mut before = std::mem::take(&mut self.slots);
        self.schedule = schedule;
        self.slots = repos.into_iter().map(|id| (id, before.remove(&id).unwrap_or_default())).collect();
        let running = before.into_iter().filter(|(_, slot)| slot.running.is_some());
        self.slots.extend(running.map(|(id, slot)| (id, Slot { mark: None, gone: true, ..slot })));
    }

    /// A repository is not what it was: whatever failed before counts no more, and it is due.
    pub fn renew(&mut self, repo: RepoId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&repo) {
            slot.failed = 0;
            if let Some(until) = slot.not_before.take() {
                self.waiting.remove(&(until, repo));
            }
            let marked = slot.mark.is_some();
            self.mark(repo, Mark::RECONCILE, now);
            if marked {
                self.queue(repo, now);
            }
        }
    }

    /// Sets a repository's mark. [`Verdict::Gone`] where there is no such repository.
    pub fn mark(&mut self, repo: RepoId, mark: Mark, now: Instant) -> Verdict {
        let Some(slot) = self.slots.get_mut(&repo).filter(|slot| !slot.gone) else { return Verdict::Gone };
        let old = slot.mark;
        // What waits already will serve this one too.
        let update = old.map_or_else(|| self.last.next(), |old| old.update);
        self.last = self.last.max(update);
        slot.mark = Some(merge(old, Mark { update, ..mark }));
        slot.marked = Some(now);
        if mark.is_urgent() && std::mem::take(&mut slot.failed) > 0 {
            // A new push is served soon, also when its repository waits for a late retry; yet not
            // sooner than the first retry would be, so that a herd can't hammer a broken remote.
            let soon = now + self.schedule.retry_delay();
            if let Some(until) = slot.not_before.filter(|until| *until > soon) {
                self.waiting.remove(&(until, repo));
                self.waiting.insert((soon, repo));
                slot.not_before = Some(soon);
            }
        }
        let raised = mark.is_urgent() && !old.is_some_and(|old| old.is_urgent());
        if old.is_none() || raised {
            self.queue(repo, now);
        }
        if old.is_some() { Verdict::Coalesced(update) } else { Verdict::Marked(update) }
    }

    /// The repository whose update starts now, if any may.
    pub fn start(&mut self, now: Instant) -> Option<(RepoId, Mark)> {
        self.release(now);
        if self.running >= usize::from(self.schedule.threads) {
            return None;
        }
        while let Some(repo) = self.urgent.pop_front().or_else(|| self.calm.pop_front()) {
            let Some(slot) = self.slots.get_mut(&repo) else { continue };
            // A repository raised from calm to urgent stands in both queues; the first one serves it.
            if slot.is_busy() {
                continue;
            }
            if let Some(until) = slot.waits_until(now) {
                // A push that came while it stood here, for want of a slot, made it wait again.
                if slot.mark.is_some() {
                    self.waiting.insert((until, repo));
                }
                continue;
            }
            if let Some(mark) = slot.mark.take() {
                slot.running = Some(mark);
                // Only pushes make a burst: the one after a reconcile is served at once.
                slot.began = Some(now).filter(|_| mark.is_urgent());
                self.running += 1;
                return Some((repo, mark));
            }
        }
        None
    }

    /// Ends an update. Answers when it is tried again, where it did not go well.
    /// `chance` spreads retries: any number.
    pub fn end(&mut self, repo: RepoId, went: Went, now: Instant, chance: u32) -> Option<Retry> {
        let slot = self.slots.get_mut(&repo)?;
        let served = slot.running.take()?;
        self.running -= usize::from(!std::mem::take(&mut slot.hook));
        if slot.gone {
            self.slots.remove(&repo);
            return None;
        }
        let retry = match went {
            Went::Well => {
                slot.failed = 0;
                slot.not_before = None;
                None
            }
            Went::Badly | Went::NotSeen => {
                let newer = slot.mark.filter(Mark::is_urgent);
                slot.failed = if newer.is_some() { 1 } else { slot.failed.saturating_add(1) };
                let again = Mark { cause: Cause::Retry, ..served };
                let mut again = slot.mark.map_or(again, |mark| merge(Some(again), mark));
                if went == Went::NotSeen && slot.failed >= self.schedule.retry_count {
                    // The announced commit may have been overwritten by a later push, so it is not
                    // waited for for ever; the repository itself stays due.
                    again.announced = None;
                }
                slot.mark = Some(again);
                let wait = backoff(&self.schedule, slot.failed, chance);
                slot.not_before = Some(now + wait);
                let last = slot.failed == self.schedule.retry_count.max(1);
                Some(Retry { attempt: slot.failed, last, wait })
            }
        };
        self.queue(repo, now);
        retry
    }

    /// The repository's update is done but for its hook: others may use its slot, and the repository itself
    /// waits for [`Due::end`]. `failed`: tries of the hook that failed, which the wait before the next
    /// goes by.
    pub fn hand_over(&mut self, repo: RepoId, failed: u32) {
        let Some(slot) = self.slots.get_mut(&repo).filter(|slot| slot.running.is_some()) else { return };
        slot.failed = failed;
        slot.hook = true;
        self.running -= 1;
    }

    /// A hook begins after the update has ended: no other starts before [`Due::free`].
    pub fn hold(&mut self, repo: RepoId) {
        if let Some(slot) = self.slots.get_mut(&repo) {
            slot.hook = true;
        }
    }

    /// That hook has ended.
    pub fn free(&mut self, repo: RepoId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&repo) {
            slot.hook = false;
        }
        self.queue(repo, now);
    }

    /// When [`Due::start`] is worth calling again though nothing happened.
    pub fn wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// How it stands with the repositories from this one on.
    pub fn standings(&self, from: RepoId, now: Instant) -> impl Iterator<Item = (RepoId, Standing)> {
        self.slots.range(from..).map(move |(repo, slot)| (*repo, slot.standing(now)))
    }

    fn release(&mut self, now: Instant) {
        while let Some((until, repo)) = self.waiting.first().copied() {
            if until > now {
                return;
            }
            self.waiting.pop_first();
            self.queue(repo, now);
        }
    }

    /// Lets a marked repository wait for its time, or for a free slot.
    fn queue(&mut self, repo: RepoId, now: Instant) {
        let Some(slot) = self.slots.get(&repo) else { return };
        let Some(mark) = slot.mark.filter(|_| !slot.is_busy()) else { return };
        match slot.waits_until(now) {
            Some(until) => {
                self.waiting.insert((until, repo));
            }
            None if mark.is_urgent() => self.urgent.push_back(repo),
            None => self.calm.push_back(repo),
        }
    }
}

/// The newer mark counts, and what it does not say stays.
fn merge(old: Option<Mark>, new: Mark) -> Mark {
    let Some(old) = old else { return new };
    let cause = if new.cause == Cause::Reconcile { old.cause } else { new.cause };
    // After a failure both were numbered: the later one serves all that the earlier one was to.
    let update = new.update.max(old.update);
    Mark { cause, announced: new.announced.or(old.announced), delivery: new.delivery.or(old.delivery), update }
}

/// `retry_delay`, doubled with each failure up to 60 s, less up to a fifth by chance; 10 min after
/// `retry_count` failures.
fn backoff(schedule: &Schedule, failed: u32, chance: u32) -> Duration {
    if failed >= schedule.retry_count {
        return SLOW;
    }
    let doublings = failed.saturating_sub(1).min(16);
    let full = schedule.retry_delay().saturating_mul(1 << doublings).min(BACKOFF_MAX.max(schedule.retry_delay()));
    full - full.mul_f64(f64::from(chance % 1000) / 5000.0)
}

impl Schedule {
    fn retry_delay(&self) -> Duration {
        Duration::from_millis(self.retry_delay_ms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const SCHEDULE: Schedule = Schedule { threads: 2, retry_count: 3, retry_delay_ms: 1000, reconcile_s: 0 };
    const PUSH: Mark = Mark::of(Cause::Delivery);

    fn repo(number: u32) -> RepoId {
        RepoId::new(number)
    }

    fn mark_all(due: &mut Due, now: Instant) {
        let repos: Vec<RepoId> = due.slots.keys().copied().collect();
        for repo in repos {
            due.mark(repo, Mark::RECONCILE, now);
        }
    }

    fn push(byte: u8) -> Mark {
        Mark { announced: Some(CommitId::from_bytes([byte; 20])), ..PUSH }
    }

    fn due(repos: u32) -> (Due, Instant) {
        (Due::new(SCHEDULE, (0..repos).map(repo)), Instant::now())
    }

    /// All slots are taken when the wait of a burst is over; a push comes while the repository stands in line.
    #[test]
    fn a_push_that_comes_while_its_repository_stands_in_line_is_served() {
        let (mut due, now) = due(3);
        due.mark(repo(0), PUSH, now);
        assert_eq!(due.start(now).unwrap().0, repo(0));
        due.mark(repo(0), PUSH, now);
        due.end(repo(0), Went::Well, now, 0);
        for other in [1, 2] {
            due.mark(repo(other), PUSH, now);
            assert_eq!(due.start(now).unwrap().0, repo(other));
        }
        let calm = now + QUIET;
        assert_eq!(due.start(calm), None, "more updates than threads");
        due.mark(repo(0), PUSH, calm);
        due.end(repo(1), Went::Well, calm, 0);
        assert_eq!(due.start(calm), None, "the burst goes on");
        let wake = due.wake().unwrap();
        assert_eq!(due.start(wake).unwrap().0, repo(0), "the push is forgotten");
    }

    #[test]
    fn a_thousand_deliveries_are_one_update_and_one_that_waits() {
        let (mut due, now) = due(1);
        assert!(matches!(due.mark(repo(0), PUSH, now), Verdict::Marked(_)));
        assert_eq!(due.start(now).unwrap().0, repo(0));
        assert!(matches!(due.mark(repo(0), PUSH, now), Verdict::Marked(_)));
        for _ in 0..1000 {
            assert!(matches!(due.mark(repo(0), PUSH, now), Verdict::Coalesced(_)));
        }
        assert_eq!(due.start(now + BURST), None, "updates of one repository overlap");
        assert_eq!(due.end(repo(0), Went::Well, now, 0), None);
        assert_eq!(due.start(now), None, "a burst is served one by one");
        let now = due.wake().unwrap();
        assert_eq!(due.start(now).unwrap().0, repo(0));
        assert_eq!(due.end(repo(0), Went::Well, now, 0), None);
        assert_eq!((due.start(now + BURST), due.wake()), (None, None));
    }

    #[test]
    fn a_push_soon_after_an_update_waits_and_a_later_one_does_not() {
        let (mut due, now) = due(1);
        let serve = |due: &mut Due, at| due.start(at).map(|(repo, _)| due.end(repo, Went::Well, at, 0));
        due.mark(repo(0), PUSH, now);
        assert!(serve(&mut due, now).is_some());
        due.mark(repo(0), PUSH, now);
        assert!(serve(&mut due, now).is_none());
        assert_eq!(due.wake(), Some(now + QUIET), "one more push waits longer than it must");
        assert!(serve(&mut due, now + QUIET).is_some());
        due.mark(repo(0), PUSH, now + BURST * 2);
        assert!(serve(&mut due, now + BURST * 2).is_some());
    }

    #[test]
    fn while_a_hook_runs_others_are_updated_and_the_repository_waits() {
        let (mut due, now) = due(4);
        let later = now + BURST * 2;
        mark_all(&mut due, now);
        assert_eq!((due.start(now).unwrap().0, due.start(now).unwrap().0, due.start(now)), (repo(0), repo(1), None));
        due.hand_over(repo(0), 0);
        assert_eq!(due.start(now).unwrap().0, repo(2), "a hook takes no thread");
        assert_eq!(due.start(now), None);
        due.mark(repo(0), PUSH, now);
        due.end(repo(1), Went::Well, now, 0);
        assert_eq!(due.start(later).unwrap().0, repo(3), "an update while its hook runs");
        assert_eq!(due.end(repo(0), Went::Well, later, 0), None);
        due.end(repo(2), Went::Well, later, 0);
        assert_eq!(due.start(later).unwrap().0, repo(0), "the push during the hook is lost");
        due.end(repo(0), Went::Well, later, 0);
        due.end(repo(3), Went::Well, later, 0);
        assert_eq!(due.running, 0);
    }

    #[test]
    fn a_failed_update_s_hook_holds_the_next_try() {
        let (mut due, now) = due(1);
        due.mark(repo(0), PUSH, now);
        due.start(now).unwrap();
        let wait = due.end(repo(0), Went::Badly, now, 0).unwrap().wait;
        due.hold(repo(0));
        due.mark(repo(0), PUSH, now);
        assert_eq!(due.start(now + wait), None);
        due.free(repo(0), now + wait);
        assert_eq!(due.start(now + wait).unwrap().0, repo(0));
    }

    #[test]
    fn f25_a_thousand_pushes_in_a_second_are_two_updates() {
        let (mut due, begin) = due(1);
        let mut updates = Vec::new();
        for ms in 0..4000 {
            let now = begin + Duration::from_millis(ms);
            if ms < 1000 {
                due.mark(repo(0), PUSH, now);
            }
            if let Some((repo, _)) = due.start(now) {
                updates.push(ms);
                due.end(repo, Went::Well, now, 0);
            }
        }
        assert_eq!(updates.len(), 2, "{updates:?}");
        assert!(updates[0] == 0 && updates[1] >= 999, "{updates:?}");
    }

    #[test]
    fn deliveries_go_before_reconciles_and_threads_bound_both() {
        let (mut due, now) = due(5);
        mark_all(&mut due, now);
        due.mark(repo(4), PUSH, now);
        let order: Vec<_> = std::iter::from_fn(|| due.start(now)).map(|(repo, _)| repo.number()).collect();
        assert_eq!(order, [4, 0]);
        due.end(repo(4), Went::Well, now, 0);
        assert_eq!(due.start(now).unwrap().0, repo(1));
        assert_eq!(due.start(now), None);
    }

    #[test]
    fn failures_back_off_doubling_and_then_slowly_for_ever() {
        let (mut due, mut now) = due(1);
        due.mark(repo(0), push(1), now);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let (_, mark) = due.start(now).unwrap();
            assert_eq!(mark.announced, push(1).announced, "a retry forgot the announced commit");
            let retry = due.end(repo(0), Went::Badly, now, 0).unwrap();
            waits.push((retry.attempt, retry.wait.as_secs()));
            assert_eq!(due.start(now + retry.wait - Duration::from_millis(1)), None);
            assert_eq!(due.wake(), Some(now + retry.wait));
            now += retry.wait;
        }
        assert_eq!(waits, [(1, 1), (2, 2), (3, 600), (4, 600), (5, 600)]);
        due.start(now).unwrap();
        due.end(repo(0), Went::Well, now, 0);
        assert_eq!((due.start(now), due.wake()), (None, None));
    }

    #[test]
    fn a_push_brings_a_late_retry_forward_and_counts_anew() {
        let (mut due, mut now) = due(1);
        due.mark(repo(0), PUSH, now);
        for _ in 0..3 {
            now = due.wake().unwrap_or(now);
            due.start(now).unwrap();
            due.end(repo(0), Went::Badly, now, 0).unwrap();
        }
        assert_eq!(due.wake(), Some(now + SLOW));
        due.mark(repo(0), push(2), now);
        assert_eq!(due.start(now), None, "a herd may hammer a broken remote");
        now += Duration::from_secs(1);
        assert_eq!(due.start(now).unwrap().1.announced, push(2).announced);
        assert_eq!(due.end(repo(0), Went::Badly, now, 0).unwrap().attempt, 1);
    }

    #[test]
    fn a_push_during_a_failing_update_counts_anew() {
        let (mut due, now) = due(1);
        due.mark(repo(0), PUSH, now);
        due.start(now).unwrap();
        due.mark(repo(0), push(7), now);
        assert_eq!(due.end(repo(0), Went::Badly, now, 0).unwrap().attempt, 1);
        let now = due.wake().unwrap();
        assert_eq!(due.start(now).unwrap().1.announced, push(7).announced);
    }

    #[test]
    fn an_announced_commit_that_never_comes_is_given_up_but_the_repository_is_not() {
        let (mut due, mut now) = due(1);
        due.mark(repo(0), push(3), now);
        for last in [false, false, true] {
            now = due.wake().unwrap_or(now);
            assert!(due.start(now).unwrap().1.announced.is_some());
            assert_eq!(due.end(repo(0), Went::NotSeen, now, 0).unwrap().wait == SLOW, last);
        }
        now = due.wake().unwrap();
        assert_eq!(due.start(now).unwrap().1.announced, None);
        assert_eq!(due.end(repo(0), Went::Well, now, 0), None);
    }

    #[test]
    fn a_reconcile_does_not_hide_that_a_delivery_waits() {
        let (mut due, now) = due(2);
        due.mark(repo(0), PUSH, now);
        mark_all(&mut due, now);
        let (first, mark) = due.start(now).unwrap();
        assert_eq!((first, mark.cause), (repo(0), Cause::Delivery));
    }

    #[test]
    fn chance_shortens_a_wait_by_a_fifth_at_most() {
        for chance in [0, 1, 500, 999, u32::MAX] {
            let wait = backoff(&Schedule { retry_count: 9, ..SCHEDULE }, 2, chance);
            assert!((Duration::from_millis(1600)..=Duration::from_secs(2)).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn what_stays_keeps_its_mark_its_tries_and_its_update() {
        let (mut due, now) = due(3);
        due.mark(repo(0), push(1), now);
        due.mark(repo(1), PUSH, now);
        assert_eq!(due.start(now).unwrap().0, repo(0));
        due.mark(repo(2), push(3), now);
        due.mark(repo(0), push(2), now);
        due.rebrief(Schedule { threads: 1, ..SCHEDULE }, [repo(0), repo(2), repo(3)]);
        assert_eq!(due.mark(repo(1), PUSH, now), Verdict::Gone);
        assert_eq!(due.start(now), None, "more updates than threads");
        assert_eq!(due.end(repo(0), Went::Badly, now, 0).unwrap().attempt, 1);
        let (next, mark) = due.start(now).unwrap();
        assert_eq!((next, mark.announced), (repo(2), push(3).announced), "a mark was lost, or one that is gone was served");
        assert!(matches!(due.mark(repo(3), PUSH, now), Verdict::Marked(_)));
    }

    #[test]
    fn an_update_of_what_was_removed_holds_its_slot_until_it_ends() {
        let (mut due, now) = due(2);
        let one = Schedule { threads: 1, ..SCHEDULE };
        due.mark(repo(0), PUSH, now);
        due.start(now).unwrap();
        due.mark(repo(0), PUSH, now);
        due.rebrief(one, [repo(1)]);
        due.mark(repo(1), PUSH, now);
        assert_eq!(due.start(now), None, "its slot counts as free");
        assert_eq!(due.end(repo(0), Went::Badly, now, 0), None);
        assert_eq!(due.start(now).unwrap().0, repo(1));
        due.end(repo(1), Went::Well, now, 0);
        assert_eq!((due.start(now + SLOW), due.wake()), (None, None), "a mark of a repository that is gone is served");
    }

    #[test]
    fn a_changed_repository_is_tried_at_once_however_often_it_failed() {
        let (mut due, mut now) = due(1);
        due.mark(repo(0), PUSH, now);
        for _ in 0..3 {
            now = due.wake().unwrap_or(now);
            due.start(now).unwrap();
            due.end(repo(0), Went::Badly, now, 0).unwrap();
        }
        assert_eq!(due.wake(), Some(now + SLOW));
        due.renew(repo(0), now);
        assert_eq!((due.start(now).unwrap().0, due.wake()), (repo(0), None));
        due.renew(repo(0), now);
        due.end(repo(0), Went::Well, now, 0);
        assert!(due.start(now).is_some(), "what changed during an update is not served after it");
    }

    fn number(verdict: Verdict) -> UpdateId {
        match verdict {
            Verdict::Marked(update) | Verdict::Coalesced(update) => update,
            Verdict::Gone => panic!("gone"),
        }
    }

    #[test]
    fn each_mark_is_told_which_update_serves_it_also_after_failures() {
        let start = Moment::now();
        let (due, now) = due(2);
        let mut due = due.numbered_since(start);
        let first = number(due.mark(repo(0), PUSH, now));
        assert!(first > UpdateId::since(start));
        assert_eq!(number(due.mark(repo(0), PUSH, now)), first, "what comes together is served together");
        let other = number(due.mark(repo(1), PUSH, now));
        assert_eq!(due.start(now).unwrap().1.update, first);
        // It fails; what came meanwhile is served by a later one, and so is the first.
        let later = number(due.mark(repo(0), PUSH, now));
        assert!(first < other && other < later);
        due.end(repo(0), Went::Badly, now, 0).unwrap();
        let now = now + Duration::from_secs(1);
        let started: BTreeMap<_, _> = std::iter::from_fn(|| due.start(now)).map(|(repo, mark)| (repo, mark.update)).collect();
        assert_eq!(started, BTreeMap::from([(repo(0), later), (repo(1), other)]));
        // It fails again, and nothing came meanwhile: the next try has the same number, and serves who comes now.
        due.end(repo(0), Went::Badly, now, 0).unwrap();
        assert_eq!(number(due.mark(repo(0), PUSH, now)), later);
        let now = now + Duration::from_secs(60);
        assert_eq!(due.start(now).unwrap().1.update, later);
        due.end(repo(0), Went::Well, now, 0);
        assert!(number(due.mark(repo(0), PUSH, now)) > later);
    }

    #[test]
    fn an_unknown_repository_is_gone() {
        let (mut due, now) = due(1);
        assert_eq!(due.mark(repo(9), PUSH, now), Verdict::Gone);
        assert_eq!(due.end(repo(9), Went::Badly, now, 0), None);
    }
}
