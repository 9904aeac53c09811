//! Keeps the object store small, as `git gc --auto` does, while others read it. Runs in an updater of its own that
//! reaches one work tree and no remote; distrusts whoever else can write there.
//!
//! Each fetch leaves a pack, and rewritten history leaves objects that nothing refers to. When there are many packs,
//! what is reachable is written into one new pack, and what is not into another, which goes two weeks later.
//! At no moment is an object missing: the new packs are written beside, synced, read back and moved into place,
//! and only then goes what they hold. So it may be killed anywhere: by the supervisor when a push comes, at the deadline, or
//! by a power cut. What it leaves is a directory that the next update clears (`sweep`).
//!
//! | file | holds |
//! |---|---|
//! | `due` | when it is time |
//! | `store` | which packs and loose objects there are |
//! | `reach` | what is referred to |
//! | `plan` | what is written and what goes; pure |
//! | `write` | new packs: written, read back, moved into place |

mod due;
mod plan;
mod reach;
mod store;
mod write;

pub use due::is_due;

use super::beneath;
use super::failure::Fault;
use super::tree::{self, Tree};
use super::{crash, gitdir, libgit2};
use crate::brief::updater::{Brief, Limits};
use crate::confine::reach::Reach;
use crate::wire::order::Shrunk;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use plan::Plan;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;
use store::Store;

/// Where new packs are written, in gwg's private directory.
const WORKSHOP: &CStr = c"gc";
/// Stands, in the same place, while it runs, and after one that did not get to its end.
const TRIED: &CStr = c"gc-tried";
/// Its time is that of the last one that did.
const DONE: &CStr = c"gc-done";

/// Why a store stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// It is no plain store, or in use.
    #[error("it is left alone: {0}")]
    NotOurs(&'static str),
    /// Something is missing or can't be read: removing anything could make it worse.
    #[error("it is left alone, for it is damaged: {0}")]
    Damaged(String),
    /// The tree can't be used.
    #[error("{0}")]
    Tree(String),
    /// libgit2's word.
    #[error("{}", .0.message())]
    Git(#[from] git2::Error),
    /// The kernel's word.
    #[error("{what}: {}", .errno.desc())]
    File {
        /// At which place.
        what: &'static str,
        /// What it said.
        errno: Errno,
    },
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Tree(fault.to_string())
    }
}

/// `map_err` for what the kernel answers.
fn at(what: &'static str) -> impl Fn(Errno) -> Stop {
    move |errno| Stop::File { what, errno }
}

/// Makes the store of a work tree smaller. `close` confines the process before anything is read. None where that did not
/// go well, which is said: no update fails for it.
///
/// # Errors
/// Those of `close`.
pub fn gc<T, E>(brief: &Brief, say: &dyn Fn(&str), close: impl FnOnce(&Reach<'_>) -> Result<T, E>) -> Result<Option<Shrunk>, E> {
    let told = |stop: Stop| say(&format!("the object store was not made smaller: {stop}"));
    let opened = libgit2::set_up(brief.connect_ms, brief.silence_ms, &brief.limits).and_then(|()| tree::open_root(brief));
    let root = match opened {
        Ok(root) => root,
        Err(fault) => {
            told(fault.into());
            return Ok(None);
        }
    };
    close(&Reach { tree: root.as_fd(), above: None, trigger: None, port: 0 })?;
    Ok(run(root, brief, today()).map_err(told).ok())
}

/// Removes what one that was killed has left.
///
/// # Errors
/// Those of removing.
pub fn sweep(private: &OwnedFd) -> nix::Result<()> {
    beneath::remove_all(private, WORKSHOP)
}

/// The same, in a process that is confined already. `today`: days since 1970. Gives what the store held before and after.
pub fn run(root: OwnedFd, brief: &Brief, today: u64) -> Result<Shrunk, Stop> {
    let tree = open(root, brief)?;
    let private = &tree.private;
    sweep(private).map_err(at(".git/gwg/gc"))?;
    stamp(private, TRIED).map_err(at(".git/gwg/gc-tried"))?;
    let shrunk = shrink(&tree, brief, today);
    // Also after a failure: nobody else will read it.
    sweep(private).map_err(at(".git/gwg/gc"))?;
    let shrunk = shrunk?;
    stamp(private, DONE).map_err(at(".git/gwg/gc-done"))?;
    beneath::remove_file(private, TRIED).map_err(at(".git/gwg/gc-tried"))?;
    Ok(shrunk)
}

fn open(root: OwnedFd, brief: &Brief) -> Result<Tree, Stop> {
    let shown = format!("{}/.git", brief.directory.display());
    let git = beneath::open_directory(&root, c".git").map_err(at(".git"))?;
    tree::is_ours(&git, &shown)?;
    let private = beneath::open_directory(&git, gitdir::PRIVATE).map_err(at(".git/gwg"))?;
    tree::is_ours(&private, &format!("{shown}/gwg"))?;
    let tree = Tree::hold(root, git, private, &shown)?;
    gitdir::refuse_hostile(&tree.git, &shown)?;
    if crash::is_begun(&tree.private).map_err(at(".git/gwg/running"))? {
        return Err(Stop::NotOurs("an update was killed here, and the next one has to clear up first"));
    }
    Ok(tree)
}

fn shrink(tree: &Tree, brief: &Brief, today: u64) -> Result<Shrunk, Stop> {
    let Limits { files, .. } = brief.limits;
    let store = Store::read(&tree.git, files)?;
    let reached = reach::reach(&tree.repository(brief)?, &tree.git, &store)?;
    let left = plan::Left::read(&tree.private).map_err(at(".git/gwg/unreachable"))?;
    let plan = Plan::make(&store, &reached, &left, today);
    let before = store.size();
    if plan.is_nothing() {
        return Ok(Shrunk { before, after: before });
    }
    let written = write::write(tree, brief, &plan, &reached)?;
    plan.list(left, written.left.as_deref(), today).write(&tree.private).map_err(at(".git/gwg/unreachable"))?;
    if plan.drops {
        store::forget_commit_graph(&tree.git).map_err(at(".git/objects/info"))?;
    }
    store.remove(&tree.git, &plan, &written.names()).map_err(at(".git/objects"))?;
    Ok(Shrunk { before, after: Store::read(&tree.git, files)?.size() })
}

/// Sets a file's time to now; makes it where it is missing.
fn stamp(private: &OwnedFd, name: &CStr) -> nix::Result<()> {
    let file = beneath::open(private, name, OFlag::O_WRONLY | OFlag::O_CREAT, 0o600)?;
    futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)
}

/// Days since 1970.
fn today() -> u64 {
    now() / DAY_S
}

/// Seconds since 1970. A clock that stands before that keeps everything.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const DAY_S: u64 = 86_400;
