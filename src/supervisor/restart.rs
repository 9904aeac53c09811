//! When a child that died is started again. Pure: time comes as an argument. Runs in the supervisor.
//!
//! A child that served is started again at once while a bucket of ten, refilled one in six seconds,
//! lasts: a crash must not cost a second. Then, and for a child that dies before it served at
//! all, the wait is one second, doubling to sixty: a crash loop must not burn the machine. After
//! five ends within a minute the role counts as degraded, which is said once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const BUCKET: u32 = 10;
const REFILL: Duration = Duration::from_secs(6);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// So many ends in one [`WINDOW`] are worth a word.
const MANY: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// One role's restarts.
pub struct Restart {
    left: u32,
    refilled: Instant,
    /// Waits since the bucket was last full.
    waits: u32,
    /// Starts in a row that came to nothing.
    vain: u32,
    /// The last few ends.
    ends: VecDeque<Instant>,
    /// It was said that it is degraded.
    said: bool,
}

/// What an end leads to.
pub struct Next {
    /// So long until the next start.
    pub wait: Duration,
    /// Starts in a row that came to nothing, this one included.
    pub vain: u32,
    /// How many ends there were within a minute, where they have just become too many. Said again only
    /// after a quiet minute.
    pub degraded: Option<usize>,
}

impl Restart {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { left: BUCKET, refilled: now, waits: 0, vain: 0, ends: VecDeque::new(), said: false }
    }

    /// A child died, or could not even be started. `served`: it had become ready.
    pub fn died(&mut self, served: bool, now: Instant) -> Next {
        Next { wait: self.wait(served, now), vain: self.vain, degraded: self.is_degraded(now) }
    }

    fn wait(&mut self, served: bool, now: Instant) -> Duration {
        self.refill(now);
        if !served {
            self.vain += 1;
            return doubled(self.vain);
        }
        self.vain = 0;
        if self.left > 0 {
            self.left -= 1;
            return Duration::ZERO;
        }
        self.waits += 1;
        doubled(self.waits)
    }

    /// Counts this end, too.
    fn is_degraded(&mut self, now: Instant) -> Option<usize> {
        self.ends.push_back(now);
        while self.ends.front().is_some_and(|end| *end + WINDOW < now) {
            self.ends.pop_front();
        }
        self.said &= self.ends.len() > 1;
        let many = self.ends.len() >= MANY && !self.said;
        self.said |= many;
        many.then_some(self.ends.len())
    }

    fn refill(&mut self, now: Instant) {
        let grains = (now - self.refilled).as_secs() / REFILL.as_secs();
        self.refilled += REFILL * u32::try_from(grains).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(u32::try_from(grains).unwrap_or(u32::MAX)).min(BUCKET);
        if self.left == BUCKET && grains > 0 {
            self.refilled = now;
            self.waits = 0;
        }
    }
}

/// One second the first time, then twice as long each time, up to a minute.
fn doubled(time: u32) -> Duration {
    Duration::from_secs(1 << (time - 1).min(6)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(restart: &mut Restart, now: &mut Instant, served: bool, times: usize) -> Vec<u64> {
        let mut die = || {
            let wait = restart.died(served, *now).wait;
            *now += wait;
            wait.as_secs()
        };
        (0..times).map(|_| die()).collect()
    }

    #[test]
    fn ten_crashes_cost_nothing_and_then_the_wait_doubles() {
        let mut now = Instant::now();
        let mut restart = Restart::new(now);
        assert_eq!(waits(&mut restart, &mut now, true, 10), [0; 10]);
        assert_eq!(waits(&mut restart, &mut now, true, 3), [1, 2, 4]);
    }

    #[test]
    fn a_quiet_minute_fills_the_bucket() {
        let mut now = Instant::now();
        let mut restart = Restart::new(now);
        waits(&mut restart, &mut now, true, 12);
        now += REFILL * BUCKET;
        assert_eq!(waits(&mut restart, &mut now, true, 11), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn degraded_is_said_once_after_five_ends_in_a_minute_and_again_after_a_quiet_one() {
        let mut now = Instant::now();
        let mut restart = Restart::new(now);
        let mut die = |now| restart.died(true, now).degraded;
        for _ in 0..20 {
            now += Duration::from_secs(16);
            assert_eq!(die(now), None, "four in a minute");
        }
        now += WINDOW * 2;
        let said: Vec<_> = (0..9).map(|_| die(now)).collect();
        assert_eq!(said, [None, None, None, None, Some(5), None, None, None, None]);
        now += WINDOW * 2;
        let said: Vec<_> = (0..5).map(|_| die(now)).collect();
        assert_eq!(said.last(), Some(&Some(5)));
    }

    #[test]
    fn f27_a_child_that_always_crashes_at_start_is_started_ten_times_in_five_minutes() {
        let begin = Instant::now();
        let mut now = begin;
        let mut restart = Restart::new(now);
        let (mut starts, mut degraded) = (1, false);
        while now < begin + Duration::from_secs(300) {
            let next = restart.died(false, now);
            now += next.wait;
            degraded |= next.degraded.is_some();
            starts += u32::from(now < begin + Duration::from_secs(300));
        }
        assert!((5..=10).contains(&starts), "{starts} starts");
        assert!(degraded, "nobody is told");
    }
}
