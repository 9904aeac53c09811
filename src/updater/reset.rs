//! Makes the work tree equal to a commit, as `git reset --hard` would leave it. Runs in the updater.
//!
//! The order is what makes a kill at any point heal: files first, then the index, then the refs.
//! Until HEAD moves, the next update finds the old commit as its baseline and does all of it again.

use super::failure::{Fault, git};
use super::tree::Tree;
use super::{fetch, gitdir, prescan};
use crate::audit::Step;
use crate::brief::LabelKind;
use crate::brief::updater::Brief;
use git2::build::CheckoutBuilder;
use git2::{Commit, ErrorCode, Index, Repository};

/// Writes the work tree, the index and the refs.
///
/// # Errors
/// Those of libgit2 and of the work tree.
pub fn reset(repo: &Repository, tree: &Tree, brief: &Brief, commit: &Commit<'_>) -> Result<(), Fault> {
    let to = commit.tree().map_err(git(Step::Reset))?;
    match repo.head().and_then(|head| head.peel_to_tree()) {
        Ok(from) if from.id() != to.id() => drop(prescan::clear(repo, &from, &tree.root)?),
        Ok(_) => {}
        Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => {}
        Err(error) => return Err(Fault::git(Step::Reset, &error)),
    }
    let paths = prescan::clear(repo, &to, &tree.root)?;
    let mut index = index(repo, tree)?;
    for entry in index.iter().filter(|entry| !paths.contains(&entry.path)) {
        prescan::remove(&tree.root, &entry.path)?;
    }
    repo.checkout_tree(to.as_object(), Some(CheckoutBuilder::new().force())).map_err(git(Step::Reset))?;

    // The checkout leaves what was staged besides; this keeps the times of what is equal.
    index.read(false).map_err(git(Step::Reset))?;
    index.read_tree(&to).map_err(git(Step::Reset))?;
    index.write().map_err(git(Step::Reset))?;
    // A merge or rebase that someone began here.
    repo.cleanup_state().map_err(git(Step::Reset))?;
    move_refs(repo, brief, commit)
}

/// The index; an unreadable one is removed, since the commit has all that it should say.
fn index(repo: &Repository, tree: &Tree) -> Result<Index, Fault> {
    if let Ok(index) = repo.index() {
        return Ok(index);
    }
    gitdir::remove_index(&tree.git).map_err(|errno| Fault::errno(Step::Reset, ".git/index", errno))?;
    repo.index().map_err(git(Step::Reset))
}

/// As `git clone` leaves them: on a branch, HEAD is its name; on a tag, detached.
fn move_refs(repo: &Repository, brief: &Brief, commit: &Commit<'_>) -> Result<(), Fault> {
    match brief.label.kind {
        LabelKind::Branch => {
            let name = brief.label.full_name();
            fetch::make_room(repo, &name)?;
            repo.reference(&name, commit.id(), true, "gwg: update").map_err(git(Step::Reset))?;
            repo.set_head(&name).map_err(git(Step::Reset))
        }
        LabelKind::Tag => repo.set_head_detached(commit.id()).map_err(git(Step::Reset)),
    }
}
