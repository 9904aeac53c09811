//! supervisor → worker and back.

use super::Message;
use super::hook::{On, Run};
use super::job::Verdict;
use super::order::Progress;
use crate::audit::{Cause, HostKey, ReconcileEvent, Step, UpdateEvent};
use crate::ids::{CommitId, DirectoryId, Generation, OrderId, RepoId, UpdateId};
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
    /// An operator wants this repository updated. Answered by [`FromWorker::Marked`].
    Update(RepoId),
    /// How does it stand with the repositories from this one on? Answered by [`FromWorker::Page`].
    Survey(RepoId),
    /// What was deployed to this work tree last? Answered by [`FromWorker::Recalled`].
    Recall(DirectoryId),
    /// This work tree is deleted: forget what was deployed there.
    Forget(DirectoryId),
    /// Start nothing more, tell what ends, and end when nothing runs.
    Stop,
    /// Start nothing more until [`ToWorker::Resume`], and go on taking jobs. Answered by [`FromWorker::Holds`].
    Hold,
    /// Start again what is due.
    Resume,
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
    /// Please run the repository's hook, for that update. One at a time for each repository, and none while it is updated.
    Hook(RepoId, On, Run, UpdateId),
    /// What became of an update.
    Update(UpdateEvent),
    /// An updater for this repository refused a host key.
    HostKeyRefused(RepoId, HostKey),
    /// Repositories are compared with their remotes, or have been.
    Reconcile(ReconcileEvent),
    /// The answer to [`ToWorker::Update`].
    Marked(RepoId, Verdict),
    /// The answer to [`ToWorker::Survey`].
    Page(Page),
    /// The answer to [`ToWorker::Recall`].
    Recalled(DirectoryId, Option<CommitId>),
    /// The object store of this repository should be made smaller: said when an update of it has ended.
    GcDue(RepoId),
    /// The order's updater begins a step: for who watches.
    Step(OrderId, Step),
    /// How far the order's update is: for who watches.
    Progress(OrderId, Progress),
    /// The listener's or an updater's message was malformed, or out of turn.
    Violation(Culprit),
    /// The state file can't be used; it must be set aside.
    StateUnusable,
    /// It starts nothing more: every order comes before this.
    Holds,
    /// The order's updater has closed its doors; the version of Landlock that holds.
    Confined(OrderId, u8),
}

impl Message for FromWorker {
    const MAX: usize = 8192;
}

/// How it stands with some repositories, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most [`Page::FACTS`].
    pub facts: Vec<Fact>,
    /// Whether there are repositories after these.
    pub more: bool,
}

impl Page {
    /// Facts on one page.
    pub const FACTS: usize = 128;
}

/// How it stands with one repository, as the worker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The repository.
    pub repo: RepoId,
    /// The commit that was last deployed in full, trigger included.
    pub deployed: Option<CommitId>,
    /// Whether and when something is to be done.
    pub standing: Standing,
}

/// Whether and when something is to be done for a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing.
    Quiet,
    /// It is due.
    Due {
        /// Why.
        cause: Cause,
        /// Milliseconds until it may start; 0 where it waits for a free thread only.
        in_ms: u64,
        /// Tries that failed before.
        failed: u32,
        /// The commit that was announced and is not known to be deployed.
        announced: Option<CommitId>,
    },
    /// An update runs.
    Running {
        /// Why.
        cause: Cause,
        /// Another is due after it.
        again: bool,
    },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame;

    #[test]
    fn the_longest_page_fits() {
        let announced = Some(CommitId::from_bytes([0xff; 20]));
        let standing = Standing::Due { cause: Cause::Operator, in_ms: u64::MAX, failed: u32::MAX, announced };
        let fact = Fact { repo: RepoId::new(u32::MAX), deployed: announced, standing };
        let page = FromWorker::Page(Page { facts: vec![fact; Page::FACTS], more: true });
        let mut frame = Vec::new();
        assert_eq!(frame::encode(&page, &mut frame), Ok(()));
    }
}
