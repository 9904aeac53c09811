//! Deletes the work tree of a repository that is no longer configured, where gwg cloned it and nobody has
//! changed it since. Runs in the updater, as the tree's owner; distrusts whoever else can write there.
//!
//! What is to go is looked at by descriptor, byte by byte, without a look at the index: flags in there
//! could hide a change. Only what was looked at and is still the same is removed, by its name in a
//! directory that is held open; so whatever is swapped meanwhile, nothing else goes. A deletion that was killed
//! is taken up by the next.

mod look;

use super::beneath::{self, Kind};
use super::failure::Fault;
use super::tree::{self, Tree};
use super::{crash, fetch, gitdir, libgit2, place};
use crate::audit::{Kept, Pruned};
use crate::brief::updater::{Brief, Prune};
use crate::confine::reach::Reach;
use git2::Repository;
use look::{Files, Stamp, Wanted, join, shown};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// All that stands in a `.git` that only gwg has written. Others are a person's: hooks, stashes, worktrees.
const OURS: [&[u8]; 11] =
    [b"HEAD", b"ORIG_HEAD", b"FETCH_HEAD", b"config", b"gwg", b"index", b"logs", b"objects", b"packed-refs", b"refs", b"shallow"];

/// Why a tree stays, and what tells so in the log.
struct Stop(Kept, String);

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self(Kept::Failed, fault.to_string())
    }
}

impl From<git2::Error> for Stop {
    fn from(error: git2::Error) -> Self {
        Self(Kept::Failed, error.message().to_owned())
    }
}

/// Looks at the tree, and deletes it where that is asked. `close` confines the process before anything is
/// read.
///
/// # Errors
/// Those of `close`.
pub fn prune<T, E>(brief: &Brief, prune: &Prune, say: &dyn Fn(&str), close: impl FnOnce(&Reach<'_>) -> Result<T, E>) -> Result<Pruned, E> {
    let opened = match Pruner::open(brief, prune) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(Pruned::Missing),
        Err(stop) => return Ok(told(say, stop)),
    };
    close(&Reach { tree: opened.root.as_fd(), above: Some(opened.above.as_fd()), trigger: None, port: 0 })?;
    Ok(opened.run(|| ()).unwrap_or_else(|stop| told(say, stop)))
}

fn told(say: &dyn Fn(&str), Stop(kept, what): Stop) -> Pruned {
    say(&format!("not deleted: {what}"));
    Pruned::Kept(kept)
}

/// A tree, and the directory that it stands in.
struct Pruner<'a> {
    brief: &'a Brief,
    prune: &'a Prune,
    above: OwnedFd,
    name: CString,
    root: OwnedFd,
    stat: FileStat,
}

