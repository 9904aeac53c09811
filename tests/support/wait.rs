//! Polling until something holds. Deadlines are generous: they tell "never" from "slow", and a
//! machine under load is slow.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for anything that happens at all.
pub const LONG: Duration = Duration::from_secs(40);

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Looks until `probe` gives something, and gives that. Panics after [`LONG`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(LONG, what, probe)
}

/// Looks until `probe` gives something, and gives that. Panics after `limit`.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        sleep(STEP);
    }
}

/// [`until`] for a condition.
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, || probe().then_some(()));
}
