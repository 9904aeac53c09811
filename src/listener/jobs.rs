//! The link to the worker: gives jobs, takes acknowledgements. Runs in `gwg-listener`.
//!
//! A worker may die at any time. What it did not acknowledge stays in the [`Outbox`] and is sent to
//! its successor, whose link the supervisor brings; until then jobs gather here.

use super::outbox::{Outbox, UnknownJob};
use crate::ids::{CommitId, DeliveryId, RepoId};
use crate::link::Sender;
use crate::wire::job::{Job, JobAnswer, Verdict};
use std::cell::RefCell;
use tokio::sync::oneshot;

/// The jobs of this listener.
pub struct Jobs {
    outbox: RefCell<Outbox<oneshot::Sender<Verdict>>>,
    worker: RefCell<Sender<Job>>,
}

impl Jobs {
    /// With the link to the first worker.
    pub fn new(worker: Sender<Job>) -> Self {
        Self { outbox: RefCell::default(), worker: RefCell::new(worker) }
    }

    /// Gives a job to the worker; its verdict comes later. `None` where too many wait already.
    pub fn give(&self, repo: RepoId, announced: Option<CommitId>, delivery: Option<DeliveryId>) -> Option<oneshot::Receiver<Verdict>> {
        let (sender, verdict) = oneshot::channel();
        let job = self.outbox.borrow_mut().add(repo, announced, delivery, sender)?;
        self.send(&job);
        Some(verdict)
    }

    /// Takes an acknowledgement.
    ///
    /// # Errors
    /// It is for no job that waits.
    pub fn acknowledge(&self, answer: JobAnswer) -> Result<(), UnknownJob> {
        let waiter = self.outbox.borrow_mut().acknowledged(answer.number)?;
        // Whoever waited may have been told 503 meanwhile; the mark is set all the same.
        let _ = waiter.send(answer.verdict);
        Ok(())
    }

    /// Goes on with a new worker.
    pub fn reconnect(&self, worker: Sender<Job>) {
        self.worker.replace(worker);
        self.outbox.borrow().unacknowledged().for_each(|job| self.send(job));
    }

    fn send(&self, job: &Job) {
        // An open link has room for every job that may wait (see `outbox::CAPACITY`). A closed one
        // is followed by a new one, which is given this job.
        let _ = self.worker.borrow().send(job);
    }
}
