//! Events as lines of the log: one line each, in the same words everywhere. Runs in the supervisor,
//! which alone writes the log, and so alone says who said what.

use super::control::Ledger;
use super::outcome::{Cause, Difference, Reason};
use super::process::Exit;
use crate::audit::{DeliveryEvent, DeliveryResult, UpdateEvent, UpdateResult};
use crate::confine::Role;
use crate::confine::host::Level;
use crate::confine::spawn::Account;
use crate::ids::{CommitId, Generation, RepoId, ShortId};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// Repositories, or problems, of a configuration that are named; the others are counted.
const NAMED: usize = 20;

/// Writes what children report, with the repositories' names, and remembers it for operators.
#[derive(Clone)]
pub struct Journal {
    names: Arc<BTreeMap<RepoId, String>>,
    ledger: Ledger,
    /// Of the configuration before: its updates may still run.
    before: Arc<BTreeMap<RepoId, String>>,
}

impl Journal {
    /// Calls repositories by these names.
    pub fn new(names: Arc<BTreeMap<RepoId, String>>, ledger: Ledger) -> Self {
        Self { names, before: Arc::default(), ledger }
    }

    /// Calls repositories by these names. `running`: those of which there will be news though they
    /// may be gone.
    pub fn rename(&mut self, names: Arc<BTreeMap<RepoId, String>>, running: impl Iterator<Item = RepoId>) {
        let kept: Vec<_> = running.filter_map(|id| Some((id, self.before.get(&id)?.clone()))).collect();
        let mut before = std::mem::replace(&mut self.names, names);
        if !kept.is_empty() {
            let all = Arc::make_mut(&mut before);
            for (id, name) in kept {
                all.entry(id).or_insert(name);
            }
        }
        self.before = before;
    }

    /// The repository's name; empty for one that never was.
    pub fn name(&self, repo: RepoId) -> &str {
        self.names.get(&repo).or_else(|| self.before.get(&repo)).map_or("", String::as_str)
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

/// Another configuration is in force.
pub fn config_loaded(generation: Generation, cause: Cause, difference: &Difference, repos: usize, listen: SocketAddr) {
    let Difference { added, removed, changed } = difference;
    info!(%generation, cause = cause.word(), added = added.len(), removed = removed.len(), changed = changed.len(), repos, %listen, "config loaded");
    for (paths, what) in [(added, "added"), (removed, "removed; its work tree stays on disk"), (changed, "changed")] {
        paths.iter().take(NAMED).for_each(|repo| info!(%repo, "repository {what}"));
        if paths.len() > NAMED {
            info!(count = paths.len() - NAMED, "more repositories {what}");
        }
    }
}

/// The configuration was read, and is the one in force.
pub fn config_unchanged(generation: Generation, cause: Cause) {
    match cause {
        Cause::Signal | Cause::Operator => info!(%generation, cause = cause.word(), "config unchanged"),
        // A file that was touched is no news.
        Cause::File => debug!(%generation, cause = cause.word(), "config unchanged"),
    }
}

/// The configuration was read, and does not come into force.
pub fn config_refused(generation: Generation, cause: Cause, reasons: &[Reason]) {
    for Reason { file, line, key, what } in reasons.iter().take(NAMED) {
        let file = file.as_ref().map(|file| tracing::field::display(file.display()));
        error!(file, line, key = key.as_deref(), reason = %what, "config refused");
    }
    error!(cause = cause.word(), problems = reasons.len(), in_force = %generation, "config refused; the one that was in force still is");
}

/// The configuration's files can't be watched.
pub fn not_watching(error: &str) {
    warn!(%error, "the configuration is not watched: changes want a SIGHUP");
}

/// The log could not be changed.
pub fn log_not_changed(error: &std::io::Error) {
    error!(%error, "the log stays as it was");
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

/// A child ends again and again.
pub fn degraded(role: Role, restarts: usize) {
    error!(role = %role.name(), restarts, "degraded: the process ended this often within a minute; the lines before say how");
}

/// A child has not answered for too long, and is ended.
pub fn silent(role: Role, pid: u32) {
    error!(role = %role.name(), pid, "the process has not answered for 30 s; it is ended");
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
