//! What happens, said once: each function makes an event, which becomes a line of the log and an audit
//! record with one number. Runs in the supervisor, which alone writes both, and so alone says who said
//! what.

use super::control::Ledger;
use super::hooks::Wanted;
use super::outcome::{Cause, Difference, Reason};
use super::process::Exit;
use super::{lines, log};
use crate::audit::event::{Child, Delivery, End, Event, Hook, Level, Sink, Update, Violation};
use crate::audit::record::{By, Entry};
use crate::audit::{Audit, DeliveryEvent, DeliveryResult, HostKey, Pruned, ReconcileEvent, UpdateEvent, UpdateResult, text};
use crate::confine::Role;
use crate::confine::host;
use crate::confine::spawn::Account;
use crate::ids::{Generation, RepoId};
use crate::wire::control::What;
use crate::wire::hook::End as HookEnd;
use crate::wire::order::{Shrunk, StoreSize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tracing::{debug, error, info, warn};

/// Repositories, or problems, of a configuration that are named; the others are counted.
const NAMED: usize = 20;

/// The one audit of this process, as the log is one.
static AUDIT: OnceLock<Audit> = OnceLock::new();

/// The end of a run waits so long for a syslog that does not take what is left.
const END: Duration = Duration::from_millis(200);

/// The audit, as long as this lives. Then what is left is written.
pub struct Begun(());

impl Drop for Begun {
    fn drop(&mut self) {
        let left = AUDIT.get().map_or(0, |audit| audit.end(END));
        if left > 0 {
            warn!(left, "audit records were not written: syslog or the audit file did not take them");
        }
    }
}

/// From now on events have audit records.
pub fn begin(audit: Audit) -> Begun {
    // There is one run in a process.
    let _ = AUDIT.set(audit);
    Begun(())
}

/// The audit, where it has begun.
pub fn audit() -> Option<&'static Audit> {
    AUDIT.get()
}

fn record(by: By, event: Event) {
    match AUDIT.get() {
        Some(audit) => {
            audit.record(by, event);
            audit.lost(Sink::Log, log::newly_dropped());
        }
        // In tests of this room.
        None => lines::write(&Entry { seq: 0, when: SystemTime::now(), by: by.name, by_pid: by.pid, event }),
    }
}

/// Writes what children report, with the repositories' names, and remembers it for operators.
#[derive(Clone)]
pub struct Journal {
    names: Arc<BTreeMap<RepoId, Arc<str>>>,
    ledger: Ledger,
    /// Of the configuration before: its updates may still run.
    before: Arc<BTreeMap<RepoId, Arc<str>>>,
    by: By,
}

impl Journal {
    /// Calls repositories by these names.
    pub fn new(names: Arc<BTreeMap<RepoId, Arc<str>>>, ledger: Ledger) -> Self {
        Self { names, before: Arc::default(), ledger, by: By::gwg() }
    }

