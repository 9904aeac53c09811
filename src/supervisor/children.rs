//! Listeners and the worker: started, told, judged, ended, started again. Runs in the supervisor, on
//! its main thread: a child dies with the thread that forked it.

use super::journal::{self, Journal, Offence};
use super::output;
use super::places;
use super::process::{self, Exit, Process};
use super::pulse::{Beat, Pulse};
use super::restart::Next;
use super::roster::Roster;
use super::run::{Heard, Supervisor};
use super::transaction::Event;
use crate::confine::{Role, descriptors};
use crate::link::{self, LinkError, Sender};
use crate::wire::listener::{FromListener, ToListener, Waiting};
use crate::wire::worker::{FromWorker, ToWorker};
use crate::wire::{Message, WireError};
use std::error::Error;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Starts of a child that may come to nothing before a gwg that has taken over gives up.
const VAIN_AFTER_UPGRADE: u32 = 2;

/// Which start of a process something belongs to: what an earlier one said too late is not heard.
pub type Birth = u64;

/// A running listener or worker.
pub struct Child<M> {
    pub birth: Birth,
    pub process: Process,
    pub sender: Sender<M>,
    pub ready: bool,
    /// It was told to serve.
    pub served: bool,
    pub pulse: Pulse,
}

impl<M> Child<M> {
    fn new(birth: Birth, process: Process, sender: Sender<M>) -> Self {
        Self { birth, process, sender, ready: false, served: false, pulse: Pulse::default() }
    }
}

impl Child<ToListener> {
    /// Lets it accept.
    pub fn serve(&mut self) {
        self.served = true;
        tell(Role::Listener, self, |listener| listener.send(&ToListener::Serve));
    }
}

impl Supervisor {
    /// The running listener of that birth: the one that serves, one that drains, or one that a reload starts.
    pub fn listener_born(&mut self, birth: Birth) -> Option<&mut Child<ToListener>> {
        let candidate = self.reload.candidate.as_mut().map(|candidate| &mut candidate.child);
        self.listener.iter_mut().chain(&mut self.draining).chain(candidate).find(|child| child.birth == birth)
    }

    /// Tells the worker something, where there is one.
    pub fn tell_worker(&self, say: impl FnOnce(&Sender<ToWorker>) -> Result<(), link::NotTaken>) {
        if let Some(worker) = &self.worker {
            tell(Role::Worker, worker, say);
        }
    }

    /// Ends a child that broke the rules; its end starts the next.
    pub fn accuse(&mut self, role: Role, birth: Birth, offence: impl Into<Offence>) {
        let process = match role {
            Role::Listener => self.listener_born(birth).map(|child| &child.process),
            Role::Worker => self.worker.as_ref().filter(|child| child.birth == birth).map(|child| &child.process),
            Role::Updater | Role::Hook => None,
        };
        if let Some(process) = process {
            accuse(role, process, offence);
        }
    }

    /// Asks each child whether it still hears.
    pub fn beat(&mut self) {
        let candidate = self.reload.candidate.as_mut().map(|candidate| &mut candidate.child);
        for child in self.listener.iter_mut().chain(&mut self.draining).chain(candidate) {
            beat(Role::Listener, child, &ToListener::Ping);
        }
        if let Some(child) = &mut self.worker {
            beat(Role::Worker, child, &ToWorker::Ping);
        }
    }

    /// A listener or worker has ended: plans the next one.
    ///
    /// # Errors
    /// It had never served, at gwg's own start.
    pub fn bury(&mut self, role: Role, birth: Birth, exit: Exit) -> Result<(), Box<dyn Error>> {
        match role {
            Role::Listener => self.bury_listener(birth, exit),
            Role::Worker => self.bury_worker(birth, exit),
            Role::Updater | Role::Hook => Ok(()),
        }
    }

    fn bury_worker(&mut self, birth: Birth, exit: Exit) -> Result<(), Box<dyn Error>> {
        let Some(child) = self.worker.take_if(|child| child.birth == birth) else { return Ok(()) };
        // Nobody is left who could hear of their ends; the next worker compares everything.
        self.updates.kill_all();
        self.hooks.kill_all();
        self.survey.give_up();
        self.give_prune_up();
        self.upkeep.give_up();
        self.estate.ledger.worker_gone();
        let ended = self.plan_restart(Role::Worker, &child.process, child.ready, exit);
        self.reload_event(Event::WorkerDied);
        ended
    }

