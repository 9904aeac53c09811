//! The worker's loop: hears the supervisor, the listener, its updaters and the clock, and orders
//! what is due. Runs in the worker, one thread.

use super::brief::Brief;
use super::calendar::Calendar;
use super::dispatch::{Closing, Dispatch, Heard};
use super::due::{Due, Mark};
use super::hooks::{Ending, Hooks};
use super::inbox::Inbox;
use super::reconcile::Reconcile;
use super::state::State;
use crate::audit::{Cause, ReconcileCause, UpdateResult};
use crate::confine::descriptors;
use crate::confine::enter::Level;
use crate::ids::{DirectoryId, Generation, Moment, OrderId, RepoId};
use crate::link::{self, LinkError, Receiver, Sender};
use crate::wire::WireError;
use crate::wire::job::{Job, JobAnswer};
use crate::wire::worker::{Culprit, Fact, FromWorker, HookEnded, Page, ToWorker};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Runs until the supervisor ends it, or until it has stopped as asked.
///
/// # Errors
/// The supervisor's link broke.
pub async fn run(supervisor: OwnedFd, listener: OwnedFd, brief: Brief, state: Result<State, redb::Error>, level: Level) -> io::Result<()> {
    let (supervisor, mut orders) = link::open::<FromWorker, ToWorker>(supervisor)?;
    let state = match state {
        Ok(state) => state,
        Err(error) => {
            eprintln!("the state file can't be used: {error}");
            say(&supervisor, &FromWorker::StateUnusable)?;
            supervisor.flushed().await;
            return Ok(());
        }
    };
    let (told, mut reports) = mpsc::unbounded_channel();
    let (read, mut briefs) = mpsc::unbounded_channel();
    let mut worker = Worker::new(supervisor, brief, state, told, read);
    worker.new_listener(listener)?;
    say(&worker.supervisor, &FromWorker::Ready { landlock: level.landlock })?;
    worker.reconcile(ReconcileCause::Start, Instant::now())?;
    loop {
        let ordered = worker.order_what_is_due()?;
        if !ordered.is_empty() {
            // Orders and acknowledgements go out now: what follows waits for the disk.
            tokio::task::yield_now().await;
            worker.begin(&ordered);
        }
        if worker.is_done() {
            worker.supervisor.flushed().await;
            return Ok(());
        }
        let wake = worker.wake();
        tokio::select! {
            said = orders.recv() => match said.map_err(io::Error::other)? {
                None => return Ok(()),
                Some(said) => worker.hear_supervisor(said, &mut orders)?,
            },
            (place, job) = poll_fn(|cx| next_job(&mut worker.listeners, cx)) => worker.hear_listener(place, job)?,
            Some(heard) = reports.recv() => worker.hear_updater(heard)?,
            Some((generation, brief)) = briefs.recv() => worker.prepared(generation, brief)?,
            () = tokio::time::sleep_until(wake.into()) => worker.reconcile_by_clock()?,
        }
    }
}

/// One listener's end of things.
struct Listener {
    /// Which link this is, counted from this worker's start.
    link: u32,
    answers: Sender<JobAnswer>,
    jobs: Receiver<Job>,
    inbox: Inbox,
}

struct Worker {
    supervisor: Sender<FromWorker>,
    /// The one that serves, and those before it that a reload has told to drain.
    listeners: Vec<Listener>,
    /// Job links so far.
    links: u32,
    brief: Brief,
    /// The reload whose brief is being read, or was.
    asked: Option<Generation>,
    /// That brief: it may yet come to nothing.
    prepared: Option<Brief>,
    /// Where a brief goes when it is read.
    read: mpsc::UnboundedSender<(Generation, io::Result<Brief>)>,
    state: State,
    due: Due,
    dispatch: Dispatch,
    hooks: Hooks,
    stopping: bool,
    /// Nothing is started for now.
    holding: bool,
    calendar: Calendar,
    /// The comparison that runs.
    reconcile: Reconcile,
}

impl Worker {
    fn new(
        supervisor: Sender<FromWorker>,
        brief: Brief,
        state: State,
        told: mpsc::UnboundedSender<Heard>,
        read: mpsc::UnboundedSender<(Generation, io::Result<Brief>)>,
    ) -> Self {
        let hooks = Hooks::new(brief.schedule);
        let calendar = Calendar::new(brief.schedule.reconcile(), Instant::now(), chance());
        let due = Due::new(brief.schedule, brief.repos.keys().copied()).numbered_since(Moment::now());
        Self {
            supervisor,
            listeners: Vec::new(),
            links: 0,
            brief,
            asked: None,
            prepared: None,
            read,
            state,
            due,
            dispatch: Dispatch::new(told),
            hooks,
            stopping: false,
            holding: false,
            calendar,
            reconcile: Reconcile::default(),
        }
    }

