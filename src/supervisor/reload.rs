//! The reload's effects: what `transaction` decides is done here. Runs in the supervisor, on its main
//! thread.

use super::children::{Birth, Child, tell};
use super::journal::{self, Journal};
use super::outcome::{Cause, Difference, Outcome, Reason};
use super::outputs;
use super::proposal::{self, Logging, Proposal, Reading};
use super::run::{Heard, Supervisor};
use super::signals;
use super::transaction::{Act, Event, Transaction};
use crate::confine::Role;
use crate::ids::Generation;
use crate::wire::listener::{ToListener, Waiting};
use crate::wire::worker::ToWorker;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::sync::oneshot;

/// What each stage may take.
const STAGE: Duration = Duration::from_secs(10);
/// What a listener that was replaced gets for the requests that it has begun.
const DRAIN: Duration = Duration::from_secs(30);
/// Listeners that drain at the same time; the next reload waits for one of them.
const DRAINING: usize = 4;

/// The reload that runs or is wanted.
pub struct Reload {
    transaction: Transaction,
    proposal: Option<Proposal>,
    /// What the one that was committed has changed.
    loaded: Option<Difference>,
    /// The newest configuration that the worker was asked to prepare; higher than any before.
    asked: Generation,
    /// Another listener, which is not told to serve before the commit.
    pub candidate: Option<Candidate>,
    /// The listener that it replaced.
    old: Option<Birth>,
    /// Why, and for whom, the one that runs.
    running: Wanted,
    /// The same for the one after it.
    next: Wanted,
}

/// A listener that shows whether it could serve.
pub struct Candidate {
    pub child: Child<ToListener>,
    /// The worker's end of its job link: given at the commit.
    for_worker: OwnedFd,
}

#[derive(Default)]
struct Wanted {
    cause: Option<Cause>,
    askers: Vec<oneshot::Sender<Outcome>>,
}

impl Reload {
    /// None is wanted.
    pub fn new() -> Self {
        Self {
            transaction: Transaction::new(),
            proposal: None,
            loaded: None,
            asked: Generation::FIRST,
            candidate: None,
            old: None,
            running: Wanted::default(),
            next: Wanted::default(),
        }
    }

    /// Who waits is served by the reload that begins.
    fn adopt(&mut self) {
        let Wanted { cause, askers } = std::mem::take(&mut self.next);
        self.running.cause = self.running.cause.or(cause);
        self.running.askers.extend(askers);
    }
}

impl Supervisor {
    /// Somebody wants the configuration read again.
    pub fn reload(&mut self, cause: Cause, asker: Option<oneshot::Sender<Outcome>>) {
        if self.stopping {
            return;
        }
        self.reload.next.cause.get_or_insert(cause);
        self.reload.next.askers.extend(asker);
        self.reload_event(Event::Wanted);
        self.begin_reload_if_there_is_room();
    }

    /// Begins what is wanted, where the worker serves and not too many listeners drain.
    pub fn begin_reload_if_there_is_room(&mut self) {
        let room = self.served && self.worker.as_ref().is_some_and(|worker| worker.ready) && self.draining.len() < DRAINING;
        if room && !self.stopping && !self.upgrade.is_holding() && self.reload.transaction.is_waiting() {
            self.reload_event(Event::Room);
        }
    }

    /// Something happened that a reload may wait for.
    pub fn reload_event(&mut self, event: Event) {
        let stage = self.reload.transaction.stage();
        match self.reload.transaction.on(event) {
            Act::Wait => {}
            Act::Begin => self.begin_reload(),
            Act::StartListener => {
                if let Err(error) = self.start_candidate() {
                    journal::process_not_started(Role::Listener, &error);
                    self.refuse(vec![Reason::of(format!("the new listener could not be started: {error}"))]);
                }
            }
            Act::Commit => self.commit(),
            Act::KillOld => self.reload.old.into_iter().for_each(|old| self.end_draining(old)),
            Act::Done => self.done(),
            Act::Again => self.take_back(),
            Act::Refuse(why) => self.refuse(vec![Reason::of(why)]),
        }
        self.watch_stage(stage);
    }

