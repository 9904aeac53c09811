//! The hook's brief, from the supervisor: which command, with what around it, for which commit.

use super::Secret;
use crate::ids::CommitId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// A configured hook.
#[derive(Serialize, Deserialize)]
pub struct Hook {
    /// Program, by its absolute path, and arguments. Never empty.
    pub command: Vec<String>,
    /// The configured variables: a value may be a secret.
    pub env: Vec<(String, Secret)>,
    /// Its user's home.
    pub home: PathBuf,
    /// Milliseconds that it may run.
    pub timeout_ms: u64,
    /// The directories that it may write beneath; `None`: as its user may.
    pub write: Option<Vec<PathBuf>>,
    /// The repository, as the log calls it.
    pub repo: String,
    /// The full name of the branch or tag.
    pub ref_name: String,
    /// The work tree.
    pub directory: PathBuf,
}

/// All that one run is told.
#[derive(Serialize, Deserialize)]
pub struct Brief {
    /// What to run.
    pub hook: Arc<Hook>,
    /// For which commit.
    pub run: Run,
}

/// What one run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The commit for which the hook last ended well; after a failed update, the one that is deployed.
    pub old: Option<CommitId>,
    /// The commit that was deployed; none after a failed update.
    pub new: Option<CommitId>,
    /// Which try this is, from 1; after a failed update, how many tries that had.
    pub attempt: u32,
}
