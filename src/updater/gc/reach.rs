//! What is referred to: by refs, `HEAD` and its like, the index and reflogs, and all that leads on from there. Runs in
//! the updater.
//!
//! Refs are read here and not by libgit2, whose listing leaves out what it can't parse: what a ref like that keeps
//! alive must not go.

use super::store::{Store, id_of};
use super::{Stop, at};
use crate::updater::beneath::{self, Kind};
use git2::{ObjectType, Odb, Oid, Repository};
use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Bytes of the largest file of refs, and of the largest reflog.
const REFS_MAX: u64 = 256 << 20;
const REF_MAX: u64 = 4096;
const GITLINK: u32 = 0o160_000;

/// What is referred to.
#[derive(Default)]
pub struct Reached {
    seen: HashSet<Oid>,
    /// In the order of the walk, each with the name that a tree has for it: packs are smaller for knowing it.
    pub order: Vec<(Oid, Option<Rc<str>>)>,
}

impl Reached {
    /// Whether something refers to an object.
    pub fn has(&self, id: &Oid) -> bool {
        self.seen.contains(id)
    }
}

#[cfg(test)]
impl Reached {
    /// For tests of what is pure.
    pub fn of(ids: &[Oid]) -> Self {
        Self { seen: ids.iter().copied().collect(), order: ids.iter().map(|id| (*id, None)).collect() }
    }
}

/// Walks from all that refers to objects.
///
/// # Errors
/// [`Stop::Damaged`] where a ref can't be read, or something is missing that a ref leads to.
pub fn reach(repo: &Repository, git: &OwnedFd, store: &Store) -> Result<Reached, Stop> {
    let odb = repo.odb()?;
    let mut walk = Walk { repo, odb, there: store.objects(), names: HashSet::new(), reached: Reached::default(), waiting: Vec::new() };
    for root in refs(git)? {
        walk.all(root)?;
    }
    // All of these may name what is long gone.
    let index = repo.index()?;
    let staged = index.iter().filter(|entry| entry.mode != GITLINK).map(|entry| entry.id);
    for root in staged.chain(mentions(git)?).filter(|id| walk.there.contains(id)).collect::<Vec<_>>() {
        match walk.all(root) {
            Err(Stop::Damaged(_)) => walk.waiting.clear(),
            walked => walked?,
        }
    }
    Ok(walk.reached)
}

struct Walk<'r> {
    repo: &'r Repository,
    odb: Odb<'r>,
    there: HashSet<Oid>,
    names: HashSet<Rc<str>>,
    reached: Reached,
    waiting: Vec<(Oid, Option<ObjectType>, Option<Rc<str>>)>,
}

impl Walk<'_> {
    /// Without recursion: history is deep.
    fn all(&mut self, root: Oid) -> Result<(), Stop> {
        self.waiting.push((root, None, None));
        while let Some((id, kind, name)) = self.waiting.pop() {
            if self.reached.seen.contains(&id) {
                continue;
            }
            if !self.there.contains(&id) {
                return Err(Stop::Damaged(format!("object {id} is missing")));
            }
            let kind = match kind {
                Some(kind) => kind,
                None => self.odb.read_header(id)?.1,
            };
            self.expand(id, kind)?;
            self.reached.seen.insert(id);
            self.reached.order.push((id, name));
        }
        Ok(())
    }

    fn expand(&mut self, id: Oid, kind: ObjectType) -> Result<(), Stop> {
        match kind {
            ObjectType::Commit => {
                let commit = self.repo.find_commit(id)?;
                self.waiting.extend(commit.parent_ids().map(|parent| (parent, Some(ObjectType::Commit), None)));
                self.waiting.push((commit.tree_id(), Some(ObjectType::Tree), None));
            }
            ObjectType::Tree => {
                for entry in &self.repo.find_tree(id)? {
                    let kind = entry.kind();
                    // Another repository's commit is not here.
                    if kind != Some(ObjectType::Commit) && !self.reached.has(&entry.id()) {
                        let name = entry.name().ok().map(|name| self.name(name));
                        self.waiting.push((entry.id(), kind, name));
                    }
                }
            }
            ObjectType::Tag => {
                let tag = self.repo.find_tag(id)?;
                self.waiting.push((tag.target_id(), None, None));
            }
            ObjectType::Blob | ObjectType::Any => {}
        }
        Ok(())
    }

    /// Most names come again and again.
    fn name(&mut self, name: &str) -> Rc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Rc<str> = name.into();
        self.names.insert(name.clone());
        name
    }
}

