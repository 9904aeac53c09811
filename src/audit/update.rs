//! What became of an update: made by the worker out of an updater's report.

use crate::ids::{CommitId, DeliveryId, RepoId, UpdateId};
use serde::{Deserialize, Serialize};

/// A step in the life of one update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEvent {
    /// The repository.
    pub repo: RepoId,
    /// Its number, by which a delivery finds it. A try after one that failed has the same.
    pub update: UpdateId,
    /// Why it was due.
    pub cause: Cause,
    /// The newest delivery that marked it, where one did.
    pub delivery: Option<DeliveryId>,
    /// What happened.
    pub result: UpdateResult,
}

/// Why a repository was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A delivery marked it.
    Delivery,
    /// It is compared with its remote: at start, after a crash, or by the timer.
    Reconcile,
    /// The update before it failed.
    Retry,
    /// An operator asked for it.
    Operator,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateResult {
    /// It was ordered.
    Started,
    /// The work tree is at the remote's tip.
    Current {
        /// The commit before; none after a clone.
        old: Option<CommitId>,
        /// The commit now.
        new: CommitId,
        /// History was rewritten.
        forced: bool,
        /// The trigger was touched.
        triggered: bool,
        /// Bytes received.
        bytes: u64,
        /// Milliseconds from order to end.
        ms: u64,
    },
    /// It failed.
    Failed {
        /// Where and why.
        failure: Failure,
        /// Which try this was, from 1.
        attempt: u32,
        /// It was the last of `retry_count`; from now on it is tried only slowly.
        last: bool,
        /// Milliseconds until the next try.
        next_ms: u64,
        /// Milliseconds from order to end.
        ms: u64,
    },
    /// The tip was deployed, and its hook failed.
    HookFailed {
        /// The commit that was deployed.
        new: CommitId,
        /// Which try of the hook this was, from 1.
        attempt: u32,
        /// It was the last of `retry_count`: the hook is not tried again for this commit.
        last: bool,
        /// Milliseconds until the next try, where there is one.
        next_ms: u64,
    },
    /// What was deployed, as was just told, does not contain the commit that was announced: forges
    /// replicate lazily. It is tried again.
    AnnouncedNotSeen {
        /// The commit that was announced.
        announced: CommitId,
        /// The commit that was deployed.
        new: CommitId,
        /// Which try this was, from 1.
        attempt: u32,
        /// Milliseconds until the next try.
        next_ms: u64,
    },
}

/// Where and why an update failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it was doing.
    pub step: Step,
    /// Why it failed.
    pub reason: Reason,
}

/// The steps of an update, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Starting the process and reading brief and order.
    Start,
    /// Opening or making directory, lock and trigger.
    Open,
    /// Connecting, authenticating, fetching.
    Fetch,
    /// Looking at what was fetched.
    Verify,
    /// Writing the work tree.
    Reset,
    /// Touching the trigger.
    Trigger,
}

impl Step {
    /// The word for logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Open => "open",
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::Trigger => "trigger",
        }
    }
}

/// Why an update failed, as far as a program needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The remote could not be reached, or the connection broke.
    #[serde(rename = "net")]
    Network,
    /// The remote refused the key, or wants one.
    Auth,
    /// The remote's host key is unknown, changed or revoked.
    HostKey,
    /// The remote's certificate is not trusted.
    Certificate,
    /// The remote has no such repository.
    NoRepository,
    /// The remote has no such branch or tag: deleted, or never there.
    NoLabel,
    /// The directory holds something that gwg did not put there.
    ForeignDirectory,
    /// Another process holds the work tree's lock.
    Locked,
    /// Permission denied, read-only, or a path is missing.
    Directory,
    /// The disk or a quota is full.
    NoSpace,
    /// Out of memory.
    Memory,
    /// The repository on disk, or what the remote sent, is damaged.
    Corrupt,
    /// It would cost more than `limits` allows.
    Limit,
    /// The deadline passed.
    Deadline,
    /// The updater crashed or was ended.
    Crashed,
    /// It could not be started.
    NotStarted,
    /// Anything else; the log has the details.
    Other,
}

impl Reason {
    /// The word for logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Auth => "auth",
            Self::HostKey => "host_key",
            Self::Certificate => "certificate",
            Self::NoRepository => "no_repository",
            Self::NoLabel => "no_label",
            Self::ForeignDirectory => "foreign_directory",
            Self::Locked => "locked",
            Self::Directory => "directory",
            Self::NoSpace => "no_space",
            Self::Memory => "memory",
            Self::Corrupt => "corrupt",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::Crashed => "crashed",
            Self::NotStarted => "not_started",
            Self::Other => "other",
        }
    }
}

impl Cause {
    /// The word for logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Reconcile => "reconcile",
            Self::Retry => "retry",
            Self::Operator => "operator",
        }
    }
}
