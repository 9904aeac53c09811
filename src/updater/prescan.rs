//! Makes a work tree safe for libgit2's checkout. Runs in the updater; distrusts whoever else can
//! write in the tree.
//!
//! libgit2's checkout writes and deletes through a symlink that someone has put in the place of a
//! tracked directory or file, outside of the repository; git itself does not. It also forgets
//! files whose kind changed (file, link, directory) in some combinations. So everything that stands
//! in the way, or that is to go, is removed here, from descriptors and following nothing. All that
//! libgit2 then meets is of the right kind, or missing.

use super::beneath::{self, Kind};
use super::failure::{Fault, git};
use crate::audit::{Reason, Step};
use git2::{ObjectType, Repository, Tree};
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const SYMLINK: i32 = 0o120_000;

/// The paths of a tree's files, links and submodules.
pub type Paths = HashSet<Vec<u8>>;

/// Removes what stands where `tree` has something of another kind, and gives the tree's paths.
///
/// # Errors
/// Those of looking and removing, and damage in the tree.
pub fn clear(repo: &Repository, tree: &Tree<'_>, root: &OwnedFd) -> Result<Paths, Fault> {
    let mut walk = Walk { repo, path: Vec::new(), paths: Paths::new() };
    walk.tree(tree, Some(root))?;
    Ok(walk.paths)
}

struct Walk<'a> {
    repo: &'a Repository,
    path: Vec<u8>,
    paths: Paths,
}

impl Walk<'_> {
    /// `at` is the directory's counterpart in the work tree, `None` where there is none.
    fn tree(&mut self, tree: &Tree<'_>, at: Option<&OwnedFd>) -> Result<(), Fault> {
        let mut names = HashSet::new();
        for entry in tree {
            let name = entry.name_bytes();
            if !may_be_named(name) || !names.insert(name.to_vec()) {
                let message = format!("the remote's tree {} holds {:?}, which it must not", tree.id(), String::from_utf8_lossy(name));
                return Err(Fault::new(Step::Reset, Reason::Other, message));
            }
            let length = self.path.len();
            self.path.extend_from_slice(name);
            let wanted = wanted(entry.kind(), entry.filemode());
            let below = at.map_or(Ok(None), |at| make_way(at, name, wanted)).map_err(|errno| fault(&self.path, errno))?;
            if entry.kind() == Some(ObjectType::Tree) {
                let subtree = self.repo.find_tree(entry.id()).map_err(git(Step::Reset))?;
                self.path.push(b'/');
                self.tree(&subtree, below.as_ref())?;
            } else {
                self.paths.insert(self.path.clone());
            }
            self.path.truncate(length);
        }
        Ok(())
    }
}

/// libgit2 refuses these too, but after this walk has made way for them. It knows more of them, by
/// which other file systems mean `.git`.
fn may_be_named(name: &[u8]) -> bool {
    !(name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git"))
}

/// What a tree's entry becomes on disk. A submodule is a directory, left to others.
fn wanted(kind: Option<ObjectType>, mode: i32) -> Kind {
    match kind {
        Some(ObjectType::Tree | ObjectType::Commit) => Kind::Directory,
        _ if mode == SYMLINK => Kind::Link,
        _ => Kind::File,
    }
}

/// Removes what is not of the wanted kind; opens the directory where that is what stands there.
fn make_way(at: &OwnedFd, name: &[u8], wanted: Kind) -> nix::Result<Option<OwnedFd>> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    match beneath::look(at, &name)?.as_ref().map(Kind::of) {
        None => Ok(None),
        Some(Kind::Directory) if wanted == Kind::Directory => match beneath::open_directory(at, name.as_c_str()) {
            Err(Errno::ENOENT) => Ok(None),
            opened => opened.map(Some),
        },
        Some(found) if found == wanted => Ok(None),
        Some(Kind::Directory | Kind::File | Kind::Link | Kind::Special) => beneath::remove_all(at, &name).map(|()| None),
    }
}

/// Removes a file or link that is no longer tracked, and the directories that it leaves empty, as
/// `git reset --hard` does. Not through a symlink: then there is nothing of ours to remove.
///
/// # Errors
/// Those of removing.
pub fn remove(root: &OwnedFd, path: &[u8]) -> Result<(), Fault> {
    remove_upwards(root, Path::new(OsStr::from_bytes(path))).map_err(|errno| fault(path, errno))
}

fn remove_upwards(root: &OwnedFd, path: &Path) -> nix::Result<()> {
    let mut flags = UnlinkatFlags::NoRemoveDir;
    for path in path.ancestors() {
        let (Some(name), Some(above)) = (path.file_name(), path.parent()) else { return Ok(()) };
        let above = if above == Path::new("") { Path::new(".") } else { above };
        let parent = match beneath::open_directory(root, above) {
            Ok(parent) => parent,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => return Ok(()),
            Err(errno) => return Err(errno),
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

fn fault(path: &[u8], errno: Errno) -> Fault {
    Fault::errno(Step::Reset, String::from_utf8_lossy(path), errno)
}
