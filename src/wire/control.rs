//! operator → supervisor and back, over the control socket.
//!
//! The one border where text goes upwards: names of repositories, from somebody whom the kernel has
//! named and the configuration allows. They are compared, and nothing else.

use super::Message;
use super::hook::{End, On};
use super::order::Progress;
use super::worker::Standing;
use crate::audit::{Cause, Claim, DeliveryResult, Failure, Pruned, Step, UpdateResult};
use crate::ids::{CommitId, DeliveryId, Moment, UpdateId};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What an operator asks. One for each connection; an empty list of names means all repositories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// How do you do? Answered by [`Answer::Gateway`], [`Answer::Repos`] and [`Answer::Done`].
    Status {
        /// The repositories that are wanted.
        repos: Vec<String>,
    },
    /// Update these. Answered by [`Answer::Marked`], then, where that is wanted, by
    /// [`Answer::Notice`]s until each has ended.
    Update {
        /// The repositories that are meant.
        repos: Vec<String>,
        /// Tell until the end.
        wait: bool,
    },
    /// Read the configuration again. Answered by [`Answer::Text`].
    Reload,
    /// What happened? Answered by [`Answer::Records`].
    Log {
        /// The repositories that are meant; with none, also what was for no repository.
        repos: Vec<String>,
        /// Only this delivery, and what it led to.
        delivery: Option<DeliveryId>,
        /// How many records at most.
        last: u32,
        /// Go on telling what happens.
        follow: bool,
    },
    /// Figures, as Prometheus reads them. Answered by [`Answer::Text`].
    Metrics,
    /// Let the executable that is installed now take over. Answered by it, with [`Answer::Text`], when it
    /// serves. Who asks may be of another version than who answers: this one keeps its place, and so do its answers.
    Upgrade,
    /// Look at the work trees of repositories that are no longer configured. Answered by [`Answer::Tree`]s.
    Prune {
        /// Delete those that are as gwg left them.
        delete: bool,
    },
}

impl Message for Request {
    const MAX: usize = 64 << 10;
}

/// What the supervisor answers. Each conversation ends with [`Answer::Done`] or [`Answer::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It will not, and why.
    Refused(Refusal),
    /// The gateway as a whole.
    Gateway(Box<Gateway>),
    /// Some repositories.
    Repos(Vec<Repo>),
    /// So many repositories were marked.
    Marked(u32),
    /// Something happens to a repository that was asked for.
    Notice(Notice),
    /// Some of what happened, the oldest first.
    Records(Vec<Record>),
    /// A piece of text.
    Text(String),
    /// All was said.
    Done,
    /// A work tree that is no longer configured.
    Tree(Tree),
}

impl Message for Answer {
    const MAX: usize = 1 << 20;
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// This user may not even look.
    NotYou,
    /// This user may look, and may not act.
    LookOnly,
    /// Too many clients.
    Busy,
    /// The request did not come in time, or is none.
    Malformed,
    /// No repository has this name.
    Unknown {
        /// The name.
        name: String,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// The process that knows what is due is not there, or does not answer.
    NoWorker,
    /// The client did not keep up.
    TooSlow,
    /// The new configuration is not in force; this is why.
    Reload(String),
    /// The executable that is installed does not take over; this is why.
    Upgrade(String),
    /// Another operator's prune runs.
    Pruning,
}

/// The gateway as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Of this build.
    pub version: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Since when.
    pub since: Moment,
    /// All processes, the supervisor first.
    pub processes: Vec<Process>,
    /// Repositories in all.
    pub repos: u32,
    /// Whether the worker told how it stands.
    pub worker_answers: bool,
    /// Events that were not kept, because too many came at once or the disk was full.
    pub records_lost: u64,
}