    fn bury_listener(&mut self, birth: Birth, exit: Exit) -> Result<(), Box<dyn Error>> {
        self.job_links.retain(|_, listener| *listener != birth);
        if let Some(child) = self.listener.take_if(|child| child.birth == birth) {
            return self.plan_restart(Role::Listener, &child.process, child.ready, exit);
        }
        if let Some(place) = self.draining.iter().position(|child| child.birth == birth) {
            let child = self.draining.remove(place);
            note_end(Role::Listener, &child.process, exit, None);
            // What it had heard and not yet told may be lost; one that never served has heard nothing.
            if !exit.is_success() && child.served {
                self.tell_worker(|worker| worker.send(&ToWorker::Reconcile));
            }
            self.reload_listener_closed(birth);
            self.begin_reload_if_there_is_room();
        } else if let Some(candidate) = self.reload.candidate.take_if(|candidate| candidate.child.birth == birth) {
            note_end(Role::Listener, &candidate.child.process, exit, None);
            self.reload_event(Event::NewDied);
            self.begin_reload_if_there_is_room();
        }
        Ok(())
    }

    fn plan_restart(&mut self, role: Role, process: &Process, ready: bool, exit: Exit) -> Result<(), Box<dyn Error>> {
        if self.stopping {
            note_end(role, process, exit, None);
            return Ok(());
        }
        let now = Instant::now();
        let restart = if role == Role::Worker { &mut self.worker_restart } else { &mut self.listener_restart };
        let Next { wait, vain, degraded } = restart.died(ready, now);
        note_end(role, process, exit, Some(wait));
        if let Some(restarts) = degraded {
            journal::degraded(role, restarts);
        }
        // Where somebody was served until now, giving up at once would leave him alone.
        let allowed = if self.estate.expected.from.is_some() { VAIN_AFTER_UPGRADE } else { 0 };
        if !self.served && vain > allowed && !std::mem::take(&mut self.state_is_new) {
            return Err(format!("{} did not start; the lines above say why", role.name()).into());
        }
        self.start_later(role, wait);
        Ok(())
    }

    fn start_later(&self, role: Role, wait: Duration) {
        self.later(wait, Heard::Start(role));
    }