    /// Gives a stage that has just begun its time.
    fn watch_stage(&self, before: u64) {
        let stage = self.reload.transaction.stage();
        if stage != before && self.reload.transaction.is_timed() {
            self.later(STAGE, Heard::ReloadLate(stage));
        }
    }

    /// Whether a configuration is on its way into force.
    pub fn is_reloading(&self) -> bool {
        self.reload.transaction.is_running()
    }

    /// A stage has had its time; it may be over long since.
    pub fn reload_is_late(&mut self, stage: u64) {
        if stage != self.reload.transaction.stage() {
            return;
        }
        if self.upgrade.is_holding() && self.reload.transaction.is_waiting() {
            // The next gwg reads the configuration; or this one does, when it goes on.
            self.later(STAGE, Heard::ReloadLate(stage));
        } else {
            self.reload_event(Event::Late);
        }
    }

    /// A listener is ready: the one that a reload waits for, or another.
    pub fn reload_listener_ready(&mut self, birth: Birth) {
        if self.reload.candidate.as_ref().is_some_and(|candidate| candidate.child.birth == birth) {
            self.reload_event(Event::NewReady);
        }
    }

    /// A listener that drains accepts nothing more, or is gone: the one that a reload waits for, or another.
    pub fn reload_listener_closed(&mut self, birth: Birth) {
        if self.reload.old == Some(birth) {
            self.reload_event(Event::OldClosed);
        }
    }

    /// The worker's answer about a brief.
    pub fn reload_answer(&mut self, worker: Birth, generation: Generation, answer: Event) {
        if generation > self.reload.asked {
            return self.accuse(Role::Worker, worker, "an answer about a brief that it was not given");
        }
        // About an earlier one it may come late: that was taken back meanwhile.
        if generation == self.reload.asked {
            self.reload_event(answer);
        }
    }

    /// The worker goes by the new brief: from now on it orders by the new number of threads.
    pub fn hear_committed(&mut self, worker: Birth, generation: Generation) {
        if generation > self.estate.generation {
            return self.accuse(Role::Worker, worker, "a brief is in force that was not committed");
        }
        if generation == self.estate.generation {
            self.set_threads(self.estate.sealed.schedule.threads);
        }
    }

    fn begin_reload(&mut self) {
        self.reload.adopt();
        self.estate.notify.reloading();
        let (reading, sources) = proposal::read(&mut self.estate);
        self.sources.send_replace(sources);
        match reading {
            Reading::Refused(reasons) => self.refuse(reasons),
            Reading::Same(logging) => self.unchanged(logging),
            Reading::Other(proposal) => match proposal.sealed.worker() {
                Ok(brief) => {
                    self.reload.proposal = Some(*proposal);
                    self.reload.asked = self.reload.asked.next();
                    let asked = self.reload.asked;
                    self.reload.transaction.begun();
                    self.tell_worker(|worker| worker.send_with(&ToWorker::Prepare(asked), brief));
                }
                Err(error) => self.refuse(vec![Reason::of(format!("the worker's brief: {error}"))]),
            },
        }
    }

    fn start_candidate(&mut self) -> io::Result<()> {
        let (for_listener, for_worker) = UnixStream::pair()?;
        let shared = self.socket()?;
        let Some(proposal) = &self.reload.proposal else { return Ok(()) };
        let socket = proposal.socket.as_ref().map_or(Ok(shared), OwnedFd::try_clone)?;
        let (roster, brief) = (proposal.roster.clone(), proposal.sealed.listener()?);
        let journal = Journal::new(proposal.sealed.names.clone(), self.estate.ledger.clone());
        let child = self.spawn_listener(&roster, socket, brief, for_listener.into(), &journal)?;
        self.reload.candidate = Some(Candidate { child, for_worker: for_worker.into() });
        Ok(())
    }

