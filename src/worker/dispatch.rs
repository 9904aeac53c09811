//! Orders and their ends: which updater runs for which repository, and what it reported. Runs in
//! the worker; distrusts every updater.
//!
//! An order ends when both have come: the supervisor's word that the process has ended, and the end
//! of the updater's link. Until then its slot counts as taken, whatever an updater says.

use super::brief::Brief;
use super::due::{Due, Mark, Retry, Went};
use super::hooks::{After, Hook, Hooks};
use super::state::State;
use crate::audit::{Failure, HostKey, Reason, Step, UpdateEvent, UpdateResult};
use crate::brief::Key;
use crate::brief::worker::Repo;
use crate::ids::{CommitId, DirectoryId, OrderId, RepoId, millis};
use crate::link::{self, Receiver};
use crate::wire::hook::Run;
use crate::wire::order::{FromUpdater, Order, Outcome, Progress, Report};
use crate::wire::worker::Ended;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What is heard of an updater.
pub enum Heard {
    /// Its doors are closed; the version of Landlock that holds.
    Confined(OrderId, u8),
    /// It begins a step.
    Step(OrderId, Step),
    /// How far it is.
    Progress(OrderId, Progress),
    /// Its link has ended.
    End(Told),
}

/// What an updater's link gave, when it ended.
pub struct Told {
    pub order: OrderId,
    /// The last step that it began.
    pub step: Step,
    /// Its doors are closed.
    pub confined: bool,
    /// The host key that it refused.
    pub host_key: Option<HostKey>,
    /// `Err`: a message that no honest updater sends.
    pub report: Result<Option<Report>, Offence>,
}

/// The updater broke the rules of the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offence;

/// One order that has not ended.
struct Running {
    repo: RepoId,
    /// The work tree: a reload may have removed the repository when the update ends.
    tree: Option<DirectoryId>,
    mark: Mark,
    since: Instant,
    linked: bool,
    ended: Option<Ended>,
    told: Option<Told>,
}

/// All orders that have not ended.
pub struct Dispatch {
    last: OrderId,
    running: BTreeMap<OrderId, Running>,
    told: mpsc::UnboundedSender<Heard>,
}

impl Dispatch {
    /// Nothing runs yet. What updaters tell comes through `told`.
    pub fn new(told: mpsc::UnboundedSender<Heard>) -> Self {
        Self { last: OrderId::ZERO, running: BTreeMap::new(), told }
    }

    /// Numbers a new order.
    pub fn order(&mut self, repo: RepoId, tree: Option<DirectoryId>, mark: Mark, now: Instant) -> OrderId {
        self.last = self.last.next();
        let running = Running { repo, tree, mark, since: now, linked: false, ended: None, told: None };
        self.running.insert(self.last, running);
        self.last
    }

    /// The supervisor has started the order's updater: hands it the key and listens to it.
    ///
    /// # Errors
    /// Those of registering the socket.
    pub fn link(&mut self, order: OrderId, socket: OwnedFd, brief: &Brief, state: &State) -> std::io::Result<()> {
        let Some(running) = self.running.get_mut(&order) else { return Ok(()) };
        let Some(repo) = brief.repos.get(&running.repo) else { return Ok(()) };
        let (sender, receiver) = link::open::<Order, FromUpdater>(socket)?;
        let tree = state.tree(repo.directory);
        // Begun is not enough: this very update has begun, perhaps in a directory of someone else's.
        let known = tree.deployed.is_some();
        let key = brief.key(repo).map(Key::copy);
        // Not taken: the updater is gone already; its end says so.
        let _ = sender.send(&Order { key, known, triggered: tree.triggered, announced: running.mark.announced });
        running.linked = true;
        let told = self.told.clone();
        tokio::spawn(async move {
            let heard = listen(order, receiver, |heard| drop(told.send(heard))).await;
            drop(sender);
            let _ = told.send(Heard::End(heard));
        });
        Ok(())
    }

    /// The supervisor says that the order's process has ended.
    pub fn ended(&mut self, order: OrderId, how: Ended) {
        if let Some(running) = self.running.get_mut(&order) {
            running.ended = Some(how);
        }
    }

    /// The repository of an order that has not ended.
    pub fn repo(&self, order: OrderId) -> Option<RepoId> {
        self.running.get(&order).map(|running| running.repo)
    }

    /// An updater's link has ended.
    pub fn told(&mut self, told: Told) {
        if let Some(running) = self.running.get_mut(&told.order) {
            running.told = Some(told);
        }
    }