/// What refs point at.
fn refs(git: &OwnedFd) -> Result<Vec<Oid>, Stop> {
    let mut ids = Vec::new();
    let directory = beneath::open_directory(git, c"refs").map_err(at(".git/refs"))?;
    loose_refs(&directory, &mut ids)?;
    ids.extend(read_ref(git, c"HEAD")?);
    let packed = beneath::read(git, c"packed-refs", REFS_MAX).map_err(at(".git/packed-refs"))?.unwrap_or_default();
    for line in packed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
        let id = line.strip_prefix(b"^").unwrap_or(line).get(..40).and_then(id_of);
        ids.push(id.ok_or_else(|| Stop::Damaged("a line of packed-refs is no ref".to_owned()))?);
    }
    Ok(ids)
}

fn loose_refs(directory: &OwnedFd, ids: &mut Vec<Oid>) -> Result<(), Stop> {
    for (name, kind) in beneath::list(directory).map_err(at(".git/refs"))? {
        match kind {
            Kind::Directory => loose_refs(&beneath::open_directory(directory, name.as_c_str()).map_err(at(".git/refs"))?, ids)?,
            Kind::File if name.to_bytes().ends_with(b".lock") => return Err(Stop::NotOurs("a ref is being written")),
            Kind::File => ids.extend(read_ref(directory, &name)?),
            Kind::Link | Kind::Special => return Err(Stop::Damaged(format!("{} is no ref", name.to_string_lossy()))),
        }
    }
    Ok(())
}

/// `None` for one that points at another, or is gone since it was listed: then it is in `packed-refs`.
fn read_ref(directory: &OwnedFd, name: &CStr) -> Result<Option<Oid>, Stop> {
    let Some(text) = beneath::read(directory, name, REF_MAX).map_err(at(".git/refs"))? else { return Ok(None) };
    let text = text.trim_ascii();
    if text.starts_with(b"ref: ") {
        return Ok(None);
    }
    id_of(text).map(Some).ok_or_else(|| Stop::Damaged(format!("the ref {} can't be read", name.to_string_lossy())))
}

/// All ids that stand in `ORIG_HEAD`, `FETCH_HEAD` and their like, and in reflogs.
fn mentions(git: &OwnedFd) -> Result<Vec<Oid>, Stop> {
    let mut ids = Vec::new();
    let is_capital = |name: &CStr| name.to_bytes().iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    for (name, kind) in beneath::list(git).map_err(at(".git"))? {
        if kind == Kind::File && is_capital(&name) {
            mentions_in(git, &name, &mut ids)?;
        }
    }
    match beneath::open_directory(git, c"logs") {
        Err(nix::errno::Errno::ENOENT) => {}
        opened => mentions_below(&opened.map_err(at(".git/logs"))?, &mut ids)?,
    }
    Ok(ids)
}

fn mentions_below(directory: &OwnedFd, ids: &mut Vec<Oid>) -> Result<(), Stop> {
    for (name, kind) in beneath::list(directory).map_err(at(".git/logs"))? {
        match kind {
            Kind::Directory => mentions_below(&beneath::open_directory(directory, name.as_c_str()).map_err(at(".git/logs"))?, ids)?,
            Kind::File => mentions_in(directory, &name, ids)?,
            Kind::Link | Kind::Special => {}
        }
    }
    Ok(())
}

fn mentions_in(directory: &OwnedFd, name: &CStr, ids: &mut Vec<Oid>) -> Result<(), Stop> {
    let text = beneath::read(directory, name, REFS_MAX).map_err(at("a file of ids in .git"))?.unwrap_or_default();
    ids.extend(text.split(u8::is_ascii_whitespace).filter_map(id_of));
    Ok(())
}
