//! Distrust of the listener: which jobs it may send. Pure. Runs in the worker.
//!
//! An owned listener can say "repository N may be behind", for repositories that it was told of,
//! and nothing else; whatever else it says ends it.

use crate::ids::{JobNumber, RepoId};
use crate::wire::job::Job;

/// What one link to a listener has said so far.
pub struct Inbox {
    last: Option<JobNumber>,
    highest: Option<RepoId>,
}

/// A job that no honest listener sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTurn;

impl Inbox {
    /// A new link. `highest`: the highest repository id ever given to any listener.
    pub fn new(highest: Option<RepoId>) -> Self {
        Self { last: None, highest }
    }

    /// Checks one job. A repository that a reload removed is no offence: its id was given once.
    ///
    /// # Errors
    /// [`OutOfTurn`] for a number that does not grow, or a repository that never was.
    pub fn check(&mut self, job: &Job) -> Result<(), OutOfTurn> {
        let grows = self.last.is_none_or(|last| job.number > last);
        let was_given = self.highest.is_some_and(|highest| job.repo <= highest);
        if !grows || !was_given {
            return Err(OutOfTurn);
        }
        self.last = Some(job.number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: JobNumber, repo: u32) -> Job {
        Job { number, repo: RepoId::new(repo), announced: None, delivery: None }
    }

    #[test]
    fn numbers_grow_and_repositories_were_given() {
        let (one, two) = (JobNumber::ZERO.next(), JobNumber::ZERO.next().next());
        let mut inbox = Inbox::new(Some(RepoId::new(4)));
        assert_eq!(inbox.check(&job(one, 4)), Ok(()));
        assert_eq!(inbox.check(&job(one, 4)), Err(OutOfTurn), "a replayed job");
        assert_eq!(inbox.check(&job(two, 5)), Err(OutOfTurn), "a repository that never was");
        assert_eq!(inbox.check(&job(two, 0)), Ok(()));
        assert_eq!(inbox.check(&job(one, 0)), Err(OutOfTurn), "a number that goes back");
        assert_eq!(Inbox::new(None).check(&job(one, 0)), Err(OutOfTurn), "no repository was given");
    }
}