    /// Closes an order whose end is whole: state, scheduler, and the events to tell. None of them: its end
    /// is not whole yet.
    pub fn close(&mut self, order: OrderId, closing: Closing<'_>) -> Vec<UpdateEvent> {
        let Some((running, how)) = self.whole(order) else { return Vec::new() };
        let outcome = running.outcome(how);
        closing.close(&running, outcome)
    }

    /// An order, and how it ended, where both halves of its end have come.
    fn whole(&mut self, order: OrderId) -> Option<(Running, Ended)> {
        let running = self.running.get(&order)?;
        let how = running.ended?;
        if running.linked && running.told.is_none() {
            return None;
        }
        Some((self.running.remove(&order)?, how))
    }

    /// The repository of an order that has gone well, where its object store should be made smaller.
    pub fn gc_due(&self, order: OrderId) -> Option<RepoId> {
        let running = self.running.get(&order)?;
        let (report, _) = running.outcome(running.ended?).ok()?;
        report.gc_due.then_some(running.repo)
    }

    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }
}

/// What closing an order touches.
pub struct Closing<'a> {
    pub due: &'a mut Due,
    pub state: &'a mut State,
    pub hooks: &'a mut Hooks,
    pub repos: &'a BTreeMap<RepoId, Repo>,
    pub now: Instant,
    /// Spreads retries.
    pub chance: u32,
}

impl Closing<'_> {
    fn close(mut self, running: &Running, outcome: Result<(Report, Current), Failure>) -> Vec<UpdateEvent> {
        let ms = millis(self.now - running.since);
        let event = |result| running.mark.event(running.repo, result);
        let (report, current) = match outcome {
            Ok(well) => well,
            Err(failure) => {
                let retry = self.due.end(running.repo, Went::Badly, self.now, self.chance);
                let Retry { attempt, last, wait } = retry.unwrap_or(Retry { attempt: 1, last: false, wait: Duration::ZERO });
                if last {
                    self.after_failure(running, attempt);
                }
                return vec![event(UpdateResult::Failed { failure, attempt, last, next_ms: millis(wait), ms })];
            }
        };
        let mut old = report.old;
        if let Some(tree) = running.tree {
            // An update that did not get to its end has moved HEAD already.
            let deployed = self.state.tree(tree).deployed;
            old = if old == Some(current.new) { deployed } else { old };
            if let Err(error) = self.state.deployed(tree, current.new) {
                eprintln!("the state could not be written ({error}); after a restart a trigger may be touched twice");
            }
        }
        let Current { new, forced, triggered, seen } = current;
        let well = event(UpdateResult::Current { old, new, forced, triggered, bytes: report.bytes, ms });
        if self.after_success(running, new, seen) {
            return vec![well];
        }
        let went = if seen { Went::Well } else { Went::NotSeen };
        match (self.due.end(running.repo, went, self.now, self.chance), running.mark.announced) {
            (Some(retry), Some(announced)) => {
                let (attempt, next_ms) = (retry.attempt, millis(retry.wait));
                vec![well, event(UpdateResult::AnnouncedNotSeen { announced, new, attempt, next_ms })]
            }
            _ => vec![well],
        }
    }

    /// Whether a hook is due for what was deployed; then the update ends with it.
    fn after_success(&mut self, running: &Running, new: CommitId, seen: bool) -> bool {
        let Some(repo) = self.repos.get(&running.repo) else { return false };
        let old = self.state.tree(repo.directory).hooked;
        let Some(failed) = self.hooks.due(repo, old, new) else { return false };
        self.due.hand_over(repo.id, failed);
        let run = Run { old, new: Some(new), attempt: failed + 1 };
        self.hooks.add(Hook { repo: repo.id, run, after: After::Deployed { new, mark: running.mark, seen } });
        true
    }

    /// The tries of an update are used up: its hook, where there is one, runs before it is tried again.
    fn after_failure(&mut self, running: &Running, attempt: u32) {
        let Some(repo) = self.repos.get(&running.repo).filter(|repo| repo.hooks.failure) else { return };
        let old = self.state.tree(repo.directory).deployed;
        self.due.hold(repo.id);
        self.hooks.add(Hook { repo: repo.id, run: Run { old, new: None, attempt }, after: After::Failed(running.mark.update) });
    }
}

/// The good half of an [`Outcome`].
struct Current {
    new: CommitId,
    forced: bool,
    triggered: bool,
    seen: bool,
}

