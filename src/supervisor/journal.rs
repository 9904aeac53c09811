//! Events as lines of the log: one line each, in the same words everywhere. Runs in the supervisor,
//! which alone writes the log, and so alone says who said what.

use super::control::Ledger;
use super::process::Exit;
use crate::audit::{DeliveryEvent, DeliveryResult, UpdateEvent, UpdateResult};
use crate::confine::Role;
use crate::confine::host::Level;
use crate::confine::spawn::Account;
use crate::ids::{CommitId, RepoId, ShortId};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

/// Writes what children report, with the repositories' names, and remembers it for operators.
#[derive(Clone)]
pub struct Journal {
    names: Arc<BTreeMap<RepoId, String>>,
    ledger: Ledger,
}

impl Journal {
    /// Calls repositories by these names.
    pub fn new(names: Arc<BTreeMap<RepoId, String>>, ledger: Ledger) -> Self {
        Self { names, ledger }
    }

    /// The repository's name; empty for one that never was.
    pub fn name(&self, repo: RepoId) -> &str {
        self.names.get(&repo).map_or("", String::as_str)
    }

    /// A request was answered.
    pub fn delivery(&self, event: &DeliveryEvent) {
        self.ledger.delivery(event);
        let DeliveryEvent { source, repo, delivery, bytes, micros, result } = event;
        let repo = repo.map_or("-", |repo| self.name(repo));
        let delivery = OrDash(*delivery);
        match result {
            DeliveryResult::Accepted { coalesced, announced } => {
                let announced = short(*announced);
                info!(%repo, %source, %delivery, %announced, coalesced, bytes, us = micros, "delivery accepted");
            }
            DeliveryResult::Ignored(reason) => {
                info!(%repo, reason = %reason.word(), %source, %delivery, bytes, us = micros, "delivery ignored");
            }
            DeliveryResult::Rejected(reason) => {
                warn!(%repo, reason = %reason.word(), status = reason.status(), %source, %delivery, bytes, us = micros, "delivery rejected");
            }
        }
    }

    /// An update started or ended.
    pub fn update(&self, event: &UpdateEvent) {
        self.ledger.update(event);
        let UpdateEvent { repo, cause, delivery, result } = event;
        let (repo, cause, delivery) = (self.name(*repo), cause.word(), OrDash(*delivery));
        match result {
            UpdateResult::Started => info!(%repo, %cause, %delivery, "update started"),
            UpdateResult::Current { old, new, forced, triggered, bytes, ms } => {
                let same = *old == Some(*new);
                let (old, new) = (short(*old), new.short());
                if same {
                    info!(%repo, %cause, %delivery, %new, triggered, ms, "update ok, nothing new");
                } else {
                    info!(%repo, %cause, %delivery, %old, %new, forced, triggered, bytes, ms, "update ok");
                }
            }
            UpdateResult::Failed { failure, attempt, last, next_ms, ms } => {
                let (step, reason) = (failure.step.word(), failure.reason.word());
                if *last {
                    error!(%repo, %cause, %delivery, %step, %reason, attempt, next_ms, ms, "update failed; its tries are used up, and it is tried slowly from now on");
                } else {
                    warn!(%repo, %cause, %delivery, %step, %reason, attempt, next_ms, ms, "update failed");
                }
            }
            UpdateResult::AnnouncedNotSeen { announced, new, attempt, next_ms } => {
                let (announced, new) = (announced.short(), new.short());
                warn!(%repo, %cause, %delivery, %announced, %new, attempt, next_ms, "announced commit not seen");
            }
        }
    }
}

/// The gateway serves.
pub fn ready(listen: SocketAddr, repos: usize) {
    info!(%listen, repos, version = %env!("CARGO_PKG_VERSION"), pid = std::process::id(), "ready");
}

/// The gateway ends.
pub fn stopping(signal: &'static str) {
    info!(%signal, "stopping");
}

/// The gateway has ended.
pub fn stopped(cut_short: usize) {
    if cut_short > 0 {
        warn!(cut_short, "stopped; what did not end in time was ended, and is made good at the next start");
    } else {
        info!("stopped");
    }
}

/// Someone has shut the listening socket down.
pub fn socket_shut_down(listen: SocketAddr) {
    error!(%listen, "the listening socket was shut down, which only a listener can; another is bound");
}

/// A child was started.
pub fn process_started(role: Role, pid: u32, account: Option<Account>) {
    let uid = account.map_or_else(|| nix::unistd::geteuid().as_raw(), |account| account.uid);
    info!(role = %role.name(), pid, uid, "process started");
}

/// A child serves, and so has confined itself; what the kernel says of it. `landlock` is its own word,
/// given before it heard anything from outside: the kernel does not tell.
pub fn process_confined(role: Role, pid: u32, landlock: u8) {
    let Level { uid, gid, capabilities, no_new_privs, seccomp, network } = Level::of(pid);
    info!(role = %role.name(), pid, %uid, %gid, %capabilities, %no_new_privs, %seccomp, landlock, %network, "process confined");
}

/// A child ended. `wait`: until it is started again.
pub fn process_ended(role: Role, pid: u32, exit: Exit, uptime: Duration, wait: Option<Duration>) {
    let how = how(exit);
    let uptime_s = uptime.as_secs();
    match wait {
        Some(wait) => warn!(role = %role.name(), pid, %how, uptime_s, wait_s = wait.as_secs(), "process died; it is started again"),
        None => info!(role = %role.name(), pid, %how, uptime_s, "process ended"),
    }
}

/// A child could not be started.
pub fn process_not_started(role: Role, error: &std::io::Error) {
    error!(role = %role.name(), %error, "process could not be started");
}

/// A child broke the rules of its border, and is ended.
pub fn violation(role: Role, pid: u32, detail: &'static str) {
    error!(role = %role.name(), pid, detail, "confinement violation; the process is ended");
}

/// The state file was damaged.
pub fn state_set_aside(aside: &Path) {
    error!(aside = %aside.display(), "the state file was damaged and is set aside; every repository is compared with its remote");
}

/// The state file was damaged, and stands in the way of a new one.
pub fn state_unusable(error: &std::io::Error) {
    error!(%error, "the state file is damaged and can't be set aside");
}

/// Events were lost.
pub fn lost(count: u64) {
    warn!(count, "events were lost");
}

/// A child wrote a line to its output. The text is escaped already.
pub fn child_said(role: Role, pid: u32, about: Option<&str>, line: &str) {
    match about {
        Some(repo) => warn!(%repo, "{}[{pid}]: {line}", role.name()),
        None => warn!("{}[{pid}]: {line}", role.name()),
    }
}

fn how(exit: Exit) -> String {
    match exit.status {
        _ if exit.deadline => "deadline".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        },
        None => "unknown".to_owned(),
    }
}

fn short(commit: Option<CommitId>) -> OrDash<ShortId> {
    OrDash(commit.map(|commit| commit.short()))
}

/// What there is, or a dash; written straight into the line.
struct OrDash<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}
