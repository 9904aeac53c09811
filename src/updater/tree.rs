//! The work tree's directory, its `.git` and its lock. Runs in the updater; distrusts whoever else
//! can write there.

use super::beneath::{self, Kind};
use super::failure::Fault;
use super::{crash, gitconfig, gitdir, place};
use crate::audit::{Reason, Step};
use crate::brief::updater::Brief;
use git2::{Repository, RepositoryOpenFlags};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{fstat, stat};
use nix::unistd::geteuid;
use std::fs::{File, TryLockError};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A work tree that this process holds the lock of.
pub struct Tree {
    /// The work tree.
    pub root: OwnedFd,
    /// Its `.git`.
    pub git: OwnedFd,
    /// gwg's directory in there.
    pub private: OwnedFd,
    /// Locked while it is open.
    _lock: File,
}

/// Opens the work tree's directory, or makes it. Reads nothing in it.
///
/// # Errors
/// It can't be opened or made, or is not this user's.
pub fn open_root(brief: &Brief) -> Result<OwnedFd, Fault> {
    let path = brief.directory.display();
    let root = place::open_or_make(&brief.directory).map_err(|errno| match errno {
        Errno::ELOOP => foreign(format!("{path}: a symlink stands there or above it, which gwg does not follow")),
        Errno::EACCES | Errno::EROFS => Fault::errno(Step::Open, format!("{path} (as uid {})", geteuid()), errno),
        errno => Fault::errno(Step::Open, &path, errno),
    })?;
    is_ours(&root, &path)?;
    Ok(root)
}

impl Tree {
    /// Opens `.git` in the directory, or makes it; then takes the lock.
    ///
    /// # Errors
    /// What stands there is not gwg's to overwrite, or not this user's, or in use.
    pub fn open(root: OwnedFd, brief: &Brief, known: bool) -> Result<Self, Fault> {
        let path = brief.directory.display();
        let shown = format!("{path}/.git");
        let errno = |errno| Fault::errno(Step::Open, &shown, errno);
        let git = match beneath::look(&root, c".git").map_err(errno)?.as_ref().map(Kind::of) {
            None => {
                may_be_filled(&root, known, &path)?;
                gitdir::make(&root, brief).map_err(errno)?;
                beneath::open_directory(&root, c".git").map_err(errno)?
            }
            Some(Kind::Directory) => {
                let git = beneath::open_directory(&root, c".git").map_err(errno)?;
                is_ours(&git, &shown)?;
                gitdir::refuse_hostile(&git, &shown)?;
                let is_gwgs = known || gitconfig::is_clone_of(&git, brief)? || is_still_empty(&root, &git).map_err(errno)?;
                if !is_gwgs {
                    let url = &brief.url;
                    return Err(foreign(format!("{path} is a repository, but no clone of {url}: empty it, or choose another directory")));
                }
                git
            }
            Some(Kind::Link) => return Err(foreign(format!("{shown} is a symlink, which gwg does not follow"))),
            Some(Kind::File | Kind::Special) => return Err(foreign(format!("{shown} is not a directory: gwg does not follow gitfiles"))),
        };
        let private = beneath::open_or_make_directory(&git, gitdir::PRIVATE, 0o700).map_err(errno)?;
        // Someone else's could hold the lock for ever, or swap what is in it while it is used.
        is_ours(&private, &format!("{shown}/gwg"))?;
        let lock = lock(&private, &shown, PATIENCE)?;
        crash::begin(&git, &private, &shown)?;
        gitdir::forget_removal(&private).map_err(errno)?;
        let tree = Self { root, git, private, _lock: lock };
        if let Err(error) = gitdir::complete(&tree.git, &brief.label).and_then(|()| gitconfig::set(&tree.git, brief)) {
            let _told_already = crash::end(&tree.private);
            return Err(errno(error));
        }
        Ok(tree)
    }

    /// Takes the lock of a repository that is not to be updated: in it nothing is made or cleared up.
    ///
    /// # Errors
    /// Another updater works there.
    pub fn hold(root: OwnedFd, git: OwnedFd, private: OwnedFd, shown: &str) -> Result<Self, Fault> {
        let lock = lock(&private, shown, Duration::ZERO)?;
        Ok(Self { root, git, private, _lock: lock })
    }

