//! The supervisor's loop: hears its children, their ends, signals, and who wants the configuration read
//! again. Runs in the supervisor, on its main thread. `children` starts and ends processes, `reload`
//! brings another configuration into force.

use super::briefs::Sealed;
use super::children::{Birth, Child};
use super::control::{Ask, Door, Ledger, Survey, Terms};
use super::gc::{self, Upkeep};
use super::handover::{Expected, Handover};
use super::hooks::{self, Hooks, Wanted};
use super::journal::{self, Journal, Offence};
use super::log::Log;
use super::metrics::Scrapes;
use super::notify::{self, Notify};
use super::outcome::Cause;
use super::places::State;
use super::process::{Exit, Process};
use super::prune::{self, Prune};
use super::pulse::BEAT;
use super::reload::Reload;
use super::restart::Restart;
use super::roster::Roster;
use super::signals::{Signals, Wish};
use super::successor::Successor;
use super::transaction::Event;
use super::trees::Trees;
use super::updater::Needs;
use super::updates::{self, Updates};
use super::upgrade::Upgrade;
use crate::config::{Origin, Sources};
use crate::confine::Role;
use crate::ids::{Generation, OrderId, RepoId};
use crate::wire::listener::{FromListener, ToListener};
use crate::wire::worker::{Culprit, Ended, FromWorker, HookEnded, ToWorker};
use std::collections::BTreeMap;
use std::error::Error;
use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// What running updates get after SIGTERM before they are killed. The end is within 5 s.
const GRACE: Duration = Duration::from_millis(4500);

/// What an owned worker might speak of.
pub const NEVER_GIVEN: &str = "an event of a repository that never was";

/// What the supervisor owns.
pub struct Estate {
    /// Where the configuration comes from.
    pub origin: Origin,
    pub roster: Roster,
    pub sealed: Sealed,
    /// The number of the configuration in force.
    pub generation: Generation,
    /// The first repository id that was never given out.
    pub next_id: u32,
    /// See [`Sealed::new`].
    pub salt: RandomState,
    /// None where another must be bound.
    pub socket: Option<OwnedFd>,
    pub listen: SocketAddr,
    /// A socket unit says where to listen, and not the configuration.
    pub listen_is_given: bool,
    pub state: State,
    /// Which work trees were ever configured.
    pub trees: Trees,
    pub log: Log,
    pub notify: Notify,
    /// What is remembered for operators.
    pub ledger: Ledger,
    /// Where they ask.
    pub door: Door,
    /// Where figures are asked for.
    pub scrapes: Scrapes,
    /// What the configuration in force says of both.
    pub terms: Terms,
    /// Who waits for this gwg.
    pub expected: Expected,
}

/// What the loop hears.
pub enum Heard {
    Listener(Birth, FromListener),
    Worker(Birth, FromWorker),
    /// The child's link broke the rules.
    Malformed(Role, Birth),
    Ended(Role, Birth, Exit),
    UpdaterEnded(OrderId, Exit),
    HookEnded(RepoId, HookEnded),
    PrunerEnded(prune::End),
    GcEnded(gc::End),
    /// The next tree of a prune may be looked at.
    PruneNext,
    /// A restart's wait is over.
    Start(Role),
    /// A listener has had its time to drain.
    Drained(Birth),
    /// The configuration shall be read again.
    Reload(Cause),
    /// A stage of a reload has had its time.
    ReloadLate(u64),
    /// The new executable was tried.
    Tried(Result<Successor, String>),
    /// A stage of an upgrade has had its time.
    UpgradeLate(u64),
}

/// How a run ended.
pub enum End {
    /// It was asked to end.
    Stopped,
    /// Another gwg takes this one's place.
    Replaced(Successor, Box<Handover>),
}

