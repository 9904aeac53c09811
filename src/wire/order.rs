//! supervisor → updater (its brief), worker → updater (the order), updater → worker (its steps
//! and the report), updater → supervisor where nothing is updated.

use super::Message;
use crate::audit::{Failure, HostKey, Pruned, Step};
use crate::brief::{Key, listener, updater, worker};
use crate::ids::CommitId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bytes of the longest brief: known hosts and certificates are files of an administrator.
pub const BRIEF_MAX: usize = 4 << 20;

impl Message for updater::Brief {
    const MAX: usize = BRIEF_MAX;
}
impl Message for listener::Head {
    const MAX: usize = 4096;
}
impl Message for listener::Repo {
    const MAX: usize = BRIEF_MAX;
}
impl Message for worker::Head {
    const MAX: usize = 256;
}
impl Message for Key {
    const MAX: usize = BRIEF_MAX;
}
impl Message for worker::Repo {
    const MAX: usize = 256;
}

/// Starts an update. The supervisor has said where; this says with what.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The remote's key, for this one repository.
    pub key: Option<Key>,
    /// Whether the worker knows this work tree: it has been deployed to before.
    pub known: bool,
    /// The commit for which the trigger was last touched.
    pub triggered: Option<CommitId>,
    /// The commit that the forge announced.
    pub announced: Option<CommitId>,
}

impl Message for Order {
    const MAX: usize = BRIEF_MAX;
}

/// What an updater says to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromUpdater {
    /// It begins a step; steps come in their order, each at most once.
    Step(Step),
    /// How far it is with its step: a few times a second at most.
    Progress(Progress),
    /// It refused the server's host key: said at most once.
    HostKey(HostKey),
    /// It has ended its work: said once, last.
    Report(Report),
    /// To the supervisor alone, from an updater that was to look at a tree which is no longer configured:
    /// said once, and nothing else.
    Pruned(Pruned),
    /// To the supervisor alone, from an updater that was to make an object store smaller and has: said once, and nothing else.
    Shrunk(Shrunk),
    /// Its doors are closed: said once, before anything of the remote or the tree is read.
    Confined {
        /// The version of Landlock that holds, which `/proc` does not tell; 0 for none.
        landlock: u8,
    },
}

impl Message for FromUpdater {
    const MAX: usize = 128;
}

/// What became of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunk {
    /// What it was before.
    pub before: StoreSize,
    /// What it is now.
    pub after: StoreSize,
}

/// How large an object store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSize {
    /// Packs.
    pub packs: u64,
    /// Objects in files of their own.
    pub loose: u64,
    /// All objects; those that are stored twice count twice.
    pub objects: u64,
    /// Of all files.
    pub bytes: u64,
}

/// How far an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Objects come from the remote.
    Fetch {
        /// So many have come.
        objects: u32,
        /// Of so many.
        of: u32,
        /// Bytes that have come.
        bytes: u64,
    },
    /// The work tree is written.
    Checkout {
        /// So many files are written.
        files: u32,
        /// Of so many that differ.
        of: u32,
    },
}

impl Progress {
    /// An updater says nothing of the kind again for so long.
    pub const PACE: Duration = Duration::from_millis(250);
}

/// What an updater says to the supervisor: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Silence {}

impl Message for Silence {
    const MAX: usize = 0;
}

/// How an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The commit that the work tree was at before, where it was at one.
    pub old: Option<CommitId>,
    /// What came of it.
    pub outcome: Outcome,
    /// Bytes received from the remote.
    pub bytes: u64,
    /// The object store should be made smaller.
    pub gc_due: bool,
}

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The work tree is at `new`, and the trigger (where there is one) has been touched for it.
    Current {
        /// The commit that is deployed now.
        new: CommitId,
        /// History was rewritten: `old` is no ancestor of `new`.
        forced: bool,
        /// The trigger was touched by this update.
        triggered: bool,
        /// The announced commit is `new` or an ancestor of it, or none was announced.
        announced_seen: bool,
    },
    /// Nothing was deployed, or not all of it. The details stand in the log.
    Failed(Failure),
}
