//! Who can write the configuration, and opening files with no more than that user's rights.
//!
//! As root, gwg opens the files that the configuration names. Were that done with root's rights
//! for a configuration that somebody else can write, a stolen `gwg` account could read any file of the
//! system through its own configuration. So whoever can write it bounds what it may ask for.

use super::error::Fault;
use nix::unistd::{self, Gid, Group, Uid, User};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many symlinks as Linux itself would follow.
const MOST_LINKS: usize = 40;

/// Who can write the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Nobody but root and the user who runs gwg.
    Trusted,
    /// This user, while gwg runs as root.
    Other(u32),
}

/// Judges a configuration by its own mode and, as root, by every directory and symlink on its way.
pub fn of(file: &Path, about: &Metadata, running_as: u32) -> Result<Owner, Fault> {
    let shown = file.display();
    if about.mode() & 0o022 != 0 {
        return Err(Fault::new("others than its owner can write the file", format!("run: chmod go-w {shown}")));
    }
    let strange = |uid: &u32| *uid != 0 && *uid != running_as;
    if running_as != 0 {
        return match Some(about.uid()).filter(strange) {
            Some(uid) => Err(Fault::new(
                format!("the file belongs to {}", name_of(uid)),
                format!("use a file of your own, or: chown {running_as} {shown}"),
            )),
            None => Ok(Owner::Trusted),
        };
    }
    let mut writers: BTreeSet<u32> = BTreeSet::new();
    writers.insert(about.uid());
    for place in way(file)? {
        writers.extend(writers_of(&place)?);
    }
    let mut writers = writers.into_iter().filter(strange);
    match (writers.next(), writers.next()) {
        (None, _) => Ok(Owner::Trusted),
        (Some(one), None) => Ok(Owner::Other(one)),
        (Some(one), Some(two)) => Err(Fault::new(
            format!("both {} and {} can write the file or a directory above it", name_of(one), name_of(two)),
            "let one user own them all, best root",
        )),
    }
}

/// Every directory and symlink whose owner decides what is found at `path`.
fn way(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unreadable =
        |error: std::io::Error| Fault::new(format!("the way to the file can't be read ({error})"), "check the directories above it");
    let mut places = Vec::new();
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut left: Vec<_> = steps(&std::path::absolute(path).map_err(unreadable)?);
    while let Some(step) = left.pop() {
        places.push(at.clone());
        if step == ".." {
            at.pop();
            continue;
        }
        at.push(&step);
        if !look(&at).map_err(unreadable)?.is_symlink() {
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Fault::new("the way to the file goes through too many symlinks", "name the file itself"));
        }
        places.push(at.clone());
        let target = reach(&at, || at.read_link()).map_err(unreadable)?;
        at.pop();
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(steps(&target));
    }
    Ok(places)
}

/// The components that matter, the last first.
fn steps(path: &Path) -> Vec<std::ffi::OsString> {
    let matters = |component: &Component| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().filter(matters).map(|component| component.as_os_str().to_owned()).rev().collect()
}

/// The users who can change what a directory holds, or where a symlink leads.
fn writers_of(place: &Path) -> Result<Option<u32>, Fault> {
    let about =
        look(place).map_err(|error| Fault::new(format!("{} can't be read ({error})", place.display()), "check its owner and mode"))?;
    let sticky = about.mode() & 0o1000 != 0;
    if about.is_symlink() || sticky {
        // In a sticky directory only an entry's owner can replace it, and that one is asked on its own.
        return Ok(Some(about.uid()));
    }
    if about.mode() & 0o002 != 0 {
        return Err(Fault::new(
            format!("everybody can write the directory {}", place.display()),
            format!("run: chmod o-w {}", place.display()),
        ));
    }
    let shared = about.mode() & 0o020 != 0 && about.gid() != 0 && !is_private(about.gid(), about.uid());
    if shared {
        let fault = format!("a whole group can write the directory {}", place.display());
        return Err(Fault::new(fault, format!("run: chmod g-w {}", place.display())));
    }
    Ok(Some(about.uid()))
}

/// Whether a group is a user's own: its primary one, without other members.
fn is_private(gid: u32, uid: u32) -> bool {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return false };
    let Ok(Some(group)) = Group::from_gid(Gid::from_raw(gid)) else { return false };
    uid != 0 && user.gid == group.gid && group.mem.iter().all(|member| *member == user.name)
}

/// A user's name, or the number where there is none.
pub fn name_of(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| format!("user {uid}"), |user| user.name)
}

/// Acts on a path with root's rights; where those do not suffice, with the rights of the owner of what bars
/// the way. As a service gwg is root without the right to read any file, and still reads the configuration
/// and keys of another user.
///
/// # Errors
/// Those of `act`.
pub fn reach<T>(path: &Path, act: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    match act() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && unistd::geteuid().is_root() => match barred_by(path) {
            Some(owner) => Rights::of(owner).with(act),
            None => Err(error),
        },
        acted => acted,
    }
}

/// The owner of the file, or of the nearest directory above it that is not hidden. A symlink's owner is
/// who made it: whoever that is leads gwg to no file of a third user.
fn barred_by(path: &Path) -> Option<u32> {
    let about = path.ancestors().find_map(|place| place.symlink_metadata().ok())?;
    Some(about.uid()).filter(|uid| *uid != 0)
}

fn look(path: &Path) -> std::io::Result<Metadata> {
    reach(path, || path.symlink_metadata())
}

/// The rights of one user over files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    /// The user's own, with all groups that it is in. A number that no user has: no groups but its own.
    pub fn of(uid: u32) -> Self {
        let alone = Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(uid), groups: vec![Gid::from_raw(uid)] };
        let Ok(Some(user)) = User::from_uid(alone.uid) else { return alone };
        let name = CString::new(user.name).unwrap_or_default();
        let groups = unistd::getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        Self { uid: user.uid, gid: user.gid, groups }
    }

    /// The user's with no group but its own one, as a hook has them.
    pub fn alone(uid: u32, gid: u32) -> Self {
        Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups: Vec::new() }
    }

    /// Calls `act` with these rights over files instead of root's, and no other rights.
    ///
    /// Only the file system's ids change, for this thread, and the groups, for the process: call it
    /// before other threads open files.
    pub fn with<T>(&self, act: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        let _restored = Lent::take(self)?;
        act()
    }
}

/// Gives root's rights back when dropped.
struct Lent {
    groups: Vec<Gid>,
    uid: Uid,
    gid: Gid,
}

impl Lent {
    fn take(rights: &Rights) -> std::io::Result<Self> {
        let groups = unistd::getgroups()?;
        unistd::setgroups(&rights.groups)?;
        let gid = unistd::setfsgid(rights.gid);
        // The capabilities over files go with the file system's user id.
        let uid = unistd::setfsuid(rights.uid);
        let lent = Self { groups, uid, gid };
        // setfsuid(2) reports no failure; asked for an impossible id it tells the current one.
        let nobody = u32::MAX;
        let taken = unistd::setfsuid(Uid::from_raw(nobody)) == rights.uid && unistd::setfsgid(Gid::from_raw(nobody)) == rights.gid;
        if taken { Ok(lent) } else { Err(std::io::ErrorKind::PermissionDenied.into()) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        unistd::setfsuid(self.uid);
        unistd::setfsgid(self.gid);
        // It can fail only where it failed before: then nothing was taken.
        let _ = unistd::setgroups(&self.groups);
    }
}
