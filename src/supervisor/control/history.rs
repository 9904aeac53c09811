//! What happened, the newest last: in memory for who asks, and in a file for the next start. Runs in the
//! supervisor.
//!
//! Bounded everywhere. What was refused has a ring of its own and is kept at a bounded pace: a stranger
//! who sends nonsense can't push out what matters. Writing is a thread's job, by way of a bounded queue:
//! a full or slow disk costs records, never time.

mod chain;
mod disk;

use crate::audit::DeliveryResult;
use crate::ids::DeliveryId;
use crate::wire::control::{Record, What};
use disk::Disk;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Records in memory.
const KEPT: usize = 10_000;
/// Records of what was refused.
const REFUSED: usize = 1_000;
/// How many refusals are kept at once, and how soon one more.
const BURST: u32 = 50;
const EACH: Duration = Duration::from_millis(100);

/// The records.
pub struct History {
    kept: VecDeque<Record>,
    refused: VecDeque<Record>,
    pace: Pace,
    disk: Option<Disk>,
}

impl History {
    /// With what earlier runs wrote into the directory.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let mut history = Self::in_memory();
        for record in disk::read(directory) {
            history.push(record);
        }
        history.disk = Some(Disk::begin(directory)?);
        Ok(history)
    }

    /// With nothing, and for no longer than this process lives.
    pub fn in_memory() -> Self {
        Self { kept: VecDeque::new(), refused: VecDeque::new(), pace: Pace::default(), disk: None }
    }

    /// Keeps a record; false for one refusal too many.
    pub fn keep(&mut self, record: &Record, now: Instant) -> bool {
        if is_refusal(record) && !self.pace.allows(now) {
            return false;
        }
        if let Some(disk) = &self.disk {
            disk.write(record);
        }
        self.push(record.clone());
        true
    }

    fn push(&mut self, record: Record) {
        let (ring, most) = if is_refusal(&record) { (&mut self.refused, REFUSED) } else { (&mut self.kept, KEPT) };
        if ring.len() >= most {
            ring.pop_front();
        }
        ring.push_back(record);
    }

    /// What was not refused, the oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.kept.iter()
    }

    /// The last records that are wanted, refusals among them, the oldest first.
    pub fn last(&self, count: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        let newest = |ring: &VecDeque<Record>| ring.iter().rev().filter(|record| wanted(record)).take(count).cloned().collect::<Vec<_>>();
        let mut all = newest(&self.kept);
        all.extend(newest(&self.refused));
        // The rings are in order already, up to a clock that was set.
        all.sort_by_key(|record| std::cmp::Reverse(record.at));
        all.truncate(count);
        all.reverse();
        all
    }

    /// A delivery, and what it led to. Refusals among them, which lead to nothing, come first.
    pub fn of_delivery(&self, id: DeliveryId) -> Vec<Record> {
        chain::of(self.refused.iter().chain(&self.kept), id)
    }

    /// Records that the disk did not take.
    pub fn lost(&self) -> u64 {
        self.disk.as_ref().map_or(0, Disk::lost)
    }
}

fn is_refusal(record: &Record) -> bool {
    matches!(record.what, What::Delivery { result: DeliveryResult::Rejected(_), .. })
}

/// A bucket of refusals.
#[derive(Default)]
struct Pace {
    used: u32,
    since: Option<Instant>,
}

impl Pace {
    fn allows(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let grains = u32::try_from((now - since).as_millis() / EACH.as_millis()).unwrap_or(u32::MAX);
        self.used = self.used.saturating_sub(grains);
        self.since = Some(since + EACH * grains);
        let allowed = self.used < BURST;
        self.used += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::{Cause, Ignored, Rejected, UpdateResult};
    use crate::ids::Moment;
    use std::net::{IpAddr, Ipv4Addr};

    fn delivery(at: u64, result: DeliveryResult) -> Record {
        let what = What::Delivery { source: IpAddr::V4(Ipv4Addr::LOCALHOST), id: None, result, claimed_pusher: None };
        Record { at: Moment::from_millis(at), repo: Some("/a".into()), what }
    }

    fn fine(at: u64) -> Record {
        delivery(at, DeliveryResult::Ignored(Ignored::Ping))
    }

    fn refused(at: u64) -> Record {
        delivery(at, DeliveryResult::Rejected(Rejected::BadSignature))
    }

    fn times(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.at.millis()).collect()
    }

    #[test]
    fn nonsense_does_not_push_out_what_matters() {
        let mut history = History::in_memory();
        let begin = Instant::now();
        history.keep(&fine(0), begin);
        let kept = (1..100_000).filter(|ms| history.keep(&refused(*ms), begin + Duration::from_millis(*ms))).count();
        assert!((1000..=1100).contains(&kept), "{kept} of 100,000 refusals in 100 s were kept");
        assert_eq!(history.refused.len(), REFUSED);
        assert_eq!(times(&history.last(usize::MAX, |_| true))[0], 0);
    }

    #[test]
    fn the_ring_is_bounded_and_the_last_come_in_order() {
        let mut history = History::in_memory();
        let now = Instant::now();
        for at in 0..KEPT as u64 + 10 {
            history.keep(&fine(at * 2), now);
        }
        let newest = 2 * KEPT as u64 + 18;
        history.keep(&refused(newest - 1), now);
        assert_eq!(history.kept.len(), KEPT);
        assert_eq!(times(&history.last(3, |_| true)), [newest - 2, newest - 1, newest]);
        assert!(history.last(3, |record| record.repo.is_none()).is_empty());
    }

    #[test]
    fn what_is_written_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let what = What::Update { update: None, cause: Cause::Operator, delivery: None, result: UpdateResult::Started };
        let records = [fine(1), Record { at: Moment::from_millis(2), repo: None, what }, refused(3)];
        let mut history = History::open(folder.path()).unwrap();
        for record in &records {
            assert!(history.keep(record, Instant::now()));
        }
        drop(history);
        assert_eq!(History::open(folder.path()).unwrap().last(9, |_| true), records);
    }
}
