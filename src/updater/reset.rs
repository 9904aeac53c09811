//! Makes the work tree equal to a commit, as `git reset --hard` would leave it. Runs in the updater.
//!
//! The order is what makes a kill at any point heal. What the index tracks and the commit does not
//! have goes first; then the index is written, so that it tracks all that is about to be; then HEAD
//! moves, so that libgit2 compares the files with the new commit alone; the files come last. Whoever
//! comes after a kill finds each file in the index or in the commit.
//!
//! What is refused is refused before: [`Target::check`] touches nothing but an index that can't be read.

use super::failure::{Fault, git};
use super::tree::Tree;
use super::weigh::{self, Plan};
use super::{fetch, gitdir, prescan};
use crate::audit::Step;
use crate::brief::LabelKind;
use crate::brief::updater::Brief;
use crate::wire::order::Progress;
use git2::build::CheckoutBuilder;
use git2::{Commit, Delta, Index, Repository};
use std::collections::HashSet;

/// A commit whose tree may be deployed.
pub struct Target<'c, 'r> {
    commit: &'c Commit<'r>,
    plan: Plan,
    /// As it is to be written.
    index: Index,
    /// The paths that it tracked before.
    tracked: Vec<Vec<u8>>,
}

impl<'c, 'r> Target<'c, 'r> {
    /// Looks at the commit's tree: what it would cost, and whether each name in it is allowed.
    ///
    /// # Errors
    /// Those of [`weigh::weigh`], and libgit2's for names and modes that it forbids.
    pub fn check(repo: &Repository, tree: &Tree, brief: &Brief, commit: &'c Commit<'r>) -> Result<Self, Fault> {
        let to = commit.tree().map_err(git(Step::Verify))?;
        let (mut index, tracked) = tracked(repo, tree, &to)?;
        let plan = weigh::weigh(repo, &to, &index, brief)?;
        // Keeps the times of what is equal, so that unchanged files need not be read.
        index.read_tree(&to).map_err(git(Step::Verify))?;
        Ok(Self { commit, plan, index, tracked })
    }
}

/// Writes the index, the refs and the work tree.
///
/// # Errors
/// Those of libgit2 and of the work tree.
pub fn reset(repo: &Repository, tree: &Tree, brief: &Brief, target: Target<'_, '_>, progress: &dyn Fn(Progress)) -> Result<(), Fault> {
    let Target { commit, plan, mut index, tracked } = target;
    prescan::clear(&tree.root, &plan)?;
    let kept: HashSet<&[u8]> = plan.entries.iter().filter(|entry| !entry.is_tree).map(|entry| entry.path.as_slice()).collect();
    for path in tracked.iter().filter(|path| !kept.contains(path.as_slice())) {
        prescan::remove(&tree.root, path)?;
    }
    index.write().map_err(git(Step::Reset))?;
    move_refs(repo, brief, commit)?;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut checkout = CheckoutBuilder::new();
    checkout.force().progress(|_, files, of| progress(Progress::Checkout { files: count(files), of: count(of) }));
    repo.checkout_head(Some(&mut checkout)).map_err(git(Step::Reset))?;
    // A merge or rebase that someone began here.
    repo.cleanup_state().map_err(git(Step::Reset))
}

/// The index and what it tracks. Where it is missing or unreadable it is begun anew, and HEAD's
/// commit tells what was tracked.
fn tracked(repo: &Repository, tree: &Tree, to: &git2::Tree<'_>) -> Result<(Index, Vec<Vec<u8>>), Fault> {
    if let Ok(index) = repo.index()
        && !index.is_empty()
    {
        let paths = index.iter().map(|entry| entry.path).collect();
        return Ok((index, paths));
    }
    gitdir::remove_index(&tree.git).map_err(|errno| Fault::errno(Step::Verify, ".git/index", errno))?;
    let index = repo.index().map_err(git(Step::Verify))?;
    // Without a readable HEAD nothing is known, and nothing is removed.
    let Ok(from) = repo.head().and_then(|head| head.peel_to_tree()) else { return Ok((index, Vec::new())) };
    let diff = repo.diff_tree_to_tree(Some(&from), Some(to), None).map_err(git(Step::Verify))?;
    let gone = diff.deltas().filter(|delta| delta.status() == Delta::Deleted);
    let paths = gone.filter_map(|delta| delta.old_file().path_bytes().map(<[u8]>::to_vec)).collect();
    Ok((index, paths))
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