    /// Marks every repository for comparison with its remote, but those that wait for their first push.
    fn reconcile(&mut self, cause: ReconcileCause, now: Instant) -> io::Result<()> {
        let compared = self.brief.repos.values().filter(|repo| repo.reconcile || self.state.knows(repo.directory));
        let compared: BTreeSet<RepoId> = compared.map(|repo| repo.id).collect();
        for repo in &compared {
            self.due.mark(*repo, Mark::RECONCILE, now);
        }
        self.tell_reconcile(cause, compared, now)
    }

    fn tell_reconcile(&mut self, cause: ReconcileCause, compared: BTreeSet<RepoId>, now: Instant) -> io::Result<()> {
        let told = self.reconcile.begin(cause, compared, now);
        told.into_iter().try_for_each(|event| say(&self.supervisor, &FromWorker::Reconcile(event)))
    }

    /// A repository's first push is written down before it is acknowledged: the worker that starts
    /// after a crash would else not compare it.
    fn remember(&mut self, repo: RepoId) {
        if let Some(repo) = self.brief.repos.get(&repo)
            && !repo.reconcile
            && !self.state.knows(repo.directory)
            && let Err(error) = self.state.begin(repo.directory)
        {
            eprintln!("the state could not be written: {error}");
        }
    }

    fn new_listener(&mut self, socket: OwnedFd) -> io::Result<()> {
        let (answers, jobs) = link::open(socket)?;
        self.listeners.push(Listener { link: self.links, answers, jobs, inbox: Inbox::new(self.brief.highest()) });
        self.links = self.links.wrapping_add(1);
        Ok(())
    }

    fn hear_supervisor(&mut self, said: ToWorker, link: &mut Receiver<ToWorker>) -> io::Result<()> {
        let mut descriptor = || link.take_descriptor().ok_or_else(|| io::Error::other("the supervisor sent no descriptor"));
        match said {
            ToWorker::Listener => self.new_listener(descriptor()?),
            ToWorker::Updater(order) => self.dispatch.link(order, descriptor()?, &self.brief, &self.state),
            ToWorker::Prepare(generation) => {
                let (brief, read) = (descriptors::Brief::of(descriptor()?.into()), self.read.clone());
                (self.asked, self.prepared) = (Some(generation), None);
                tokio::spawn(async move {
                    // The loop is gone only when the worker ends.
                    let _ = read.send((generation, Brief::read(brief).await));
                });
                Ok(())
            }
            ToWorker::Commit(generation) => self.commit(generation),
            ToWorker::Abandon => {
                (self.asked, self.prepared) = (None, None);
                Ok(())
            }
            ToWorker::Ping => say(&self.supervisor, &FromWorker::Alive),
            ToWorker::Reconcile => self.reconcile_after_crash(Instant::now()),
            ToWorker::Ended(order, how) => {
                self.dispatch.ended(order, how);
                self.close(order)
            }
            ToWorker::HookEnded(repo, how) => self.end_hook(repo, how),
            ToWorker::Update(repo) => self.mark_for_operator(repo),
            ToWorker::Survey(from) => self.tell_page(from),
            ToWorker::Recall(tree) => say(&self.supervisor, &FromWorker::Recalled(tree, self.state.tree(tree).deployed)),
            ToWorker::Forget(tree) => {
                if let Err(error) = self.state.forget(tree) {
                    eprintln!("the state could not be written: {error}");
                }
                Ok(())
            }
            ToWorker::Stop => {
                self.stopping = true;
                Ok(())
            }
            ToWorker::Hold => {
                self.holding = true;
                say(&self.supervisor, &FromWorker::Holds)
            }
            ToWorker::Resume => {
                self.holding = false;
                Ok(())
            }
        }
    }

    /// A brief was read; by now nobody may want it.
    fn prepared(&mut self, generation: Generation, brief: io::Result<Brief>) -> io::Result<()> {
        if self.asked != Some(generation) {
            return Ok(());
        }
        match brief {
            Ok(brief) => {
                self.prepared = Some(brief);
                say(&self.supervisor, &FromWorker::Prepared(generation))
            }
            Err(error) => {
                eprintln!("the brief: {error}");
                say(&self.supervisor, &FromWorker::Unusable(generation))
            }
        }
    }

