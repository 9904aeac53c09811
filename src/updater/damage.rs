//! Is the repository on disk damaged, or was it what came over the network? Runs in the updater,
//! after a fetch that failed over bad data: both look the same to libgit2, and only the first is
//! mended by fetching everything anew.

use git2::{ErrorCode, ObjectType, Odb, Oid, Reference, Repository, Tree};
use std::collections::HashSet;

/// Says whether every ref, its history, and every object in the trees that they lead to, can be read. `refs` are
/// those that must not be overlooked: libgit2's listing leaves out what it can't parse.
pub fn is_whole(repo: &Repository, refs: &[&str]) -> bool {
    let readable = |name: &&str| repo.refname_to_id(name).map_or_else(|error| error.code() == ErrorCode::NotFound, |_| true);
    refs.iter().all(readable) && reads_all(repo).is_ok()
}

fn reads_all(repo: &Repository) -> Result<(), git2::Error> {
    let odb = repo.odb()?;
    let mut seen = HashSet::new();
    let refs = repo.references()?.collect::<Result<Vec<Reference<'_>>, _>>()?;
    let mut history = repo.revwalk()?;
    for reference in refs {
        let object = reference.peel(ObjectType::Any)?;
        if let Ok(commit) = object.peel_to_commit() {
            history.push(commit.id())?;
            reads_tree(repo, &odb, &commit.tree()?, &mut seen)?;
        } else {
            odb.read(object.id())?;
        }
    }
    // A fetch walks it to say what is here already, so a commit that is missing spoils each.
    history.try_for_each(|commit| commit.map(drop))
}

/// Without recursion: what came may be deep.
fn reads_tree(repo: &Repository, odb: &Odb<'_>, tree: &Tree<'_>, seen: &mut HashSet<Oid>) -> Result<(), git2::Error> {
    let mut waiting = vec![tree.clone()];
    while let Some(tree) = waiting.pop() {
        for entry in &tree {
            if !seen.insert(entry.id()) {
                continue;
            }
            match entry.kind() {
                Some(ObjectType::Tree) => waiting.push(repo.find_tree(entry.id())?),
                // Another repository's.
                Some(ObjectType::Commit) => {}
                _ => drop(odb.read(entry.id())?),
            }
        }
    }
    Ok(())
}
