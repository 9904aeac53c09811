//! What the supervisor remembers of what its children told: for each repository how it stands, and for
//! all of them what happened last. Runs in the supervisor; believes nothing, acts on nothing.

use super::book::{Book, Configured};
use super::history::History;
use super::tally::Tally;
use crate::audit::{DeliveryEvent, DeliveryResult, Step, UpdateEvent, UpdateResult};
use crate::confine::Role;
use crate::ids::{Moment, RepoId};
use crate::wire::control::{Record, What};
use crate::wire::order::Progress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Events that one watcher may leave unread. Memory is taken only for those that are.
const UNREAD: usize = 65_536;

/// What a watcher hears, in the order in which it happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// The worker has marked the repository for an operator.
    Marked(RepoId),
    /// Its update begins a step.
    Step(RepoId, Step),
    /// How far its update is.
    Progress(RepoId, Progress),
    /// Its update started or ended.
    Update(RepoId, UpdateResult),
    /// A reload has removed it; its name.
    Removed(RepoId, Arc<str>),
    /// The worker has ended, and its marks with it; the next one compares everything.
    WorkerGone,
}

/// The ledger; clones share it. All of them are used on the supervisor's one thread.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Pages>>);

/// What stands in it.
pub struct Pages {
    /// How it stands with each repository.
    pub book: Book,
    /// What happened.
    pub history: History,
    /// How often.
    pub tally: Tally,
    /// When the gateway started.
    pub since: Moment,
    /// How long a repository may fail before that is an alert.
    pub alert_after: Duration,
    landlock: BTreeMap<&'static str, u8>,
    watchers: Vec<mpsc::Sender<Event>>,
    followers: Vec<mpsc::Sender<Record>>,
}

impl Ledger {
    /// Begins with what the history knows of.
    pub fn new(history: History) -> Self {
        Self(Arc::new(Mutex::new(Pages {
            book: Book::default(),
            history,
            tally: Tally::default(),
            since: Moment::now(),
            alert_after: Duration::MAX,
            landlock: BTreeMap::new(),
            watchers: Vec::new(),
            followers: Vec::new(),
        })))
    }

    /// Looks into it. A closure, so that nobody holds it longer than meant: all share one thread, and
    /// one who waited for himself would wait for ever.
    pub fn read<T>(&self, look: impl FnOnce(&Pages) -> T) -> T {
        look(&self.open())
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A configuration is in force.
    pub fn configure<'a>(&self, repos: impl Iterator<Item = Configured<'a>>, alert_after: Duration) {
        let mut pages = self.open();
        pages.alert_after = alert_after;
        let Pages { book, history, .. } = &mut *pages;
        let removed = book.configure(repos, history.records());
        removed.into_iter().for_each(|(repo, name)| pages.tell(Event::Removed(repo, name)));
    }

    /// A request was answered.
    pub fn delivery(&self, event: &DeliveryEvent) {
        let (at, now) = (Moment::now(), Instant::now());
        let mut pages = self.open();
        pages.tally.delivery(event);
        let name = event.repo.and_then(|repo| pages.book.name(repo));
        if let (Some(repo), DeliveryResult::Accepted { .. } | DeliveryResult::Ignored(_)) = (event.repo, event.result) {
            pages.book.delivery(repo, event, at);
        }
        let claimed_pusher = event.pusher.clone();
        let what = What::Delivery { source: event.source, id: event.delivery, result: event.result, claimed_pusher };
        pages.keep(Record { at, repo: name, what }, now);
    }

    /// An update started or ended.
    pub fn update(&self, event: &UpdateEvent) {
        let (at, now) = (Moment::now(), Instant::now());
        let mut pages = self.open();
        pages.tally.update(event);
        pages.book.update(event, at, now);
        pages.tell(Event::Update(event.repo, event.result));
        if event.result != UpdateResult::Started {
            let what = What::Update { update: Some(event.update), cause: event.cause, delivery: event.delivery, result: event.result };
            let repo = pages.book.name(event.repo);
            pages.keep(Record { at, repo, what }, now);
        }
    }

    /// A hook ended.
    pub fn hook(&self, repo: &str, hook: What) {
        self.open().keep(Record { at: Moment::now(), repo: Some(repo.into()), what: hook }, Instant::now());
    }

    /// A running update begins a step.
    pub fn step(&self, repo: RepoId, step: Step) {
        let mut pages = self.open();
        pages.book.step(repo, step);
        pages.tell(Event::Step(repo, step));
    }

    /// How far a running update is: told, and not remembered.
    pub fn progress(&self, repo: RepoId, progress: Progress) {
        self.open().tell(Event::Progress(repo, progress));
    }

    /// The worker has marked a repository for an operator.
    pub fn marked(&self, repo: RepoId) {
        self.open().tell(Event::Marked(repo));
    }

    /// A process of a role was started.
    pub fn started(&self, role: Role) {
        self.open().tally.started(role.name());
    }

    /// A process is confined: what it told before it heard anything from outside.
    pub fn confined(&self, role: Role, landlock: u8) {
        self.open().landlock.insert(role.name(), landlock);
    }

    /// The worker has ended.
    pub fn worker_gone(&self) {
        let mut pages = self.open();
        pages.book.worker_gone();
        pages.tell(Event::WorkerGone);
    }

    /// Hears every event from now on. One who does not keep up hears the end.
    pub fn watch(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(UNREAD);
        self.open().watchers.push(sender);
        receiver
    }

    /// Hears every record from now on, as [`Ledger::watch`].
    pub fn follow(&self) -> mpsc::Receiver<Record> {
        let (sender, receiver) = mpsc::channel(UNREAD);
        self.open().followers.push(sender);
        receiver
    }
}

impl Pages {
    /// The version of Landlock of a role's process.
    pub fn landlock(&self, name: &str) -> Option<u8> {
        self.landlock.get(name).copied()
    }

    fn tell(&mut self, event: Event) {
        self.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
    }

    fn keep(&mut self, record: Record, now: Instant) {
        if self.history.keep(&record, now) {
            self.followers.retain(|follower| follower.try_send(record.clone()).is_ok());
        }
    }
}
