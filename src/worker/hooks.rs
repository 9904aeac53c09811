//! Hooks: which is due after an update, which waits for a free slot, which runs, and what its end means.
//! Runs in the worker; the policy is pure.
//!
//! A repository whose hook waits or runs starts no update (`due` holds it), so it has at most one of them.
//! A hook that failed is tried again as an update is: by the next update of its repository, which
//! finds nothing new, and finds the hook due.

use super::due::{Due, Mark, Retry, Went};
use super::state::State;
use crate::audit::{UpdateEvent, UpdateResult};
use crate::brief::worker::{Repo, Schedule};
use crate::ids::{CommitId, RepoId, UpdateId, millis};
use crate::wire::hook::{On, Run};
use crate::wire::worker::HookEnded;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// A hook that waits or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Whose.
    pub repo: RepoId,
    /// What it runs for.
    pub run: Run,
    /// What it comes after.
    pub after: After,
}

/// What a hook comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// An update, which ends with it.
    Deployed {
        /// The commit.
        new: CommitId,
        /// Why the update was due.
        mark: Mark,
        /// Whether the commit contains what was announced.
        seen: bool,
    },
    /// This update, which has failed for good.
    Failed(UpdateId),
}

impl Hook {
    /// Which of the repository's hooks it is.
    pub fn on(&self) -> On {
        match self.after {
            After::Deployed { .. } => On::Success,
            After::Failed(_) => On::Failure,
        }
    }

    /// The update that it comes after.
    pub fn update(&self) -> UpdateId {
        match self.after {
            After::Deployed { mark, .. } => mark.update,
            After::Failed(update) => update,
        }
    }
}

/// Tries of one commit's hook that failed.
#[derive(Debug, Clone, Copy)]
struct Tries {
    commit: CommitId,
    failed: u32,
}

/// All hooks of one brief.
pub struct Hooks {
    most: usize,
    tries: u32,
    waiting: VecDeque<Hook>,
    running: BTreeMap<RepoId, Hook>,
    failed: BTreeMap<RepoId, Tries>,
}

/// What the end of a hook touches.
pub struct Ending<'a> {
    pub due: &'a mut Due,
    pub state: &'a mut State,
    pub repos: &'a BTreeMap<RepoId, Repo>,
    pub now: Instant,
    /// Spreads retries.
    pub chance: u32,
}