/// One process, as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `gwg`, `gwg-listener`, …
    pub name: String,
    /// Its pid.
    pub pid: u32,
    /// Its user id; `?` where the kernel does not tell.
    pub uid: String,
    /// Since when it runs.
    pub since: Moment,
    /// How often its role was started again since the gateway's start.
    pub restarts: u64,
    /// Capabilities that it has: `none`, or the sets.
    pub capabilities: String,
    /// `1`: it can gain no privilege.
    pub no_new_privs: String,
    /// `2`: its system calls are filtered.
    pub seccomp: String,
    /// The version of Landlock that it told of before it heard anything from outside.
    pub landlock: Option<u8>,
    /// `own`: it sees no network.
    pub network: String,
    /// What an updater updates.
    pub repo: Option<Arc<str>>,
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repo {
    /// Its name: the path of its webhook.
    pub name: Arc<str>,
    /// What it follows, as in `branch main`.
    pub label: Arc<str>,
    /// Where from.
    pub url: Arc<str>,
    /// Where to.
    pub directory: Arc<str>,
    /// The commit that is deployed, its trigger touched.
    pub deployed: Option<CommitId>,
    /// Since when, where that is known.
    pub deployed_since: Option<Moment>,
    /// When its work tree was last proved to be at the remote's tip: the reset was done.
    pub proved: Option<Moment>,
    /// The last delivery that was authentic.
    pub delivery: Option<Delivery>,
    /// The last update that ended.
    pub update: Option<Update>,
    /// A commit that was announced and is not known to be deployed.
    pub announced: Option<CommitId>,
    /// Since when every update of it has failed.
    pub failing: Option<Failing>,
    /// What the worker is about to do; none where it does not answer.
    pub standing: Option<Standing>,
    /// The step of the running update.
    pub step: Option<Step>,
}

/// The work tree of a repository that is no longer configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The repository's name, when it was configured.
    pub name: String,
    /// Where from.
    pub url: String,
    /// Where to.
    pub directory: String,
    /// What became of it.
    pub pruned: Pruned,
}

/// A delivery that was authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When.
    pub at: Moment,
    /// The forge's name for it.
    pub id: Option<DeliveryId>,
    /// What came of it.
    pub result: DeliveryResult,
}

/// An update that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// When.
    pub at: Moment,
    /// Why it was due.
    pub cause: Cause,
    /// How it ended.
    pub result: UpdateResult,
}

/// A repository that can't be updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    pub since: Moment,
    /// How many tries.
    pub tries: u32,
    /// How the last one failed.
    pub failure: Failure,
}

/// Something happens to a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its name.
    pub name: Arc<str>,
    /// What.
    pub what: Happens,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happens {
    /// A step begins.
    Step(Step),
    /// How far the update is.
    Progress(Progress),
    /// An update started or ended.
    Update(UpdateResult),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Moment,
    /// For which repository; none for a path that nobody has.
    pub repo: Option<Arc<str>>,
    /// What.
    pub what: What,
}

/// What happened. What earlier versions did not write down is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A request was answered.
    Delivery {
        /// Who sent it.
        source: IpAddr,
        /// The forge's name for it.
        id: Option<DeliveryId>,
        /// What came of it.
        result: DeliveryResult,
        /// Who pushed, by the payload's word.
        #[serde(default)]
        claimed_pusher: Option<Claim>,
    },
    /// An update ended.
    Update {
        /// Its number.
        #[serde(default)]
        update: Option<UpdateId>,
        /// Why it was due.
        cause: Cause,
        /// The newest delivery that marked it.
        delivery: Option<DeliveryId>,
        /// How it ended.
        result: UpdateResult,
    },
    /// A hook ended.
    Hook {
        /// The update that it came after.
        update: UpdateId,
        /// Which of the repository's hooks.
        on: On,
        /// The commit that is deployed.
        commit: Option<CommitId>,
        /// Which try, from 1.
        attempt: u32,
        /// How it ended, where that is known.
        end: Option<End>,
        /// Milliseconds.
        ms: u64,
    },
}