impl Running {
    fn outcome(&self, how: Ended) -> Result<(Report, Current), Failure> {
        let (step, report) = match &self.told {
            Some(Told { step, report: Ok(Some(report)), .. }) => (*step, *report),
            Some(Told { step, .. }) => return Err(Failure { step: *step, reason: reason_of(how) }),
            None => return Err(Failure { step: Step::Start, reason: reason_of(how) }),
        };
        match report.outcome {
            // Told, and then ended by force: what it told may not have happened.
            Outcome::Current { .. } if how != Ended::Exited => Err(Failure { step, reason: reason_of(how) }),
            Outcome::Current { new, forced, triggered, announced_seen } => {
                Ok((report, Current { new, forced, triggered, seen: announced_seen }))
            }
            Outcome::Failed(failure) => Err(failure),
        }
    }
}

fn reason_of(how: Ended) -> Reason {
    match how {
        Ended::Exited | Ended::Killed => Reason::Crashed,
        Ended::Deadline => Reason::Deadline,
        Ended::NotStarted => Reason::NotStarted,
    }
}

/// That it is confined, steps in their order, perhaps a host key, then one report, then the end.
async fn listen(order: OrderId, mut receiver: Receiver<FromUpdater>, tell: impl Fn(Heard)) -> Told {
    let mut allowance = Allowance { since: Instant::now(), used: 0 };
    let mut told = Told { order, step: Step::Start, confined: false, host_key: None, report: Ok(None) };
    loop {
        let said = receiver.recv().await;
        match (said, &told.report) {
            (Ok(Some(FromUpdater::Confined { landlock })), Ok(None)) if !told.confined => {
                told.confined = true;
                tell(Heard::Confined(order, landlock));
            }
            (Ok(Some(FromUpdater::Step(next))), Ok(None)) if next > told.step => {
                told.step = next;
                tell(Heard::Step(order, next));
            }
            (Ok(Some(FromUpdater::Progress(progress))), Ok(None)) if allowance.takes(Instant::now()) => {
                tell(Heard::Progress(order, progress))
            }
            (Ok(Some(FromUpdater::HostKey(key))), Ok(None)) if told.host_key.is_none() => told.host_key = Some(key),
            (Ok(Some(FromUpdater::Report(last))), Ok(None)) => told.report = Ok(Some(last)),
            (Ok(Some(_)) | Err(link::LinkError::Wire(_)), _) => return Told { report: Err(Offence), ..told },
            (Ok(None) | Err(link::LinkError::Io(_)), _) => return told,
        }
    }
}

/// How much an updater may tell of how far it is: twice what an honest one does, which keeps
/// [`Progress::PACE`], and some that waited.
struct Allowance {
    since: Instant,
    used: u128,
}

impl Allowance {
    fn takes(&mut self, now: Instant) -> bool {
        self.used += 1;
        self.used <= 8 + 2 * (now - self.since).as_millis() / Progress::PACE.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Cause;
    use crate::brief::worker::{Hooks as Has, Schedule};
    use crate::wire::frame;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    const REPO: RepoId = RepoId::new(0);
    const PUSH: Mark = Mark::of(Cause::Delivery);

    fn commit(byte: u8) -> CommitId {
        CommitId::from_bytes([byte; 20])
    }

    fn current(old: Option<CommitId>, new: CommitId) -> FromUpdater {
        let outcome = Outcome::Current { new, forced: false, triggered: true, announced_seen: true };
        FromUpdater::Report(Report { old, outcome, bytes: 0, gc_due: false })
    }

    /// A worker with one repository; the test plays its updaters.
    struct House {
        dispatch: Dispatch,
        reports: mpsc::UnboundedReceiver<Heard>,
        due: Due,
        state: State,
        brief: Brief,
        hooks: Hooks,
        now: Instant,
        _folder: tempfile::TempDir,
    }

    impl House {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = std::fs::File::options().read(true).write(true).create_new(true).open(folder.path().join("state")).unwrap();
            let repo = Repo {
                id: REPO,
                directory: DirectoryId::from_digest([1; 32]),
                key: None,
                reconcile: false,
                changed: false,
                hooks: Has::default(),
            };
            let schedule = Schedule { threads: 1, retry_count: 3, retry_delay_ms: 1000, reconcile_s: 0 };
            let (told, reports) = mpsc::unbounded_channel();
            let dispatch = Dispatch::new(told);
            let brief = Brief::of_one(schedule, repo);
            Self {
                dispatch,
                reports,
                due: Due::new(schedule, [REPO]),
                state: State::open(file).unwrap(),
                brief,
                hooks: Hooks::new(schedule),
                now: Instant::now(),
                _folder: folder,
            }
        }

        /// One update, whose updater says these bytes and ends so.
        async fn update(&mut self, said: &[u8], how: Ended) -> Option<UpdateEvent> {
            // Far enough from the update before for no burst and no retry to be in the way.
            self.now += Duration::from_secs(3600);
            let now = self.now;
            self.due.mark(REPO, PUSH, now);
            let (repo, mark) = self.due.start(now).unwrap();
            let tree = self.brief.repos.get(&repo).map(|repo| repo.directory);
            let order = self.dispatch.order(repo, tree, mark, now);
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            self.dispatch.link(order, ours.into(), &self.brief, &self.state).unwrap();
            theirs.write_all(said).unwrap();
            drop(theirs);
            self.dispatch.ended(order, how);
            assert!(self.close(order).is_none(), "closed before the updater's link has ended");
            loop {
                match self.reports.recv().await.unwrap() {
                    Heard::Confined(..) | Heard::Step(..) | Heard::Progress(..) => {}
                    Heard::End(told) => break self.dispatch.told(told),
                }
            }
            self.close(order)
        }

        fn close(&mut self, order: OrderId) -> Option<UpdateEvent> {
            let now = self.now;
            let Self { due, state, hooks, brief, .. } = self;
            let closing = Closing { due, state, hooks, repos: &brief.repos, now, chance: 0 };
            self.dispatch.close(order, closing).pop()
        }
    }

