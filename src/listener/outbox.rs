//! Jobs on their way to the worker: numbered, kept until acknowledged, sent again to its successor.
//!
//! Runs in `gwg-listener`; pure. `W` is whoever waits for the acknowledgement.

use crate::ids::{CommitId, DeliveryId, JobNumber, RepoId};
use crate::wire::job::Job;
use std::collections::VecDeque;

/// Jobs that may wait for their acknowledgement. Together they fit into a link's buffer, so a link
/// that is open always takes them; the worker that leaves this many unanswered is stuck.
pub const CAPACITY: usize = 16_384;
const _: () = assert!(CAPACITY * (<Job as crate::wire::Message>::MAX + 4) <= crate::link::QUEUE);

/// The worker answered a job that it was not given, or answered it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker answered a job that it was not given")]
pub struct UnknownJob;

/// Jobs that are not acknowledged, in the order of their numbers.
pub struct Outbox<W> {
    waiting: VecDeque<(Job, W)>,
    last: JobNumber,
}

impl<W> Default for Outbox<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), last: JobNumber::ZERO }
    }
}

impl<W> Outbox<W> {
    /// Numbers a job and keeps it. `None` where too many are waiting.
    pub fn add(&mut self, repo: RepoId, announced: Option<CommitId>, delivery: Option<DeliveryId>, waiter: W) -> Option<Job> {
        if self.waiting.len() >= CAPACITY {
            return None;
        }
        self.last = self.last.next();
        let job = Job { number: self.last, repo, announced, delivery };
        self.waiting.push_back((job, waiter));
        Some(job)
    }

    /// Forgets a job that the worker acknowledged, and gives who waits for it.
    ///
    /// # Errors
    /// The job is not waiting: the worker is not what it should be.
    pub fn acknowledged(&mut self, number: JobNumber) -> Result<W, UnknownJob> {
        let place = self.waiting.binary_search_by_key(&number, |(job, _)| job.number).map_err(|_| UnknownJob)?;
        self.waiting.remove(place).map(|(_, waiter)| waiter).ok_or(UnknownJob)
    }

    /// What a new worker must be told, in order.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &Job> {
        self.waiting.iter().map(|(job, _)| job)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn add(outbox: &mut Outbox<u32>, repo: u32) -> Option<JobNumber> {
        outbox.add(RepoId::new(repo), None, None, repo).map(|job| job.number)
    }

    fn repos(outbox: &Outbox<u32>) -> Vec<u32> {
        outbox.unacknowledged().map(|job| job.repo.number()).collect()
    }

    #[test]
    fn what_is_not_acknowledged_stays_in_order() {
        let mut outbox = Outbox::default();
        let numbers: Vec<_> = (0..4).map(|repo| add(&mut outbox, repo).unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(outbox.acknowledged(numbers[2]), Ok(2));
        assert_eq!(outbox.acknowledged(numbers[0]), Ok(0));
        assert_eq!(repos(&outbox), [1, 3]);
        add(&mut outbox, 4);
        assert_eq!(repos(&outbox), [1, 3, 4]);
    }

    #[test]
    fn an_answer_to_no_job_or_a_second_answer_is_an_error() {
        let mut outbox = Outbox::default();
        let number = add(&mut outbox, 1).unwrap();
        assert_eq!(outbox.acknowledged(number.next()), Err(UnknownJob));
        assert_eq!(outbox.acknowledged(JobNumber::ZERO), Err(UnknownJob));
        assert_eq!(outbox.acknowledged(number), Ok(1));
        assert_eq!(outbox.acknowledged(number), Err(UnknownJob));
    }

    #[test]
    fn it_is_bounded_and_takes_again_after_an_acknowledgement() {
        let mut outbox = Outbox::default();
        let first = add(&mut outbox, 0).unwrap();
        while add(&mut outbox, 0).is_some() {}
        assert_eq!(outbox.unacknowledged().count(), CAPACITY);
        outbox.acknowledged(first).unwrap();
        assert!(add(&mut outbox, 0).is_some());
    }
}