    /// The one moment at which all changes. What the worker is told after `Commit` it hears under the new
    /// brief; the new listener is heard by it only after that.
    fn commit(&mut self) {
        let (Some(proposal), Some(mut candidate)) = (self.reload.proposal.take(), self.reload.candidate.take()) else { return };
        let Proposal { file, sealed, difference, roster, listen, socket, logging, warnings, terms, scrapes } = proposal;
        // Until the worker says that it goes by the new number, it may go by either.
        self.set_threads(sealed.schedule.threads.max(self.estate.sealed.schedule.threads));
        self.journal.rename(sealed.names.clone(), self.updates.repos().chain(self.hooks.repos()));
        self.estate.ledger.configure(sealed.repos(), terms.alert_after);
        self.operate(terms, scrapes);
        let waiting = if socket.is_some() { Waiting::Take } else { Waiting::Leave };
        self.estate.generation = self.reload.asked;
        (self.estate.sealed, self.estate.roster, self.estate.listen) = (sealed, roster, listen);
        if let Some(socket) = socket {
            self.estate.notify.keep(&socket);
            self.estate.socket = Some(socket);
        }

        let generation = self.estate.generation;
        self.tell_worker(|worker| worker.send(&ToWorker::Commit(generation)));
        self.link_listener(candidate.child.birth, candidate.for_worker);
        candidate.child.serve();
        let old = self.listener.replace(candidate.child);

        self.change_log(logging);
        let cause = self.reload.running.cause.unwrap_or(Cause::Signal);
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        journal::config_loaded(&file, generation, cause, &difference, self.estate.sealed.names.len(), self.estate.listen);
        self.reload.loaded = Some(difference);
        self.remember_trees();
        // It began under the configuration before; what is due no longer may be wanted.
        self.upkeep.give_up();
        match old {
            Some(old) => self.drain(old, waiting),
            None => self.reload_event(Event::OldClosed),
        }
    }

    fn drain(&mut self, old: Child<ToListener>, waiting: Waiting) {
        tell(Role::Listener, &old, |listener| listener.send(&ToListener::Drain(waiting)));
        self.later(DRAIN, Heard::Drained(old.birth));
        self.reload.old = Some(old.birth);
        self.draining.push(old);
    }

    /// A listener that was replaced has had its time.
    pub fn end_draining(&mut self, birth: Birth) {
        self.draining.iter().filter(|child| child.birth == birth).for_each(|child| child.process.kill());
    }

    fn done(&mut self) {
        let difference = self.reload.loaded.take().unwrap_or_default();
        self.answer(&Outcome::Loaded { generation: self.estate.generation, difference });
    }

    fn unchanged(&mut self, logging: Logging) {
        self.change_log(logging);
        let generation = self.estate.generation;
        journal::config_unchanged(generation, self.reload.running.cause.unwrap_or(Cause::Signal));
        self.answer(&Outcome::Unchanged { generation });
    }

    fn refuse(&mut self, reasons: Vec<Reason>) {
        self.take_back();
        if self.reload.transaction.is_waiting() {
            self.reload.adopt();
        }
        journal::config_refused(self.estate.generation, self.reload.running.cause.unwrap_or(Cause::Signal), &reasons);
        self.answer(&Outcome::Refused { reasons });
    }

    /// Nothing of the proposal stays.
    fn take_back(&mut self) {
        if self.reload.proposal.take().is_some() {
            self.tell_worker(|worker| worker.send(&ToWorker::Abandon));
        }
        if let Some(Candidate { child, for_worker: _ }) = self.reload.candidate.take() {
            child.process.kill();
            self.draining.push(child);
        }
    }

    fn answer(&mut self, outcome: &Outcome) {
        let Wanted { cause: _, askers } = std::mem::take(&mut self.reload.running);
        // Who asked may be gone.
        askers.into_iter().for_each(|asker| drop(asker.send(outcome.clone())));
        self.reload.transaction.over();
        self.estate.notify.ready(self.estate.sealed.names.len());
        self.begin_reload_if_there_is_room();
    }

    fn change_log(&mut self, Logging { shape, output, audit }: Logging) {
        outputs::change(audit);
        if let Err(error) = signals::held(|| self.estate.log.change(shape, output)) {
            journal::log_not_changed(&error);
        }
    }

    /// gwg ends: what has not been committed is dropped.
    pub fn give_reload_up(&mut self) {
        self.take_back();
        self.reload.running = Wanted::default();
        self.reload.next = Wanted::default();
    }
}
