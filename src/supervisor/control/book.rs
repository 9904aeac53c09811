//! How it stands with each repository, out of what was told of it. Pure: time comes as an argument.
//!
//! A repository is current because an update ended well: after the reset and the trigger, never because
//! something was fetched.

use crate::audit::{DeliveryEvent, DeliveryResult, Failure, Step, UpdateEvent, UpdateResult};
use crate::brief::updater::Brief;
use crate::ids::{CommitId, Moment, RepoId};
use crate::wire::control::{Delivery, Failing, Record, Repo, Update, What};
use crate::wire::worker::Fact;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the configuration says of a repository: its id, the path of its webhook, and what an updater is told.
pub type Configured<'a> = (RepoId, &'a Arc<str>, &'a Arc<Brief>);

/// All repositories.
#[derive(Default)]
pub struct Book {
    entries: BTreeMap<RepoId, Entry>,
}

#[derive(Clone)]
struct Entry {
    name: Arc<str>,
    brief: Arc<Brief>,
    story: Story,
}

/// What is remembered of a repository.
#[derive(Clone, Default)]
struct Story {
    delivery: Option<Delivery>,
    update: Option<Update>,
    deployed: Option<(CommitId, Moment)>,
    proved: Option<Moment>,
    /// Announced, and not known to be deployed; whether an update has begun since.
    announced: Option<(CommitId, bool)>,
    failing: Option<(Failing, Option<Instant>)>,
    running: bool,
    step: Option<Step>,
}

impl Book {
    /// Takes another configuration. What was known of a repository that is still there stays; of a new
    /// one, what the history tells. An id belongs to its work tree, whatever else is said of that. Gives those
    /// that are gone, with their names.
    pub fn configure<'a, 'h>(
        &mut self,
        repos: impl Iterator<Item = Configured<'a>>,
        history: impl Iterator<Item = &'h Record>,
    ) -> Vec<(RepoId, Arc<str>)> {
        let mut known = std::mem::take(&mut self.entries);
        let mut new: HashMap<Arc<str>, Story> = HashMap::new();
        for (id, name, brief) in repos {
            let story = known.remove(&id).map(|entry| entry.story);
            if story.is_none() {
                new.insert(Arc::clone(name), Story::default());
            }
            self.entries.insert(id, Entry { name: Arc::clone(name), brief: Arc::clone(brief), story: story.unwrap_or_default() });
        }
        self.recall(new, history);
        known.into_iter().map(|(id, entry)| (id, entry.name)).collect()
    }