    /// Calls repositories by these names. `running`: those of which there will be news though they
    /// may be gone.
    pub fn rename(&mut self, names: Arc<BTreeMap<RepoId, Arc<str>>>, running: impl Iterator<Item = RepoId>) {
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

    /// The same for what that child says.
    pub fn of(&self, role: Role, pid: u32) -> Self {
        Self {
            names: Arc::clone(&self.names),
            before: Arc::clone(&self.before),
            ledger: self.ledger.clone(),
            by: By { name: role.name(), pid },
        }
    }

    /// Whether the configuration has a repository with this id.
    pub fn has(&self, repo: RepoId) -> bool {
        self.names.contains_key(&repo)
    }

    /// The repository's name; empty for one that never was.
    pub fn name(&self, repo: RepoId) -> &str {
        self.names.get(&repo).or_else(|| self.before.get(&repo)).map_or("", |name| name)
    }

    /// A request was answered.
    pub fn delivery(&self, event: &DeliveryEvent) {
        self.ledger.delivery(event);
        let DeliveryEvent { source, repo, delivery, bytes, micros, result, pusher } = event;
        let repo = repo.map(|repo| self.name(repo).to_owned());
        let delivery = Delivery { source: *source, repo, id: *delivery, bytes: *bytes, micros: *micros };
        let event = match *result {
            DeliveryResult::Accepted { coalesced, announced, update } => {
                Event::DeliveryAccepted { delivery, announced, coalesced, update, pusher: pusher.clone() }
            }
            DeliveryResult::Ignored(reason) => Event::DeliveryIgnored { delivery, reason },
            DeliveryResult::Rejected(reason) => Event::DeliveryRejected { delivery, reason },
        };
        record(self.by, event);
    }

    /// An update started or ended.
    pub fn update(&self, event: &UpdateEvent) {
        self.ledger.update(event);
        let repo = || self.name(event.repo).to_owned();
        let update = Update { repo: repo(), update: event.update, cause: event.cause, delivery: event.delivery };
        match event.result {
            UpdateResult::Started => record(self.by, Event::UpdateStart(update)),
            UpdateResult::Current { old, new, forced, triggered, bytes, ms } => {
                record(self.by, Event::UpdateEnd { update, old, new, forced, triggered, bytes, ms });
                if triggered {
                    record(self.by, Event::TriggerTouched { repo: repo(), update: event.update, commit: new });
                }
            }
            UpdateResult::Failed { failure, attempt, last, next_ms, ms } => {
                record(self.by, Event::UpdateFailed { update, failure, attempt, last, next_ms, ms });
            }
            UpdateResult::HookFailed { new, attempt, last, next_ms } => {
                record(self.by, Event::HookFailed { update, new, attempt, last, next_ms });
            }
            UpdateResult::AnnouncedNotSeen { announced, new, attempt, next_ms } => {
                record(self.by, Event::UpdateAwaits { update, new, announced, attempt, next_ms });
            }
        }
    }

    /// A hook has ended, and all that it had started; or gwg-hook has, and could not tell how the hook did.
    pub fn hook_ended(&self, wanted: Wanted, hook: Hook, told: Result<HookEnd, Exit>, ms: u64) {
        let Wanted { on, run, update, .. } = wanted;
        let what = What::Hook { update, on, commit: run.new.or(run.old), attempt: run.attempt, end: told.ok(), ms };
        self.ledger.hook(&hook.repo, what);
        let end = match told {
            Ok(HookEnd::Exited(code)) => End::Exit(code.into()),
            Ok(HookEnd::Signal(signal)) => End::Signal(signal.into()),
            Ok(HookEnd::Deadline) => End::Deadline,
            Ok(HookEnd::NotStarted) => End::NotStarted,
            Err(exit) => how(exit),
        };
        record(By::gwg(), Event::HookEnd { hook, end, ms });
    }

    /// An updater refused a remote's host key. `url`: of the supervisor's own brief.
    pub fn host_key_refused(&self, repo: RepoId, url: &str, key: HostKey) {
        let host = host_of(url).to_owned();
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(key.fingerprint));
        record(self.by, Event::HostKeyRefused { repo: self.name(repo).to_owned(), host, key_type: key.kind.word(), fingerprint });
    }

    /// Repositories are compared with their remotes, or have been.
    pub fn reconcile(&self, event: ReconcileEvent) {
        let event = match event {
            ReconcileEvent::Start { cause, repos } => Event::ReconcileStart { cause: cause.word(), repos },
            ReconcileEvent::End { cause, repos, behind, failed, ms } => {
                Event::ReconcileEnd { cause: cause.word(), repos, behind, failed, ms }
            }
        };
        record(self.by, event);
    }
}

/// The configuration that gwg starts with is in force.
pub fn config_begun(file: &Path, repos: usize, listen: SocketAddr) {
    let difference = Difference::default();
    config(file, Generation::FIRST, "start", [repos, difference.removed.len(), difference.changed.len()], repos, listen);
}

/// Another configuration is in force.
pub fn config_loaded(file: &Path, generation: Generation, cause: Cause, difference: &Difference, repos: usize, listen: SocketAddr) {
    let Difference { added, removed, changed } = difference;
    config(file, generation, cause.word(), [added.len(), removed.len(), changed.len()], repos, listen);
    for (paths, what) in [(added, "added"), (removed, "removed; its work tree stays on disk"), (changed, "changed")] {
        paths.iter().take(NAMED).for_each(|repo| info!(%repo, "repository {what}"));
        if paths.len() > NAMED {
            info!(count = paths.len() - NAMED, "more repositories {what}");
        }
    }
}

fn config(file: &Path, generation: Generation, cause: &'static str, counts: [usize; 3], repos: usize, listen: SocketAddr) {
    let ([added, removed, changed], repos) = (counts.map(|count| count as u64), repos as u64);
    let (file, generation) = (file.display().to_string(), u64::from(generation.number()));
    record(By::gwg(), Event::ConfigLoaded { file, generation, cause, added, removed, changed, repos, listen });
}

/// A tree that is no longer configured was pruned, or kept.
pub fn tree_pruned(repo: &str, directory: &Path, pruned: Pruned) {
    record(By::gwg(), Event::TreePruned { repo: repo.to_owned(), directory: directory.display().to_string(), pruned });
}

