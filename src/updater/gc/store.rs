//! What stands in `.git/objects`: packs, loose objects, and what else keeps a store from being touched. Runs in the
//! updater; distrusts who wrote it.

use super::plan::Plan;
use super::{DAY_S, Stop, at, now};
use crate::updater::beneath::{self, Kind};
use crate::wire::order::StoreSize;
use git2::Oid;
use nix::errno::Errno;
use nix::sys::stat::FileStat;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

/// All files of a pack that may go with it. The index goes first: then git no longer looks for the pack.
const ENDINGS: [&str; 5] = ["idx", "pack", "rev", "bitmap", "mtimes"];
/// What a program that was killed has left is nobody's any more after so many seconds.
const ORPHAN_S: i64 = 86_400;
/// Where each of these stands, other programs keep books about packs or objects that only they can keep.
const BOOKS: [(&CStr, &str); 6] = [
    (c"shallow", "its history is shallow"),
    (c"worktrees", "it has linked work trees"),
    (c"gc.pid", "git gc runs here, or was killed: then remove .git/gc.pid"),
    (c"objects/pack/multi-pack-index", "it has a multi-pack-index: somebody else keeps its packs"),
    (c"objects/pack/multi-pack-index.d", "it has a multi-pack-index: somebody else keeps its packs"),
    (c"objects/info/alternates", "it borrows objects from another repository"),
];

/// A pack and the objects in it.
pub struct Pack {
    /// Without an ending.
    pub name: String,
    /// Of all its files.
    pub bytes: u64,
    /// Somebody wants it kept (`.keep`), or its index is of a kind that gwg does not read.
    pub stays: bool,
    /// In no order that matters.
    pub objects: Vec<Oid>,
    /// When the pack was last written, or git wanted to write an object that it has.
    time: (i64, i64),
}

/// An object in a file of its own.
pub struct Loose {
    /// Its name.
    pub id: Oid,
    /// Of its file.
    pub bytes: u64,
}

/// All of a store.
pub struct Store {
    /// In the order of their names.
    pub packs: Vec<Pack>,
    /// Likewise.
    pub loose: Vec<Loose>,
    /// Half of a pack that nobody will complete.
    orphans: Vec<CString>,
}

impl Store {
    /// Lists a store. `files`: the limit of files of one tree, which bounds how long an index may be.
    ///
    /// # Errors
    /// [`Stop::NotOurs`] where others keep it; those of reading.
    pub fn read(git: &OwnedFd, files: u64) -> Result<Self, Stop> {
        for (book, why) in BOOKS {
            if beneath::open(git, book, nix::fcntl::OFlag::O_PATH, 0).is_ok() {
                return Err(Stop::NotOurs(why));
            }
        }
        let mut store = Self { packs: Vec::new(), loose: Vec::new(), orphans: Vec::new() };
        store.read_packs(git, files.saturating_mul(20 * 40).saturating_add(1 << 20))?;
        store.read_loose(git).map_err(at(".git/objects"))?;
        Ok(store)
    }