impl<'a> Pruner<'a> {
    fn open(brief: &'a Brief, prune: &'a Prune) -> Result<Option<Self>, Stop> {
        let shown = brief.directory.display();
        let (Some(parent), Some(name)) = (brief.directory.parent(), brief.directory.file_name()) else {
            return Err(Stop(Kept::NotCloned, format!("{shown} is no work tree's path")));
        };
        let name = CString::new(OsStr::as_bytes(name)).map_err(|_| Stop(Kept::NotCloned, format!("{shown} is no path")))?;
        libgit2::set_up(brief.connect_ms, brief.silence_ms, &brief.limits)?;
        let opened = place::open_above(parent).and_then(|above| Ok((beneath::open_directory(&above, name.as_c_str())?, above)));
        let (root, above) = match opened {
            Ok(opened) => opened,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                return Err(Stop(Kept::NotCloned, format!("{shown} is no directory, or lies behind a link")));
            }
            Err(errno) => return Err(Stop(Kept::Failed, format!("{shown}: {}", errno.desc()))),
        };
        tree::is_ours(&root, &shown).map_err(|fault| Stop(Kept::NotCloned, fault.to_string()))?;
        let stat = fstat(&root).map_err(|errno| Stop(Kept::Failed, format!("{shown}: {}", errno.desc())))?;
        Ok(Some(Self { brief, prune, above, name, root, stat }))
    }

    /// `looked`: called when all has been looked at and nothing removed, so that tests can come between.
    fn run(&self, looked: impl FnOnce()) -> Result<Pruned, Stop> {
        if self.is_emptied()? {
            // All that was left to do, after a deletion that was killed, or could not remove the directory.
            return if self.prune.delete { self.finish() } else { Ok(Pruned::Unchanged) };
        }
        let tree = self.hold()?;
        let files = self.look(&tree)?;
        if !self.prune.delete {
            return Ok(Pruned::Unchanged);
        }
        looked();
        gitdir::begin_removal(&tree.private).map_err(|errno| self.errno(".git/gwg", errno))?;
        self.remove_files(&tree.root, &[], &files)?;
        gitdir::set_aside_for_removal(&tree.root).map_err(|errno| self.errno(".git", errno))?;
        self.finish()
    }

    fn errno(&self, what: impl std::fmt::Display, errno: Errno) -> Stop {
        Stop(Kept::Failed, format!("{}/{what}: {}", self.brief.directory.display(), errno.desc()))
    }

    /// Whether nothing is in there, but perhaps what was set aside to be removed.
    fn is_emptied(&self) -> Result<bool, Stop> {
        let entries = beneath::list(&self.root).map_err(|errno| self.errno("", errno))?;
        Ok(entries.iter().all(|(name, _)| name.as_c_str() == gitdir::REMOVED))
    }

    fn finish(&self) -> Result<Pruned, Stop> {
        beneath::remove_all(&self.root, gitdir::REMOVED).map_err(|errno| self.errno(".git", errno))?;
        let here = beneath::look(&self.above, &self.name).map_err(|errno| self.errno("", errno))?;
        if here.is_none_or(|here| (here.st_dev, here.st_ino) != (self.stat.st_dev, self.stat.st_ino)) {
            return Err(Stop(Kept::Failed, format!("{} was moved away while it was deleted", self.brief.directory.display())));
        }
        match unlinkat(&self.above, self.name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) => Ok(Pruned::Deleted),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Err(Stop(Kept::Untracked, "something new is in it".to_owned())),
            // Its parent is another's, or a file system is mounted on it.
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EBUSY) => Ok(Pruned::Emptied),
            Err(errno) => Err(self.errno("", errno)),
        }
    }

    /// Takes the lock of a repository that gwg made and that has nothing in it of anybody else's.
    fn hold(&self) -> Result<Tree, Stop> {
        let shown = format!("{}/.git", self.brief.directory.display());
        let foreign = |fault: Fault| Stop(Kept::NotCloned, fault.to_string());
        let open = |at: &OwnedFd, name| match beneath::open_directory(at, name) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Err(Stop(Kept::NotCloned, format!("{shown} is none that gwg made"))),
            opened => opened.map_err(|errno| self.errno(".git", errno)),
        };
        let git = open(&self.root, c".git")?;
        tree::is_ours(&git, &shown).map_err(foreign)?;
        gitdir::refuse_hostile(&git, &shown).map_err(foreign)?;
        let private = open(&git, gitdir::PRIVATE)?;
        tree::is_ours(&private, &shown).map_err(foreign)?;
        if !gitdir::is_made_by_gwg(&private).map_err(|errno| self.errno(".git/gwg", errno))? {
            return Err(Stop(Kept::NotCloned, format!("{shown} was there before gwg")));
        }
        // Another descriptor of the same directory: the filter lets none be duplicated.
        let root = beneath::open_directory(&self.root, c".").map_err(|errno| self.errno("", errno))?;
        let tree = Tree::hold(root, git, private, &shown).map_err(|fault| Stop(Kept::Busy, fault.to_string()))?;
        if crash::is_begun(&tree.private).map_err(|errno| self.errno(".git/gwg", errno))? {
            return Err(Stop(Kept::Busy, format!("{shown}: an update was killed in it")));
        }
        for (name, _) in beneath::list(&tree.git).map_err(|errno| self.errno(".git", errno))? {
            if !OURS.contains(&name.to_bytes()) {
                return Err(Stop(Kept::Moved, format!("{shown}/{} is not gwg's", name.to_string_lossy())));
            }
        }
        Ok(tree)
    }

    /// Compares the tree with what gwg deployed, and gives its files as they are.
    fn look(&self, tree: &Tree) -> Result<Files, Stop> {
        let repo = tree.repository(self.brief)?;
        self.check_refs(&repo)?;
        let wanted = Wanted::of(&repo, &repo.head()?.peel_to_tree()?)?;
        let trigger = self.brief.trigger.as_deref().and_then(|path| path.strip_prefix(&self.brief.directory).ok());
        let files = look::look(&tree.root, self.stat.st_dev, &wanted, trigger)?;
        let begun = gitdir::is_removal_begun(&tree.private).map_err(|errno| self.errno(".git/gwg", errno))?;
        let gone = wanted.files().find(|path| !files.contains_key(*path));
        if let Some(path) = gone.filter(|_| !begun) {
            return Err(Stop(Kept::Changed, format!("{} was removed", shown(path))));
        }
        Ok(Files { files, directories: wanted.directories })
    }

    fn check_refs(&self, repo: &Repository) -> Result<(), Stop> {
        let Brief { label, remote, .. } = self.brief;
        let ours = [label.full_name(), fetch::local_name(label, remote)];
        let head = repo.head()?.peel_to_commit()?.id();
        if head.as_bytes() != self.prune.deployed.as_bytes() {
            return Err(Stop(Kept::Moved, format!("HEAD is at {head}, and gwg deployed {}", self.prune.deployed)));
        }
        for reference in repo.references()? {
            let reference = reference?;
            let name = reference.name().unwrap_or_default();
            let commit = reference.peel_to_commit().map(|commit| commit.id());
            if !ours.iter().any(|ours| ours == name) || commit.is_ok_and(|commit| commit != head) {
                return Err(Stop(Kept::Moved, format!("{name} is not where gwg left it")));
            }
        }
        Ok(())
    }

    fn remove_files(&self, directory: &OwnedFd, path: &[u8], files: &Files) -> Result<(), Stop> {
        for (name, _) in beneath::list(directory).map_err(|errno| self.errno(shown(path), errno))? {
            if path.is_empty() && name.as_c_str() == c".git" {
                continue;
            }
            let below = join(path, name.to_bytes());
            let errno = |errno| self.errno(shown(&below), errno);
            let Some(stat) = beneath::look(directory, &name).map_err(errno)? else { continue };
            if files.files.get(&below).is_some_and(|stamp| *stamp == Stamp::of(&stat)) {
                beneath::remove_file(directory, &name).map_err(errno)?;
            } else if Kind::of(&stat) == Kind::Directory && files.directories.contains(&below) {
                let lower = beneath::open_directory(directory, name.as_c_str()).map_err(errno)?;
                self.remove_files(&lower, &below, files)?;
                unlinkat(directory, name.as_c_str(), UnlinkatFlags::RemoveDir).map_err(errno)?;
            } else {
                return Err(Stop(Kept::Changed, format!("{} was changed while the tree was deleted", shown(&below))));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::updater::tests::world::{World, sh};
    use crate::wire::order::Outcome;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A deployed tree; beside it a directory with a file that nobody may touch.
    fn deployed() -> World {
        let world = World::new();
        world.sh_remote("ln -s ../../victim/kept link; mkdir -p deep/er; echo x > deep/er/file");
        world.updates_to(world.commit("more"));
        fs::create_dir(world.home.path().join("victim")).unwrap();
        fs::write(world.home.path().join("victim/kept"), "kept").unwrap();
        world
    }

    fn wish(world: &World, delete: bool) -> Prune {
        Prune { deployed: world.tip("main"), delete }
    }

    fn run_between(world: &World, looked: impl FnOnce()) -> Pruned {
        let wish = wish(world, true);
        let Ok(Some(pruner)) = Pruner::open(&world.brief, &wish) else { return Pruned::Missing };
        pruner.run(looked).unwrap_or_else(|Stop(kept, _)| Pruned::Kept(kept))
    }

    fn run(world: &World, delete: bool) -> Pruned {
        prune(&world.brief, &wish(world, delete), &|_| (), |_| Ok::<_, std::convert::Infallible>(())).unwrap()
    }

    fn victim_is_well(world: &World) -> bool {
        fs::read(world.home.path().join("victim/kept")).is_ok_and(|text| text == b"kept")
    }

    #[test]
    fn a_tree_that_nobody_changed_goes_and_nothing_else() {
        let world = deployed();
        assert_eq!(run(&world, false), Pruned::Unchanged);
        assert!(world.tree().join("deep/er/file").exists(), "it was only asked");
        assert_eq!(run(&world, true), Pruned::Deleted);
        assert!(!world.tree().exists() && victim_is_well(&world));
        assert_eq!(run(&world, true), Pruned::Missing);
    }

    #[test]
    fn what_somebody_changed_stays_and_says_why() {
        for (change, why) in [
            ("echo more >> a", Kept::Changed),
            // As long as it was, and no younger: only its bytes tell.
            ("touch -r a ../stamp; printf 'ONE\\n' > a; touch -r ../stamp a", Kept::Changed),
            // The index swears that nothing has changed.
            ("git update-index --assume-unchanged a; echo more >> a", Kept::Changed),
            ("chmod -x run", Kept::Changed),
            ("rm a", Kept::Changed),
            ("ln -sf elsewhere link", Kept::Changed),
            ("rm link; echo x > link", Kept::Changed),
            ("rm -r deep; ln -s ../victim deep", Kept::Untracked),
            ("touch new", Kept::Untracked),
            ("mkdir deep/empty", Kept::Untracked),
            (
                "mkdir -p .git/info; echo hidden > .git/info/exclude; echo x > hidden; rm .git/info/exclude; rmdir .git/info",
                Kept::Untracked,
            ),
            ("mkfifo pipe", Kept::Untracked),
            ("git init -q nested", Kept::Untracked),
            ("git commit -q --allow-empty -m mine", Kept::Moved),
            ("git branch mine", Kept::Moved),
            ("git update-ref refs/stash HEAD", Kept::Moved),
            ("mkdir .git/hooks; echo x > .git/hooks/post-merge", Kept::Moved),
            ("touch .git/gwg/running", Kept::Busy),
            ("rm .git/gwg/made", Kept::NotCloned),
            ("rm -r .git; git init -q", Kept::NotCloned),
            ("mv .git ../git; ln -s ../git .git", Kept::NotCloned),
            ("echo ../../victim > .git/commondir", Kept::NotCloned),
        ] {
            let world = deployed();
            world.sh_tree(change);
            let before = sh(world.home.path(), "find tree | sort");
            assert_eq!(run(&world, true), Pruned::Kept(why), "{change}");
            assert_eq!(
                sh(world.home.path(), "find tree | grep -v gwg/lock | sort"),
                before.replace("tree/.git/gwg/lock\n", ""),
                "{change}"
            );
            assert!(victim_is_well(&world), "{change}");
        }
    }

    #[test]
    fn a_clone_that_was_there_before_gwg_stays() {
        let mut world = World::new();
        sh(world.home.path(), &format!("git clone -q {} tree", world.brief.url));
        world.order.known = true;
        world.updates_to(world.tip("main"));
        assert_eq!(run(&world, true), Pruned::Kept(Kept::NotCloned));
    }

    #[test]
    fn the_trigger_that_gwg_made_is_no_change() {
        let mut world = World::new();
        world.brief.trigger = Some(world.tree().join("dir/restart.txt"));
        world.updates_to(world.tip("main"));
        world.sh_tree("echo mine > dir/restart.txt");
        assert_eq!(run(&world, true), Pruned::Kept(Kept::Untracked));
        world.sh_tree("> dir/restart.txt");
        assert_eq!(run(&world, true), Pruned::Deleted);
    }

    #[test]
    fn what_is_swapped_between_look_and_removal_stays() {
        for (swap, why, left) in [
            ("rm -r tree/deep; ln -s ../victim tree/deep", Kept::Changed, "tree/deep/kept"),
            ("rm -r tree/deep; cp -r victim tree/deep", Kept::Changed, "tree/deep/kept"),
            ("echo mine > tree/a", Kept::Changed, "tree/a"),
            ("rm tree/a; echo one > tree/a", Kept::Changed, "tree/a"),
            ("echo mine > tree/dir/mine", Kept::Changed, "tree/dir/mine"),
            ("mv tree away; ln -s victim tree", Kept::Failed, "tree/kept"),
            ("mv tree away; cp -r victim tree", Kept::Failed, "tree/kept"),
        ] {
            let world = deployed();
            let home = world.home.path().to_owned();
            assert_eq!(run_between(&world, || drop(sh(&home, swap))), Pruned::Kept(why), "{swap}");
            assert!(victim_is_well(&world) && home.join(left).exists(), "{swap}");
        }
    }

    #[test]
    fn a_tree_behind_a_link_is_not_touched() {
        let world = deployed();
        let aside = world.home.path().join("aside");
        fs::rename(world.tree(), &aside).unwrap();
        symlink(&aside, world.tree()).unwrap();
        assert_eq!(run(&world, true), Pruned::Kept(Kept::NotCloned));
        assert!(aside.join("a").exists());
    }

    #[test]
    fn a_deletion_that_was_killed_is_taken_up_or_healed_by_an_update() {
        for killed in [
            "rm -r deep a",
            "rm -r deep a dir run link",
            "rm -r deep a dir run link; mv .git .git.gwg-removed; rm -r .git.gwg-removed/refs",
        ] {
            let begun = |world: &World| world.sh_tree(&format!("touch .git/gwg/removal; {killed}"));
            let mut world = deployed();
            begun(&world);
            assert_eq!(run(&world, true), Pruned::Deleted, "{killed}");
            assert!(!world.tree().exists());
            // It was configured again meanwhile.
            world.updates_to(world.tip("main"));
            world.order.known = true;
            begun(&world);
            assert!(matches!(world.update().outcome, Outcome::Current { .. }), "{}", world.said());
            assert!(world.tree().join("deep/er/file").exists() && !world.tree().join(".git.gwg-removed").exists());
            world.sh_tree("rm a");
            assert_eq!(run(&world, true), Pruned::Kept(Kept::Changed), "an update has ended the deletion");
        }
    }
}