/// Runs until a signal ends it, or until another gwg takes over. `place`: where that one's executable will be.
///
/// # Errors
/// A child could not be started, or died before it ever served.
pub async fn run(
    estate: Estate,
    sources: Sources,
    mut asked: mpsc::Receiver<Ask>,
    place: io::Result<PathBuf>,
) -> Result<End, Box<dyn Error>> {
    let mut signals = Signals::hear()?;
    let (ears, mut heard) = mpsc::channel(1024);
    let (sources, read) = watch::channel(sources);
    if let Err(error) = super::watch::start(read, ears.clone()) {
        journal::not_watching(&error.to_string());
    }
    signals.release()?;
    let mut supervisor = Supervisor::new(estate, sources, ears, place);
    supervisor.start_both()?;
    supervisor.remember_trees();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pulse = supervisor.estate.notify.pulse();
    let name = loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::End(name) => break name,
                Wish::Reload => supervisor.reload(Cause::Signal, None),
                Wish::Upgrade => supervisor.upgrade(None),
            },
            _ = beat.tick() => supervisor.beat(),
            () = notify::beat(&mut pulse) => supervisor.estate.notify.alive(),
            Some(heard) = heard.recv() => supervisor.hear(heard)?,
            Some(ask) = asked.recv() => supervisor.hear_operator(ask),
        }
        if supervisor.advance_upgrade() {
            supervisor.listen_out(&mut heard).await?;
            match signals.hold_again().await {
                Some(name) => break name,
                None => return supervisor.hand_over(),
            }
        }
    };
    journal::stopping(name);
    supervisor.estate.notify.stopping();
    supervisor.stop();
    let grace = tokio::time::sleep(GRACE);
    tokio::pin!(grace);
    while !supervisor.is_alone() {
        tokio::select! {
            () = &mut grace => break,
            Some(heard) = heard.recv() => supervisor.hear(heard)?,
            Some(ask) = asked.recv() => supervisor.hear_operator(ask),
        }
    }
    journal::stopped(supervisor.kill_all());
    while !supervisor.is_alone() {
        match heard.recv().await {
            Some(heard) => supervisor.hear(heard)?,
            None => break,
        }
    }
    Ok(End::Stopped)
}

/// All that the loop knows.
pub struct Supervisor {
    pub estate: Estate,
    /// What the configuration was last read from: for who watches it.
    pub sources: watch::Sender<Sources>,
    pub journal: Journal,
    pub survey: Survey,
    pub ears: mpsc::Sender<Heard>,
    pub births: Birth,
    pub worker: Option<Child<ToWorker>>,
    /// The one that serves.
    pub listener: Option<Child<ToListener>>,
    /// Those that a reload has replaced and that still answer what they were asked.
    pub draining: Vec<Child<ToListener>>,
    pub updates: Updates,
    pub hooks: Hooks,
    pub listener_restart: Restart,
    pub worker_restart: Restart,
    /// The listeners at the running worker's job links, as the worker counts them.
    pub job_links: BTreeMap<u32, Birth>,
    pub next_link: u32,
    /// A worker is due, and starts when the updaters and hooks of the one before have ended.
    pub worker_waits: bool,
    pub served: bool,
    /// The state file was set aside: the worker's next start may well succeed.
    pub state_is_new: bool,
    pub stopping: bool,
    pub reload: Reload,
    pub pruning: Option<Prune>,
    /// The updater that is at one of its trees.
    pub pruner: Option<Process>,
    pub upkeep: Upkeep,
    pub upgrade: Upgrade,
    /// Those that hear a child until its link ends.
    pub hearings: JoinSet<()>,
}

impl Supervisor {
    fn new(estate: Estate, sources: watch::Sender<Sources>, ears: mpsc::Sender<Heard>, place: io::Result<PathBuf>) -> Self {
        let now = Instant::now();
        estate.ledger.configure(estate.sealed.repos(), estate.terms.alert_after);
        Self {
            journal: Journal::new(estate.sealed.names.clone(), estate.ledger.clone()),
            survey: Survey::default(),
            updates: Updates::new(estate.sealed.schedule.threads),
            hooks: Hooks::new(estate.sealed.schedule.threads),
            estate,
            sources,
            ears,
            births: 0,
            worker: None,
            listener: None,
            draining: Vec::new(),
            listener_restart: Restart::new(now),
            worker_restart: Restart::new(now),
            job_links: BTreeMap::new(),
            next_link: 0,
            worker_waits: false,
            served: false,
            state_is_new: false,
            stopping: false,
            reload: Reload::new(),
            pruning: None,
            pruner: None,
            upkeep: Upkeep::default(),
            upgrade: Upgrade::new(place),
            hearings: JoinSet::new(),
        }
    }

