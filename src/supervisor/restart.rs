//! When a child that died is started again. Pure: time comes as an argument. Runs in the supervisor.
//!
//! A child that served is started again at once while a bucket of ten, refilled one in six seconds,
//! lasts: a crash must not cost a second. Then, and for a child that dies before it served at
//! all, the wait is one second, doubling to sixty: a crash loop must not burn the machine.

use std::time::{Duration, Instant};

const BUCKET: u32 = 10;
const REFILL: Duration = Duration::from_secs(6);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// One role's restarts.
pub struct Restart {
    left: u32,
    refilled: Instant,
    /// Waits since the bucket was last full.
    waits: u32,
    /// Starts in a row that came to nothing.
    vain: u32,
}

impl Restart {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { left: BUCKET, refilled: now, waits: 0, vain: 0 }
    }

    /// A child died. How long until the next start. `served`: it had become ready.
    pub fn died(&mut self, served: bool, now: Instant) -> Duration {
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
            let wait = restart.died(served, *now);
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
    fn f27_a_child_that_always_crashes_at_start_is_started_ten_times_in_five_minutes() {
        let begin = Instant::now();
        let mut now = begin;
        let mut restart = Restart::new(now);
        let mut starts = 1;
        while now < begin + Duration::from_secs(300) {
            now += restart.died(false, now);
            starts += u32::from(now < begin + Duration::from_secs(300));
        }
        assert!((5..=10).contains(&starts), "{starts} starts");
    }
}
