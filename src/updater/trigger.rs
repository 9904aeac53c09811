//! The file that is touched when an update is done, so that something else on the host starts.
//! Runs in the updater; distrusts who can write in the trigger's directory.

use super::beneath::{self, Kind};
use super::failure::Fault;
use super::place;
use crate::audit::{Reason, Step};
use crate::confine::maker::Maker;
use crate::confine::reach;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat, futimens};
use nix::sys::time::TimeSpec;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the trigger stands.
pub struct Trigger {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// In the work tree, which has yet to be written: the path below it.
    Inside(PathBuf),
    /// In a directory that must be there already.
    Beside {
        directory: OwnedFd,
        name: CString,
        /// The file, where it is there.
        file: Option<OwnedFd>,
        /// Who makes it, where it is not and this process may not.
        maker: Option<Maker>,
    },
}

impl Trigger {
    /// Finds the trigger's directory and looks at the trigger. The file itself is made when it is
    /// touched: who waits for it to appear must not wake before the update is done.
    ///
    /// # Errors
    /// The directory is missing, or the trigger is something else than a regular file.
    pub fn find(path: &Path, work_tree: &Path) -> Result<Self, Fault> {
        let path_owned = path.to_path_buf();
        if let Ok(inside) = path.strip_prefix(work_tree) {
            return Ok(Self { path: path_owned, place: Place::Inside(inside.to_path_buf()) });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(fault(path, "is no file's path"));
        };
        let directory = place::open_above(parent).map_err(|errno| match errno {
            Errno::ENOENT => fault(path, "its directory is missing; make it, or change `trigger`"),
            errno => Fault::errno(Step::Trigger, parent.display(), errno),
        })?;
        let name = CString::new(OsStr::as_bytes(name)).map_err(|_| fault(path, "is no file's path"))?;
        let errno = |errno| Fault::errno(Step::Trigger, path.display(), errno);
        // O_PATH: opened for nothing yet, so that nobody who watches it wakes.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(directory.as_fd(), name.as_c_str(), flags, Mode::empty()) {
            Ok(file) => Some(file),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(errno(error)),
        };
        if let Some(file) = &file {
            regular(path, Kind::of(&fstat(file).map_err(errno)?))?;
        }
        Ok(Self { path: path_owned, place: Place::Beside { directory, name, file, maker: None } })
    }

    /// What must stay in reach so that it can be touched; nothing but the work tree where it is in there.
    pub fn reach(&self) -> Option<reach::Trigger<'_>> {
        match &self.place {
            Place::Inside(_) => None,
            Place::Beside { directory, name, file, .. } => Some(match file {
                Some(file) => reach::Trigger::File(file.as_fd()),
                None => reach::Trigger::Missing { directory: directory.as_fd(), name },
            }),
        }
    }

    /// Who makes the file, since this process may not any more.
    pub fn made_by(&mut self, by: Maker) {
        if let Place::Beside { maker, .. } = &mut self.place {
            *maker = Some(by);
        }
    }

    /// Makes the file, or sets its times to now.
    ///
    /// # Errors
    /// The trigger can't be opened, or is something else than a regular file.
    pub fn touch(&self, work_tree: BorrowedFd<'_>) -> Result<(), Fault> {
        let errno = |errno| match errno {
            Errno::ELOOP => fault(&self.path, "a symlink stands there, which gwg does not follow"),
            errno => Fault::errno(Step::Trigger, self.path.display(), errno),
        };
        if let Place::Beside { file: None, maker: Some(maker), .. } = &self.place {
            return match maker.make() {
                Err(Errno::EEXIST) => Err(self.is_another()),
                made => made.map_err(errno),
            };
        }
        let file = match self.open(work_tree) {
            Err(Errno::EACCES) => return Err(self.is_another()),
            opened => opened.map_err(errno)?,
        };
        regular(&self.path, Kind::of(&fstat(&file).map_err(errno)?))?;
        futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).map_err(errno)
    }

    /// Whoever waits for it has made, removed or replaced it since the update began: what stands there now may
    /// not be opened. The next try looks anew.
    fn is_another(&self) -> Fault {
        fault(&self.path, "another file than at the start of the update, or none")
    }

    fn open(&self, work_tree: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
        // For writing: its close tells a watcher as much as the new time does. A pipe must not block.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        match &self.place {
            Place::Inside(path) => beneath::open(work_tree, path.as_path(), flags, 0o644),
            Place::Beside { directory, name, .. } => {
                let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                openat(directory.as_fd(), name.as_c_str(), flags, Mode::from_bits_truncate(0o644))
            }
        }
    }
}

fn regular(path: &Path, kind: Kind) -> Result<(), Fault> {
    match kind {
        Kind::File => Ok(()),
        Kind::Link => Err(fault(path, "a symlink stands there, which gwg does not follow")),
        Kind::Directory => Err(fault(path, "a directory stands there")),
        Kind::Special => Err(fault(path, "something else than a regular file stands there")),
    }
}

fn fault(path: &Path, message: &str) -> Fault {
    Fault::new(Step::Trigger, Reason::Directory, format!("{}: {message}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    fn touch(trigger: &Path, tree: &Path) -> Result<(), Fault> {
        Trigger::find(trigger, tree)?.touch(OwnedFd::from(File::open(tree).unwrap()).as_fd())
    }

    #[test]
    fn it_is_made_or_gets_a_new_time_and_keeps_its_content() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("tmp")).unwrap();
        for trigger in [home.path().join("t"), tree.join("tmp/restart.txt")] {
            touch(&trigger, &tree).unwrap();
            fs::write(&trigger, "text").unwrap();
            let old = SystemTime::now() - Duration::from_secs(1000);
            File::options().write(true).open(&trigger).unwrap().set_modified(old).unwrap();
            touch(&trigger, &tree).unwrap();
            assert!(fs::metadata(&trigger).unwrap().modified().unwrap() > old + Duration::from_secs(900));
            assert_eq!(fs::read(&trigger).unwrap(), b"text");
        }
    }

    #[test]
    fn finding_it_makes_nothing() {
        let home = tempfile::tempdir().unwrap();
        Trigger::find(&home.path().join("t"), &home.path().join("tree")).unwrap();
        assert!(!home.path().join("t").exists());
    }

    #[test]
    fn links_pipes_directories_and_missing_directories_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        for place in [home.path().to_path_buf(), tree.clone()] {
            std::os::unix::fs::symlink("/nonexistent/made", place.join("link")).unwrap();
            std::os::unix::fs::symlink(home.path(), place.join("up")).unwrap();
            nix::unistd::mkfifo(&place.join("pipe"), Mode::S_IRWXU).unwrap();
            for name in ["link", "pipe", "missing/t", "sub"] {
                let fault = touch(&place.join(name), &tree).map(|()| name);
                assert!(name == "sub" && place != tree || fault.unwrap_err().step == Step::Trigger, "{name}");
            }
        }
        assert!(touch(&tree.join("up/t"), &tree).is_err());
        assert!(touch(&tree.join("sub"), &tree).is_err());
    }
}
