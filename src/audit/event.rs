//! Everything that gwg tells, as one type. Made by the supervisor alone; rendered as a line of the
//! log (supervisor/journal) and as an audit record (`fields`).
//!
//! Texts are the supervisor's own words or the administrator's: a path of the configuration, a host
//! of a configured URL. Whatever they hold, they come out bounded and printable.

use super::delivery::{Claim, Ignored, Rejected};
use super::prune::Pruned;
use super::schema::{self, Schema, Severity};
use super::update::{Cause, Failure};
use crate::ids::{CommitId, DeliveryId, UpdateId};
use std::net::{IpAddr, SocketAddr};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A signed push was accepted.
    DeliveryAccepted {
        /// Who and what.
        delivery: Delivery,
        /// The commit that the payload announced.
        announced: Option<CommitId>,
        /// The repository was due already.
        coalesced: bool,
        /// The update that serves it.
        update: Option<UpdateId>,
        /// Who pushed, by the payload's word.
        pusher: Option<Claim>,
    },
    /// An authentic delivery with nothing to do.
    DeliveryIgnored {
        /// Who and what.
        delivery: Delivery,
        /// Why.
        reason: Ignored,
    },
    /// A request was refused.
    DeliveryRejected {
        /// Who and what.
        delivery: Delivery,
        /// Why.
        reason: Rejected,
    },
    /// Refused requests without records of their own.
    RejectSummary(Summary),
    /// An update was ordered.
    UpdateStart(Update),
    /// The work tree is at the remote's tip.
    UpdateEnd {
        /// Which.
        update: Update,
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
    /// What was deployed does not contain the commit that was announced.
    UpdateAwaits {
        /// Which.
        update: Update,
        /// The commit that was deployed.
        new: CommitId,
        /// The commit that was announced.
        announced: CommitId,
        /// Which try, from 1.
        attempt: u32,
        /// Milliseconds until the next.
        next_ms: u64,
    },
    /// An update failed.
    UpdateFailed {
        /// Which.
        update: Update,
        /// Where and why.
        failure: Failure,
        /// Which try, from 1.
        attempt: u32,
        /// The last of `retry_count`.
        last: bool,
        /// Milliseconds until the next.
        next_ms: u64,
        /// Milliseconds from order to end.
        ms: u64,
    },
    /// A remote's host key was refused.
    HostKeyRefused {
        /// The repository.
        repo: String,
        /// Host and port of its URL.
        host: String,
        /// The kind of key.
        key_type: &'static str,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// A trigger was touched.
    TriggerTouched {
        /// The repository.
        repo: String,
        /// By which update.
        update: UpdateId,
        /// For which commit.
        commit: CommitId,
    },
    /// A hook was started.
    HookStart {
        /// Which.
        hook: Hook,
        /// Nothing that it starts can outlive it.
        own_pids: bool,
        /// The version of Landlock that holds; 0 for none.
        landlock: u8,
    },
    /// A hook ended, and all that it had started.
    HookEnd {
        /// Which.
        hook: Hook,
        /// How.
        end: End,
        /// Milliseconds.
        ms: u64,
    },
    /// A hook failed, and is tried again or given up.
    HookFailed {
        /// The update that it followed.
        update: Update,
        /// The commit that is deployed.
        new: CommitId,
        /// Which try, from 1.
        attempt: u32,
        /// The last of `retry_count`.
        last: bool,
        /// Milliseconds until the next.
        next_ms: u64,
    },
    /// A tree that is no longer configured was pruned, or kept.
    TreePruned {
        /// The repository that it was of.
        repo: String,
        /// Where it is, or was.
        directory: String,
        /// What became of it.
        pruned: Pruned,
    },
    /// A configuration is in force.
    ConfigLoaded {
        /// Its file.
        file: String,
        /// Counted from 1.
        generation: u64,
        /// Why it was read.
        cause: &'static str,
        /// New repositories.
        added: u64,
        /// Repositories that are gone.
        removed: u64,
        /// Repositories that changed.
        changed: u64,
        /// All of them.
        repos: u64,
        /// Where gwg listens.
        listen: SocketAddr,
    },
    /// A configuration was refused.
    ConfigRejected {
        /// Its file, where it is one's fault.
        file: Option<String>,
        /// The line, where it is known.
        line: Option<u64>,
        /// The key, where it is one.
        key: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// A child was started.
    ProcessStart {
        /// Which.
        child: Child,
        /// As whom.
        uid: u32,
    },
    /// A child ended.
    ProcessExit {
        /// Which.
        child: Child,
        /// How.
        end: End,
        /// Seconds that it lived.
        uptime_s: u64,
        /// Seconds until it is started again, where it is.
        wait_s: Option<u64>,
    },
    /// The next start of a child waits.
    ProcessThrottled {
        /// The child's role.
        role: &'static str,
        /// Seconds.
        wait_s: u64,
        /// The kernel's words, where it could not be started at all.
        not_started: Option<String>,
    },
    /// What holds a child.
    ConfinementLevel {
        /// Which.
        child: Child,
        /// What the kernel says.
        level: Level,
    },
    /// A child broke the rules.
    ConfinementViolation {
        /// Which.
        child: Child,
        /// Which rule.
        kind: Violation,
        /// What it did.
        detail: &'static str,
    },
    /// Repositories are compared with their remotes.
    ReconcileStart {
        /// Why.
        cause: &'static str,
        /// How many.
        repos: u32,
    },
    /// All have been compared.
    ReconcileEnd {
        /// Why.
        cause: &'static str,
        /// How many.
        repos: u32,
        /// How many were behind.
        behind: u32,
        /// How many failed.
        failed: u32,
        /// Milliseconds.
        ms: u64,
    },
    /// Records were lost.
    LogGap {
        /// How many.
        lost: u64,
        /// Where.
        cause: Sink,
    },
    /// gwg starts.
    ServiceStart {
        /// The audit file's last hash.
        chain: Option<String>,
    },
    /// gwg has taken the place of another, in the same process.
    ServiceUpgrade {
        /// The version of the other.
        from: String,
        /// The audit file's last hash.
        chain: Option<String>,
    },
    /// gwg serves.
    ServiceReady {
        /// Where.
        listen: SocketAddr,
        /// How many repositories.
        repos: u64,
    },
    /// gwg ends.
    ServiceStop {
        /// Who asked for it.
        signal: &'static str,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Who sent it.
    pub source: IpAddr,
    /// The repository whose path was asked for.
    pub repo: Option<String>,
    /// The forge's id.
    pub id: Option<DeliveryId>,
    /// Bytes of the body.
    pub bytes: u64,
    /// Microseconds to the answer.
    pub micros: u64,
}

/// An update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The repository.
    pub repo: String,
    /// Its number.
    pub update: UpdateId,
    /// Why.
    pub cause: Cause,
    /// The newest delivery that marked it.
    pub delivery: Option<DeliveryId>,
}

/// A process of gwg's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its role.
    pub role: &'static str,
    /// Its pid.
    pub pid: u32,
    /// The repository that it works on, where it is one.
    pub repo: Option<String>,
}

/// One run of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The repository.
    pub repo: String,
    /// The update that it came after.
    pub update: UpdateId,
    /// `success` or `failure`.
    pub on: &'static str,
    /// The commit for which it last ended well; after a failed update, the one that is deployed.
    pub old: Option<CommitId>,
    /// The commit that was deployed; none after a failed update.
    pub new: Option<CommitId>,
    /// Which try, from 1.
    pub attempt: u32,
    /// Its process.
    pub pid: u32,
    /// As whom.
    pub uid: u32,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It was ended at its deadline.
    Deadline,
    /// The kernel did not tell.
    Unknown,
    /// It could not be started.
    NotStarted,
}

