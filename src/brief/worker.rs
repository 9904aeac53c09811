//! The worker's brief: one [`Head`], then its [`Key`](super::Key)s, then its [`Repo`]s, a frame each.
//!
//! A key that several repositories share travels once.

use crate::ids::{DirectoryId, RepoId};
use serde::{Deserialize, Serialize};

/// What comes first: how many keys and repositories follow, and how to schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many [`Key`](super::Key) frames follow.
    pub keys: u32,
    /// How many [`Repo`] frames follow those.
    pub repos: u32,
    /// All numbers of repositories that listeners were ever given, earlier ones included, are below this.
    pub ids: u32,
    /// How updates are scheduled.
    pub schedule: Schedule,
}

/// How updates are scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Updates that may run at once (`threads`).
    pub threads: u16,
    /// Tries before a repository is tried only slowly (`retry_count`).
    pub retry_count: u32,
    /// Milliseconds before the first retry (`retry_delay`); it doubles to 60 s.
    pub retry_delay_ms: u64,
    /// Seconds between slow reconciles; 0 for none (`reconcile`).
    pub reconcile_s: u64,
}

/// Which of the brief's keys, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyIndex(pub u32);

/// One repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repo {
    /// Its name at every border.
    pub id: RepoId,
    /// Its name in the state.
    pub directory: DirectoryId,
    /// The key for its remote; none for a public repository.
    pub key: Option<KeyIndex>,
    /// Whether it is due as soon as the worker starts. Not so where the work tree is missing and
    /// `initialise` is off: then the first push clones it.
    pub reconcile: bool,
    /// Whether it is new, or where it comes from or goes to is another than in the brief before: then it is
    /// due as soon as this brief is in force.
    pub changed: bool,
    /// Which hooks it has; what they are is the supervisor's to know.
    pub hooks: Hooks,
}

/// Which hooks a repository has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// One for each commit that is deployed.
    pub success: bool,
    /// One for an update whose tries are used up.
    pub failure: bool,
}