/// Which trees were configured can't be written down.
pub fn trees_not_written(error: &std::io::Error) {
    warn!(%error, "the state directory does not take which work trees are configured: `gwg prune` may miss some after a restart");
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
        let file = file.as_ref().map(|file| file.display().to_string());
        let line = line.map(|line| line as u64);
        record(By::gwg(), Event::ConfigRejected { file, line, key: key.clone(), reason: what.clone() });
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

/// The gateway serves.
pub fn ready(listen: SocketAddr, repos: usize) {
    record(By::gwg(), Event::ServiceReady { listen, repos: repos as u64 });
}

/// The gateway ends.
pub fn stopping(signal: &'static str) {
    record(By::gwg(), Event::ServiceStop { signal });
}

/// An upgrade waits for what runs.
pub fn upgrade_waits(updates: usize, hooks: usize) {
    info!(updates, hooks, "an upgrade waits for what runs; nothing new is started");
}

/// The executable that is installed can't take over. Its reasons are its own lines.
pub fn upgrade_refused(why: &str) {
    why.lines().for_each(|line| error!("upgrade refused: {}", text::printable(line.as_bytes())));
    error!(version = %env!("CARGO_PKG_VERSION"), "upgrade refused; this version goes on");
}

/// The point of no return.
pub fn upgrading(to: &str) {
    info!(from = %env!("CARGO_PKG_VERSION"), %to, "another executable takes over: who connects waits");
}

/// The number of the last event.
pub fn last() -> u64 {
    AUDIT.get().map_or(0, Audit::last)
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
    let child = Child { role: Role::Listener.name(), pid: 0, repo: None };
    record(By::gwg(), Event::ConfinementViolation { child, kind: Violation::Peer, detail: "the listening socket was shut down" });
}

/// A child was started.
pub fn process_started(role: Role, pid: u32, account: Option<Account>) {
    started(Child { role: role.name(), pid, repo: None }, account);
}

/// A child was started that works on one repository.
pub fn process_started_for(role: Role, pid: u32, account: Option<Account>, repo: &str) {
    started(Child { role: role.name(), pid, repo: Some(repo.to_owned()) }, account);
}

fn started(child: Child, account: Option<Account>) {
    let uid = account.map_or_else(|| nix::unistd::geteuid().as_raw(), |account| account.uid);
    record(By::gwg(), Event::ProcessStart { child, uid });
}

/// A child serves, and so has confined itself; what the kernel says of it. `landlock` is its own word,
/// given before it heard anything from outside: the kernel does not tell.
pub fn process_confined(role: Role, pid: u32, landlock: u8) {
    confined(role, pid, level(role, pid, landlock));
}

/// An updater has closed its doors. Each update has one, so it is a record where it is the first, or another
/// level than `before`.
pub fn updater_confined(pid: u32, landlock: u8, before: &mut Option<Level>) {
    let level = level(Role::Updater, pid, landlock);
    // Of a process that has ended the kernel does not say whose network it saw.
    if level.network != "?" && before.as_ref() != Some(&level) {
        *before = Some(level.clone());
        confined(Role::Updater, pid, level);
    }
}

fn confined(role: Role, pid: u32, level: Level) {
    record(By::gwg(), Event::ConfinementLevel { child: Child { role: role.name(), pid, repo: None }, level });
}

fn level(role: Role, pid: u32, landlock: u8) -> Level {
    let host::Level { uid, gid, capabilities, no_new_privs, seccomp, network } = host::Level::of(pid);
    let layers = [
        ("caps", capabilities == "none"),
        ("no_new_privs", no_new_privs == "1"),
        ("landlock", landlock > 0),
        ("seccomp", seccomp == "2"),
        ("network", network == "own" || !role.is_offline()),
    ];
    let missing = layers.into_iter().filter(|(_, there)| !there).map(|(layer, _)| layer).collect();
    Level { uid, gid, capabilities, no_new_privs, seccomp, landlock, network, mac: mac(pid), missing }
}

/// A process's AppArmor profile or SELinux domain; none where the kernel has neither.
fn mac(pid: u32) -> Option<String> {
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).ok()?;
    Some(label.trim_end_matches(['\n', '\0']).to_owned()).filter(|label| !label.is_empty())
}

/// A child ended. `wait`: until it is started again.
pub fn process_ended(role: Role, pid: u32, exit: Exit, uptime: Duration, wait: Option<Duration>) {
    let wait_s = wait.map(|wait| wait.as_secs());
    let child = Child { role: role.name(), pid, repo: None };
    record(By::gwg(), Event::ProcessExit { child, end: how(exit), uptime_s: uptime.as_secs(), wait_s });
    if let Some(wait_s) = wait_s.filter(|wait| *wait > 0) {
        record(By::gwg(), Event::ProcessThrottled { role: role.name(), wait_s, not_started: None });
    }
}

