//! What a commit's tree would cost, before a byte of the work tree is touched. Pure reading; runs in
//! the updater; distrusts whoever pushed the commit.
//!
//! A small pack may hold a huge tree: git names a subtree by its content, so ten trees that each hold
//! ten times the next are ten thousand million files. So the walk counts while it goes and stops at the
//! first limit. It also refuses what no file system can hold, which would else leave half a tree.

use super::beneath::Kind;
use super::failure::{Fault, git};
use crate::audit::{Reason, Step};
use crate::brief::updater::{Brief, Limits};
use git2::{Index, ObjectType, Odb, Oid, Repository, Tree, TreeEntry};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

const SYMLINK: i32 = 0o120_000;
/// libgit2's checkout goes no deeper.
const DEPTH_MAX: usize = 96;
/// `NAME_MAX` and `PATH_MAX` of Linux.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;
/// A path that is longer than this counts as several files: long names cost memory too.
const PATH_USUAL: usize = 256;

/// All that a tree puts into the work tree, each directory before what it holds.
pub struct Plan {
    /// In the tree's order.
    pub entries: Vec<Entry>,
}

/// One thing that a tree puts into the work tree.
pub struct Entry {
    /// Its path from the root.
    pub path: Vec<u8>,
    /// How many directories are above it.
    pub depth: usize,
    /// What it is on disk. A submodule is a directory, left to others.
    pub kind: Kind,
    /// Whether it is a directory whose content follows.
    pub is_tree: bool,
}

