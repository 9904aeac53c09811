//! listener → worker, and back: "this repository may be behind", "marked".
//!
//! All that an owned listener can say to the worker stands in [`Job`].

use super::Message;
use crate::ids::{CommitId, DeliveryId, JobNumber, RepoId, UpdateId};
use serde::{Deserialize, Serialize};

/// A verified delivery, as the worker hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Grows with every job of one link; an answer repeats it.
    pub number: JobNumber,
    /// The repository that is due.
    pub repo: RepoId,
    /// The commit that the forge announced: a hint, it never chooses what is deployed.
    pub announced: Option<CommitId>,
    /// The forge's name for the delivery, for the log.
    pub delivery: Option<DeliveryId>,
}

impl Message for Job {
    const MAX: usize = 64;
}

/// The worker's answer to one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAnswer {
    /// Which job.
    pub number: JobNumber,
    /// What came of it.
    pub verdict: Verdict,
}

impl Message for JobAnswer {
    const MAX: usize = 32;
}

/// What came of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The repository is due now, and this update will serve it.
    Marked(UpdateId),
    /// It was due already; this one update will serve both.
    Coalesced(UpdateId),
    /// A reload has removed the repository.
    Gone,
}
