//! The updater's brief, from the supervisor: where from, where to, under which bounds. The key
//! comes from the worker (`wire::order`), so that neither could do the other's part.

use super::Label;
use crate::ids::RepoId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// All that one update is told by the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The repository, for messages.
    pub repo: RepoId,
    /// Where to fetch from: `ssh://`, scp form, `https://`; `http://` and `git://` to loopback only.
    pub url: String,
    /// The branch or tag to follow.
    pub label: Label,
    /// The remote's name in `.git/config`.
    pub remote: String,
    /// The work tree: absolute, without `.` and `..`.
    pub directory: PathBuf,
    /// The file to touch after an update: absolute.
    pub trigger: Option<PathBuf>,
    /// Known hosts in the order of preference, the built-in ones last. Shared: thousands of
    /// repositories of one forge have the same.
    pub known_hosts: Arc<[KnownHosts]>,
    /// PEM certificates to trust beside the system's (`caFile`); shared likewise.
    pub ca: Option<Arc<str>>,
    /// Milliseconds for a TCP connection to come up.
    pub connect_ms: u32,
    /// Milliseconds that the remote may stay silent.
    pub silence_ms: u32,
}

/// One known_hosts file, as `sshd(8)` describes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHosts {
    /// Where the lines come from, for messages: a path, or "built in".
    pub source: String,
    /// The file's lines that may be about the remote's host, each on the line where the file has it.
    pub text: String,
}
