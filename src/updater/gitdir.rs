//! `.git` as gwg wants it, and a `.git` that may not be used. Runs in the updater.
//!
//! Who can write in the work tree can write here. So what would lead elsewhere is refused: links,
//! gitfiles, alternates, a common directory. Its configuration is another file's matter (`gitconfig`).

use super::beneath::{self, Kind};
use super::failure::Fault;
use super::gitconfig;
use crate::audit::{Reason, Step};
use crate::brief::updater::Brief;
use crate::brief::{Label, LabelKind};
use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// gwg's private directory in `.git`.
pub const PRIVATE: &CStr = c"gwg";
const UNFINISHED: &CStr = c".git.gwg-new";
/// Says, in [`PRIVATE`], that gwg made the repository; one that it found has none.
const MADE: &CStr = c"made";
/// Says, in [`PRIVATE`], that the work tree is being deleted.
const REMOVAL: &CStr = c"removal";
/// What was `.git` when a work tree is as good as deleted.
pub const REMOVED: &CStr = c".git.gwg-removed";
/// What a rebuild has set aside, in [`PRIVATE`].
const DAMAGED: &CStr = c"damaged";
/// All that a fetch makes.
const FETCHED: [&CStr; 8] = [c"objects", c"refs", c"packed-refs", c"shallow", c"logs", c"HEAD", c"ORIG_HEAD", c"FETCH_HEAD"];
/// Directories below `.git` that git makes are not so deep; a branch's name may have some components.
const DEPTH_MAX: usize = 96;

/// Makes an empty repository, whole or not at all.
///
/// # Errors
/// Those of writing.
pub fn make(root: &OwnedFd, brief: &Brief) -> nix::Result<()> {
    beneath::remove_all(root, UNFINISHED)?;
    beneath::remove_all(root, REMOVED)?;
    let git = beneath::open_or_make_directory(root, UNFINISHED, 0o777)?;
    let private = beneath::open_or_make_directory(&git, PRIVATE, 0o700)?;
    beneath::write(&private, MADE, b"", 0o600)?;
    complete(&git, &brief.label)?;
    gitconfig::set(&git, brief)?;
    match renameat(root.as_fd(), UNFINISHED, root.as_fd(), c".git") {
        // Another updater was faster: its lock decides.
        Err(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(()),
        renamed => renamed,
    }
}

/// Whether gwg made the repository.
///
/// # Errors
/// Those of looking.
pub fn is_made_by_gwg(private: &OwnedFd) -> nix::Result<bool> {
    Ok(beneath::look(private, MADE)?.is_some())
}

/// From now on files of the work tree may be missing: they are being deleted.
///
/// # Errors
/// Those of writing.
pub fn begin_removal(private: &OwnedFd) -> nix::Result<()> {
    beneath::write(private, REMOVAL, b"", 0o600)
}

/// Whether a deletion has begun.
///
/// # Errors
/// Those of looking.
pub fn is_removal_begun(private: &OwnedFd) -> nix::Result<bool> {
    Ok(beneath::look(private, REMOVAL)?.is_some())
}

/// The work tree is wanted again.
///
/// # Errors
/// Those of removing.
pub fn forget_removal(private: &OwnedFd) -> nix::Result<()> {
    beneath::remove_file(private, REMOVAL)
}

/// All files of the work tree are deleted: what is left has no other use than to be removed.
///
/// # Errors
/// Those of renaming.
pub fn set_aside_for_removal(root: &OwnedFd) -> nix::Result<()> {
    beneath::remove_all(root, REMOVED)?;
    renameat(root.as_fd(), c".git", root.as_fd(), REMOVED)
}

/// Says whether a name may stand in a directory that counts as empty: what [`make`] left when it was
/// killed, and what `mkfs` puts at the root of a file system.
pub fn counts_as_nothing(name: &CStr) -> bool {
    name == UNFINISHED || name == REMOVED || name == c"lost+found"
}

/// Puts back what a repository can't be opened without.
///
/// # Errors
/// Those of writing.
pub fn complete(git: &OwnedFd, label: &Label) -> nix::Result<()> {
    let objects = beneath::open_or_make_directory(git, c"objects", 0o777)?;
    beneath::open_or_make_directory(&objects, c"info", 0o777)?;
    beneath::open_or_make_directory(&objects, c"pack", 0o777)?;
    let refs = beneath::open_or_make_directory(git, c"refs", 0o777)?;
    beneath::open_or_make_directory(&refs, c"heads", 0o777)?;
    beneath::open_or_make_directory(&refs, c"tags", 0o777)?;
    let head = beneath::read(git, c"HEAD", 4096)?;
    if !head.is_some_and(|head| is_head(&head)) {
        let branch = match label.kind {
            LabelKind::Branch => &label.name,
            // Detached as soon as the tag is here.
            LabelKind::Tag => "gwg-none-yet",
        };
        beneath::write(git, c"HEAD", format!("ref: refs/heads/{branch}\n").as_bytes(), 0o666)?;
    }
    Ok(())
}

fn is_head(head: &[u8]) -> bool {
    let head = head.trim_ascii();
    head.starts_with(b"ref: refs/") || (head.len() == 40 && head.iter().all(u8::is_ascii_hexdigit))
}

/// Refuses a `.git` that could lead a read or a write elsewhere. Walks all of it.
///
/// # Errors
/// [`Reason::ForeignDirectory`] with what stands there.
pub fn refuse_hostile(git: &OwnedFd, shown: &str) -> Result<(), Fault> {
    for elsewhere in [c"commondir", c"objects/info/alternates", c"objects/info/http-alternates", c"gitdir"] {
        match beneath::open(git, elsewhere, OFlag::O_PATH, 0) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(Errno::ELOOP) => break, // The walk below names the link.
            Ok(_) => return Err(foreign(format!("{shown}/{}: gwg does not use parts of another repository", elsewhere.to_string_lossy()))),
            Err(errno) => return Err(Fault::errno(Step::Open, shown, errno)),
        }
    }
    walk(git, shown, 0)
}