    fn read_packs(&mut self, git: &OwnedFd, index_max: u64) -> Result<(), Stop> {
        let errno = at(".git/objects/pack");
        let directory = beneath::open_directory(git, c"objects/pack").map_err(&errno)?;
        let names: HashSet<CString> = beneath::list(&directory).map_err(&errno)?.into_iter().map(|(name, _)| name).collect();
        if names.iter().any(|name| name.to_bytes().ends_with(b".promisor")) {
            return Err(Stop::NotOurs("it is a partial clone"));
        }
        for name in &names {
            let Some((stem, ending)) = name.to_str().ok().and_then(|name| name.rsplit_once('.')) else { continue };
            let has = |ending: &str| names.contains(&named(stem, ending));
            if !stem.starts_with("pack-") {
                continue;
            }
            match ending {
                "pack" if has("idx") => {
                    let pack = Pack::read(&directory, stem, has("keep"), index_max).map_err(&errno)?;
                    self.packs.extend(pack);
                }
                "pack" | "idx" if has("pack") != has("idx") && is_orphan(&directory, name).map_err(&errno)? => {
                    self.orphans.push(name.clone())
                }
                _ => {}
            }
        }
        self.packs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn read_loose(&mut self, git: &OwnedFd) -> nix::Result<()> {
        let objects = beneath::open_directory(git, c"objects")?;
        for (first, kind) in beneath::list(&objects)? {
            if kind != Kind::Directory || first.to_bytes().len() != 2 {
                continue;
            }
            let directory = beneath::open_directory(&objects, first.as_c_str())?;
            for (rest, kind) in beneath::list(&directory)? {
                let name = [first.to_bytes(), rest.to_bytes()].concat();
                let Some(id) = id_of(&name).filter(|_| kind == Kind::File) else { continue };
                let Some(stat) = beneath::look(&directory, &rest)? else { continue };
                self.loose.push(Loose { id, bytes: bytes(&stat) });
            }
        }
        self.loose.sort_by_key(|loose| loose.id);
        Ok(())
    }

    /// All objects that are there.
    pub fn objects(&self) -> HashSet<Oid> {
        self.packs.iter().flat_map(|pack| pack.objects.iter().copied()).chain(self.loose.iter().map(|loose| loose.id)).collect()
    }

    /// How large it is.
    pub fn size(&self) -> StoreSize {
        let count = |objects: usize| objects as u64;
        let objects: usize = self.packs.iter().map(|pack| pack.objects.len()).sum();
        let bytes = self.packs.iter().map(|pack| pack.bytes).chain(self.loose.iter().map(|loose| loose.bytes)).sum();
        let loose = self.loose.len();
        StoreSize { packs: count(self.packs.len()), loose: count(loose), objects: count(objects + loose), bytes }
    }

    /// Removes what a plan says, but never a pack that was written just now. A pack that somebody has touched since it
    /// was listed stays for the next time: git relies on an object that it found there.
    ///
    /// # Errors
    /// Those of removing.
    pub fn remove(&self, git: &OwnedFd, plan: &Plan, written: &[&str]) -> nix::Result<()> {
        let directory = beneath::open_directory(git, c"objects/pack")?;
        let goes = |pack: &&Pack| plan.removed.contains(&pack.name) && !written.contains(&pack.name.as_str());
        for pack in self.packs.iter().filter(goes) {
            let now = beneath::look(&directory, &named(&pack.name, "pack"))?;
            if now.is_none_or(|stat| time(&stat) == pack.time) {
                ENDINGS.iter().try_for_each(|ending| beneath::remove_file(&directory, &named(&pack.name, ending)))?;
            }
        }
        self.orphans.iter().try_for_each(|orphan| beneath::remove_file(&directory, orphan))?;
        let objects = beneath::open_directory(git, c"objects")?;
        for loose in self.loose.iter().filter(|_| plan.packs_loose) {
            let id = loose.id.to_string();
            let Some((first, rest)) = id.split_at_checked(2) else { continue };
            let below = beneath::open_directory(&objects, c_string(first).as_c_str())?;
            beneath::remove_file(&below, &c_string(rest))?;
        }
        Ok(())
    }
}

impl Pack {
    /// `None` where it is gone since it was listed.
    fn read(directory: &OwnedFd, stem: &str, kept: bool, index_max: u64) -> nix::Result<Option<Self>> {
        let (mut size, mut when) = (0, (0, 0));
        for ending in ENDINGS {
            if let Some(stat) = beneath::look(directory, &named(stem, ending))? {
                size += bytes(&stat);
                if ending == "pack" {
                    when = time(&stat);
                }
            }
        }
        let Some(index) = beneath::read(directory, &named(stem, "idx"), index_max)? else { return Ok(None) };
        let (stays, objects) = match objects_of(&index) {
            Some(objects) => (kept, objects),
            None => (true, Vec::new()),
        };
        Ok(Some(Self { name: stem.to_owned(), bytes: size, stays, objects, time: when }))
    }

    /// The day on which it was last touched.
    pub fn day(&self) -> u64 {
        u64::try_from(self.time.0).unwrap_or_default() / DAY_S
    }
}

#[cfg(test)]
impl Pack {
    /// For tests of what is pure.
    pub fn of(name: &str, bytes: u64, stays: bool, objects: Vec<Oid>) -> Self {
        Self { name: name.to_owned(), bytes, stays, objects, time: (0, 0) }
    }
}

#[cfg(test)]
impl Store {
    /// Likewise.
    pub fn of(packs: Vec<Pack>, loose: Vec<Loose>) -> Self {
        Self { packs, loose, orphans: Vec::new() }
    }
}

/// The names in a pack's index of version 2: a header, 256 sums, the names.
fn objects_of(index: &[u8]) -> Option<Vec<Oid>> {
    let sums = index.strip_prefix(b"\xfftOc\0\0\0\x02")?;
    let count = u32::from_be_bytes(*sums.get(..1024)?.last_chunk()?);
    let names = sums.get(1024..)?.get(..usize::try_from(count).ok()?.checked_mul(20)?)?;
    names.chunks_exact(20).map(|name| Oid::from_bytes(name).ok()).collect()
}

/// A commit graph may name commits that go now; git makes another one.
///
/// # Errors
/// Those of removing.
pub fn forget_commit_graph(git: &OwnedFd) -> nix::Result<()> {
    let info = match beneath::open_directory(git, c"objects/info") {
        Err(Errno::ENOENT) => return Ok(()),
        opened => opened?,
    };
    beneath::remove_all(&info, c"commit-graph")?;
    beneath::remove_all(&info, c"commit-graphs")
}

/// An id in 40 hexadecimal digits.
pub fn id_of(text: &[u8]) -> Option<Oid> {
    (text.len() == 40).then(|| std::str::from_utf8(text).ok().and_then(|text| Oid::from_str(text).ok())).flatten()
}

/// A file of a pack.
pub fn named(stem: &str, ending: &str) -> CString {
    c_string(&format!("{stem}.{ending}"))
}

/// Names that come from a listing or from digits have no NUL.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn bytes(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

fn time(stat: &FileStat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

fn is_orphan(directory: &OwnedFd, name: &CStr) -> nix::Result<bool> {
    let Some(stat) = beneath::look(directory, name)? else { return Ok(false) };
    Ok(i64::try_from(now()).unwrap_or_default() - stat.st_mtime.max(stat.st_ctime) > ORPHAN_S)
}
