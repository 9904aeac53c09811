//! How often what happened since the gateway's start. Pure. Runs in the supervisor.

use crate::audit::{DeliveryEvent, DeliveryResult, UpdateEvent, UpdateResult};
use std::collections::BTreeMap;

/// Upper bounds of a delivery's time, in seconds.
pub const DELIVERY_BOUNDS: [f64; 8] = [0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 4.0];
/// Upper bounds of an update's time, in seconds.
pub const UPDATE_BOUNDS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

/// How many values were at most so large.
pub struct Histogram<const N: usize> {
    bounds: [f64; N],
    counts: [u64; N],
    /// Their number.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [f64; N]) -> Self {
        Self { bounds, counts: [0; N], count: 0, sum: 0.0 }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if let Some((_, count)) = self.bounds.iter().zip(&mut self.counts).find(|(bound, _)| value <= **bound) {
            *count += 1;
        }
    }

    /// Each bound, and how many values were at most that large.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |below, (bound, count)| {
            *below += count;
            Some((*bound, *below))
        })
    }
}

/// The counts.
pub struct Tally {
    /// By result and reason.
    pub deliveries: BTreeMap<(&'static str, &'static str), u64>,
    /// Seconds from the end of the header to the answer.
    pub delivery_seconds: Histogram<8>,
    /// Updates that ended, by result and reason.
    pub updates: BTreeMap<(&'static str, &'static str), u64>,
    /// Seconds from order to end.
    pub update_seconds: Histogram<9>,
    /// Bytes received from remotes.
    pub received_bytes: u64,
    /// Starts of each role.
    pub starts: BTreeMap<&'static str, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            deliveries: BTreeMap::new(),
            delivery_seconds: Histogram::new(DELIVERY_BOUNDS),
            updates: BTreeMap::new(),
            update_seconds: Histogram::new(UPDATE_BOUNDS),
            received_bytes: 0,
            starts: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// A request was answered.
    pub fn delivery(&mut self, event: &DeliveryEvent) {
        let key = match event.result {
            DeliveryResult::Accepted { .. } => ("accepted", ""),
            DeliveryResult::Ignored(reason) => ("ignored", reason.word()),
            DeliveryResult::Rejected(reason) => ("rejected", reason.word()),
        };
        *self.deliveries.entry(key).or_default() += 1;
        self.delivery_seconds.add(seconds(event.micros, 1e6));
    }

    /// An update started or ended.
    pub fn update(&mut self, event: &UpdateEvent) {
        let (key, ms) = match event.result {
            UpdateResult::Started => return,
            UpdateResult::Current { old, new, bytes, ms, .. } => {
                self.received_bytes = self.received_bytes.saturating_add(bytes);
                (if old == Some(new) { ("unchanged", "") } else { ("deployed", "") }, Some(ms))
            }
            UpdateResult::Failed { failure, ms, .. } => (("failed", failure.reason.word()), Some(ms)),
            UpdateResult::AnnouncedNotSeen { .. } => (("announced_not_seen", ""), None),
            UpdateResult::HookFailed { .. } => (("hook_failed", ""), None),
        };
        *self.updates.entry(key).or_default() += 1;
        if let Some(ms) = ms {
            self.update_seconds.add(seconds(ms, 1e3));
        }
    }

    /// A process of a role was started.
    pub fn started(&mut self, name: &'static str) {
        *self.starts.entry(name).or_default() += 1;
    }

    /// How often a role was started again. Updaters come and go, which is no news and not counted.
    pub fn restarts(&self, name: &str) -> u64 {
        self.starts.get(name).map_or(0, |starts| starts.saturating_sub(1))
    }
}

/// Precise enough for any time that ends.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn seconds(number: u64, each: f64) -> f64 {
    number as f64 / each
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_each_bound() {
        let mut histogram = Histogram::new([1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|value| histogram.add(value));
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(1.0, 2), (2.0, 3)]);
        assert_eq!((histogram.count, histogram.sum), (4, 12.0));
    }
}