/// What the kernel says of a child's confinement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// User id.
    pub uid: String,
    /// Group id.
    pub gid: String,
    /// Capabilities.
    pub capabilities: String,
    /// No new privileges.
    pub no_new_privs: String,
    /// System call filter.
    pub seccomp: String,
    /// Version of Landlock.
    pub landlock: u8,
    /// Whose network it sees.
    pub network: String,
    /// AppArmor profile or SELinux domain.
    pub mac: Option<String>,
    /// Layers that it should have.
    pub missing: Vec<&'static str>,
}

/// Which rule a child broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A system call that its filter does not allow.
    Seccomp,
    /// What is no message.
    Record,
    /// A message, or a deed, that is no honest process's.
    Peer,
}

/// Where records are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sink {
    /// On the way to syslog.
    Syslog,
    /// On the way to the audit file.
    File,
    /// Before both.
    Queue,
    /// Lines of the log.
    Log,
    /// Before they came to the supervisor.
    Listener,
}

/// Refused requests that were only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Why.
    pub reason: Rejected,
    /// How many.
    pub count: u64,
    /// From how many addresses.
    pub sources: u64,
    /// In how many milliseconds.
    pub window_ms: u64,
}

impl Event {
    /// Its row of the table.
    pub fn schema(&self) -> &'static Schema {
        match self {
            Self::DeliveryAccepted { .. } => &schema::DELIVERY_ACCEPTED,
            Self::DeliveryIgnored { .. } => &schema::DELIVERY_IGNORED,
            Self::DeliveryRejected { .. } => &schema::DELIVERY_REJECTED,
            Self::RejectSummary(_) => &schema::REJECT_SUMMARY,
            Self::UpdateStart(_) => &schema::UPDATE_START,
            Self::UpdateEnd { .. } if self.is_noop() => &schema::UPDATE_NOOP,
            Self::UpdateEnd { .. } => &schema::UPDATE_OK,
            Self::UpdateAwaits { .. } => &schema::UPDATE_AWAITS,
            Self::UpdateFailed { .. } => &schema::UPDATE_FAILED,
            Self::HostKeyRefused { .. } => &schema::HOSTKEY_REFUSED,
            Self::TriggerTouched { .. } => &schema::TRIGGER_TOUCHED,
            Self::HookStart { .. } => &schema::HOOK_START,
            Self::HookEnd { .. } => &schema::HOOK_END,
            Self::HookFailed { .. } => &schema::HOOK_FAILED,
            Self::TreePruned { .. } => &schema::TREE_PRUNED,
            Self::ConfigLoaded { .. } => &schema::CONFIG_LOADED,
            Self::ConfigRejected { .. } => &schema::CONFIG_REJECTED,
            Self::ProcessStart { .. } => &schema::PROCESS_START,
            Self::ProcessExit { .. } => &schema::PROCESS_EXIT,
            Self::ProcessThrottled { .. } => &schema::PROCESS_THROTTLED,
            Self::ConfinementLevel { .. } => &schema::CONFINEMENT_LEVEL,
            Self::ConfinementViolation { .. } => &schema::CONFINEMENT_VIOLATION,
            Self::ReconcileStart { .. } => &schema::RECONCILE_START,
            Self::ReconcileEnd { .. } => &schema::RECONCILE_END,
            Self::LogGap { .. } => &schema::LOG_GAP,
            Self::ServiceStart { .. } => &schema::SERVICE_START,
            Self::ServiceUpgrade { .. } => &schema::SERVICE_UPGRADE,
            Self::ServiceReady { .. } => &schema::SERVICE_READY,
            Self::ServiceStop { .. } => &schema::SERVICE_STOP,
        }
    }

    /// How grave it is: its row's severity, but for two kinds that are graver at times.
    pub fn severity(&self) -> Severity {
        match self {
            Self::ConfinementLevel { level, .. } if !level.missing.is_empty() => Severity::Alert,
            Self::ProcessExit { wait_s: Some(_), .. } => Severity::Error,
            _ => self.schema().severity,
        }
    }

    /// An update that found nothing new.
    fn is_noop(&self) -> bool {
        match self {
            Self::UpdateEnd { old: Some(old), new, .. } => old == new,
            _ => false,
        }
    }
}

impl Violation {
    /// The word for records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seccomp => "seccomp",
            Self::Record => "record",
            Self::Peer => "peer",
        }
    }
}

impl Sink {
    /// The word for records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Syslog => "syslog",
            Self::File => "file",
            Self::Queue => "queue",
            Self::Log => "log",
            Self::Listener => "listener",
        }
    }
}
