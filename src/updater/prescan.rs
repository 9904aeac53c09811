//! Makes a work tree safe for libgit2's checkout. Runs in the updater; distrusts whoever else can
//! write in the tree.
//!
//! libgit2's checkout writes and deletes through a symlink that someone has put in the place of a
//! tracked directory or file, outside of the repository; git itself does not. It also forgets
//! files whose kind changed (file, link, directory) in some combinations. So everything that stands
//! in the way, or that is to go, is removed here, from descriptors and following nothing. All that
//! libgit2 then meets is of the right kind, or missing.

use super::beneath::{self, Kind};
use super::failure::Fault;
use super::weigh::Plan;
use crate::audit::Step;
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Removes what stands where the plan has something of another kind.
///
/// # Errors
/// Those of looking and removing.
pub fn clear(root: &OwnedFd, plan: &Plan) -> Result<(), Fault> {
    // The counterparts of the directories above; none where there is none. A plan is not deep.
    let mut above: Vec<Option<OwnedFd>> = Vec::new();
    for entry in &plan.entries {
        above.truncate(entry.depth);
        let at = above.last().map_or(Some(root), Option::as_ref);
        let below = at.map_or(Ok(None), |at| make_way(at, entry.name(), entry.kind)).map_err(|errno| fault(&entry.path, errno))?;
        if entry.is_tree {
            above.push(below);
        }
    }
    Ok(())
}

/// Removes what is not of the wanted kind; opens the directory where that is what stands there.
fn make_way(at: &OwnedFd, name: &[u8], wanted: Kind) -> nix::Result<Option<OwnedFd>> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let found = beneath::look(at, &name)?;
    // libgit2 writes into a file that stands there, and so into all of its names; git makes another.
    if found.is_some_and(|found| Kind::of(&found) == Kind::File && found.st_nlink > 1) {
        return beneath::remove_file(at, &name).map(|()| None);
    }
    match found.as_ref().map(Kind::of) {
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
