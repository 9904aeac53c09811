//! Trees that are no longer configured, one after the other: the worker is asked what was deployed there, an
//! updater looks, and deletes where that was asked. Runs in the supervisor; distrusts both.
//!
//! A reload ends the updater that is at it: it may have brought the tree back. What was deleted by then
//! the next update restores.

use super::children::{Birth, tell_later};
use super::journal;
use super::process::{Exit, Process};
use super::run::{Heard, Supervisor};
use super::trees::Tree;
use super::updater::{self, Errand, Needs};
use crate::audit::{Kept, Pruned};
use crate::brief::updater::{Brief, Prune as Wish, Purpose};
use crate::config::directory_id;
use crate::confine::Role;
use crate::ids::{CommitId, DirectoryId};
use crate::wire::control::{self, Refusal};
use crate::wire::order::FromUpdater;
use crate::wire::worker::ToWorker;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Hears what became of each tree.
pub type Teller = mpsc::Sender<Result<control::Tree, Refusal>>;

/// What looking at a tree and deleting it may take.
const DEADLINE: Duration = Duration::from_secs(600);

/// The prune that runs.
pub struct Prune {
    delete: bool,
    left: VecDeque<(PathBuf, Tree)>,
    at: At,
    teller: Teller,
}

/// Where it stands with the first that is left.
enum At {
    /// It is yet to be looked at.
    Next,
    /// The worker is to tell what was deployed there.
    Asked(DirectoryId),
    /// An updater is at it: [`Supervisor::pruner`].
    Running,
}

/// The updater's last word, and its end.
pub struct End {
    said: Option<Pruned>,
    exit: Exit,
}

const ERRAND: Errand<Pruned> = Errand {
    answer: |said| if let FromUpdater::Pruned(pruned) = said { Some(pruned) } else { None },
    otherwise: "it says what no honest updater says of such a tree",
    ended: |said, exit| Heard::PrunerEnded(End { said, exit }),
};

impl Supervisor {
    /// An operator wants to know what can be pruned, or have it pruned.
    pub fn prune(&mut self, delete: bool, teller: Teller) {
        let refusal = match (self.pruning.is_some() || self.pruner.is_some(), &self.worker) {
            (true, _) => Some(Refusal::Pruning),
            (false, Some(worker)) if worker.ready && !self.stopping => None,
            (false, _) => Some(Refusal::NoWorker),
        };
        if let Some(refusal) = refusal {
            // Who asked may be gone.
            return drop(teller.try_send(Err(refusal)));
        }
        let left = self.estate.trees.but(&self.configured()).into();
        self.pruning = Some(Prune { delete, left, at: At::Next, teller });
        self.prune_next();
    }

    /// A configuration is in force: its trees are remembered. An updater that is at one of them is ended.
    pub fn remember_trees(&mut self) {
        self.kill_pruner();
        let super::run::Estate { trees, sealed, .. } = &mut self.estate;
        if let Err(error) = trees.configure(sealed.repos().map(|(_, name, brief)| (&**name, &**brief))) {
            journal::trees_not_written(&error);
        }
    }

    /// There is no worker any more that could tell, or gwg ends.
    pub fn give_prune_up(&mut self) {
        self.kill_pruner();
        if let Some(prune) = self.pruning.take() {
            let _ = prune.teller.try_send(Err(Refusal::NoWorker));
        }
    }

    /// Ends the updater that is at a tree, if there is one.
    pub fn kill_pruner(&self) {
        self.pruner.iter().for_each(Process::kill);
    }

    fn configured(&self) -> BTreeSet<&Path> {
        self.estate.sealed.updaters.values().map(|brief| brief.directory.as_path()).collect()
    }

    fn prune_next(&mut self) {
        let Some(prune) = &self.pruning else { return };
        let Some((directory, _)) = prune.left.front() else { return self.pruning = None };
        if prune.teller.is_closed() {
            return self.pruning = None;
        }
        if touches(directory, &self.configured()) {
            return self.pruned(Pruned::Kept(Kept::Configured));
        }
        let id = directory_id(directory);
        self.tell_worker(|worker| worker.send(&ToWorker::Recall(id)));
        if let Some(prune) = &mut self.pruning {
            prune.at = At::Asked(id);
        }
    }

