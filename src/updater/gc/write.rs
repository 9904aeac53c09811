//! New packs: written beside the store, read back, moved into place. Runs in the updater.

use super::plan::Plan;
use super::reach::Reached;
use super::store::named;
use super::{Stop, WORKSHOP, at};
use crate::brief::updater::Brief;
use crate::updater::beneath;
use crate::updater::tree::Tree;
use git2::{Odb, Oid, Repository};
use nix::fcntl::{OFlag, renameat};
use nix::unistd::fsync;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The packs that were written, by name.
#[derive(Default)]
pub struct Written {
    /// Of what is referred to.
    main: Option<String>,
    /// Of what is not.
    pub left: Option<String>,
}

impl Written {
    /// Both.
    pub fn names(&self) -> Vec<&str> {
        [&self.main, &self.left].into_iter().flatten().map(String::as_str).collect()
    }
}

/// Writes what a plan says. When this returns the new packs are in place and on the disk.
///
/// # Errors
/// Those of writing; a pack that does not read as it was written. Then nothing is in place, or one that does no harm.
pub fn write(tree: &Tree, brief: &Brief, plan: &Plan, reached: &Reached) -> Result<Written, Stop> {
    let repo = tree.repository(brief)?;
    let workshop = Workshop::open(tree, brief)?;
    let main = reached.order.iter().filter(|(id, _)| plan.writes(id)).map(|(id, name)| (*id, name.as_deref()));
    let left = plan.left.iter().map(|id| (*id, None));
    let written = Written { main: workshop.pack(&repo, main)?, left: workshop.pack(&repo, left)? };
    let target = beneath::open_directory(&tree.git, c"objects/pack").map_err(at(".git/objects/pack"))?;
    written.names().into_iter().try_for_each(|name| workshop.move_to(&target, name)).map_err(at(".git/objects/pack"))?;
    fsync(&target).map_err(at(".git/objects/pack"))?;
    Ok(written)
}

/// A store of its own, that holds nothing but new packs.
struct Workshop {
    packs: OwnedFd,
    objects: PathBuf,
}

impl Workshop {
    fn open(tree: &Tree, brief: &Brief) -> Result<Self, Stop> {
        let errno = at(".git/gwg/gc");
        let workshop = beneath::open_or_make_directory(&tree.private, WORKSHOP, 0o700).map_err(&errno)?;
        let packs = beneath::open_or_make_directory(&workshop, c"pack", 0o700).map_err(&errno)?;
        Ok(Self { packs, objects: brief.directory.join(".git/gwg/gc") })
    }

    /// Writes one pack and reads it back; none where there is nothing to write.
    fn pack<'n>(&self, repo: &Repository, objects: impl Iterator<Item = (Oid, Option<&'n str>)>) -> Result<Option<String>, Stop> {
        let mut builder = repo.packbuilder()?;
        let mut ids = Vec::new();
        for (id, name) in objects {
            builder.insert_object(id, name)?;
            ids.push(id);
        }
        if ids.is_empty() {
            return Ok(None);
        }
        builder.write(&self.objects.join("pack"), 0)?;
        let name = builder.name()?.map(|name| format!("pack-{name}"));
        let name = name.ok_or_else(|| Stop::Damaged("a new pack has no name".to_owned()))?;
        self.sync(&name).map_err(at(".git/gwg/gc/pack"))?;
        reads_back(&self.objects, &ids)?;
        Ok(Some(name))
    }

    fn sync(&self, name: &str) -> nix::Result<()> {
        ["pack", "idx"].iter().try_for_each(|ending| fsync(beneath::open(&self.packs, named(name, ending).as_c_str(), OFlag::O_RDONLY, 0)?))
    }

    /// The index last: a pack is there as soon as it has one.
    fn move_to(&self, target: &OwnedFd, name: &str) -> nix::Result<()> {
        ["pack", "idx"]
            .map(|ending| named(name, ending))
            .iter()
            .try_for_each(|file| renameat(self.packs.as_fd(), file.as_c_str(), target.as_fd(), file.as_c_str()))
    }
}

/// Reads each object from the new packs and nothing else. libgit2 hashes what it reads.
fn reads_back(objects: &Path, ids: &[Oid]) -> Result<(), Stop> {
    let odb = Odb::new()?;
    odb.add_disk_alternate(&objects.to_string_lossy())?;
    ids.iter().try_for_each(|id| odb.read(*id).map(drop)).map_err(Stop::Git)
}
