//! supervisor → worker and back.

use super::Message;
use super::hook::{On, Run};
use crate::audit::{HostKey, ReconcileEvent, UpdateEvent};
use crate::ids::{Generation, OrderId, RepoId};
use serde::{Deserialize, Serialize};

/// What the supervisor says to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Another configuration is to come into force. A descriptor comes with this message: the brief.
    /// Read it, keep it beside the one in force, and say [`FromWorker::Prepared`] or [`FromWorker::Unusable`].
    Prepare(Generation),
    /// The brief that was prepared is in force from this message on, for all that is said after it.
    Commit(Generation),
    /// Forget the brief that was prepared.
    Abandon,
    /// Answer with [`FromWorker::Alive`].
    Ping,
    /// A listener has started. A descriptor comes with this message: the worker's end of the job link.
    /// Those before it go on until they end.
    Listener,
    /// A listener died: what it had heard and not yet told may be lost, so compare everything.
    Reconcile,
    /// The order's updater has started. A descriptor comes with this message: the worker's end of
    /// the order link.
    Updater(OrderId),
    /// The order's updater has ended, or could not be started. Every order ends with this.
    Ended(OrderId, Ended),
    /// The hook of this repository has ended, or could not be started. Every hook ends with this.
    HookEnded(RepoId, HookEnded),
    /// Start nothing more, tell what ends, and end when nothing runs.
    Stop,
}

impl Message for ToWorker {
    const MAX: usize = 64;
    const DESCRIPTORS: bool = true;
}

/// How an updater ended, as the supervisor saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It ended by itself.
    Exited,
    /// A signal ended it: a crash.
    Killed,
    /// The supervisor ended it at its deadline.
    Deadline,
    /// It could not be started.
    NotStarted,
}

/// How a hook ended, as far as the worker needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookEnded {
    /// With exit status 0.
    Well,
    /// In any other way.
    Badly,
    /// It was not started: a reload has removed it.
    Gone,
}

/// What the worker says to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// It takes jobs from now on. Said once.
    Ready {
        /// The version of Landlock that holds, which `/proc` does not tell; 0 for none.
        landlock: u8,
    },
    /// The brief of a reload can be used.
    Prepared(Generation),
    /// The brief of a reload can't be used; its output says why.
    Unusable(Generation),
    /// The brief of a reload is in force: every order after this is of it.
    Committed(Generation),
    /// It hears: the answer to a ping.
    Alive,
    /// Please start an updater for this repository. Orders are numbered upwards.
    Order(OrderId, RepoId),
    /// Please run the repository's hook. One at a time for each repository, and none while it is updated.
    Hook(RepoId, On, Run),
    /// What became of an update.
    Update(UpdateEvent),
    /// An updater for this repository refused a host key.
    HostKeyRefused(RepoId, HostKey),
    /// Repositories are compared with their remotes, or have been.
    Reconcile(ReconcileEvent),
    /// The listener's or an updater's message was malformed, or out of turn.
    Violation(Culprit),
    /// The state file can't be used; it must be set aside.
    StateUnusable,
}

impl Message for FromWorker {
    const MAX: usize = 512;
}

/// Who broke the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Culprit {
    /// The listener at the other end of this job link, counted from the worker's start: the one that
    /// it was born with is 0. By now another listener may serve, which did nothing.
    Listener(u32),
    /// The updater of this order.
    Updater(OrderId),
}
