//! What a hook is, from the supervisor's configuration; for which commit it runs is `wire::hook`'s.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
