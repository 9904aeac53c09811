//! What a killed predecessor left in `.git`: lock files and half-written packs. Runs in the updater.
//!
//! A marker stands in gwg's private directory while an update runs. Where one stands at the start,
//! the update before was killed, and lock files of this user that are not older than the marker are
//! its own: gwg's lock, which we hold, kept every other updater out. Any other lock file belongs to
//! someone else and is respected.

use super::beneath::{self, Kind};
use super::failure::Fault;
use super::gc;
use crate::audit::{Reason, Step};
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

const MARKER: &CStr = c"running";

/// Clears up after a killed predecessor and marks that an update runs.
///
/// # Errors
/// [`Reason::Locked`] where another program's lock file stands.
pub fn begin(git: &OwnedFd, private: &OwnedFd, shown: &str) -> Result<(), Fault> {
    let errno = |errno| Fault::errno(Step::Open, shown, errno);
    let since = beneath::look(private, MARKER).map_err(errno)?;
    remove_locks(git, since.as_ref(), shown)?;
    sweep(git).map_err(errno)?;
    gc::sweep(private).map_err(errno)?;
    let marker = beneath::open(private, MARKER, OFlag::O_WRONLY | OFlag::O_CREAT, 0o600).map_err(errno)?;
    futimens(&marker, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).map_err(errno)
}

/// Whether an update runs, or was killed.
///
/// # Errors
/// Those of looking.
pub fn is_begun(private: &OwnedFd) -> nix::Result<bool> {
    Ok(beneath::look(private, MARKER)?.is_some())
}

/// The update has ended by itself, however it ended.
///
/// # Errors
/// Those of removing the marker.
pub fn end(private: &OwnedFd) -> nix::Result<()> {
    beneath::remove_file(private, MARKER)
}

fn remove_locks(git: &OwnedFd, since: Option<&FileStat>, shown: &str) -> Result<(), Fault> {
    let errno = |errno| Fault::errno(Step::Open, shown, errno);
    for (name, _) in beneath::list(git).map_err(errno)? {
        if is_lock(&name) {
            remove_lock(git, &name, since, shown)?;
        }
    }
    match beneath::open_directory(git, c"refs") {
        Ok(refs) => remove_locks_of_refs(&refs, since, &format!("{shown}/refs")),
        Err(nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(errno(error)),
    }
}

fn remove_locks_of_refs(directory: &OwnedFd, since: Option<&FileStat>, shown: &str) -> Result<(), Fault> {
    let errno = |errno| Fault::errno(Step::Open, shown, errno);
    for (name, kind) in beneath::list(directory).map_err(errno)? {
        if kind == Kind::Directory {
            let below = beneath::open_directory(directory, name.as_c_str()).map_err(errno)?;
            remove_locks_of_refs(&below, since, &format!("{shown}/{}", name.to_string_lossy()))?;
        } else if is_lock(&name) {
            remove_lock(directory, &name, since, shown)?;
        }
    }
    Ok(())
}

/// No ref's name may end so.
fn is_lock(name: &CString) -> bool {
    name.to_bytes().ends_with(b".lock")
}

fn remove_lock(directory: &OwnedFd, name: &CStr, since: Option<&FileStat>, shown: &str) -> Result<(), Fault> {
    let path = format!("{shown}/{}", name.to_string_lossy());
    let errno = |errno| Fault::errno(Step::Open, &path, errno);
    let Some(lock) = beneath::look(directory, name).map_err(errno)? else { return Ok(()) };
    if since.is_some_and(|marker| lock.st_uid == geteuid().as_raw() && time(&lock) >= time(marker)) {
        return beneath::remove_file(directory, name).map_err(errno);
    }
    let message = format!("{path} is another program's lock: if none works in this repository, remove it");
    Err(Fault::new(Step::Open, Reason::Locked, message))
}

fn time(stat: &FileStat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

/// Temporary files of libgit2, which nobody else makes here: it never resumes them.
fn sweep(git: &OwnedFd) -> nix::Result<()> {
    for (place, prefix) in [(c"objects/pack", &b"pack_git2_"[..]), (c"objects", b"tmp_object_git2_")] {
        let Ok(directory) = beneath::open_directory(git, place) else { continue };
        for (name, kind) in beneath::list(&directory)? {
            if kind == Kind::File && name.to_bytes().starts_with(prefix) {
                beneath::remove_file(&directory, &name)?;
            }
        }
    }
    Ok(())
}
