//! Looks at a work tree that is to be deleted: whether it is, to the byte, what its commit has, and what tells each of
//! its files from any other. Runs in the updater; distrusts whoever else can write there.

use super::Stop;
use crate::audit::Kept;
use crate::updater::beneath::{self, Kind};
use git2::{ObjectType, Oid, Repository};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::FileStat;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Directories that lie in one another; each is open while those in it are looked at.
const DEPTH_MAX: usize = 200;

/// What may be removed.
pub struct Files {
    /// As they were when they were looked at.
    pub files: BTreeMap<Vec<u8>, Stamp>,
    /// Where they are empty.
    pub directories: BTreeSet<Vec<u8>>,
}

/// What tells a file from another, and from itself when it was written to.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: i64,
    modified: (i64, i64),
}

impl Stamp {
    /// Of what stands there.
    pub fn of(stat: &FileStat) -> Self {
        Self { inode: stat.st_ino, size: stat.st_size, modified: (stat.st_mtime, stat.st_mtime_nsec) }
    }
}

/// What the commit has.
#[derive(Default)]
pub struct Wanted {
    /// With the digest of its content, and its mode.
    files: BTreeMap<Vec<u8>, (Oid, i32)>,
    /// Submodules, whose directories stay empty, among them.
    pub directories: BTreeSet<Vec<u8>>,
}

impl Wanted {
    /// Of its tree.
    ///
    /// # Errors
    /// The tree can't be read, or is too deep.
    pub fn of(repo: &Repository, tree: &git2::Tree<'_>) -> Result<Self, Stop> {
        let mut wanted = Self::default();
        wanted.add(repo, tree, &[], 0)?;
        Ok(wanted)
    }

    /// The paths of its files and links.
    pub fn files(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.files.keys()
    }

    fn add(&mut self, repo: &Repository, tree: &git2::Tree<'_>, path: &[u8], depth: usize) -> Result<(), Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop(Kept::Failed, format!("{} is more than {DEPTH_MAX} directories deep", shown(path))));
        }
        for entry in tree {
            let below = join(path, entry.name_bytes());
            match entry.kind() {
                Some(ObjectType::Tree) => {
                    self.add(repo, &repo.find_tree(entry.id())?, &below, depth + 1)?;
                    self.directories.insert(below);
                }
                Some(ObjectType::Blob) => drop(self.files.insert(below, (entry.id(), entry.filemode()))),
                _ => drop(self.directories.insert(below)),
            }
        }
        Ok(())
    }
}

/// Compares the work tree with what is wanted, and gives its files. `trigger`: its path, which gwg itself has made.
///
/// # Errors
/// Something was changed, or is not wanted, or lies on another file system than `device`.
pub fn look(root: &OwnedFd, device: u64, wanted: &Wanted, trigger: Option<&Path>) -> Result<BTreeMap<Vec<u8>, Stamp>, Stop> {
    let trigger = trigger.map(|path| path.as_os_str().as_bytes().to_vec());
    let mut looked = Looked { device, wanted, trigger, files: BTreeMap::new() };
    looked.directory(root, &[])?;
    Ok(looked.files)
}

/// A walk through the work tree.
struct Looked<'a> {
    device: u64,
    wanted: &'a Wanted,
    trigger: Option<Vec<u8>>,
    files: BTreeMap<Vec<u8>, Stamp>,
}

impl Looked<'_> {
    fn directory(&mut self, directory: &OwnedFd, path: &[u8]) -> Result<(), Stop> {
        let failed = |path: &[u8], errno: Errno| Stop(Kept::Failed, format!("{}: {}", shown(path), errno.desc()));
        for (name, _) in beneath::list(directory).map_err(|errno| failed(path, errno))? {
            if path.is_empty() && name.as_c_str() == c".git" {
                continue;
            }
            let below = join(path, name.to_bytes());
            let Some(stat) = beneath::look(directory, &name).map_err(|errno| failed(&below, errno))? else { continue };
            let untracked = || Stop(Kept::Untracked, format!("{} is not in the commit", shown(&below)));
            if stat.st_dev != self.device {
                return Err(untracked());
            }
            match (Kind::of(&stat), self.wanted.files.get(&below)) {
                (Kind::Directory, None) if self.wanted.directories.contains(&below) => {
                    let lower = beneath::open_directory(directory, name.as_c_str()).map_err(|errno| failed(&below, errno))?;
                    self.directory(&lower, &below)?;
                    continue;
                }
                // gwg itself has made it.
                (Kind::File, None) if stat.st_size == 0 && self.trigger.as_ref() == Some(&below) => {}
                (Kind::File | Kind::Link, Some((id, mode))) => {
                    let same = is_same(directory, &name, &stat, *id, *mode).map_err(|errno| failed(&below, errno))?;
                    if !same {
                        return Err(Stop(Kept::Changed, format!("{} was changed", shown(&below))));
                    }
                }
                (Kind::File | Kind::Link | Kind::Directory | Kind::Special, _) => return Err(untracked()),
            }
            self.files.insert(below, Stamp::of(&stat));
        }
        Ok(())
    }
}

/// Whether what stands there is what the commit has: by its bytes.
fn is_same(directory: &OwnedFd, name: &CString, stat: &FileStat, id: Oid, mode: i32) -> nix::Result<bool> {
    let is_link = mode == 0o120_000;
    if (Kind::of(stat) == Kind::Link) != is_link {
        return Ok(false);
    }
    let bytes = if is_link {
        readlinkat(directory, name.as_c_str())?.into_encoded_bytes()
    } else {
        if (stat.st_mode & 0o100 != 0) != (mode & 0o100 != 0) {
            return Ok(false);
        }
        let file = beneath::open(directory, name.as_c_str(), OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0)?;
        let mut bytes = Vec::new();
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        let read = File::from(file).take(length + 1).read_to_end(&mut bytes);
        read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        bytes
    };
    Ok(Oid::hash_object(ObjectType::Blob, &bytes).is_ok_and(|found| found == id))
}

/// The path of what has this name in a directory.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, if path.is_empty() { b"" } else { b"/" }, name].concat()
}

/// A path, for messages.
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
