//! When all repositories are compared with their remotes again: by the clock, and after a listener's crash.
//! Pure: time and chance come as arguments. Runs in the worker.

use crate::audit::ReconcileCause;
use crate::brief::worker::Schedule;
use std::time::{Duration, Instant};

/// Comparisons that a listener's crashes cause are at least this far apart: one that crashes again and again
/// must not make gwg ask every forge again and again.
const APART: Duration = Duration::from_secs(300);

/// What is planned.
pub struct Calendar {
    /// Zero: never by the clock.
    every: Duration,
    by_clock: Option<Instant>,
    /// For a crash that came too soon after the last one.
    owed: Option<Instant>,
    /// The last comparison that a crash caused.
    after_crash: Option<Instant>,
}

impl Calendar {
    /// Nothing has crashed yet. `chance` spreads what is planned: any number.
    pub fn new(every: Duration, now: Instant, chance: u32) -> Self {
        let mut calendar = Self { every, by_clock: None, owed: None, after_crash: None };
        calendar.plan(now, chance);
        calendar
    }

    /// Goes on under another brief: where that says another time, the clock starts anew.
    pub fn rebrief(&mut self, every: Duration, now: Instant, chance: u32) {
        if every != self.every {
            self.every = every;
            self.plan(now, chance);
        }
    }

    /// A listener has crashed. Whether to compare at once; else it is planned.
    pub fn crashed(&mut self, now: Instant) -> bool {
        match self.after_crash.map(|last| last + APART) {
            Some(soon) if now < soon => {
                self.owed = Some(soon);
                false
            }
            _ => {
                self.after_crash = Some(now);
                true
            }
        }
    }

    /// The comparison that is due, if one is, is made now: one serves all that was planned.
    pub fn take_due(&mut self, now: Instant, chance: u32) -> Option<ReconcileCause> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let cause = if is_due(self.owed) {
            self.after_crash = Some(now);
            ReconcileCause::ListenerCrash
        } else if is_due(self.by_clock) {
            ReconcileCause::Timer
        } else {
            return None;
        };
        self.owed = None;
        self.plan(now, chance);
        Some(cause)
    }

    /// When [`Calendar::take_due`] is worth asking.
    pub fn wake(&self) -> Option<Instant> {
        self.by_clock.into_iter().chain(self.owed).min()
    }

    /// Up to a tenth later, so that many gateways don't all ask one forge at once.
    fn plan(&mut self, now: Instant, chance: u32) {
        let spread = self.every.mul_f64(f64::from(chance % 1000) / 10_000.0);
        self.by_clock = (!self.every.is_zero()).then(|| now + self.every + spread);
    }
}

impl Schedule {
    /// How often all repositories are compared; zero: never by the clock.
    pub fn reconcile(&self) -> Duration {
        Duration::from_secs(self.reconcile_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn the_clock_comes_again_and_again_up_to_a_tenth_late() {
        let start = Instant::now();
        let mut calendar = Calendar::new(HOUR, start, 500);
        let first = start + HOUR.mul_f64(1.05);
        assert_eq!(calendar.wake(), Some(first));
        assert_eq!(calendar.take_due(first - seconds(1), 0), None);
        assert_eq!(calendar.take_due(first, 0), Some(ReconcileCause::Timer));
        assert_eq!(calendar.wake(), Some(first + HOUR));
    }

    #[test]
    fn never_is_never() {
        let start = Instant::now();
        let mut calendar = Calendar::new(Duration::ZERO, start, 999);
        assert_eq!(calendar.wake(), None);
        assert_eq!(calendar.take_due(start + 10_000 * HOUR, 0), None);
    }

    #[test]
    fn crashes_one_after_the_other_cause_one_comparison_in_five_minutes() {
        let start = Instant::now();
        let mut calendar = Calendar::new(Duration::ZERO, start, 0);
        assert!(calendar.crashed(start));
        assert!(!calendar.crashed(start + seconds(1)));
        assert!(!calendar.crashed(start + seconds(299)));
        assert_eq!(calendar.wake(), Some(start + APART));
        assert_eq!(calendar.take_due(start + APART, 0), Some(ReconcileCause::ListenerCrash));
        // Also after one that was planned.
        assert!(!calendar.crashed(start + APART + seconds(1)));
        assert_eq!(calendar.take_due(start + APART + seconds(2), 0), None);
        assert_eq!(calendar.take_due(start + 2 * APART, 0), Some(ReconcileCause::ListenerCrash));
        assert_eq!(calendar.wake(), None);
        assert!(calendar.crashed(start + 3 * APART));
    }

    #[test]
    fn what_a_crash_is_owed_outlives_a_reload_and_the_clock_may_pay_it() {
        let start = Instant::now();
        let mut calendar = Calendar::new(HOUR, start, 0);
        assert!(calendar.crashed(start) && !calendar.crashed(start + seconds(1)));
        calendar.rebrief(Duration::ZERO, start + seconds(2), 0);
        assert_eq!(calendar.wake(), Some(start + APART));
        calendar.rebrief(seconds(60), start + seconds(3), 0);
        calendar.rebrief(seconds(60), start + seconds(4), 0);
        assert_eq!(calendar.take_due(start + seconds(63), 0), Some(ReconcileCause::Timer));
        assert_eq!(calendar.wake(), Some(start + seconds(123)));
    }
}
