//! The updater's brief, from the supervisor: where from, where to, under which bounds. The key
//! comes from the worker (`wire::order`), so that neither could do the other's part.

use super::Label;
use crate::ids::{CommitId, RepoId};
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
    /// What the remote may cost this machine.
    pub limits: Limits,
    /// What is to be done there.
    pub purpose: Purpose,
}

/// What an updater is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Bring the work tree level with its remote. The worker's order says with what.
    Update,
    /// The repository is no longer configured.
    Prune(Prune),
    /// Make its object store smaller. Nothing is fetched, and nobody but the log is told.
    Gc,
}

/// Look whether a work tree is as gwg left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The commit that gwg deployed there last.
    pub deployed: CommitId,
    /// Delete it where it is.
    pub delete: bool,
}

/// What one update may cost: bounds that no honest repository meets, against one that is made to
/// fill the disk or the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes received from the remote.
    pub pack: u64,
    /// Bytes of one file of the repository.
    pub object: u64,
    /// Files, links and directories of a work tree.
    pub files: u64,
    /// Bytes of all files of a work tree.
    pub tree: u64,
    /// Milliseconds until the supervisor ends the update.
    pub deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pack: 10 << 30, object: 1 << 30, files: 1_000_000, tree: 100 << 30, deadline_ms: 600_000 }
    }
}

impl Limits {
    /// Bytes of address space that an updater gets: libgit2 holds an object, what it is a delta of and
    /// the delta in memory at once, and a few hundred bytes for each object of a pack. The rest is for
    /// its caches and the libraries.
    pub const fn memory(&self) -> u64 {
        let objects = self.object.saturating_mul(4);
        let names = self.files.saturating_mul(4 << 10);
        (512_u64 << 20).saturating_add(objects).saturating_add(names)
    }

    /// Bytes of the largest file that an updater may write: a pack, a file of the work tree, or an index.
    pub const fn file_size(&self) -> u64 {
        let index = self.files.saturating_mul(1 << 10);
        let data = if self.pack > self.object { self.pack } else { self.object };
        (if data > index { data } else { index }).saturating_add(64 << 20)
    }

    /// Objects of the largest pack: each file may have some versions, directories and commits.
    pub const fn objects(&self) -> u64 {
        self.files.saturating_mul(20)
    }
}

/// One known_hosts file, as `sshd(8)` describes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KnownHosts {
    /// Where the lines come from, for messages: a path, or "built in".
    pub source: String,
    /// The file's lines that may be about the remote's host, each on the line where the file has it.
    pub text: String,
}