    /// From here on all is of the new brief. Updates that run were given what they need, and go on.
    fn commit(&mut self, generation: Generation) -> io::Result<()> {
        let asked = self.asked.take() == Some(generation);
        let brief = self
            .prepared
            .take()
            .filter(|_| asked)
            .ok_or_else(|| io::Error::other("the supervisor committed a brief that was not prepared"))?;
        let now = Instant::now();
        let before = std::mem::replace(&mut self.brief, brief);
        self.due.rebrief(self.brief.schedule, self.brief.repos.keys().copied());
        self.hooks.rebrief(self.brief.schedule, &self.brief.repos);
        let renewed = self.brief.renewed(&before).filter(|repo| repo.reconcile || self.state.knows(repo.directory));
        let mut compared: BTreeSet<RepoId> = renewed.map(|repo| repo.id).collect();
        for repo in &compared {
            self.due.renew(*repo, now);
        }
        self.calendar.rebrief(self.brief.schedule.reconcile(), now, chance());
        say(&self.supervisor, &FromWorker::Committed(generation))?;
        // What the comparison that runs had left is compared by this one, but for what is gone.
        compared.extend(self.reconcile.left().filter(|repo| self.brief.repos.contains_key(repo)));
        if compared.is_empty() && self.reconcile.left().next().is_none() {
            Ok(())
        } else {
            self.tell_reconcile(ReconcileCause::Reload, compared, now)
        }
    }

    /// The answer goes out before what it leads to: whoever waits takes no earlier update for it.
    fn mark_for_operator(&mut self, repo: RepoId) -> io::Result<()> {
        self.remember(repo);
        let verdict = self.due.mark(repo, Mark::of(Cause::Operator), Instant::now());
        say(&self.supervisor, &FromWorker::Marked(repo, verdict))
    }

    fn tell_page(&self, from: RepoId) -> io::Result<()> {
        let mut standings = self.due.standings(from, Instant::now());
        let fact = |(repo, standing)| {
            let deployed = self.brief.repos.get(&repo).and_then(|known| self.state.tree(known.directory).deployed);
            Fact { repo, deployed, standing }
        };
        let facts = standings.by_ref().take(Page::FACTS).map(fact).collect();
        let more = standings.next().is_some();
        say(&self.supervisor, &FromWorker::Page(Page { facts, more }))
    }

    /// Answers the job that came from the listener at that place, and all that came with it.
    fn hear_listener(&mut self, place: usize, first: Result<Option<Job>, LinkError>) -> io::Result<()> {
        let mut next = first;
        let now = Instant::now();
        loop {
            let job = match next {
                Ok(Some(job)) => job,
                // Its end, which may come in the middle of a message.
                Ok(None) | Err(LinkError::Io(_) | LinkError::Wire(WireError::Truncated)) => {
                    self.listeners.swap_remove(place);
                    return Ok(());
                }
                Err(LinkError::Wire(WireError::TooLong(_) | WireError::Malformed)) => return self.accuse_listener(place),
            };
            let Some(listener) = self.listeners.get_mut(place) else { return Ok(()) };
            if listener.inbox.check(&job).is_err() {
                return self.accuse_listener(place);
            }
            self.remember(job.repo);
            let mark = Mark { announced: job.announced, delivery: job.delivery, ..Mark::of(Cause::Delivery) };
            let answer = JobAnswer { number: job.number, verdict: self.due.mark(job.repo, mark, now) };
            let Some(listener) = self.listeners.get_mut(place) else { return Ok(()) };
            match listener.answers.send(&answer) {
                Ok(()) => {}
                // It died before it heard all answers, and the senders got none.
                Err(_) if listener.answers.is_closed() => {
                    self.listeners.swap_remove(place);
                    return Ok(());
                }
                Err(_) => return self.accuse_listener(place),
            }
            next = match listener.jobs.recv_ready() {
                Ok(None) => return Ok(()),
                more => more,
            };
        }
    }

    fn hear_updater(&mut self, heard: Heard) -> io::Result<()> {
        let told = match heard {
            Heard::Progress(order, progress) => return say(&self.supervisor, &FromWorker::Progress(order, progress)),
            Heard::Confined(order, landlock) => return say(&self.supervisor, &FromWorker::Confined(order, landlock)),
            Heard::Step(order, step) => return say(&self.supervisor, &FromWorker::Step(order, step)),
            Heard::End(told) => told,
        };
        let order = told.order;
        if told.report.is_err() {
            say(&self.supervisor, &FromWorker::Violation(Culprit::Updater(order)))?;
        }
        if let (Some(key), Some(repo)) = (told.host_key, self.dispatch.repo(order)) {
            say(&self.supervisor, &FromWorker::HostKeyRefused(repo, key))?;
        }
        self.dispatch.told(told);
        self.close(order)
    }