    fn bytes(said: &[FromUpdater]) -> Vec<u8> {
        let mut bytes = Vec::new();
        said.iter().for_each(|message| frame::encode(message, &mut bytes).unwrap());
        bytes
    }

    fn run(said: &[u8], how: Ended) -> UpdateResult {
        in_runtime(async { House::new().update(said, how).await.unwrap().result })
    }

    fn in_runtime<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    fn failure(result: UpdateResult) -> (Step, Reason) {
        match result {
            UpdateResult::Failed { failure, .. } => (failure.step, failure.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_updater_tells_how_far_it_is_a_few_times_a_second_and_no_more() {
        let since = Instant::now();
        let mut honest = Allowance { since, used: 0 };
        assert!((0..10_000).all(|number| honest.takes(since + Progress::PACE * number)));
        let mut hostile = Allowance { since, used: 0 };
        let taken = (0..10_000).take_while(|number| hostile.takes(since + Duration::from_millis(*number))).count();
        assert!(taken < 20, "{taken} of a thousand a second");
    }

    #[test]
    fn an_end_without_a_report_is_a_failure_at_the_last_step() {
        let steps = bytes(&[FromUpdater::Step(Step::Open), FromUpdater::Step(Step::Fetch)]);
        assert_eq!(failure(run(&steps, Ended::Deadline)), (Step::Fetch, Reason::Deadline));
        assert_eq!(failure(run(&steps, Ended::Killed)), (Step::Fetch, Reason::Crashed));
        assert_eq!(failure(run(&[], Ended::Exited)), (Step::Start, Reason::Crashed));
    }

    #[test]
    fn a_good_report_of_a_process_that_was_killed_does_not_count() {
        let report = bytes(&[current(None, commit(1))]);
        assert!(matches!(run(&report, Ended::Exited), UpdateResult::Current { .. }));
        assert_eq!(failure(run(&report, Ended::Killed)).1, Reason::Crashed);
    }

    #[test]
    fn whatever_no_honest_updater_says_is_an_offence() {
        let backwards = bytes(&[FromUpdater::Step(Step::Reset), FromUpdater::Step(Step::Open)]);
        let twice = bytes(&[current(None, commit(1)), current(None, commit(2))]);
        let late = bytes(&[current(None, commit(1)), FromUpdater::Step(Step::Trigger)]);
        let closed = FromUpdater::Confined { landlock: 7 };
        let (again, afterwards) = (bytes(&[closed, closed]), bytes(&[current(None, commit(1)), closed]));
        let cut = &twice[..twice.len() - 1];
        for said in [&backwards[..], &twice, &late, &again, &afterwards, cut, &[255; 64]] {
            in_runtime(async {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let (_sender, receiver) = link::open::<Order, FromUpdater>(ours.into()).unwrap();
                theirs.write_all(said).unwrap();
                drop(theirs);
                assert_eq!(listen(OrderId::ZERO, receiver, drop).await.report, Err(Offence), "{said:?}");
            });
        }
    }

    #[test]
    fn an_update_that_did_not_get_to_its_end_is_not_what_was_deployed() {
        in_runtime(async {
            let mut house = House::new();
            house.update(&bytes(&[current(None, commit(1))]), Ended::Exited).await.unwrap();
            house.update(&bytes(&[FromUpdater::Step(Step::Reset)]), Ended::Killed).await.unwrap();
            // HEAD was moved by the one that was killed.
            let event = house.update(&bytes(&[current(Some(commit(2)), commit(2))]), Ended::Exited).await.unwrap();
            assert!(matches!(event.result, UpdateResult::Current { old, .. } if old == Some(commit(1))), "{event:?}");
        });
    }
}