    /// Opens the repository with libgit2 and makes sure that it is the one that was checked.
    ///
    /// # Errors
    /// libgit2's, and [`Reason::ForeignDirectory`] where paths were swapped meanwhile.
    pub fn repository(&self, brief: &Brief) -> Result<Repository, Fault> {
        let none: [&std::ffi::OsStr; 0] = [];
        let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
        let repo = Repository::open_ext(brief.directory.join(".git"), flags, none).map_err(super::failure::git(Step::Open))?;
        repo.set_workdir(&brief.directory, false).map_err(super::failure::git(Step::Open))?;
        let same = |path: Option<&std::path::Path>, held: &OwnedFd| -> nix::Result<bool> {
            let Some(path) = path else { return Ok(false) };
            let (named, held) = (stat(path)?, fstat(held)?);
            Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino))
        };
        let errno = |errno| Fault::errno(Step::Open, brief.directory.display(), errno);
        if same(Some(repo.path()), &self.git).map_err(errno)? && same(repo.workdir(), &self.root).map_err(errno)? {
            Ok(repo)
        } else {
            Err(foreign(format!("{} was replaced while it was opened", brief.directory.display())))
        }
    }
}

/// libgit2 and git refuse a repository of another user; so the remedy is said before.
///
/// # Errors
/// [`Reason::Directory`].
pub fn is_ours(directory: &OwnedFd, shown: &impl std::fmt::Display) -> Result<(), Fault> {
    let (owner, user) = (fstat(directory.as_fd()).map_err(|errno| Fault::errno(Step::Open, shown, errno))?.st_uid, geteuid());
    if owner == user.as_raw() {
        return Ok(());
    }
    let message = format!("{shown} belongs to uid {owner}, and updates run as uid {user}: chown it, or change `user`");
    Err(Fault::new(Step::Open, Reason::Directory, message))
}

/// A directory that is empty, or whose `.git` was lost, may get a new one.
fn may_be_filled(root: &OwnedFd, known: bool, shown: &impl std::fmt::Display) -> Result<(), Fault> {
    let entries = beneath::list(root).map_err(|errno| Fault::errno(Step::Open, shown, errno))?;
    match entries.iter().find(|(name, _)| !gitdir::counts_as_nothing(name)) {
        Some((name, _)) if !known => {
            let name = name.to_string_lossy();
            Err(foreign(format!("{shown} holds {name:?}, which gwg did not put there: empty it, or choose another directory")))
        }
        _ => Ok(()),
    }
}

/// gwg made the repository and nothing was ever deployed: the URL may have been wrong, and be right now.
fn is_still_empty(root: &OwnedFd, git: &OwnedFd) -> nix::Result<bool> {
    let made_by_gwg = beneath::look(git, gitdir::PRIVATE)?.is_some() && beneath::look(git, c"index")?.is_none();
    let mut entries = beneath::list(root)?.into_iter();
    Ok(made_by_gwg && entries.all(|(name, _)| name.as_c_str() == c".git" || gitdir::counts_as_nothing(&name)))
}

/// What the end of a process that was killed may take: one that kept the store small makes way for an update.
const PATIENCE: Duration = Duration::from_secs(5);

fn lock(private: &OwnedFd, shown: &str, patience: Duration) -> Result<File, Fault> {
    let file = beneath::open(private, c"lock", OFlag::O_RDWR | OFlag::O_CREAT, 0o600)
        .map_err(|errno| Fault::errno(Step::Open, format!("{shown}/gwg/lock"), errno))?;
    let file = File::from(file);
    let since = Instant::now();
    let mut tried = file.try_lock();
    while matches!(tried, Err(TryLockError::WouldBlock)) && since.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(5));
        tried = file.try_lock();
    }
    match tried {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Fault::new(Step::Open, Reason::Locked, format!("{shown}/gwg/lock: another updater works here")))
        }
        Err(TryLockError::Error(error)) => Err(Fault::new(Step::Open, Reason::Other, format!("{shown}/gwg/lock: {error}"))),
    }
}

fn foreign(message: String) -> Fault {
    Fault::new(Step::Open, Reason::ForeignDirectory, message)
}