    fn accuse_listener(&mut self, place: usize) -> io::Result<()> {
        let listener = self.listeners.swap_remove(place);
        say(&self.supervisor, &FromWorker::Violation(Culprit::Listener(listener.link)))
    }

    fn close(&mut self, order: OrderId) -> io::Result<()> {
        let Self { due, state, hooks, brief, .. } = self;
        let closing = Closing { due, state, hooks, repos: &brief.repos, now: Instant::now(), chance: chance() };
        let gc_due = self.dispatch.gc_due(order);
        let events = self.dispatch.close(order, closing);
        // No event: the order's end is not whole yet.
        let gc_due = gc_due.filter(|_| !events.is_empty());
        for event in events {
            say(&self.supervisor, &FromWorker::Update(event))?;
            if let Some(end) = self.reconcile.hear(&event, Instant::now()) {
                say(&self.supervisor, &FromWorker::Reconcile(end))?;
            }
        }
        gc_due.map_or(Ok(()), |repo| say(&self.supervisor, &FromWorker::GcDue(repo)))
    }

    fn end_hook(&mut self, repo: RepoId, how: HookEnded) -> io::Result<()> {
        let Self { due, state, brief, .. } = self;
        let ending = Ending { due, state, repos: &brief.repos, now: Instant::now(), chance: chance() };
        let events = self.hooks.end(repo, how, ending);
        events.into_iter().try_for_each(|event| say(&self.supervisor, &FromWorker::Update(event)))
    }

    /// Orders updates and hooks, and says which work trees they are about to write.
    fn order_what_is_due(&mut self) -> io::Result<Vec<DirectoryId>> {
        let mut ordered = Vec::new();
        if !self.starts() {
            return Ok(ordered);
        }
        while let Some(hook) = self.hooks.start() {
            say(&self.supervisor, &FromWorker::Hook(hook.repo, hook.on(), hook.run, hook.update()))?;
        }
        let now = Instant::now();
        while let Some((repo, mark)) = self.due.start(now) {
            let tree = self.brief.repos.get(&repo).map(|repo| repo.directory);
            let order = self.dispatch.order(repo, tree, mark, now);
            say(&self.supervisor, &FromWorker::Order(order, repo))?;
            say(&self.supervisor, &FromWorker::Update(mark.event(repo, UpdateResult::Started)))?;
            ordered.extend(tree);
        }
        Ok(ordered)
    }

    /// Whether what is due is started.
    fn starts(&self) -> bool {
        !(self.stopping || self.holding)
    }

    /// Written, where they are new, while the updaters start; the key that lets them begin goes out after this.
    fn begin(&mut self, trees: &[DirectoryId]) {
        for tree in trees {
            if let Err(error) = self.state.begin(*tree) {
                eprintln!("the state could not be written: {error}");
            }
        }
    }

    fn is_done(&self) -> bool {
        self.stopping && self.dispatch.is_idle() && self.hooks.is_idle() && self.listeners.is_empty()
    }

    fn wake(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let due = self.due.wake().filter(|_| self.starts());
        [due, self.calendar.wake()].into_iter().flatten().fold(far, Instant::min)
    }

    fn reconcile_by_clock(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.calendar.take_due(now, chance()).map_or(Ok(()), |cause| self.reconcile(cause, now))
    }

    fn reconcile_after_crash(&mut self, now: Instant) -> io::Result<()> {
        if self.calendar.crashed(now) { self.reconcile(ReconcileCause::ListenerCrash, now) } else { Ok(()) }
    }
}

/// The next job of any listener, with the listener's place.
fn next_job(listeners: &mut [Listener], cx: &mut Context<'_>) -> Poll<(usize, Result<Option<Job>, LinkError>)> {
    for (place, listener) in listeners.iter_mut().enumerate() {
        if let Poll::Ready(job) = listener.jobs.poll_recv(cx) {
            return Poll::Ready((place, job));
        }
    }
    Poll::Pending
}

fn say(supervisor: &Sender<FromWorker>, message: &FromWorker) -> io::Result<()> {
    supervisor.send(message).map_err(|_| io::Error::other("the supervisor does not listen"))
}

/// A number that differs from process to process and call to call; nothing secret depends on it.
fn chance() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) & 0xffff_ffff) as u32
}
