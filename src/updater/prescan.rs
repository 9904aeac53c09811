//! Makes a work tree safe for libgit2's checkout. Runs in the updater; distrusts whoever else can
//! write in the tree.
//!
//! Where someone has put a symlink in the place of a tracked file or directory, libgit2's checkout
//! writes and deletes through it, outside of the repository; git itself does not. So before a
//! checkout such links are removed: wherever the tree that is being left or the one that comes has
//! a directory or a regular file. All of it from descriptors, and following nothing.

use super::beneath::{self, Kind};
use super::failure::{Fault, git};
use crate::audit::{Reason, Step};
use git2::{ObjectType, Repository, Tree};
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const SYMLINK: i32 = 0o120_000;

/// The paths of a tree's files, links and submodules.
pub type Paths = HashSet<Vec<u8>>;

/// Removes the links that stand where `tree` has something else, and gives the tree's paths.
///
/// # Errors
/// Those of looking and removing, and damage in the tree.
pub fn clear(repo: &Repository, tree: &Tree<'_>, root: &OwnedFd) -> Result<Paths, Fault> {
    let mut paths = Paths::new();
    walk(repo, tree, Some(root), &mut Vec::new(), &mut paths)?;
    Ok(paths)
}

/// `at` is the directory's counterpart in the work tree, `None` where there is none.
fn walk(repo: &Repository, tree: &Tree<'_>, at: Option<&OwnedFd>, prefix: &mut Vec<u8>, paths: &mut Paths) -> Result<(), Fault> {
    let mut names = HashSet::new();
    for entry in tree {
        let name = entry.name_bytes();
        if name.is_empty() || name.contains(&b'/') || !names.insert(name.to_vec()) {
            let message = format!("tree {} holds {:?} where it must not", tree.id(), String::from_utf8_lossy(name));
            return Err(Fault::new(Step::Reset, Reason::Corrupt, message));
        }
        let length = prefix.len();
        prefix.extend_from_slice(name);
        let below = match at {
            Some(at) => clear_one(at, name, entry.filemode()).map_err(|errno| {
                Fault::errno(Step::Reset, String::from_utf8_lossy(prefix), errno)
            })?,
            None => None,
        };
        if entry.kind() == Some(ObjectType::Tree) {
            let subtree = repo.find_tree(entry.id()).map_err(git(Step::Reset))?;
            prefix.push(b'/');
            walk(repo, &subtree, below.as_ref(), prefix, paths)?;
        } else {
            paths.insert(prefix.clone());
        }
        prefix.truncate(length);
    }
    Ok(())
}

/// Removes the link at `name` unless a link belongs there; opens a directory.
fn clear_one(at: &OwnedFd, name: &[u8], mode: i32) -> nix::Result<Option<OwnedFd>> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    match beneath::look(at, &name)?.as_ref().map(Kind::of) {
        Some(Kind::Link) if mode != SYMLINK => beneath::remove_file(at, &name).map(|()| None),
        Some(Kind::Directory) if mode != SYMLINK => open_if_directory(at, &name),
        Some(Kind::Link | Kind::Directory | Kind::File | Kind::Special) | None => Ok(None),
    }
}

fn open_if_directory(at: &OwnedFd, name: &CStr) -> nix::Result<Option<OwnedFd>> {
    match beneath::open_directory(at, name) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Removes a file or link that is no longer tracked, and the directories that it leaves empty, as
/// `git reset --hard` does. Not through a symlink: then there is nothing of ours to remove.
///
/// # Errors
/// Those of removing.
pub fn remove(root: &OwnedFd, path: &[u8]) -> Result<(), Fault> {
    remove_one(root, Path::new(OsStr::from_bytes(path)))
        .map_err(|errno| Fault::errno(Step::Reset, String::from_utf8_lossy(path), errno))
}

fn remove_one(root: &OwnedFd, path: &Path) -> nix::Result<()> {
    let mut flags = UnlinkatFlags::NoRemoveDir;
    for path in path.ancestors() {
        let Some(name) = path.file_name() else { return Ok(()) };
        let parent = match path.parent() {
            Some(above) if above != Path::new("") => match beneath::open_directory(root, above) {
                Ok(parent) => parent,
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => return Ok(()),
                Err(errno) => return Err(errno),
            },
            _ => root.try_clone().map_err(|_| Errno::EMFILE)?,
        };
        match unlinkat(parent.as_fd(), name, flags) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // A directory in the file's place, or one that still holds something: both stay.
            Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR | Errno::EBUSY) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        flags = UnlinkatFlags::RemoveDir;
    }
    Ok(())
}
