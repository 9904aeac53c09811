//! Files beneath an open directory, never through a symlink. Runs in the updater.
//!
//! Whoever may write in a deployed tree may plant links in it. So paths in it are not opened by
//! name from `/` but from a descriptor, with `openat2(2)` and `RESOLVE_NO_SYMLINKS`.

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Special,
}

impl Kind {
    /// Of a `stat`.
    pub fn of(stat: &FileStat) -> Self {
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Directory,
            SFlag::S_IFLNK => Self::Link,
            _ => Self::Special,
        }
    }
}

/// Opens what stands at `path`, which may have several components.
///
/// # Errors
/// `ELOOP` where a component is a symlink, and those of `openat2(2)`.
pub fn open<P: ?Sized + NixPath>(at: impl AsFd, path: &P, flags: OFlag, mode: u32) -> nix::Result<OwnedFd> {
    let mode = if flags.intersects(OFlag::O_CREAT) { Mode::from_bits_truncate(mode) } else { Mode::empty() };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .mode(mode)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    loop {
        // EAGAIN: a rename elsewhere raced with the look-up; the kernel asks to try again.
        match openat2(at.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Opens a directory to list it and to work beneath it.
///
/// # Errors
/// As [`open`].
pub fn open_directory<P: ?Sized + NixPath>(at: impl AsFd, path: &P) -> nix::Result<OwnedFd> {
    open(at, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)
}

/// Opens a directory, made first where it is missing.
///
/// # Errors
/// As [`open`], and those of `mkdirat(2)`.
pub fn open_or_make_directory(at: impl AsFd, name: &CStr, mode: u32) -> nix::Result<OwnedFd> {
    match mkdirat(at.as_fd(), name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => open_directory(at, name),
        Err(errno) => Err(errno),
    }
}

/// What stands at `name`, not following it; `None` where nothing does.
///
/// # Errors
/// Those of `fstatat(2)`, a missing file excepted.
pub fn look(at: impl AsFd, name: &CStr) -> nix::Result<Option<FileStat>> {
    match fstatat(at.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The names in a directory, `.` and `..` left out, and what stands at them.
///
/// # Errors
/// Those of reading the directory.
pub fn list(directory: impl AsFd) -> nix::Result<Vec<(CString, Kind)>> {
    // A descriptor of its own: reading moves a position that duplicates share.
    let own = openat(directory.as_fd(), c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut entries = Vec::new();
    for entry in nix::dir::Dir::from_fd(own)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(nix::dir::Type::File) => Kind::File,
            Some(nix::dir::Type::Directory) => Kind::Directory,
            Some(nix::dir::Type::Symlink) => Kind::Link,
            Some(_) => Kind::Special,
            // Some file systems don't tell in the listing. Gone since: nothing to tell of.
            None => match look(&directory, name)? {
                Some(stat) => Kind::of(&stat),
                None => continue,
            },
        };
        entries.push((name.to_owned(), kind));
    }
    Ok(entries)
}

/// Reads a small regular file; `None` where it is missing.
///
/// # Errors
/// `ELOOP` for a symlink, `EFBIG` above `bound` bytes, `EINVAL` for what is no regular file.
pub fn read(at: impl AsFd, name: &CStr, bound: u64) -> nix::Result<Option<Vec<u8>>> {
    let file = match open(at, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if Kind::of(&fstat(&file)?) != Kind::File {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Vec::new();
    file.take(bound + 1).read_to_end(&mut bytes).map_err(errno_of)?;
    if bytes.len() as u64 > bound { Err(Errno::EFBIG) } else { Ok(Some(bytes)) }
}

/// Puts a file in place, whole or not at all: written beside it, then renamed over it.
///
/// # Errors
/// Those of writing and renaming.
pub fn write(at: impl AsFd, name: &CStr, bytes: &[u8], mode: u32) -> nix::Result<()> {
    let beside = CString::new([name.to_bytes(), b".gwg-new"].concat()).map_err(|_| Errno::EINVAL)?;
    remove_file(&at, &beside)?;
    let mut file = File::from(open(&at, beside.as_c_str(), OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, mode)?);
    file.write_all(bytes).map_err(errno_of)?;
    renameat(at.as_fd(), beside.as_c_str(), at.as_fd(), name)
}

/// Removes a file or a link; a missing one is fine.
///
/// # Errors
/// Those of `unlinkat(2)`.
pub fn remove_file(at: impl AsFd, name: &CStr) -> nix::Result<()> {
    match unlinkat(at.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes whatever stands at `name`, and all beneath it. Links are removed, not followed.
///
/// # Errors
/// Those of opening, listing and removing.
pub fn remove_all(at: impl AsFd, name: &CStr) -> nix::Result<()> {
    match look(&at, name)?.as_ref().map(Kind::of) {
        None => return Ok(()),
        Some(Kind::File | Kind::Link | Kind::Special) => return remove_file(at, name),
        Some(Kind::Directory) => {}
    }
    let top = open_directory(&at, name)?;
    let mut directories = remove_files(&top)?;
    let mut moved = 0;
    // However deep it is, two directories are open at a time: what lies in the lower one moves up.
    while let Some(next) = directories.pop() {
        match unlinkat(top.as_fd(), next.as_c_str(), UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(errno),
        }
        let lower = open_directory(&top, next.as_c_str())?;
        for below in remove_files(&lower)? {
            directories.push(move_up(&lower, &below, &top, &mut moved)?);
        }
        unlinkat(top.as_fd(), next.as_c_str(), UnlinkatFlags::RemoveDir)?;
    }
    unlinkat(at.as_fd(), name, UnlinkatFlags::RemoveDir)
}

/// Removes all but directories, whose names it gives.
fn remove_files(directory: &OwnedFd) -> nix::Result<Vec<CString>> {
    let mut directories = Vec::new();
    for (name, kind) in list(directory)? {
        match kind {
            Kind::Directory => directories.push(name),
            Kind::File | Kind::Link | Kind::Special => remove_file(directory, &name)?,
        }
    }
    Ok(directories)
}

/// Moves a directory up under a name that is free there.
fn move_up(from: &OwnedFd, name: &CStr, to: &OwnedFd, moved: &mut u64) -> nix::Result<CString> {
    loop {
        *moved += 1;
        let free = CString::new(format!(".gwg-{moved}")).map_err(|_| Errno::EINVAL)?;
        match renameat(from.as_fd(), name, to.as_fd(), free.as_c_str()) {
            Ok(()) => return Ok(free),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn errno_of(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_reached_through_a_symlink() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("outside/d")).unwrap();
        std::fs::create_dir(home.path().join("in")).unwrap();
        std::fs::write(home.path().join("outside/d/f"), "kept").unwrap();
        symlink("../outside", home.path().join("in/link")).unwrap();
        symlink("../outside/d/f", home.path().join("in/file")).unwrap();
        let at = OwnedFd::from(File::open(home.path().join("in")).unwrap());

        assert_eq!(open_directory(&at, c"link/d").unwrap_err(), Errno::ELOOP);
        assert_eq!(open_directory(&at, c"../outside").unwrap_err(), Errno::EXDEV);
        assert_eq!(read(&at, c"file", 10).unwrap_err(), Errno::ELOOP);
        write(&at, c"file", b"new", 0o600).unwrap();
        assert_eq!(read(&at, c"file", 10).unwrap().unwrap(), b"new");
        remove_all(&at, c"link").unwrap();
        assert_eq!(std::fs::read(home.path().join("outside/d/f")).unwrap(), b"kept");
    }

    #[test]
    fn a_directory_of_any_depth_is_removed_and_what_its_links_point_at_stays() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("kept"), "").unwrap();
        let at = OwnedFd::from(File::open(home.path()).unwrap());
        let mut deepest = open_or_make_directory(&at, c"deep", 0o700).unwrap();
        for level in 0..3_000 {
            symlink("/", format!("/proc/self/fd/{}/up", std::os::fd::AsRawFd::as_raw_fd(&deepest))).unwrap();
            open_or_make_directory(&deepest, c".gwg-1", 0o700).unwrap();
            let name = if level % 2 == 0 { c"a" } else { c".gwg-2" };
            deepest = open_or_make_directory(&deepest, name, 0o700).unwrap();
        }
        remove_all(&at, c"deep").unwrap();
        let left: Vec<_> = list(&at).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, [c"kept".to_owned()]);
    }

    #[test]
    fn a_bound_holds_and_a_pipe_does_not_block() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("f"), "12345").unwrap();
        nix::unistd::mkfifo(&home.path().join("p"), Mode::S_IRWXU).unwrap();
        let at = OwnedFd::from(File::open(home.path()).unwrap());
        assert_eq!(read(&at, c"f", 4).unwrap_err(), Errno::EFBIG);
        assert_eq!(read(&at, c"p", 4).unwrap_err(), Errno::EINVAL);
        assert_eq!(read(&at, c"none", 4).unwrap(), None);
    }
}
