//! Which repositories a reconcile has yet to compare, and what came of the others. Pure. Runs in the
//! worker.

use crate::audit::{ReconcileCause, ReconcileEvent, UpdateEvent, UpdateResult};
use crate::ids::{RepoId, millis};
use std::collections::BTreeSet;
use std::time::Instant;

/// The running reconcile, where one runs.
#[derive(Default)]
pub struct Reconcile {
    running: Option<Running>,
}

struct Running {
    cause: ReconcileCause,
    since: Instant,
    repos: u32,
    left: BTreeSet<RepoId>,
    behind: u32,
    failed: u32,
}

impl Reconcile {
    /// Begins with these repositories, and ends the one that runs: what that had left is compared by
    /// this one. Gives what is to be told, in its order.
    pub fn begin(&mut self, cause: ReconcileCause, repos: BTreeSet<RepoId>, now: Instant) -> Vec<ReconcileEvent> {
        let mut told: Vec<_> = self.running.take().map(|running| running.end(now)).into_iter().collect();
        let count = u32::try_from(repos.len()).unwrap_or(u32::MAX);
        let running = Running { cause, since: now, repos: count, left: repos, behind: 0, failed: 0 };
        told.push(ReconcileEvent::Start { cause, repos: count });
        match running.left.is_empty() {
            true => told.push(running.end(now)),
            false => self.running = Some(running),
        }
        told
    }

    /// What has yet to be compared.
    pub fn left(&self) -> impl Iterator<Item = RepoId> {
        self.running.iter().flat_map(|running| running.left.iter().copied())
    }

    /// An update ended; whatever it was for, its repository has been compared. Gives the reconcile's end,
    /// where this was the last.
    pub fn hear(&mut self, event: &UpdateEvent, now: Instant) -> Option<ReconcileEvent> {
        let running = self.running.as_mut()?;
        let (behind, failed) = match event.result {
            // A hook follows an update that was counted.
            UpdateResult::Started | UpdateResult::HookFailed { .. } => return None,
            UpdateResult::Current { old, new, .. } => (old != Some(new), false),
            // Beside `Current`, which has been heard.
            UpdateResult::AnnouncedNotSeen { .. } => return None,
            UpdateResult::Failed { .. } => (false, true),
        };
        if !running.left.remove(&event.repo) {
            return None;
        }
        running.behind += u32::from(behind);
        running.failed += u32::from(failed);
        running.left.is_empty().then(|| self.running.take()).flatten().map(|running| running.end(now))
    }
}

impl Running {
    fn end(&self, now: Instant) -> ReconcileEvent {
        let Self { cause, since, repos, behind, failed, left: _ } = *self;
        let ms = millis(now.saturating_duration_since(since));
        ReconcileEvent::End { cause, repos, behind, failed, ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Cause, Failure, Reason, Step};
    use crate::ids::{CommitId, UpdateId};
    use std::time::Duration;

    const NEW: CommitId = CommitId::from_bytes([2; 20]);

    fn ended(repo: u32, result: UpdateResult) -> UpdateEvent {
        UpdateEvent { repo: RepoId::new(repo), update: UpdateId::NONE, cause: Cause::Reconcile, delivery: None, result }
    }

    fn current(repo: u32, old: CommitId) -> UpdateEvent {
        ended(repo, UpdateResult::Current { old: Some(old), new: NEW, forced: false, triggered: false, bytes: 0, ms: 1 })
    }

    fn failed(repo: u32) -> UpdateEvent {
        let failure = Failure { step: Step::Fetch, reason: Reason::Network };
        ended(repo, UpdateResult::Failed { failure, attempt: 1, last: false, next_ms: 0, ms: 1 })
    }

    fn repos(count: u32) -> BTreeSet<RepoId> {
        (0..count).map(RepoId::new).collect()
    }

    #[test]
    fn it_ends_when_each_repository_has_been_compared_once() {
        let start = Instant::now();
        let mut reconcile = Reconcile::default();
        assert_eq!(
            reconcile.begin(ReconcileCause::Start, repos(3), start),
            [ReconcileEvent::Start { cause: ReconcileCause::Start, repos: 3 }]
        );
        assert_eq!(reconcile.hear(&ended(0, UpdateResult::Started), start), None);
        assert_eq!(reconcile.hear(&current(0, NEW), start), None);
        assert_eq!(reconcile.hear(&current(0, CommitId::from_bytes([1; 20])), start), None, "it was compared already");
        assert_eq!(reconcile.hear(&failed(1), start), None);
        assert_eq!(reconcile.hear(&current(9, NEW), start), None, "not one of them");
        let end = reconcile.hear(&current(2, CommitId::from_bytes([1; 20])), start + Duration::from_millis(70));
        assert_eq!(end, Some(ReconcileEvent::End { cause: ReconcileCause::Start, repos: 3, behind: 1, failed: 1, ms: 70 }));
        assert_eq!(reconcile.hear(&current(2, NEW), start), None);
    }

    #[test]
    fn another_one_ends_the_first_and_one_of_nothing_ends_at_once() {
        let now = Instant::now();
        let mut reconcile = Reconcile::default();
        assert_eq!(reconcile.begin(ReconcileCause::Start, repos(2), now).len(), 1);
        let told = reconcile.begin(ReconcileCause::Timer, repos(0), now);
        assert!(matches!(
            told.as_slice(),
            [
                ReconcileEvent::End { cause: ReconcileCause::Start, .. },
                ReconcileEvent::Start { cause: ReconcileCause::Timer, repos: 0 },
                ReconcileEvent::End { cause: ReconcileCause::Timer, repos: 0, .. }
            ]
        ));
    }
}
