//! Object stores that should be made smaller, one after the other: an updater that reaches one work tree and no
//! remote does it. Runs in the supervisor; distrusts the worker, who says when it is due, and the updater.
//!
//! It takes none of the `threads`, and never keeps anything waiting: an update of the same repository ends it, and so do a
//! reload, an upgrade and the end. It may be ended anywhere; it is due again with a later update.

use super::children::Birth;
use super::journal;
use super::process::{Exit, Process};
use super::run::{Heard, NEVER_GIVEN, Supervisor};
use super::updater::{self, Errand, Needs};
use crate::brief::updater::{Brief, Purpose};
use crate::config::Gc;
use crate::confine::Role;
use crate::ids::RepoId;
use crate::wire::order::{FromUpdater, Shrunk};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

/// What is due, and what runs.
#[derive(Default)]
pub struct Upkeep {
    waiting: BTreeSet<RepoId>,
    running: Option<(RepoId, Process)>,
}

/// Its last word, and its end.
pub struct End {
    said: Option<Shrunk>,
    exit: Exit,
}

const ERRAND: Errand<Shrunk> = Errand {
    answer: |said| if let FromUpdater::Shrunk(shrunk) = said { Some(shrunk) } else { None },
    otherwise: "it says what no honest updater says of an object store",
    ended: |said, exit| Heard::GcEnded(End { said, exit }),
};

impl Upkeep {
    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Ends what runs.
    pub fn kill(&self) {
        self.running.iter().for_each(|(_, process)| process.kill());
    }

    /// Ends what runs on this repository.
    pub fn make_way_for(&self, repo: RepoId) {
        self.running.iter().filter(|(at, _)| *at == repo).for_each(|(_, process)| process.kill());
    }

    /// Ends what runs, and starts nothing that was due.
    pub fn give_up(&mut self) {
        self.waiting.clear();
        self.kill();
    }
}

impl Supervisor {
    /// An updater has found that the store of its repository should be made smaller.
    pub fn hear_gc_due(&mut self, birth: Birth, repo: RepoId) {
        if repo.number() >= self.estate.next_id {
            return self.accuse(Role::Worker, birth, NEVER_GIVEN);
        }
        if self.estate.terms.gc == Gc::Auto {
            self.upkeep.waiting.insert(repo);
            self.gc_next();
        }
    }

    /// Starts the first that is due and not being updated.
    pub fn gc_next(&mut self) {
        if !self.upkeep.is_idle() || self.stopping || self.upgrade.is_holding() {
            return;
        }
        let Some(repo) = self.upkeep.waiting.iter().copied().find(|repo| !self.updates.is_running(*repo)) else { return };
        self.upkeep.waiting.remove(&repo);
        // A reload may have removed it.
        let Some(brief) = self.estate.sealed.updaters.get(&repo) else { return self.gc_next() };
        match self.start_gc(&Brief { purpose: Purpose::Gc, ..Brief::clone(brief) }) {
            Ok(process) => self.upkeep.running = Some((repo, process)),
            Err(error) => journal::process_not_started(Role::Updater, &error),
        }
    }

    fn start_gc(&self, brief: &Brief) -> io::Result<Process> {
        let deadline = Duration::from_millis(brief.limits.deadline_ms);
        let needs = Needs { roster: &self.estate.roster, brief, name: self.journal.name(brief.repo), deadline };
        updater::send_out(&needs, self.ears.clone(), ERRAND)
    }

    /// It has ended, one way or the other.
    pub fn hear_gc_ended(&mut self, End { said, exit }: End) {
        let Some((repo, process)) = self.upkeep.running.take() else { return };
        let name = self.journal.name(repo);
        if let Some(shrunk) = said {
            journal::store_shrunk(name, shrunk, process.since.elapsed());
        }
        updater::ended(&process, exit, name);
        self.gc_next();
    }
}