    /// Does what something that was heard asks for.
    ///
    /// # Errors
    /// A child died before it ever served.
    pub fn hear(&mut self, heard: Heard) -> Result<(), Box<dyn Error>> {
        match heard {
            Heard::Listener(birth, said) => self.hear_listener(birth, said),
            Heard::Worker(birth, said) => self.hear_worker(birth, said),
            Heard::Malformed(role, birth) => self.accuse(role, birth, Offence::Malformed),
            Heard::Ended(role, birth, exit) => self.bury(role, birth, exit)?,
            Heard::UpdaterEnded(order, exit) => self.hear_updater_ended(order, exit),
            Heard::HookEnded(repo, how) => self.hear_hook_ended(repo, how),
            Heard::PrunerEnded(end) => self.hear_pruner_ended(end),
            Heard::GcEnded(end) => self.hear_gc_ended(end),
            Heard::PruneNext => self.hear_prune_next(),
            Heard::Start(role) => self.restart(role),
            Heard::Drained(birth) => self.end_draining(birth),
            Heard::Reload(cause) => self.reload(cause, None),
            Heard::ReloadLate(stage) => self.reload_is_late(stage),
            Heard::Tried(result) => self.hear_trial(result),
            Heard::UpgradeLate(stage) => self.upgrade_is_late(stage),
        }
        Ok(())
    }

    fn hear_listener(&mut self, birth: Birth, said: FromListener) {
        let drains = self.draining.iter().any(|child| child.birth == birth);
        let Some(listener) = self.listener_born(birth) else { return };
        match said {
            FromListener::Ready { .. } if listener.ready => self.accuse(Role::Listener, birth, "ready twice"),
            FromListener::Ready { landlock } => {
                listener.ready = true;
                journal::process_confined(Role::Listener, listener.process.pid, landlock);
                self.estate.ledger.confined(Role::Listener, landlock);
                self.say_ready();
                self.reload_listener_ready(birth);
            }
            FromListener::Alive => listener.pulse.answered(),
            FromListener::Closed if drains || self.stopping => self.reload_listener_closed(birth),
            FromListener::Closed => self.accuse(Role::Listener, birth, "closed its socket, and was not asked to"),
            // Both are written where they are read: see `children`.
            FromListener::Delivery(_) | FromListener::Lost(_) => {}
        }
    }

    fn hear_worker(&mut self, birth: Birth, said: FromWorker) {
        let next_id = self.estate.next_id;
        // Ids grow, and none is given twice.
        let was_given = |repo: RepoId| repo.number() < next_id;
        let Some(worker) = self.worker.as_mut().filter(|worker| worker.birth == birth) else { return };
        match said {
            FromWorker::Ready { .. } if worker.ready => self.accuse(Role::Worker, birth, "ready twice"),
            FromWorker::Ready { landlock } => {
                worker.ready = true;
                journal::process_confined(Role::Worker, worker.process.pid, landlock);
                self.estate.ledger.confined(Role::Worker, landlock);
                self.say_ready();
                self.hold_new_worker();
                self.begin_reload_if_there_is_room();
            }
            FromWorker::Alive => worker.pulse.answered(),
            FromWorker::Prepared(generation) => self.reload_answer(birth, generation, Event::Prepared),
            FromWorker::Unusable(generation) => self.reload_answer(birth, generation, Event::Unusable),
            FromWorker::Committed(generation) => self.hear_committed(birth, generation),
            FromWorker::Order(order, repo) => self.start_update(birth, order, repo),
            FromWorker::Hook(repo, on, run, update) => self.start_hook(birth, Wanted { repo, on, run, update }),
            FromWorker::Update(event) if !was_given(event.repo) => self.accuse(Role::Worker, birth, NEVER_GIVEN),
            FromWorker::Update(event) => self.journal.of(Role::Worker, worker.process.pid).update(&event),
            FromWorker::Reconcile(event) => self.journal.of(Role::Worker, worker.process.pid).reconcile(event),
            FromWorker::HostKeyRefused(repo, _) if !was_given(repo) => self.accuse(Role::Worker, birth, NEVER_GIVEN),
            FromWorker::HostKeyRefused(repo, key) => {
                let url = self.estate.sealed.updaters.get(&repo).map_or("", |brief| &brief.url);
                self.journal.of(Role::Worker, worker.process.pid).host_key_refused(repo, url, key);
            }
            FromWorker::Marked(repo, _) => self.estate.ledger.marked(repo),
            FromWorker::GcDue(repo) => self.hear_gc_due(birth, repo),
            FromWorker::Recalled(tree, deployed) => self.hear_recalled(birth, tree, deployed),
            FromWorker::Confined(order, landlock) => self.hear_confined(order, landlock),
            FromWorker::Step(order, step) => self.hear_step(order, step),
            FromWorker::Progress(order, progress) => self.hear_progress(order, progress),
            FromWorker::Page(page) => self.hear_page(birth, page),
            FromWorker::Violation(Culprit::Listener(link)) => {
                if let Some(listener) = self.job_links.get(&link).copied() {
                    self.accuse(Role::Listener, listener, "a job that no honest listener sends");
                }
            }
            FromWorker::Violation(Culprit::Updater(order)) => self.updates.kill(order, "a report that no honest updater sends"),
            FromWorker::StateUnusable => self.set_state_aside(),
            FromWorker::Holds if self.hear_holds(birth) => {}
            FromWorker::Holds => self.accuse(Role::Worker, birth, "it holds, and was not asked to"),
        }
    }