impl Entry {
    /// Its last component.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// Walks a tree and holds it against the limits. What stands in `index` with the same content need not
/// be looked up.
///
/// # Errors
/// [`Reason::Limit`], naming the limit and its key; names and links that no work tree may hold; damage.
pub fn weigh(repo: &Repository, tree: &Tree<'_>, index: &Index, brief: &Brief) -> Result<Plan, Fault> {
    let room = PATH_MAX.saturating_sub(brief.directory.as_os_str().as_bytes().len() + 2);
    let odb = repo.odb().map_err(git(Step::Verify))?;
    let mut walk = Walk { repo, odb, index, limits: brief.limits, room, files: 0, bytes: 0, entries: Vec::new() };
    walk.tree(tree, &mut Vec::new(), 0)?;
    Ok(Plan { entries: walk.entries })
}

struct Walk<'r> {
    repo: &'r Repository,
    odb: Odb<'r>,
    index: &'r Index,
    limits: Limits,
    /// Bytes of the longest path.
    room: usize,
    files: u64,
    bytes: u64,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn tree(&mut self, tree: &Tree<'_>, path: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
        let mut names = HashSet::new();
        for entry in tree {
            let name = entry.name_bytes();
            if !may_be_named(name) || !names.insert(name.to_vec()) {
                return Err(refused(format!(
                    "the remote's tree {} holds {:?}, which it must not",
                    tree.id(),
                    String::from_utf8_lossy(name)
                )));
            }
            let length = path.len();
            path.extend_from_slice(name);
            self.count(path, name, depth)?;
            let kind = self.look(&entry, path)?;
            let is_tree = entry.kind() == Some(ObjectType::Tree);
            self.entries.push(Entry { path: path.clone(), depth, kind, is_tree });
            if is_tree {
                let subtree = self.repo.find_tree(entry.id()).map_err(git(Step::Verify))?;
                path.push(b'/');
                self.tree(&subtree, path, depth + 1)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn count(&mut self, path: &[u8], name: &[u8], depth: usize) -> Result<(), Fault> {
        self.files += 1 + (path.len() / PATH_USUAL) as u64;
        if self.files > self.limits.files {
            return Err(limit(Step::Verify, format!("the work tree would hold more than {} files: raise limits.files", self.limits.files)));
        }
        let what = if depth >= DEPTH_MAX {
            format!("more than {DEPTH_MAX} directories deep")
        } else if name.len() > NAME_MAX {
            format!("a name of {} bytes, where a file system takes {NAME_MAX}", name.len())
        } else if path.len() > self.room {
            format!("a path of {} bytes, where {} fit below the directory", path.len(), self.room)
        } else {
            return Ok(());
        };
        Err(limit(Step::Verify, format!("the remote's tree holds {}: {what}; no setting changes that", shortened(path))))
    }

    fn look(&mut self, entry: &TreeEntry<'_>, path: &[u8]) -> Result<Kind, Fault> {
        match entry.kind() {
            Some(ObjectType::Tree | ObjectType::Commit) => Ok(Kind::Directory),
            _ if entry.filemode() == SYMLINK => self.link(entry.id(), path).map(|()| Kind::Link),
            _ => self.file(entry.id(), path).map(|()| Kind::File),
        }
    }

    fn file(&mut self, id: Oid, path: &[u8]) -> Result<(), Fault> {
        let size = self.size(id, path)?;
        if size > self.limits.object {
            let (path, most) = (shortened(path), self.limits.object);
            return Err(limit(Step::Verify, format!("{path} has {size} bytes, more than {most}: raise limits.object")));
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.tree {
            return Err(limit(Step::Verify, format!("the work tree would hold more than {} bytes: raise limits.tree", self.limits.tree)));
        }
        Ok(())
    }

    /// The index knows the size of what is deployed already, and is faster than the objects. It keeps 32
    /// bits of it, and none for what was never written.
    fn size(&self, id: Oid, path: &[u8]) -> Result<u64, Fault> {
        if self.limits.object < u64::from(u32::MAX)
            && let Ok(path) = std::str::from_utf8(path)
            && let Some(known) = self.index.get_path(std::path::Path::new(path), 0)
            && known.id == id
            && known.file_size > 0
        {
            return Ok(u64::from(known.file_size));
        }
        let (size, kind) = self.odb.read_header(id).map_err(git(Step::Verify))?;
        match kind {
            ObjectType::Blob => Ok(size as u64),
            _ => Err(refused(format!("the remote's tree has {} for a file, and it is a {}", shortened(path), kind.str()))),
        }
    }

    /// The kernel takes no other targets, and would cut one at its first NUL.
    fn link(&self, id: Oid, path: &[u8]) -> Result<(), Fault> {
        if is_gitmodules(path) {
            return Err(refused(format!("the remote's tree holds the symlink {}, which it must not", shortened(path))));
        }
        let size = self.size(id, path)?;
        let fits = (1..PATH_MAX as u64).contains(&size);
        if fits && !self.repo.find_blob(id).map_err(git(Step::Verify))?.content().contains(&0) {
            return Ok(());
        }
        Err(refused(format!("the remote's tree holds the symlink {}, whose target no file system takes", shortened(path))))
    }
}

/// What a refusal by a limit looks like.
pub fn limit(step: Step, message: String) -> Fault {
    Fault::new(step, Reason::Limit, message)
}

fn refused(message: String) -> Fault {
    Fault::new(Step::Verify, Reason::Other, message)
}

/// libgit2 refuses these too, and more by which other file systems mean `.git`: when it reads the tree
/// into the index, which is before anything is written.
fn may_be_named(name: &[u8]) -> bool {
    !(name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git"))
}

/// Whether any file system takes the last component for `.gitmodules`: HFS overlooks letters that are
/// not ASCII, NTFS has short names. libgit2 refuses such a symlink when half of the tree is written.
fn is_gitmodules(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name: Vec<u8> = name.iter().filter(|byte| byte.is_ascii()).map(u8::to_ascii_lowercase).collect();
    [b".gitmodules".as_slice(), b"gitmod~", b"gi7eba~"].iter().any(|begin| name.starts_with(begin))
}

/// A path for a message: quoted, and not longer than a line.
fn shortened(path: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(path.get(..SHOWN).unwrap_or(path));
    if path.len() > SHOWN { format!("{text:?}…") } else { format!("{text:?}") }
}
