//! The supervisor's loop: hears its children, their ends, and signals; starts, restarts and ends
//! processes. Runs in the supervisor, on its main thread.

mod control;

use super::briefs::Sealed;
use super::control::{Ask, Ledger, Survey};
use super::journal::{self, Journal};
use super::output;
use super::places::{self, State};
use super::process::{self, Exit, Process};
use super::restart::Restart;
use super::roster::Roster;
use super::updates::{self, Needs, Updates};
use crate::confine::Role;
use crate::confine::descriptors;
use crate::ids::{OrderId, RepoId};
use crate::link::{self, LinkError, Sender};
use crate::wire::Message;
use crate::wire::listener::{FromListener, ToListener};
use crate::wire::worker::{Culprit, Ended, FromWorker, ToWorker};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What running updates get after SIGTERM before they are killed. The end is within 5 s.
const GRACE: Duration = Duration::from_millis(4500);

/// What the supervisor owns.
pub struct Estate {
    pub roster: Roster,
    pub sealed: Sealed,
    /// None where another must be bound.
    pub socket: Option<OwnedFd>,
    pub listen: SocketAddr,
    pub state: State,
    pub threads: u16,
    pub ledger: Ledger,
}

/// Which start of a role something belongs to: what an earlier one said too late is not heard.
type Birth = u64;

/// What the loop hears.
enum Heard {
    Listener(Birth, FromListener),
    Worker(Birth, FromWorker),
    /// The child's link broke the rules.
    Malformed(Role, Birth),
    Ended(Role, Birth, Exit),
    UpdaterEnded(OrderId, Exit),
    /// A restart's wait is over.
    Start(Role),
}

/// Runs until a signal ends it.
///
/// # Errors
/// A child could not be started, or died before it ever served.
pub async fn run(estate: Estate, mut asked: mpsc::Receiver<Ask>) -> Result<(), Box<dyn Error>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (ears, mut heard) = mpsc::channel(1024);
    let mut supervisor = Supervisor::new(estate, ears);
    supervisor.start_both()?;
    let name = loop {
        tokio::select! {
            _ = term.recv() => break "SIGTERM",
            _ = int.recv() => break "SIGINT",
            Some(heard) = heard.recv() => supervisor.hear(heard)?,
            Some(ask) = asked.recv() => supervisor.answer(ask),
        }
    };
    journal::stopping(name);
    supervisor.stop();
    let grace = tokio::time::sleep(GRACE);
    tokio::pin!(grace);
    while !supervisor.is_alone() {
        tokio::select! {
            () = &mut grace => break,
            Some(heard) = heard.recv() => supervisor.hear(heard)?,
            Some(ask) = asked.recv() => supervisor.answer(ask),
        }
    }
    journal::stopped(supervisor.kill_all());
    while !supervisor.is_alone() {
        match heard.recv().await {
            Some(heard) => supervisor.hear(heard)?,
            None => break,
        }
    }
    Ok(())
}

/// A running listener or worker.
struct Child<M> {
    birth: Birth,
    process: Process,
    sender: Sender<M>,
    ready: bool,
}

struct Supervisor {
    estate: Estate,
    journal: Journal,
    ledger: Ledger,
    survey: Survey,
    ears: mpsc::Sender<Heard>,
    births: Birth,
    listener: Option<Child<ToListener>>,
    worker: Option<Child<ToWorker>>,
    updates: Updates,
    listener_restart: Restart,
    worker_restart: Restart,
    /// The running worker's newest job link, as the worker counts them.
    job_link: u32,
    /// A worker is due, and starts when the updaters of the one before have ended.
    worker_waits: bool,
    served: bool,
    /// The state file was set aside: the worker's next start may well succeed.
    state_is_new: bool,
    stopping: bool,
}

