//! Object stores that should be made smaller, one after the other: an updater that reaches one work tree and no
//! remote does it. Runs in the supervisor; distrusts the worker, who says when it is due, and the updater.
//!
//! It takes none of the `threads`, and never keeps anything waiting: an update of the same repository ends it, and so do a
//! reload, an upgrade and the end. It may be ended anywhere; it is due again with a later update.

use super::children::{Birth, tell_later};
use super::journal::{self, Offence};
use super::output;
use super::process::{self, Exit, Process};
use super::run::{Heard, NEVER_GIVEN, Supervisor};
use crate::brief::updater::{Brief, Purpose};
use crate::config::Gc;
use crate::confine::{Role, descriptors};
use crate::ids::RepoId;
use crate::link::{self, Receiver};
use crate::wire::order::{FromUpdater, Shrunk, Silence};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::sync::oneshot;

/// What is due, and what runs.
#[derive(Default)]
pub struct Upkeep {
    waiting: BTreeSet<RepoId>,
    running: Option<(RepoId, Process)>,
}

/// Its last word, and its end.
pub struct End {
    repo: RepoId,
    said: Option<Shrunk>,
    exit: Exit,
}

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
        match self.start_gc(&Brief { purpose: Purpose::Gc, ..brief.clone() }) {
            Ok(process) => self.upkeep.running = Some((repo, process)),
            Err(error) => journal::process_not_started(Role::Updater, &error),
        }
    }

    fn start_gc(&self, brief: &Brief) -> io::Result<Process> {
        let (roster, repo, name) = (&self.estate.roster, brief.repo, self.journal.name(brief.repo));
        let (ours, theirs) = UnixStream::pair()?;
        let (to_us, peer) = UnixStream::pair()?;
        let (log, reader) = output::pipe()?;
        let given = vec![(theirs.into(), descriptors::SUPERVISOR), (peer.into(), descriptors::PEER)];
        let deadline = Duration::from_millis(brief.limits.deadline_ms);
        let (exit, exited) = oneshot::channel();
        let process = process::start(roster.updater(&brief.limits, given, log)?, Some(deadline), |status| {
            let _nobody_waits = exit.send(status);
        })?;
        journal::process_started_for(Role::Updater, process.pid, roster.account(Role::Updater), name);
        reader.log(Role::Updater, process.pid, Some(name.to_owned()));
        let (sender, silence) = link::open::<Brief, Silence>(ours.into())?;
        let (listening, receiver) = link::open::<Silence, FromUpdater>(to_us.into())?;
        if sender.send(brief).is_err() {
            process.kill();
        }
        let (ears, ending) = (self.ears.clone(), process.clone());
        tokio::spawn(async move {
            let said = listen(receiver, &ending).await;
            // Open until here: an updater that finds its links closed gives up.
            drop((sender, silence, listening));
            let exit = exited.await.unwrap_or(Exit { status: None, deadline: false });
            tell_later(ears, Heard::GcEnded(End { repo, said, exit }));
        });
        Ok(process)
    }

    /// It has ended, one way or the other.
    pub fn hear_gc_ended(&mut self, End { repo, said, exit }: End) {
        let Some((_, Process { pid, since, .. })) = self.upkeep.running.take_if(|(at, _)| *at == repo) else { return };
        let name = self.journal.name(repo);
        if let Some(shrunk) = said {
            journal::store_shrunk(name, shrunk, since.elapsed());
        }
        journal::process_ended_for(Role::Updater, pid, exit, since.elapsed(), name);
        if exit.is_forbidden_call() {
            journal::violation(Role::Updater, pid, Offence::ForbiddenCall);
        }
        self.gc_next();
    }
}

/// The one thing that it may say. More ends it.
async fn listen(mut receiver: Receiver<FromUpdater>, process: &Process) -> Option<Shrunk> {
    let mut said = None;
    loop {
        match receiver.recv().await {
            Ok(Some(FromUpdater::Shrunk(shrunk))) if said.is_none() => said = Some(shrunk),
            Ok(Some(_)) | Err(link::LinkError::Wire(_)) => {
                journal::violation(Role::Updater, process.pid, "it says what no honest updater says of an object store");
                process.kill();
                return None;
            }
            Ok(None) | Err(link::LinkError::Io(_)) => return said,
        }
    }
}