/// A child that worked on one repository ended.
pub fn process_ended_for(role: Role, pid: u32, exit: Exit, uptime: Duration, repo: &str) {
    let child = Child { role: role.name(), pid, repo: Some(repo.to_owned()) };
    record(By::gwg(), Event::ProcessExit { child, end: how(exit), uptime_s: uptime.as_secs(), wait_s: None });
}

/// An object store was made smaller, by its updater's word.
pub fn store_shrunk(repo: &str, Shrunk { before, after }: Shrunk, took: Duration) {
    let StoreSize { packs, loose, objects, bytes } = before;
    let ms = took.as_millis();
    let (packs_now, loose_now, objects_now, bytes_now) = (after.packs, after.loose, after.objects, after.bytes);
    info!(%repo, packs, loose, objects, bytes, packs_now, loose_now, objects_now, bytes_now, ms, "object store made smaller");
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
    process_not_started_for(role, error, Duration::ZERO);
}

/// A child could not be started, and the next start waits.
pub fn process_not_started_for(role: Role, error: &std::io::Error, wait: Duration) {
    record(By::gwg(), Event::ProcessThrottled { role: role.name(), wait_s: wait.as_secs(), not_started: Some(error.to_string()) });
}

/// Which rule a child broke. A text says what no honest process would have done.
pub enum Offence {
    /// A system call that its filter does not allow.
    ForbiddenCall,
    /// What is no message.
    Malformed,
    /// A message, or a deed, that is no honest process's.
    Deed(&'static str),
}

impl From<&'static str> for Offence {
    fn from(deed: &'static str) -> Self {
        Self::Deed(deed)
    }
}

/// A child broke the rules of its border, and is ended.
pub fn violation(role: Role, pid: u32, offence: impl Into<Offence>) {
    let (kind, detail) = match offence.into() {
        Offence::ForbiddenCall => (Violation::Seccomp, "a system call that it has no use for"),
        Offence::Malformed => (Violation::Record, "a malformed message"),
        Offence::Deed(deed) => (Violation::Peer, deed),
    };
    record(By::gwg(), Event::ConfinementViolation { child: Child { role: role.name(), pid, repo: None }, kind, detail });
}

/// The state file was damaged.
pub fn state_set_aside(aside: &Path) {
    error!(aside = %aside.display(), "the state file was damaged and is set aside; every repository is compared with its remote");
}

/// The state file was damaged, and stands in the way of a new one.
pub fn state_unusable(error: &std::io::Error) {
    error!(%error, "the state file is damaged and can't be set aside");
}

/// A listener could not hand over so many events.
pub fn lost(count: u64) {
    match AUDIT.get() {
        Some(audit) => audit.lost(Sink::Listener, count),
        None => record(By::gwg(), Event::LogGap { lost: count, cause: Sink::Listener }),
    }
}

/// A hook's command starts. `own_pids`: nothing can outlive it.
pub fn hook_started(hook: Hook, own_pids: bool, landlock: u8) {
    record(By::gwg(), Event::HookStart { hook, own_pids, landlock });
}

/// A hook wrote a line to its output. The text is escaped already.
pub fn hook_said(pid: u32, repo: &str, line: &str) {
    info!(%repo, "{}[{pid}]: {line}", Role::Hook.name());
}

/// A child wrote a line to its output. The text is escaped already.
pub fn child_said(role: Role, pid: u32, about: Option<&str>, line: &str) {
    match about {
        Some(repo) => warn!(%repo, "{}[{pid}]: {line}", role.name()),
        None => warn!("{}[{pid}]: {line}", role.name()),
    }
}

/// The host, and the port where there is one, of a URL that has been checked.
fn host_of(url: &str) -> &str {
    let (rest, end) = match url.split_once("://") {
        Some((_, rest)) => (rest, '/'),
        None => (url, ':'),
    };
    let authority = rest.split(end).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

fn how(exit: Exit) -> End {
    match exit.status {
        _ if exit.deadline => End::Deadline,
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Exit(code),
            (None, Some(signal)) => End::Signal(signal),
            (None, None) => End::Unknown,
        },
        None => End::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_the_url_means() {
        for (url, host) in [
            ("git@github.com:example/site.git", "github.com"),
            ("ssh://git@git.example.org:2222/ops/tools.git", "git.example.org:2222"),
            ("ssh://git@[2001:db8::1]:2222/a", "[2001:db8::1]:2222"),
            ("https://git.example.org/docs.git", "git.example.org"),
            ("", ""),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