    /// The worker tells what was deployed.
    pub fn hear_recalled(&mut self, birth: Birth, tree: DirectoryId, deployed: Option<CommitId>) {
        // It was asked before the end began.
        if self.stopping {
            return;
        }
        let Some(prune) = self.pruning.as_ref().filter(|prune| matches!(prune.at, At::Asked(asked) if asked == tree)) else {
            return self.accuse(Role::Worker, birth, "it tells of a tree that nobody asked for");
        };
        let Some((directory, tree)) = prune.left.front().cloned() else { return };
        // Since it was asked a reload may have brought the tree back.
        let pruned = match deployed {
            _ if touches(&directory, &self.configured()) => Pruned::Kept(Kept::Configured),
            None => Pruned::Kept(Kept::Unknown),
            Some(deployed) => {
                let wish = Wish { deployed, delete: prune.delete };
                let name = tree.name.clone();
                match self.start_pruner(&tree.brief(directory, Purpose::Prune(wish)), &name) {
                    Ok(process) => {
                        self.pruner = Some(process);
                        return self.pruning.iter_mut().for_each(|prune| prune.at = At::Running);
                    }
                    Err(error) => {
                        journal::process_not_started(Role::Updater, &error);
                        Pruned::Kept(Kept::Failed)
                    }
                }
            }
        };
        self.pruned(pruned);
    }

    fn start_pruner(&self, brief: &Brief, name: &str) -> io::Result<Process> {
        let needs = Needs { roster: &self.estate.roster, brief, name, deadline: DEADLINE };
        updater::send_out(&needs, self.ears.clone(), ERRAND)
    }

    /// The updater that was at it has ended.
    pub fn hear_pruner_ended(&mut self, End { said, exit }: End) {
        let Some(process) = self.pruner.take() else { return };
        // The operator may have been sent away meanwhile.
        let prune = self.pruning.as_ref().filter(|prune| matches!(prune.at, At::Running));
        let name = prune.and_then(|prune| prune.left.front()).map_or("", |(_, tree)| &tree.name);
        updater::ended(&process, exit, name);
        if prune.is_some() {
            self.pruned(said.unwrap_or(Pruned::Kept(Kept::Failed)));
        }
    }

    /// Tells what became of the first that is left, and goes on.
    fn pruned(&mut self, pruned: Pruned) {
        let Some(prune) = &mut self.pruning else { return };
        prune.at = At::Next;
        let Some((directory, tree)) = prune.left.pop_front() else { return };
        let (delete, teller) = (prune.delete, prune.teller.clone());
        match pruned {
            Pruned::Deleted | Pruned::Emptied | Pruned::Missing if delete => {
                journal::tree_pruned(&tree.name, &directory, pruned);
                self.tell_worker(|worker| worker.send(&ToWorker::Forget(directory_id(&directory))));
                if let Err(error) = self.estate.trees.forget(&directory) {
                    journal::trees_not_written(&error);
                }
            }
            Pruned::Kept(_) if delete => journal::tree_pruned(&tree.name, &directory, pruned),
            Pruned::Deleted | Pruned::Emptied | Pruned::Missing | Pruned::Unchanged | Pruned::Kept(_) => {}
        }
        let told = control::Tree { name: tree.name, url: tree.url, directory: directory.to_string_lossy().into_owned(), pruned };
        // The loop waits for no client: the next tree is looked at when this one was told.
        let ears = self.ears.clone();
        tokio::spawn(async move {
            // A client that has gone away hears nothing, and ends it.
            let _ = teller.send(Ok(told)).await;
            tell_later(ears, Heard::PruneNext);
        });
    }

    /// What was known of the last tree was told.
    pub fn hear_prune_next(&mut self) {
        if self.pruning.as_ref().is_some_and(|prune| matches!(prune.at, At::Next)) {
            self.prune_next();
        }
    }
}

/// Whether a directory is, contains or lies in one of these.
fn touches(directory: &Path, configured: &BTreeSet<&Path>) -> bool {
    configured.iter().any(|other| directory.starts_with(other) || other.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_in_around_or_at_a_configured_one_is_touched() {
        let configured = BTreeSet::from([Path::new("/srv/a"), Path::new("/srv/b/c")]);
        for (directory, expected) in
            [("/srv/a", true), ("/srv/a/x", true), ("/srv/b", true), ("/srv", true), ("/srv/ab", false), ("/srv/b/d", false)]
        {
            assert_eq!(touches(Path::new(directory), &configured), expected, "{directory}");
        }
    }
}