impl Supervisor {
    fn new(estate: Estate, ears: mpsc::Sender<Heard>) -> Self {
        let now = Instant::now();
        estate.ledger.configure(estate.sealed.infos());
        Self {
            journal: Journal::new(estate.sealed.names.clone(), estate.ledger.clone()),
            ledger: estate.ledger.clone(),
            survey: Survey::default(),
            updates: Updates::new(estate.threads),
            estate,
            ears,
            births: 0,
            listener: None,
            worker: None,
            listener_restart: Restart::new(now),
            worker_restart: Restart::new(now),
            job_link: 0,
            worker_waits: false,
            served: false,
            state_is_new: false,
            stopping: false,
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), Box<dyn Error>> {
        match heard {
            Heard::Listener(birth, said) => self.hear_listener(birth, said),
            Heard::Worker(birth, said) => self.hear_worker(birth, said),
            Heard::Malformed(role, birth) => self.accuse(role, birth, "a malformed message"),
            Heard::Ended(role, birth, exit) => self.bury(role, birth, exit)?,
            Heard::UpdaterEnded(order, exit) => self.hear_updater_ended(order, exit),
            Heard::Start(role) => self.restart(role),
        }
        Ok(())
    }

    fn hear_listener(&mut self, birth: Birth, said: FromListener) {
        let Some(listener) = self.listener.as_mut().filter(|listener| listener.birth == birth) else { return };
        match said {
            FromListener::Ready { .. } if listener.ready => self.accuse(Role::Listener, birth, "ready twice"),
            FromListener::Ready { landlock } => {
                listener.ready = true;
                journal::process_confined(Role::Listener, listener.process.pid, landlock);
                self.ledger.confined(Role::Listener, landlock);
                self.say_ready();
            }
            // Both are written where they are read: see `listen_to_listener`.
            FromListener::Delivery(_) | FromListener::Lost(_) => {}
        }
    }

    fn hear_worker(&mut self, birth: Birth, said: FromWorker) {
        let Some(worker) = self.worker.as_mut().filter(|worker| worker.birth == birth) else { return };
        match said {
            FromWorker::Ready { .. } if worker.ready => self.accuse(Role::Worker, birth, "ready twice"),
            FromWorker::Ready { landlock } => {
                worker.ready = true;
                journal::process_confined(Role::Worker, worker.process.pid, landlock);
                self.ledger.confined(Role::Worker, landlock);
                self.say_ready();
            }
            FromWorker::Order(order, repo) => self.start_update(birth, order, repo),
            FromWorker::Update(event) => self.journal.update(&event),
            FromWorker::Marked(repo, _) => self.ledger.marked(repo),
            FromWorker::Step(order, step) => {
                if let Some(repo) = self.updates.repo_of(order) {
                    self.ledger.step(repo, step);
                }
            }
            FromWorker::Page(page) => {
                if !self.hear_page(page) {
                    self.accuse(Role::Worker, birth, "a page that nobody asked for");
                }
            }
            FromWorker::Violation(Culprit::Listener(link)) => {
                if let Some(birth) = self.listener.as_ref().map(|listener| listener.birth).filter(|_| link == self.job_link) {
                    self.accuse(Role::Listener, birth, "a job that no honest listener sends");
                }
            }
            FromWorker::Violation(Culprit::Updater(order)) => self.updates.kill(order, "a report that no honest updater sends"),
            FromWorker::StateUnusable => self.set_state_aside(),
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
        }
    }

    fn start_update(&mut self, birth: Birth, order: OrderId, repo: RepoId) {
        let briefs = &self.estate.sealed.updaters;
        if let Err(offence) = self.updates.check(order, repo, briefs) {
            return self.accuse(Role::Worker, birth, offence.0);
        }
        let ears = self.ears.clone();
        let ended = move |exit| tell_later(ears, Heard::UpdaterEnded(order, exit));
        let needs = Needs { roster: &self.estate.roster, briefs, name: self.journal.name(repo) };
        match self.updates.start(order, repo, &needs, ended) {
            Ok(socket) => self.tell_worker(|worker| worker.send_with(&ToWorker::Updater(order), socket)),
            Err(error) => {
                journal::process_not_started(Role::Updater, &error);
                self.tell_worker(|worker| worker.send(&ToWorker::Ended(order, Ended::NotStarted)));
            }
        }
    }

    fn hear_updater_ended(&mut self, order: OrderId, exit: Exit) {
        self.updates.ended(order, exit);
        if self.worker.is_some() {
            self.tell_worker(|worker| worker.send(&ToWorker::Ended(order, updates::as_told(exit))));
        } else if self.worker_waits {
            self.start_worker_when_free();
        }
    }

    fn tell_worker(&self, say: impl FnOnce(&Sender<ToWorker>) -> Result<(), link::NotTaken>) {
        if let Some(worker) = &self.worker {
            self.tell(Role::Worker, worker, say);
        }
    }

    fn tell_listener(&self, say: impl FnOnce(&Sender<ToListener>) -> Result<(), link::NotTaken>) {
        if let Some(listener) = &self.listener {
            self.tell(Role::Listener, listener, say);
        }
    }

    /// Tells a child something. One that does not take it is ended; its end starts the next.
    fn tell<M: Message>(&self, role: Role, child: &Child<M>, say: impl FnOnce(&Sender<M>) -> Result<(), link::NotTaken>) {
        match say(&child.sender) {
            Ok(()) => {}
            // It is dying, or deaf.
            Err(_) if child.sender.is_closed() => child.process.kill(),
            Err(_) => self.accuse(role, child.birth, "it does not read what it is told"),
        }
    }

    /// Ends a child that broke the rules; its end starts the next.
    fn accuse(&self, role: Role, birth: Birth, detail: &'static str) {
        let process = match role {
            Role::Listener => self.listener.as_ref().filter(|child| child.birth == birth).map(|child| &child.process),
            Role::Worker => self.worker.as_ref().filter(|child| child.birth == birth).map(|child| &child.process),
            Role::Updater => None,
        };
        if let Some(process) = process {
            journal::violation(role, process.pid, detail);
            process.kill();
        }
    }

    /// A listener or worker has ended: plans the next one.
    fn bury(&mut self, role: Role, birth: Birth, exit: Exit) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        let (process, ready, restart) = match role {
            Role::Listener => match self.listener.take_if(|child| child.birth == birth) {
                Some(child) => (child.process, child.ready, &mut self.listener_restart),
                None => return Ok(()),
            },
            Role::Worker => match self.worker.take_if(|child| child.birth == birth) {
                Some(child) => (child.process, child.ready, &mut self.worker_restart),
                None => return Ok(()),
            },
            Role::Updater => return Ok(()),
        };
        if exit.is_forbidden_call() {
            journal::violation(role, process.pid, "a system call that it has no use for");
        }
        if role == Role::Worker {
            // Nobody is left who could hear of their ends; the next worker compares everything.
            self.updates.kill_all();
            self.survey.give_up();
            self.ledger.worker_gone();
        }
        if self.stopping {
            journal::process_ended(role, process.pid, exit, now - process.since, None);
            return Ok(());
        }
        let wait = restart.died(ready, now);
        journal::process_ended(role, process.pid, exit, now - process.since, Some(wait));
        if !self.served && !ready && !std::mem::take(&mut self.state_is_new) {
            return Err(format!("{} did not start; the lines above say why", role.name()).into());
        }
        self.start_later(role, wait);
        Ok(())
    }

