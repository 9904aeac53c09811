//! At most ten rejections a second are told one by one; the rest is counted, and told in sums. Pure:
//! time is an argument. Runs in the supervisor; distrusts every stranger, and a listener that
//! reports more strangers than there are.

use super::delivery::Rejected;
use super::event::Summary;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Rejections that are told one by one in any [`SPAN`].
pub const MOST: usize = 10;
const SPAN: Duration = Duration::from_secs(1);
/// Sums are told this long after the first rejection in them.
pub const WINDOW: Duration = Duration::from_secs(5);
/// Addresses that a sum tells apart.
const SOURCES: usize = 1000;

/// What strangers did lately.
#[derive(Default)]
pub struct Flood {
    /// The last that were told, the oldest first; at most [`MOST`].
    told: VecDeque<Instant>,
    held: BTreeMap<Rejected, Held>,
    since: Option<Instant>,
}

#[derive(Default)]
struct Held {
    count: u64,
    sources: BTreeSet<IpAddr>,
}

impl Flood {
    /// Whether a rejection is told by itself. If not, it is in the next sum.
    pub fn admits(&mut self, reason: Rejected, source: IpAddr, now: Instant) -> bool {
        if self.told.len() < MOST || self.told.front().is_some_and(|oldest| now.saturating_duration_since(*oldest) >= SPAN) {
            self.told.truncate(MOST);
            if self.told.len() == MOST {
                self.told.pop_front();
            }
            self.told.push_back(now);
            return true;
        }
        self.since.get_or_insert(now);
        let held = self.held.entry(reason).or_default();
        held.count += 1;
        if held.sources.len() < SOURCES {
            held.sources.insert(source);
        }
        false
    }

    /// When the sums are due; none where there are none.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + WINDOW)
    }

    /// The sums so far, one for each reason; they begin anew.
    pub fn take(&mut self, now: Instant) -> Vec<Summary> {
        let Some(since) = self.since.take() else { return Vec::new() };
        let window_ms = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let held = std::mem::take(&mut self.held).into_iter();
        held.map(|(reason, Held { count, sources })| Summary { reason, count, sources: sources.len() as u64, window_ms }).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::samples::Random;

    const ALL: [Rejected; 3] = [Rejected::BadSignature, Rejected::UnknownPath, Rejected::Malformed];

    fn source(number: u64) -> IpAddr {
        IpAddr::from((u128::from(number) + (0x2001_0db8 << 96)).to_be_bytes())
    }

    #[test]
    fn in_no_second_are_more_than_ten_told_and_none_is_forgotten() {
        let start = Instant::now();
        let (mut flood, mut random) = (Flood::default(), Random::new(1));
        let (mut now, mut made, mut summed, mut told) = (start, 0, 0, Vec::new());
        while now < start + Duration::from_secs(60) {
            now += Duration::from_micros(random.below(400));
            made += 1;
            if flood.admits(ALL[random.below(3) as usize], source(random.below(50)), now) {
                told.push(now);
            }
            if flood.due().is_some_and(|due| due <= now) {
                summed += flood.take(now).iter().map(|sum| sum.count).sum::<u64>();
            }
        }
        summed += flood.take(now).iter().map(|sum| sum.count).sum::<u64>();
        assert_eq!(made, told.len() as u64 + summed);
        assert!(told.windows(MOST + 1).all(|eleven| eleven[MOST] - eleven[0] >= SPAN), "eleven within a second");
        assert!(told.len() >= 59 * MOST, "only {} were told", told.len());
    }

    #[test]
    fn the_sum_says_how_many_from_how_many_places_and_in_what_time() {
        let now = Instant::now();
        let mut flood = Flood::default();
        let admitted = (0..20_000).filter(|number| flood.admits(Rejected::BadSignature, source(*number), now)).count();
        assert_eq!((admitted, flood.due()), (MOST, Some(now + WINDOW)));
        let sums = flood.take(now + WINDOW);
        assert_eq!(sums, [Summary { reason: Rejected::BadSignature, count: 19_990, sources: 1000, window_ms: 5000 }]);
        assert_eq!((flood.take(now), flood.due()), (Vec::new(), None));
    }

    #[test]
    fn who_comes_now_and_then_is_always_told() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        assert!((0..1000).all(|number| flood.admits(Rejected::Method, source(0), start + Duration::from_millis(100 * number))));
    }
}
