//! In one word, and in one line, how it stands with a repository. Pure.

use super::paint::Tone;
use super::time::span;
use crate::ids::Moment;
use crate::wire::control::Repo;
use crate::wire::worker::Standing;
use std::time::Duration;

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The one word, for programs.
    pub word: &'static str,
    /// The line, for people.
    pub line: String,
    /// What it says.
    pub tone: Tone,
}

/// How it stands with a repository.
pub fn of(repo: &Repo, now: Moment) -> State {
    let next = match repo.standing {
        Some(Standing::Due { in_ms: 0, .. }) => "; its turn comes next".to_owned(),
        Some(Standing::Due { in_ms, .. }) => format!("; next try in {}", span(Duration::from_millis(in_ms))),
        Some(Standing::Running { .. } | Standing::Quiet) | None => String::new(),
    };
    let state = |word, tone, line| State { word, line, tone };
    match (repo.standing, repo.failing) {
        (Some(Standing::Running { .. }), _) => {
            let step = repo.step.map_or_else(String::new, |step| format!(": {}", step.word()));
            state("updating", Tone::Busy, format!("updating{step}"))
        }
        (_, Some(failing)) => {
            let (step, reason) = (failing.failure.step.word(), failing.failure.reason.word());
            state("failing", Tone::Bad, format!("failing for {}: {step}, {reason}{next}", span(now.since(failing.since))))
        }
        (None, None) => state("unknown", Tone::Bad, "unknown: the worker does not answer".to_owned()),
        (Some(Standing::Due { announced: Some(_), .. }), None) => state("behind", Tone::Busy, format!("behind{next}")),
        (Some(Standing::Due { .. }), None) => state("due", Tone::Busy, format!("due{next}")),
        (Some(Standing::Quiet), None) if repo.deployed.is_none() => state("waiting", Tone::Plain, "waits for its first push".to_owned()),
        (Some(Standing::Quiet), None) => state("current", Tone::Good, "current".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Cause, Failure, Reason, Step};
    use crate::ids::CommitId;
    use crate::wire::control::Failing;

    fn repo(standing: Option<Standing>) -> Repo {
        Repo {
            name: "/a".into(),
            label: "branch main".into(),
            url: "u".into(),
            directory: "/d".into(),
            deployed: Some(CommitId::from_bytes([1; 20])),
            deployed_since: None,
            proved: None,
            delivery: None,
            update: None,
            announced: None,
            failing: None,
            standing,
            step: None,
        }
    }

    fn due(in_ms: u64, announced: bool) -> Option<Standing> {
        let announced = announced.then(|| CommitId::from_bytes([2; 20]));
        Some(Standing::Due { cause: Cause::Delivery, in_ms, failed: 0, announced })
    }

    #[test]
    fn each_state_has_its_word() {
        let now = Moment::from_millis(100_000);
        let failure = Failure { step: Step::Fetch, reason: Reason::Auth };
        let failing = Failing { since: Moment::from_millis(40_000), tries: 3, failure };
        let running = Some(Standing::Running { cause: Cause::Delivery, again: false });
        for (repo, word, line) in [
            (repo(Some(Standing::Quiet)), "current", "current"),
            (Repo { deployed: None, ..repo(Some(Standing::Quiet)) }, "waiting", "waits for its first push"),
            (repo(due(0, false)), "due", "due; its turn comes next"),
            (repo(due(2_000, true)), "behind", "behind; next try in 2 s"),
            (Repo { failing: Some(failing), ..repo(due(30_000, true)) }, "failing", "failing for 60 s: fetch, auth; next try in 30 s"),
            (Repo { step: Some(Step::Reset), failing: Some(failing), ..repo(running) }, "updating", "updating: reset"),
            (repo(None), "unknown", "unknown: the worker does not answer"),
        ] {
            let state = of(&repo, now);
            assert_eq!((state.word, state.line.as_str()), (word, line));
        }
    }
}
