//! Asks the worker how it stands with every repository, page by page, for whoever wants to know. Pure but
//! for the answer. Runs in the supervisor; distrusts the worker.

use crate::ids::RepoId;
use crate::wire::worker::{Fact, Page};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How it stands with every repository.
pub type Facts = Arc<BTreeMap<RepoId, Fact>>;

/// Hears the facts, or that there is nobody to tell them.
pub type Asker = oneshot::Sender<Option<Facts>>;

/// One round of questions at a time; those who ask meanwhile share its answer.
#[derive(Default)]
pub struct Survey {
    askers: Vec<Asker>,
    facts: BTreeMap<RepoId, Fact>,
    /// From where the open question asks.
    asked: Option<RepoId>,
}

/// A page that no honest worker sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTurn;

impl Survey {
    /// Somebody wants to know. Gives the question to send, where none is open.
    pub fn ask(&mut self, asker: Asker) -> Option<RepoId> {
        self.askers.push(asker);
        if self.asked.is_some() {
            return None;
        }
        self.facts.clear();
        self.asked = Some(RepoId::new(0));
        self.asked
    }

    /// A page came. Gives the next question, where there is one.
    ///
    /// # Errors
    /// Nobody asked, or the page is none that could follow.
    pub fn hear(&mut self, page: Page) -> Result<Option<RepoId>, OutOfTurn> {
        let from = self.asked.take().ok_or(OutOfTurn)?;
        let ordered = page.facts.iter().map(|fact| fact.repo).is_sorted_by(|one, next| one < next);
        let begins = page.facts.first().is_none_or(|first| first.repo >= from);
        let last = page.facts.last().map(|last| last.repo);
        if !ordered || !begins || page.facts.len() > Page::FACTS || (page.more && last.is_none()) {
            return Err(OutOfTurn);
        }
        self.facts.extend(page.facts.into_iter().map(|fact| (fact.repo, fact)));
        if let Some(last) = last.filter(|_| page.more) {
            self.asked = Some(RepoId::new(last.number().saturating_add(1)));
            return Ok(self.asked);
        }
        let facts = Arc::new(std::mem::take(&mut self.facts));
        // Who has gone away meanwhile hears nothing.
        self.askers.drain(..).for_each(|asker| drop(asker.send(Some(Arc::clone(&facts)))));
        Ok(None)
    }

    /// There is no worker any more, or it takes no question.
    pub fn give_up(&mut self) {
        self.asked = None;
        self.facts.clear();
        self.askers.drain(..).for_each(|asker| drop(asker.send(None)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::worker::Standing;

    fn page(ids: &[u32], more: bool) -> Page {
        let fact = |id: &u32| Fact { repo: RepoId::new(*id), deployed: None, standing: Standing::Quiet };
        Page { facts: ids.iter().map(fact).collect(), more }
    }

    #[test]
    fn pages_are_gathered_and_all_who_asked_share_them() {
        let mut survey = Survey::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        assert_eq!(survey.ask(one), Some(RepoId::new(0)));
        assert_eq!(survey.hear(page(&[0, 4], true)), Ok(Some(RepoId::new(5))));
        assert_eq!(survey.ask(two), None, "a question is open");
        assert_eq!(survey.hear(page(&[5, 9], false)), Ok(None));
        for asker in [&mut first, &mut second] {
            let ids: Vec<u32> = asker.try_recv().unwrap().unwrap().keys().map(|id| id.number()).collect();
            assert_eq!(ids, [0, 4, 5, 9]);
        }
    }

    #[test]
    fn a_page_that_no_honest_worker_sends_is_out_of_turn() {
        let long: Vec<u32> = (0..=u32::try_from(Page::FACTS).unwrap()).collect();
        for bad in [page(&[3, 3], false), page(&[4, 3], false), page(&[], true), page(&long, false)] {
            let mut survey = Survey::default();
            survey.ask(oneshot::channel().0);
            assert_eq!(survey.hear(bad), Err(OutOfTurn));
        }
        assert_eq!(Survey::default().hear(page(&[], false)), Err(OutOfTurn), "nobody asked");
        let mut survey = Survey::default();
        survey.ask(oneshot::channel().0);
        survey.hear(page(&[7], true)).unwrap();
        assert_eq!(survey.hear(page(&[7], false)), Err(OutOfTurn), "a worker could answer for ever");
    }

    #[test]
    fn without_a_worker_whoever_asked_is_told() {
        let mut survey = Survey::default();
        let (one, mut asker) = oneshot::channel();
        survey.ask(one);
        survey.give_up();
        assert_eq!(asker.try_recv().unwrap(), None);
        assert_eq!(survey.ask(oneshot::channel().0), Some(RepoId::new(0)));
    }
}