impl Hooks {
    /// Nothing runs yet. As many may run at once as updates.
    pub fn new(schedule: Schedule) -> Self {
        Self {
            most: usize::from(schedule.threads),
            tries: schedule.retry_count.max(1),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Goes on under another brief. What waits for a hook that this one does not have hears so from the
    /// supervisor.
    pub fn rebrief(&mut self, schedule: Schedule, repos: &BTreeMap<RepoId, Repo>) {
        self.most = usize::from(schedule.threads);
        self.tries = schedule.retry_count.max(1);
        self.failed.retain(|repo, _| repos.contains_key(repo));
    }

    /// How often the repository's hook has failed for this commit, where it is due for it: where it has not
    /// ended well for it, and not failed as often as it may. A restart forgets failures.
    pub fn due(&self, repo: &Repo, hooked: Option<CommitId>, new: CommitId) -> Option<u32> {
        let failed = self.failed(repo.id, new);
        (repo.hooks.success && hooked != Some(new) && failed < self.tries).then_some(failed)
    }

    fn failed(&self, repo: RepoId, commit: CommitId) -> u32 {
        self.failed.get(&repo).filter(|tries| tries.commit == commit).map_or(0, |tries| tries.failed)
    }

    /// Takes a hook in, to be run when a slot is free.
    pub fn add(&mut self, hook: Hook) {
        self.waiting.push_back(hook);
    }

    /// The hook that starts now, if any may.
    pub fn start(&mut self) -> Option<Hook> {
        if self.running.len() >= self.most {
            return None;
        }
        let hook = self.waiting.pop_front()?;
        self.running.insert(hook.repo, hook);
        Some(hook)
    }

    /// Whether nothing runs. What only waits is run after the next start.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// A hook has ended: state, scheduler, and the events to tell.
    pub fn end(&mut self, repo: RepoId, how: HookEnded, on: Ending<'_>) -> Vec<UpdateEvent> {
        let Some(hook) = self.running.remove(&repo) else { return Vec::new() };
        match hook.after {
            After::Failed(_) => {
                on.due.free(repo, on.now);
                Vec::new()
            }
            After::Deployed { new, mark, seen } => {
                let event = |result| mark.event(repo, result);
                let results = match how {
                    HookEnded::Well => self.ended_well(repo, new, on, mark, seen),
                    HookEnded::Badly => self.ended_badly(repo, new, on, mark, seen),
                    HookEnded::Gone => on.end_update(repo, new, mark, seen).into_iter().collect(),
                };
                results.into_iter().map(event).collect()
            }
        }
    }

    fn ended_well(&mut self, repo: RepoId, new: CommitId, on: Ending<'_>, mark: Mark, seen: bool) -> Vec<UpdateResult> {
        self.failed.remove(&repo);
        if let Some(repo) = on.repos.get(&repo)
            && let Err(error) = on.state.hooked(repo.directory, new)
        {
            eprintln!("the state could not be written ({error}); after a restart a hook may run twice");
        }
        on.end_update(repo, new, mark, seen).into_iter().collect()
    }

    fn ended_badly(&mut self, repo: RepoId, new: CommitId, on: Ending<'_>, mark: Mark, seen: bool) -> Vec<UpdateResult> {
        let attempt = self.failed(repo, new) + 1;
        self.failed.insert(repo, Tries { commit: new, failed: attempt });
        let failed = |last, next_ms| UpdateResult::HookFailed { new, attempt, last, next_ms };
        if attempt < self.tries {
            let retry = on.due.end(repo, Went::Badly, on.now, on.chance);
            return vec![failed(false, millis(retry.map_or(Duration::ZERO, |retry| retry.wait)))];
        }
        [failed(true, 0)].into_iter().chain(on.end_update(repo, new, mark, seen)).collect()
    }
}

impl Ending<'_> {
    /// Ends the update that the hook belonged to.
    fn end_update(self, repo: RepoId, new: CommitId, mark: Mark, seen: bool) -> Option<UpdateResult> {
        let went = if seen { Went::Well } else { Went::NotSeen };
        let Retry { attempt, wait, .. } = self.due.end(repo, went, self.now, self.chance)?;
        Some(UpdateResult::AnnouncedNotSeen { announced: mark.announced?, new, attempt, next_ms: millis(wait) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::audit::Cause;
    use crate::brief::worker::Hooks as Has;
    use crate::ids::DirectoryId;

    const REPO: RepoId = RepoId::new(0);
    const SCHEDULE: Schedule = Schedule { threads: 1, retry_count: 2, retry_delay_ms: 1000, reconcile_s: 0 };

    fn commit(byte: u8) -> CommitId {
        CommitId::from_bytes([byte; 20])
    }

    /// A repository with both hooks, whose updates all go well.
    struct House {
        hooks: Hooks,
        due: Due,
        state: State,
        repos: BTreeMap<RepoId, Repo>,
        now: Instant,
        _folder: tempfile::TempDir,
    }

    impl House {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = std::fs::File::options().read(true).write(true).create_new(true).open(folder.path().join("state")).unwrap();
            let hooks = Has { success: true, failure: true };
            let repo = Repo { id: REPO, directory: DirectoryId::from_digest([1; 32]), key: None, reconcile: false, changed: false, hooks };
            Self {
                hooks: Hooks::new(SCHEDULE),
                due: Due::new(SCHEDULE, [REPO]),
                state: State::open(file).unwrap(),
                repos: BTreeMap::from([(REPO, repo)]),
                now: Instant::now(),
                _folder: folder,
            }
        }

        fn hooked(&self) -> Option<CommitId> {
            self.state.tree(self.repos.get(&REPO).unwrap().directory).hooked
        }

        /// An update that deploys the commit, and its hook, if one is due.
        fn deploy(&mut self, new: CommitId, how: HookEnded) -> Option<(Run, Vec<UpdateResult>)> {
            self.now += Duration::from_secs(3600);
            let mark = Mark { announced: Some(commit(9)), ..Mark::of(Cause::Delivery) };
            self.due.mark(REPO, mark, self.now);
            let (repo, mark) = self.due.start(self.now).unwrap();
            let old = self.hooked();
            let Some(failed) = self.hooks.due(self.repos.get(&repo).unwrap(), old, new) else {
                self.due.end(repo, Went::Well, self.now, 0);
                return None;
            };
            self.due.hand_over(repo, failed);
            let run = Run { old, new: Some(new), attempt: failed + 1 };
            self.hooks.add(Hook { repo, run, after: After::Deployed { new, mark, seen: true } });
            let hook = self.hooks.start().unwrap();
            assert_eq!((hook.on(), self.due.start(self.now)), (On::Success, None));
            let ending = Ending { due: &mut self.due, state: &mut self.state, repos: &self.repos, now: self.now, chance: 0 };
            let events = self.hooks.end(repo, how, ending);
            Some((hook.run, events.into_iter().map(|event| event.result).collect()))
        }
    }

    #[test]
    fn it_runs_once_for_each_commit_and_knows_the_one_before() {
        let mut house = House::new();
        let (run, events) = house.deploy(commit(1), HookEnded::Well).unwrap();
        assert_eq!((run, events), (Run { old: None, new: Some(commit(1)), attempt: 1 }, vec![]));
        assert!(house.deploy(commit(1), HookEnded::Well).is_none());
        let (run, _) = house.deploy(commit(2), HookEnded::Well).unwrap();
        assert_eq!(run, Run { old: Some(commit(1)), new: Some(commit(2)), attempt: 1 });
        assert_eq!(house.hooked(), Some(commit(2)));
    }

    #[test]
    fn a_failed_one_is_tried_again_and_given_up_until_the_next_commit() {
        let mut house = House::new();
        house.deploy(commit(1), HookEnded::Well).unwrap();
        let failed = |attempt, last, next_ms| vec![UpdateResult::HookFailed { new: commit(2), attempt, last, next_ms }];
        let (_, events) = house.deploy(commit(2), HookEnded::Badly).unwrap();
        assert_eq!(events, failed(1, false, 1000));
        let (run, events) = house.deploy(commit(2), HookEnded::Badly).unwrap();
        assert_eq!((run.attempt, events), (2, failed(2, true, 0)));
        assert!(house.deploy(commit(2), HookEnded::Well).is_none(), "it was given up");
        let (run, _) = house.deploy(commit(3), HookEnded::Well).unwrap();
        assert_eq!(run, Run { old: Some(commit(1)), new: Some(commit(3)), attempt: 1 }, "what the failed one missed is included");
    }

    #[test]
    fn the_failures_of_a_repository_that_was_removed_are_forgotten() {
        let mut house = House::new();
        house.deploy(commit(1), HookEnded::Badly).unwrap();
        house.hooks.rebrief(SCHEDULE, &house.repos);
        assert_eq!(house.hooks.failed(REPO, commit(1)), 1, "it is still there");
        house.hooks.rebrief(SCHEDULE, &BTreeMap::new());
        assert_eq!(house.hooks.failed.len(), 0);
    }

    #[test]
    fn no_more_run_at_once_than_there_are_threads_and_an_unknown_end_is_nothing() {
        let mut house = House::new();
        let hook =
            |repo| Hook { repo: RepoId::new(repo), run: Run { old: None, new: None, attempt: 1 }, after: After::Failed(UpdateId::NONE) };
        house.hooks.add(hook(0));
        house.hooks.add(hook(1));
        assert_eq!((house.hooks.start(), house.hooks.start()), (Some(hook(0)), None));
        for repo in [7, 0] {
            let ending = Ending { due: &mut house.due, state: &mut house.state, repos: &house.repos, now: house.now, chance: 0 };
            assert_eq!(house.hooks.end(RepoId::new(repo), HookEnded::Badly, ending), []);
        }
        assert_eq!((house.hooks.start(), house.hooks.is_idle()), (Some(hook(1)), false));
    }
}