    /// Hears something after a while.
    pub fn later(&self, wait: Duration, heard: Heard) {
        let ears = self.ears.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            hand_on(&ears, heard).await;
        });
    }

    /// A wait is over.
    pub fn restart(&mut self, role: Role) {
        if self.stopping {
            return;
        }
        match role {
            // A reload may have brought another one meanwhile.
            Role::Listener if self.listener.is_some() => {}
            // It was started, and not all listeners could be given their links.
            Role::Worker if self.worker.is_some() => {}
            Role::Listener => {
                let started = self.restart_listener();
                self.retry_start(role, started);
            }
            Role::Worker => {
                self.worker_waits = true;
                self.start_worker_when_free();
            }
            Role::Updater | Role::Hook => {}
        }
    }

    fn restart_listener(&mut self) -> io::Result<()> {
        let (for_listener, for_worker) = UnixStream::pair()?;
        let birth = self.start_listener(for_listener.into())?;
        self.link_listener(birth, for_worker.into());
        self.tell_worker(|worker| worker.send(&ToWorker::Reconcile));
        Ok(())
    }

    /// Gives the worker its end of a listener's job link.
    pub fn link_listener(&mut self, listener: Birth, for_worker: OwnedFd) {
        if self.worker.is_some() {
            self.job_links.insert(self.next_link, listener);
            self.next_link = self.next_link.wrapping_add(1);
            self.tell_worker(|worker| worker.send_with(&ToWorker::Listener, for_worker));
        }
    }

    /// Starts the next worker, once no update and no hook of the one before runs.
    pub fn start_worker_when_free(&mut self) {
        if self.updates.running() + self.hooks.running() > 0 || self.stopping {
            return;
        }
        self.worker_waits = false;
        self.updates.forget_numbers();
        let started = self.restart_worker();
        self.retry_start(Role::Worker, started);
    }

    fn restart_worker(&mut self) -> io::Result<()> {
        let (for_listener, for_worker) = UnixStream::pair()?;
        self.start_worker(for_worker.into())?;
        match &self.listener {
            Some(listener) => {
                self.job_links.insert(0, listener.birth);
                tell(Role::Listener, listener, |listener| listener.send_with(&ToListener::Worker, for_listener.into()));
            }
            None => drop(for_listener),
        }
        // Those that drain have senders who wait for an answer.
        for place in 0..self.draining.len() {
            let (for_listener, for_worker) = UnixStream::pair()?;
            let Some(listener) = self.draining.get(place) else { break };
            tell(Role::Listener, listener, |listener| listener.send_with(&ToListener::Worker, for_listener.into()));
            self.link_listener(listener.birth, for_worker.into());
        }
        Ok(())
    }

    /// A child that could not even be started is one that died before it served.
    fn retry_start(&mut self, role: Role, started: io::Result<()>) {
        let Err(error) = started else { return };
        let restart = if role == Role::Worker { &mut self.worker_restart } else { &mut self.listener_restart };
        let Next { wait, degraded, vain: _ } = restart.died(false, Instant::now());
        journal::process_not_started_for(role, &error, wait);
        if let Some(restarts) = degraded {
            journal::degraded(role, restarts);
        }
        self.start_later(role, wait);
    }

    /// The first start.
    ///
    /// # Errors
    /// Either could not be started.
    pub fn start_both(&mut self) -> io::Result<()> {
        let (for_listener, for_worker) = UnixStream::pair()?;
        self.start_worker(for_worker.into())?;
        let birth = self.start_listener(for_listener.into())?;
        self.job_links.insert(0, birth);
        Ok(())
    }

    /// A copy of the listening socket, for a listener. One that was owned may have shut the socket
    /// down, and every copy of it with it: then another is bound.
    ///
    /// # Errors
    /// Nothing can be bound there.
    pub fn socket(&mut self) -> io::Result<OwnedFd> {
        if let Some(socket) = self.estate.socket.take_if(|socket| !places::is_listening(socket)) {
            journal::socket_shut_down(self.estate.listen);
            // It keeps the port until it is closed.
            drop(socket);
        }
        match &self.estate.socket {
            Some(socket) => socket.try_clone(),
            None => {
                let socket = self.estate.socket.insert(places::listen(self.estate.listen)?);
                self.estate.notify.keep(socket);
                socket.try_clone()
            }
        }
    }

    fn start_listener(&mut self, to_worker: OwnedFd) -> io::Result<Birth> {
        let (socket, brief) = (self.socket()?, self.estate.sealed.listener()?);
        let (roster, journal) = (self.estate.roster.clone(), self.journal.clone());
        let mut child = self.spawn_listener(&roster, socket, brief, to_worker, &journal)?;
        child.serve();
        let birth = child.birth;
        self.listener = Some(child);
        Ok(birth)
    }

    /// Starts a listener, which does not accept anything before it is told to.
    ///
    /// # Errors
    /// It can't be started.
    pub fn spawn_listener(
        &mut self,
        roster: &Roster,
        socket: OwnedFd,
        brief: OwnedFd,
        to_worker: OwnedFd,
        journal: &Journal,
    ) -> io::Result<Child<ToListener>> {
        let own = vec![(to_worker, descriptors::PEER), (brief, descriptors::BRIEF), (socket, descriptors::OWN)];
        let (birth, process, link) = self.start(roster, Role::Listener, own)?;
        let (sender, receiver) = link::open(link)?;
        self.hear_out(listen_to_listener(receiver, birth, self.ears.clone(), journal.of(Role::Listener, process.pid)));
        Ok(Child::new(birth, process, sender))
    }

    fn start_worker(&mut self, to_listener: OwnedFd) -> io::Result<()> {
        let estate = &self.estate;
        let own =
            vec![(to_listener, descriptors::PEER), (estate.sealed.worker()?, descriptors::BRIEF), (estate.state.file()?, descriptors::OWN)];
        let roster = estate.roster.clone();
        let (birth, process, link) = self.start(&roster, Role::Worker, own)?;
        let (sender, receiver) = link::open(link)?;
        let ears = self.ears.clone();
        self.hear_out(listen_to_worker(receiver, birth, ears));
        // Its links are counted from its birth, where it has one.
        self.job_links.clear();
        self.next_link = 1;
        self.set_threads(self.estate.sealed.schedule.threads);
        self.worker = Some(Child::new(birth, process, sender));
        Ok(())
    }

    /// Hears a child until its link ends.
    fn hear_out(&mut self, hearing: impl Future<Output = ()> + Send + 'static) {
        // Those that have ended are forgotten.
        while self.hearings.try_join_next().is_some() {}
        self.hearings.spawn(hearing);
    }

    fn start(&mut self, roster: &Roster, role: Role, mut given: Vec<(OwnedFd, RawFd)>) -> io::Result<(Birth, Process, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        given.push((theirs.into(), descriptors::SUPERVISOR));
        let (log, reader) = output::pipe()?;
        let command = roster.command(role, given, log)?;
        self.births += 1;
        let (birth, ears) = (self.births, self.ears.clone());
        let process = process::start(command, None, move |exit| tell_later(ears, Heard::Ended(role, birth, exit)))?;
        reader.log(role, process.pid, None);
        journal::process_started(role, process.pid, roster.account(role));
        self.estate.ledger.started(role);
        Ok((birth, process, ours.into()))
    }

    /// Asks everyone to end: the listener once it has answered, the worker once nothing runs.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.give_reload_up();
        self.give_prune_up();
        self.upkeep.give_up();
        // Who has connected is answered; from now on nobody can.
        self.estate.socket = None;
        self.estate.scrapes.close();
        // A child that does not take this is killed when the grace is over.
        if let Some(listener) = &self.listener {
            let _ = listener.sender.send(&ToListener::Drain(Waiting::Take));
        }
        if let Some(worker) = &self.worker {
            let _ = worker.sender.send(&ToWorker::Stop);
        }
    }

    /// How many updates, and how many hooks, may run at once.
    pub fn set_threads(&mut self, threads: u16) {
        self.updates.set_threads(threads);
        self.hooks.set_threads(threads);
    }

    /// Whether no child is left.
    pub fn is_alone(&self) -> bool {
        let listeners = usize::from(self.listener.is_some() || self.reload.candidate.is_some()) + self.draining.len();
        listeners == 0
            && self.worker.is_none()
            && self.pruner.is_none()
            && self.upkeep.is_idle()
            && self.updates.running() + self.hooks.running() == 0
    }

    /// Ends what is left. Answers how many that were.
    pub fn kill_all(&self) -> usize {
        let listeners = self.listener.iter().chain(&self.draining).map(|child| &child.process);
        let candidate = self.reload.candidate.iter().map(|candidate| &candidate.child.process);
        let children = listeners.chain(candidate).chain(self.worker.iter().map(|child| &child.process));
        let left = children.map(Process::kill).count() + self.updates.running() + self.hooks.running();
        self.updates.kill_all();
        self.hooks.kill_all();
        self.kill_pruner();
        self.upkeep.kill();
        left
    }
}