fn walk(directory: &OwnedFd, shown: &str, depth: usize) -> Result<(), Fault> {
    if depth > DEPTH_MAX {
        return Err(foreign(format!("{shown} is more than {DEPTH_MAX} directories deep: remove it")));
    }
    let errno = |errno| Fault::errno(Step::Open, shown, errno);
    for (name, kind) in beneath::list(directory).map_err(errno)? {
        let path = format!("{shown}/{}", name.to_string_lossy());
        match kind {
            Kind::File => {}
            Kind::Directory => match beneath::open_directory(directory, name.as_c_str()) {
                Ok(below) => walk(&below, &path, depth + 1)?,
                // Gone since: another updater works here, and the lock will say so.
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(errno(error)),
            },
            Kind::Link => return Err(foreign(format!("{path} is a symlink, which gwg does not follow"))),
            Kind::Special => return Err(foreign(format!("{path} is neither a file nor a directory"))),
        }
    }
    Ok(())
}

/// Moves objects and refs aside, so that the next fetch starts from nothing. The index stays: it
/// tells which files the old commit had.
///
/// # Errors
/// Those of renaming and writing.
pub fn set_damaged_aside(git: &OwnedFd, label: &Label) -> nix::Result<()> {
    let private = beneath::open_directory(git, PRIVATE)?;
    beneath::remove_all(&private, DAMAGED)?;
    let aside = beneath::open_or_make_directory(&private, DAMAGED, 0o700)?;
    for name in FETCHED {
        match renameat(git.as_fd(), name, aside.as_fd(), name) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    complete(git, label)
}

/// Undoes [`set_damaged_aside`], in the place of what was made since.
///
/// # Errors
/// Those of removing and renaming.
pub fn put_back_damaged(git: &OwnedFd) -> nix::Result<()> {
    let private = beneath::open_directory(git, PRIVATE)?;
    let aside = beneath::open_directory(&private, DAMAGED)?;
    for name in FETCHED {
        beneath::remove_all(git, name)?;
        match renameat(aside.as_fd(), name, git.as_fd(), name) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    forget_damaged(&private)
}

/// Removes what [`set_damaged_aside`] kept.
///
/// # Errors
/// Those of removing.
pub fn forget_damaged(private: &OwnedFd) -> nix::Result<()> {
    beneath::remove_all(private, DAMAGED)
}

/// Removes the index; the next reset writes it anew.
///
/// # Errors
/// Those of removing.
pub fn remove_index(git: &OwnedFd) -> nix::Result<()> {
    beneath::remove_file(git, c"index")
}

fn foreign(message: String) -> Fault {
    Fault::new(Step::Open, Reason::ForeignDirectory, message)
}

/// Makes libgit2's home directory: only its `.ssh/known_hosts` is ever read.
///
/// # Errors
/// Those of writing.
pub fn make_home(private: &OwnedFd, known_hosts: &str) -> nix::Result<OwnedFd> {
    let home = beneath::open_or_make_directory(private, c"home", 0o700)?;
    let ssh = beneath::open_or_make_directory(&home, c".ssh", 0o700)?;
    beneath::write(&ssh, c"known_hosts", known_hosts.as_bytes(), 0o600)?;
    Ok(home)
}