    fn start_later(&self, role: Role, wait: Duration) {
        let ears = self.ears.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            hand_on(&ears, Heard::Start(role)).await;
        });
    }

    fn restart(&mut self, role: Role) {
        if self.stopping {
            return;
        }
        match role {
            Role::Listener => {
                let started = self.restart_listener();
                self.retry_start(role, started);
            }
            Role::Worker => {
                self.worker_waits = true;
                self.start_worker_when_free();
            }
            Role::Updater => {}
        }
    }

    fn restart_listener(&mut self) -> io::Result<()> {
        let (for_listener, for_worker) = UnixStream::pair()?;
        self.job_link = self.job_link.wrapping_add(1);
        self.tell_worker(|worker| worker.send_with(&ToWorker::Listener, for_worker.into()));
        self.tell_worker(|worker| worker.send(&ToWorker::Reconcile));
        self.start_listener(for_listener.into())
    }

    fn start_worker_when_free(&mut self) {
        if self.updates.running() > 0 || self.stopping {
            return;
        }
        self.worker_waits = false;
        self.updates.forget_numbers();
        let started = UnixStream::pair().and_then(|(for_listener, for_worker)| {
            self.start_worker(for_worker.into())?;
            Ok(for_listener)
        });
        let started = started.map(|for_listener| {
            self.tell_listener(|listener| listener.send_with(&ToListener::Worker, for_listener.into()));
        });
        self.retry_start(Role::Worker, started);
    }

    /// A child that could not even be started is one that died before it served.
    fn retry_start(&mut self, role: Role, started: io::Result<()>) {
        let Err(error) = started else { return };
        journal::process_not_started(role, &error);
        let restart = if role == Role::Worker { &mut self.worker_restart } else { &mut self.listener_restart };
        let wait = restart.died(false, Instant::now());
        self.start_later(role, wait);
    }

    fn start_both(&mut self) -> io::Result<()> {
        let (for_listener, for_worker) = UnixStream::pair()?;
        self.start_worker(for_worker.into())?;
        self.start_listener(for_listener.into())
    }

    /// A copy of the listening socket, for a listener. One that was owned may have shut the socket
    /// down, and every copy of it with it: then another is bound.
    fn socket(&mut self) -> io::Result<OwnedFd> {
        if let Some(socket) = self.estate.socket.take_if(|socket| !places::is_listening(socket)) {
            journal::socket_shut_down(self.estate.listen);
            // It keeps the port until it is closed.
            drop(socket);
        }
        match &self.estate.socket {
            Some(socket) => socket.try_clone(),
            None => self.estate.socket.insert(places::listen(self.estate.listen)?).try_clone(),
        }
    }

    fn start_listener(&mut self, to_worker: OwnedFd) -> io::Result<()> {
        let socket = self.socket()?;
        let estate = &self.estate;
        let own = vec![(to_worker, descriptors::PEER), (estate.sealed.listener()?, descriptors::BRIEF), (socket, descriptors::OWN)];
        let (birth, process, link) = self.start(Role::Listener, own)?;
        let (sender, receiver) = link::open(link)?;
        let (ears, journal) = (self.ears.clone(), self.journal.clone());
        tokio::spawn(listen_to_listener(receiver, birth, ears, journal));
        self.listener = Some(Child { birth, process, sender, ready: false });
        Ok(())
    }

    fn start_worker(&mut self, to_listener: OwnedFd) -> io::Result<()> {
        let estate = &self.estate;
        let own =
            vec![(to_listener, descriptors::PEER), (estate.sealed.worker()?, descriptors::BRIEF), (estate.state.file()?, descriptors::OWN)];
        let (birth, process, link) = self.start(Role::Worker, own)?;
        let (sender, receiver) = link::open(link)?;
        let ears = self.ears.clone();
        tokio::spawn(listen_to_worker(receiver, birth, ears));
        self.job_link = 0;
        self.worker = Some(Child { birth, process, sender, ready: false });
        Ok(())
    }

    fn start(&mut self, role: Role, mut given: Vec<(OwnedFd, RawFd)>) -> io::Result<(Birth, Process, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        given.push((theirs.into(), descriptors::SUPERVISOR));
        let (log, reader) = output::pipe()?;
        let command = self.estate.roster.command(role, given, log)?;
        self.births += 1;
        let (birth, ears) = (self.births, self.ears.clone());
        let process = process::start(command, None, move |exit| tell_later(ears, Heard::Ended(role, birth, exit)))?;
        reader.log(role, process.pid, None);
        journal::process_started(role, process.pid, self.estate.roster.account(role));
        self.ledger.started(role);
        Ok((birth, process, ours.into()))
    }

    /// Asks everyone to end: the listener once it has answered, the worker once nothing runs.
    fn stop(&mut self) {
        self.stopping = true;
        // A child that does not take this is killed when the grace is over.
        if let Some(listener) = &self.listener {
            let _ = listener.sender.send(&ToListener::Drain);
        }
        if let Some(worker) = &self.worker {
            let _ = worker.sender.send(&ToWorker::Stop);
        }
    }

    fn is_alone(&self) -> bool {
        self.listener.is_none() && self.worker.is_none() && self.updates.running() == 0
    }

    /// Ends what is left. Answers how many that were.
    fn kill_all(&self) -> usize {
        let children = self.listener.iter().map(|child| &child.process).chain(self.worker.iter().map(|child| &child.process));
        let left = children.map(Process::kill).count() + self.updates.running();
        self.updates.kill_all();
        left
    }
}

/// Deliveries come by the ten thousand a second: they are written right here, and only the rest
/// goes through the loop.
async fn listen_to_listener(mut receiver: link::Receiver<FromListener>, birth: Birth, ears: mpsc::Sender<Heard>, journal: Journal) {
    loop {
        match receiver.recv().await {
            Ok(Some(FromListener::Delivery(event))) => journal.delivery(&event),
            Ok(Some(FromListener::Lost(count))) => journal::lost(count),
            Ok(Some(said @ FromListener::Ready { .. })) => hand_on(&ears, Heard::Listener(birth, said)).await,
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
    // A link that just ends is a process that ends: its own end says more.
    if let Err(LinkError::Wire(_)) = end {
        hand_on(ears, Heard::Malformed(role, birth)).await;
    }
}

async fn hand_on(ears: &mpsc::Sender<Heard>, heard: Heard) {
    // The loop is gone only when the supervisor ends.
    let _ = ears.send(heard).await;
}

/// For callbacks, which can't wait.
fn tell_later(ears: mpsc::Sender<Heard>, heard: Heard) {
    tokio::spawn(async move { hand_on(&ears, heard).await });
}