/// Tells a child something. One that does not take it is ended; its end starts the next.
pub fn tell<M: Message>(role: Role, child: &Child<M>, say: impl FnOnce(&Sender<M>) -> Result<(), link::NotTaken>) {
    match say(&child.sender) {
        Ok(()) => {}
        // It is dying, or deaf.
        Err(_) if child.sender.is_closed() => child.process.kill(),
        Err(_) => accuse(role, &child.process, "it does not read what it is told"),
    }
}

fn accuse(role: Role, process: &Process, offence: impl Into<Offence>) {
    journal::violation(role, process.pid, offence);
    process.kill();
}

fn beat<M: Message>(role: Role, child: &mut Child<M>, ping: &M) {
    match child.pulse.beat() {
        // One that does not take it will not answer either.
        Beat::Ask => drop(child.sender.send(ping)),
        Beat::End => {
            journal::silent(role, child.process.pid);
            child.process.kill();
        }
    }
}

fn note_end(role: Role, process: &Process, exit: Exit, wait: Option<Duration>) {
    if exit.is_forbidden_call() {
        journal::violation(role, process.pid, Offence::ForbiddenCall);
    }
    journal::process_ended(role, process.pid, exit, process.since.elapsed(), wait);
}

/// Deliveries come by the ten thousand a second: they are written right here, and only the rest
/// goes through the loop.
async fn listen_to_listener(mut receiver: link::Receiver<FromListener>, birth: Birth, ears: mpsc::Sender<Heard>, journal: Journal) {
    loop {
        match receiver.recv().await {
            Ok(Some(FromListener::Delivery(event))) if event.repo.is_none_or(|repo| journal.has(repo)) => journal.delivery(&event),
            // It was given the repositories of its configuration, and no others.
            Ok(Some(FromListener::Delivery(_))) => return hand_on(&ears, Heard::Malformed(Role::Listener, birth)).await,
            Ok(Some(FromListener::Lost(count))) => journal::lost(count),
            Ok(Some(said @ (FromListener::Ready { .. } | FromListener::Closed | FromListener::Alive))) => {
                hand_on(&ears, Heard::Listener(birth, said)).await;
            }
            end => return hear_end(end, Role::Listener, birth, &ears).await,
        }
    }
}

async fn listen_to_worker(mut receiver: link::Receiver<FromWorker>, birth: Birth, ears: mpsc::Sender<Heard>) {
    loop {
        match receiver.recv().await {
            Ok(Some(said)) => hand_on(&ears, Heard::Worker(birth, said)).await,
            end => return hear_end(end, Role::Worker, birth, &ears).await,
        }
    }
}

async fn hear_end<M: Message>(end: Result<Option<M>, LinkError>, role: Role, birth: Birth, ears: &mpsc::Sender<Heard>) {
    match end {
        Err(LinkError::Wire(WireError::TooLong(_) | WireError::Malformed)) => hand_on(ears, Heard::Malformed(role, birth)).await,
        // A link that just ends, be it in the middle of a message, is a process that ends: its own end says more.
        Ok(_) | Err(LinkError::Io(_) | LinkError::Wire(WireError::Truncated)) => {}
    }
}

/// Tells the loop something.
pub async fn hand_on(ears: &mpsc::Sender<Heard>, heard: Heard) {
    // The loop is gone only when the supervisor ends.
    let _ = ears.send(heard).await;
}

/// For callbacks, which can't wait.
pub fn tell_later(ears: mpsc::Sender<Heard>, heard: Heard) {
    tokio::spawn(async move { hand_on(&ears, heard).await });
}
