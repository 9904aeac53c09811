//! Opens a directory by its full path, and makes it. Runs in the updater, as the work tree's owner.
//!
//! The last component is never followed where it is a symlink. Above it a symlink is followed if
//! root or this user made it (`/var/run`, a moved `/srv`): anyone else who could plant one there
//! would choose where gwg writes.

use super::beneath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::geteuid;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Opens a directory above something, to work beneath it. Nothing is made.
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, `EACCES`; `ELOOP` for someone else's symlink.
pub fn open_above(path: &Path) -> nix::Result<OwnedFd> {
    names(path)?.iter().try_fold(root()?, |at, name| step(&at, name))
}

/// Opens the work tree to list it and to work beneath it; it and what is missing above it are made.
///
/// # Errors
/// As [`open_above`], and those of `mkdirat(2)`; `ELOOP` where the last component is a symlink.
pub fn open_or_make(path: &Path) -> nix::Result<OwnedFd> {
    let names = names(path)?;
    let (last, above) = names.split_last().ok_or(Errno::EINVAL)?;
    let mut at = root()?;
    for name in above {
        at = match step(&at, name) {
            Err(Errno::ENOENT) => {
                make(&at, name)?;
                step(&at, name)?
            }
            opened => opened?,
        };
    }
    match beneath::open_directory(&at, last.as_c_str()) {
        Err(Errno::ENOENT) => {
            make(&at, last)?;
            beneath::open_directory(&at, last.as_c_str())
        }
        opened => opened,
    }
}

fn root() -> nix::Result<OwnedFd> {
    open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn make(at: &OwnedFd, name: &CString) -> nix::Result<()> {
    match mkdirat(at, name.as_c_str(), Mode::from_bits_truncate(0o777)) {
        Err(Errno::EEXIST) => Ok(()),
        made => made,
    }
}

fn step(at: &OwnedFd, name: &CString) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match openat(at.as_fd(), name.as_c_str(), flags | OFlag::O_NOFOLLOW, Mode::empty()) {
        Err(Errno::ENOTDIR | Errno::ELOOP) => {}
        opened => return opened,
    }
    let stat = fstatat(at, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match beneath::Kind::of(&stat) {
        beneath::Kind::Link if stat.st_uid == 0 || stat.st_uid == geteuid().as_raw() => {
            openat(at.as_fd(), name.as_c_str(), flags, Mode::empty())
        }
        beneath::Kind::Link => Err(Errno::ELOOP),
        beneath::Kind::File | beneath::Kind::Directory | beneath::Kind::Special => Err(Errno::ENOTDIR),
    }
}

/// The components of an absolute path without `.` and `..`, which the configuration has refused.
fn names(path: &Path) -> nix::Result<Vec<CString>> {
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(Errno::EINVAL);
    }
    components
        .map(|component| match component {
            Component::Normal(name) => CString::new(OsStr::as_bytes(name)).map_err(|_| Errno::EINVAL),
            Component::RootDir | Component::CurDir | Component::ParentDir | Component::Prefix(_) => Err(Errno::EINVAL),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::updater::tests::world::skip;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn what_is_missing_is_made_and_the_last_link_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real");
        open_or_make(&real.join("a/b")).unwrap();
        assert!(real.join("a/b").is_dir());
        symlink(&real, home.path().join("link")).unwrap();
        open_or_make(&home.path().join("link/c")).unwrap();
        assert!(real.join("c").is_dir());
        assert!(matches!(open_or_make(&home.path().join("link")), Err(Errno::ELOOP | Errno::ENOTDIR)));
        std::fs::write(real.join("f"), "").unwrap();
        assert_eq!(open_or_make(&real.join("f/x")).unwrap_err(), Errno::ENOTDIR);
        assert_eq!(open_above(&real.join("none")).unwrap_err(), Errno::ENOENT);
        for bad in ["relative", "/a/../b", ""] {
            assert!(open_or_make(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_strangers_link_above_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("real")).unwrap();
        let link = home.path().join("link");
        symlink("real", &link).unwrap();
        if lchown(&link, Some(64_987), None).is_err() {
            return skip("a_strangers_link_above_is_not_followed", "needs root to give a link away");
        }
        assert_eq!(open_or_make(&link.join("x")).unwrap_err(), Errno::ELOOP);
        assert!(!home.path().join("real/x").exists());
    }
}