    /// Begins the stories of new repositories with what the history tells.
    fn recall<'h>(&mut self, mut new: HashMap<Arc<str>, Story>, history: impl Iterator<Item = &'h Record>) {
        if new.is_empty() {
            return;
        }
        for record in history {
            if let Some(story) = record.repo.as_ref().and_then(|name| new.get_mut(name)) {
                story.remember(record);
            }
        }
        for entry in self.entries.values_mut() {
            if let Some(story) = new.remove(&entry.name) {
                entry.story = story;
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A repository's name.
    pub fn name(&self, repo: RepoId) -> Option<Arc<str>> {
        self.entries.get(&repo).map(|entry| Arc::clone(&entry.name))
    }

    /// All names, with their ids.
    pub fn names(&self) -> impl Iterator<Item = (RepoId, &Arc<str>)> {
        self.entries.iter().map(|(id, entry)| (*id, &entry.name))
    }

    /// An authentic delivery came.
    pub fn delivery(&mut self, repo: RepoId, event: &DeliveryEvent, at: Moment) {
        if let Some(entry) = self.entries.get_mut(&repo) {
            entry.story.deliver(Delivery { at, id: event.delivery, result: event.result });
        }
    }

    /// An update started or ended.
    pub fn update(&mut self, event: &UpdateEvent, at: Moment, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&event.repo) {
            entry.story.update(Update { at, cause: event.cause, result: event.result }, Some(now));
        }
    }

    /// The running update begins a step.
    pub fn step(&mut self, repo: RepoId, step: Step) {
        if let Some(entry) = self.entries.get_mut(&repo) {
            entry.story.step = Some(step);
        }
    }

    /// No update runs any more that anybody will tell of.
    pub fn worker_gone(&mut self) {
        for entry in self.entries.values_mut() {
            (entry.story.running, entry.story.step) = (false, None);
        }
    }

    /// How it stands, with what the worker tells, from an id on.
    pub fn repos<'a>(&'a self, from: RepoId, facts: Option<&'a BTreeMap<RepoId, Fact>>) -> impl Iterator<Item = (RepoId, Repo)> + 'a {
        self.entries.range(from..).map(move |(id, entry)| (*id, entry.shown(facts.and_then(|facts| facts.get(id)))))
    }

    /// For each repository: its name, seconds since it was proved current, and how long it has failed.
    pub fn ages(&self, at: Moment, now: Instant) -> impl Iterator<Item = (&str, Option<Duration>, Option<Duration>)> {
        self.entries.values().map(move |entry| {
            let story = &entry.story;
            (&*entry.name, story.proved.map(|proved| at.since(proved)), story.failing_for(at, now))
        })
    }
}

impl Entry {
    fn shown(&self, fact: Option<&Fact>) -> Repo {
        let Self { name, brief, story } = self;
        // The worker's state is what counts; the history knows since when.
        let deployed = fact.and_then(|fact| fact.deployed).or(story.deployed.map(|(commit, _)| commit));
        let since = story.deployed.filter(|(commit, _)| Some(*commit) == deployed).map(|(_, since)| since);
        Repo {
            name: Arc::clone(name),
            label: brief.label.to_string().into(),
            url: brief.url.as_str().into(),
            directory: brief.directory.to_string_lossy().into(),
            deployed,
            deployed_since: since,
            proved: story.proved,
            delivery: story.delivery,
            update: story.update,
            announced: story.announced.map(|(commit, _)| commit).filter(|commit| Some(*commit) != deployed),
            failing: story.failing.map(|(failing, _)| failing),
            standing: fact.map(|fact| fact.standing),
            step: story.step,
        }
    }
}

impl Story {
    /// As it is told by the history of another run.
    fn remember(&mut self, record: &Record) {
        match record.what {
            What::Delivery { result: DeliveryResult::Rejected(_), .. } => {}
            What::Delivery { id, result, .. } => self.deliver(Delivery { at: record.at, id, result }),
            What::Update { cause, result, .. } => self.update(Update { at: record.at, cause, result }, None),
            What::Hook { .. } => {}
        }
        // Each start compares everything with its remote.
        self.announced = None;
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.delivery = Some(delivery);
        if let DeliveryResult::Accepted { announced: Some(announced), .. } = delivery.result {
            let deployed = self.deployed.is_some_and(|(commit, _)| commit == announced);
            self.announced = (!deployed).then_some((announced, false));
        }
    }

    fn update(&mut self, update: Update, now: Option<Instant>) {
        (self.running, self.step) = (update.result == UpdateResult::Started, None);
        match update.result {
            UpdateResult::Started => {
                if let Some((_, begun)) = &mut self.announced {
                    *begun = true;
                }
                return;
            }
            UpdateResult::Current { new, .. } => {
                self.deploy(new, update.at);
                // One that came while this update ran has an update of its own still to come.
                self.announced = self.announced.filter(|(_, begun)| !begun);
            }
            UpdateResult::AnnouncedNotSeen { new, announced, .. } => {
                self.deploy(new, update.at);
                self.announced = Some((announced, true));
            }
            // The tree was deployed, as the event before this one said.
            UpdateResult::HookFailed { .. } => {}
            UpdateResult::Failed { failure, .. } => self.fail(failure, update.at, now),
        }
        self.update = Some(update);
    }

    fn deploy(&mut self, commit: CommitId, at: Moment) {
        if self.deployed.is_none_or(|(before, _)| before != commit) {
            self.deployed = Some((commit, at));
        }
        self.proved = Some(at);
        self.failing = None;
    }

    fn fail(&mut self, failure: Failure, at: Moment, now: Option<Instant>) {
        let before = self.failing.unwrap_or((Failing { since: at, tries: 0, failure }, now));
        let failing = Failing { since: before.0.since, tries: before.0.tries.saturating_add(1), failure };
        self.failing = Some((failing, before.1));
    }

    /// By the clock that never jumps, where it was looked at.
    fn failing_for(&self, at: Moment, now: Instant) -> Option<Duration> {
        self.failing.map(|(failing, since)| since.map_or_else(|| at.since(failing.since), |since| now - since))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::audit::{Cause, Ignored, Reason};
    use crate::brief::updater::Purpose;
    use crate::brief::{Label, LabelKind};
    use crate::ids::UpdateId;
    use crate::supervisor::trees::Tree;
    use std::net::{IpAddr, Ipv4Addr};

    const REPO: RepoId = RepoId::new(3);

    fn commit(byte: u8) -> CommitId {
        CommitId::from_bytes([byte; 20])
    }

    fn configure(book: &mut Book, repos: &[(RepoId, &str)], history: &[Record]) {
        let label = Label { kind: LabelKind::Branch, name: "main".into() };
        let tree = Tree { name: String::new(), url: "u".into(), label, remote: "origin".into(), trigger: None };
        let brief = Arc::new(tree.brief("/trees/a".into(), Purpose::Update));
        let names: Vec<Arc<str>> = repos.iter().map(|(_, name)| (*name).into()).collect();
        book.configure(repos.iter().zip(&names).map(|((id, _), name)| (*id, name, &brief)), history.iter());
    }

    fn book() -> Book {
        let mut book = Book::default();
        configure(&mut book, &[(REPO, "/a")], &[]);
        book
    }

    fn current(byte: u8) -> UpdateResult {
        UpdateResult::Current { old: None, new: commit(byte), forced: false, triggered: true, bytes: 0, ms: 1 }
    }

    fn failed() -> UpdateResult {
        let failure = Failure { step: Step::Fetch, reason: Reason::Network };
        UpdateResult::Failed { failure, attempt: 1, last: false, next_ms: 1, ms: 1 }
    }

    fn push(book: &mut Book, byte: u8, at: u64) {
        let result = DeliveryResult::Accepted { coalesced: false, announced: Some(commit(byte)), update: None };
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let event = DeliveryEvent { source, repo: Some(REPO), delivery: None, bytes: 0, micros: 0, result, pusher: None };
        book.delivery(REPO, &event, Moment::from_millis(at));
    }

    fn update(book: &mut Book, result: UpdateResult, at: u64) {
        let event = UpdateEvent { repo: REPO, update: UpdateId::NONE, cause: Cause::Delivery, delivery: None, result };
        book.update(&event, Moment::from_millis(at), Instant::now());
    }

    fn shown(book: &Book) -> Repo {
        book.repos(REPO, None).next().unwrap().1
    }

    #[test]
    fn deployed_is_what_an_update_ended_with_and_since_when_it_first_did() {
        let mut book = book();
        assert_eq!((shown(&book).deployed, shown(&book).proved), (None, None));
        for (result, at) in [(current(1), 10), (UpdateResult::Started, 20), (failed(), 30), (current(1), 40)] {
            update(&mut book, result, at);
        }
        let repo = shown(&book);
        assert_eq!((repo.deployed, repo.deployed_since), (Some(commit(1)), Some(Moment::from_millis(10))));
        assert_eq!((repo.proved, repo.failing), (Some(Moment::from_millis(40)), None));
    }

    #[test]
    fn a_commit_that_is_announced_during_an_update_is_still_awaited_after_it() {
        let mut book = book();
        push(&mut book, 1, 1);
        update(&mut book, UpdateResult::Started, 2);
        push(&mut book, 2, 3);
        update(&mut book, current(1), 4);
        assert_eq!(shown(&book).announced, Some(commit(2)));
        update(&mut book, UpdateResult::Started, 5);
        update(&mut book, current(3), 6);
        assert_eq!(shown(&book).announced, None, "what was deployed contains it, or the worker would say so");
    }

    #[test]
    fn failing_counts_from_the_first_failure_and_ends_with_success() {
        let mut book = book();
        update(&mut book, failed(), 100);
        update(&mut book, failed(), 200);
        let failing = shown(&book).failing.unwrap();
        assert_eq!((failing.since, failing.tries), (Moment::from_millis(100), 2));
        let later = Instant::now() + Duration::from_secs(60);
        // The wall clock was set back meanwhile.
        let (_, _, age) = book.ages(Moment::from_millis(0), later).next().unwrap();
        assert!(age.unwrap() >= Duration::from_secs(59));
        update(&mut book, current(1), 300);
        assert_eq!(shown(&book).failing, None);
    }

    #[test]
    fn another_configuration_keeps_what_is_still_there_and_reads_the_history_for_what_is_new() {
        let mut book = book();
        update(&mut book, current(1), 10);
        let record = |name: &str, what| Record { at: Moment::from_millis(5), repo: Some(name.into()), what };
        let history = [
            record("/new", What::Update { update: None, cause: Cause::Reconcile, delivery: None, result: current(7) }),
            record("/a", What::Update { update: None, cause: Cause::Reconcile, delivery: None, result: current(8) }),
            record("/gone", What::Update { update: None, cause: Cause::Reconcile, delivery: None, result: current(9) }),
        ];
        configure(&mut book, &[(REPO, "/a"), (RepoId::new(5), "/new")], &history);
        let deployed: Vec<_> = book.repos(RepoId::new(0), None).map(|(id, repo)| (id.number(), repo.deployed.unwrap())).collect();
        assert_eq!(deployed, [(3, commit(1)), (5, commit(7))]);
        // Another path, and the same directory: the same tree.
        configure(&mut book, &[(REPO, "/b")], &history);
        assert_eq!(book.repos(RepoId::new(0), None).next().unwrap().1.deployed, Some(commit(1)));
    }

    #[test]
    fn what_the_worker_says_is_deployed_counts() {
        let mut book = book();
        update(&mut book, current(1), 10);
        let fact = Fact { repo: REPO, deployed: Some(commit(2)), standing: crate::wire::worker::Standing::Quiet };
        let facts = BTreeMap::from([(REPO, fact)]);
        let repo = book.repos(REPO, Some(&facts)).next().unwrap().1;
        assert_eq!((repo.deployed, repo.deployed_since), (Some(commit(2)), None));
    }

    #[test]
    fn a_delivery_that_was_ignored_is_a_delivery_all_the_same() {
        let mut book = book();
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let result = DeliveryResult::Ignored(Ignored::Ping);
        let event = DeliveryEvent { source, repo: Some(REPO), delivery: None, bytes: 0, micros: 0, result, pusher: None };
        book.delivery(REPO, &event, Moment::from_millis(1));
        assert_eq!(shown(&book).delivery.unwrap().result, result);
    }
}