    fn set_state_aside(&mut self) {
        match self.estate.state.set_aside() {
            Ok(aside) => {
                self.state_is_new = true;
                journal::state_set_aside(&aside);
            }
            Err(error) => journal::state_unusable(&error),
        }
    }

    fn say_ready(&mut self) {
        let both = self.listener.as_ref().is_some_and(|child| child.ready) && self.worker.as_ref().is_some_and(|child| child.ready);
        if both && !self.served {
            self.served = true;
            journal::ready(self.estate.listen, self.estate.sealed.names.len());
            self.estate.notify.ready(self.estate.sealed.names.len());
            self.tell_expected();
            self.begin_reload_if_there_is_room();
        }
    }

    fn start_update(&mut self, birth: Birth, order: OrderId, repo: RepoId) {
        let briefs = &self.estate.sealed.updaters;
        if let Err(offence) = self.updates.check(order, repo, self.estate.next_id) {
            return self.accuse(Role::Worker, birth, offence.0);
        }
        if self.hooks.is_running(repo) {
            return self.accuse(Role::Worker, birth, "an order for a repository whose hook runs");
        }
        let Some(brief) = briefs.get(&repo) else {
            // A reload has removed it while the order was on its way.
            return self.tell_worker(|worker| worker.send(&ToWorker::Ended(order, Ended::NotStarted)));
        };
        // The new updater waits until the lock of its work tree is free.
        self.upkeep.make_way_for(repo);
        let ears = self.ears.clone();
        let ended = move |exit| super::children::tell_later(ears, Heard::UpdaterEnded(order, exit));
        // A remote that stalls must not hold a slot.
        let deadline = Duration::from_millis(brief.limits.deadline_ms);
        let needs = Needs { roster: &self.estate.roster, brief, name: self.journal.name(repo), deadline };
        match self.updates.start(order, repo, &needs, ended) {
            Ok(socket) => self.tell_worker(|worker| worker.send_with(&ToWorker::Updater(order), socket)),
            Err(error) => {
                journal::process_not_started(Role::Updater, &error);
                self.tell_worker(|worker| worker.send(&ToWorker::Ended(order, Ended::NotStarted)));
            }
        }
    }

    fn hear_updater_ended(&mut self, order: OrderId, exit: Exit) {
        self.updates.ended(order, exit, &self.journal);
        self.gc_next();
        if self.worker.is_some() {
            self.tell_worker(|worker| worker.send(&ToWorker::Ended(order, updates::as_told(exit))));
        } else if self.worker_waits {
            self.start_worker_when_free();
        }
    }

    fn start_hook(&mut self, birth: Birth, wanted: Wanted) {
        if let Err(offence) = self.hooks.check(wanted, self.estate.next_id) {
            return self.accuse(Role::Worker, birth, offence.0);
        }
        if self.updates.is_running(wanted.repo) {
            return self.accuse(Role::Worker, birth, "a hook for a repository that is being updated");
        }
        let Some(hook) = hooks::find(wanted, &self.estate.sealed) else {
            // A reload has removed it while it waited.
            return self.tell_worker(|worker| worker.send(&ToWorker::HookEnded(wanted.repo, HookEnded::Gone)));
        };
        let ears = self.ears.clone();
        let ended = move |how| super::children::tell_later(ears, Heard::HookEnded(wanted.repo, how));
        if let Err(error) = self.hooks.start(wanted, hook, &self.estate.roster, &self.journal, ended) {
            journal::process_not_started(Role::Hook, &error);
            self.tell_worker(|worker| worker.send(&ToWorker::HookEnded(wanted.repo, HookEnded::Badly)));
        }
    }

    fn hear_hook_ended(&mut self, repo: RepoId, how: HookEnded) {
        self.hooks.ended(repo);
        if self.worker.is_some() {
            self.tell_worker(|worker| worker.send(&ToWorker::HookEnded(repo, how)));
        } else if self.worker_waits {
            self.start_worker_when_free();
        }
    }
}
