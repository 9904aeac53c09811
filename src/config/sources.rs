//! Which files a configuration was read from, and as what they were found: so that somebody may watch
//! them, and tell a change from a mere noise in their directories. Runs in the supervisor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many symlinks as Linux itself would follow.
const MOST_LINKS: usize = 40;

/// What tells one content of a file from another, without reading it. Whoever changes a file, its owner
/// or its mode can't help changing this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of an open file.
    pub fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }

    /// Of what a path leads to now; none where there is nothing.
    fn at(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::of)
    }
}

/// What has become of the files since they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nothing.
    Same,
    /// One that was there is not: something else may be about to take its place.
    Gone,
    /// All that were there are, and something is different.
    Changed,
}

/// The files of one reading, whether it came to a configuration or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Absolute paths, as they were written; none where nothing was found.
    files: BTreeMap<PathBuf, Option<Stamp>>,
    /// The configuration itself.
    main: Option<PathBuf>,
}

impl Sources {
    /// The configuration itself is here.
    pub fn note_main(&mut self, path: &Path) {
        self.main = std::path::absolute(path).ok();
    }

    /// A file was opened, and was this.
    pub fn note(&mut self, path: &Path, found: &Metadata) {
        self.insert(path, Some(Stamp::of(found)));
    }

    /// A file could not be read: it may be there all the same.
    pub fn note_unread(&mut self, path: &Path) {
        self.insert(path, Stamp::at(path));
    }

    fn insert(&mut self, path: &Path, stamp: Option<Stamp>) {
        if let Ok(path) = std::path::absolute(path) {
            self.files.insert(path, stamp);
        }
    }

    /// Adds those of another part of the same reading.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.main = other.main.or(self.main.take());
    }

    /// What has become of them since they were read.
    pub fn since(&self) -> Since {
        let mut since = Since::Same;
        for (path, before) in &self.files {
            let now = Stamp::at(path);
            if before.is_some() && now.is_none() {
                return Since::Gone;
            }
            if now != *before {
                since = Since::Changed;
            }
        }
        since
    }

    /// What to watch in order to hear of each change: every directory that holds one of the files or a symlink
    /// on the way to one (or, where that is missing, the nearest that is there), and the configuration
    /// itself, which may be mounted alone, so that its directory hears nothing.
    pub fn places(&self) -> BTreeSet<PathBuf> {
        let mut places = Places::default();
        self.files.keys().for_each(|file| places.add(file));
        let main = self.main.iter().filter(|main| main.exists()).cloned();
        places.found.into_iter().chain(main).collect()
    }
}

/// Collects directories, and remembers ways: thousands of keys may lie in one.
#[derive(Default)]
struct Places {
    found: BTreeSet<PathBuf>,
    known: BTreeSet<PathBuf>,
}

impl Places {
    fn add(&mut self, file: &Path) {
        let parent = file.parent().unwrap_or(Path::new("/"));
        let plain = !file.is_symlink();
        if plain && !self.known.insert(parent.to_owned()) {
            return;
        }
        self.walk(file);
    }

    /// Follows a path as the kernel does.
    fn walk(&mut self, path: &Path) {
        let mut left: Vec<_> = steps(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = left.pop() {
            if step == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&step);
            match next.symlink_metadata() {
                Ok(about) if about.is_symlink() && links < MOST_LINKS => {
                    links += 1;
                    let target = next.read_link().unwrap_or_default();
                    self.found.insert(at.clone());
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    left.extend(steps(&target));
                }
                Ok(_) if left.is_empty() => break,
                Ok(_) => at = next,
                Err(_) => break,
            }
        }
        self.found.insert(at);
    }
}

/// The components that matter, the last first.
fn steps(path: &Path) -> Vec<std::ffi::OsString> {
    let matters = |component: &Component| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().filter(matters).map(|component| component.as_os_str().to_owned()).rev().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn read(path: &Path) -> Sources {
        let mut sources = Sources::default();
        match path.metadata() {
            Ok(about) => sources.note(path, &about),
            Err(_) => sources.note_unread(path),
        }
        sources
    }

    #[test]
    fn each_kind_of_change_is_seen_and_reading_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        fs::write(&path, "one").unwrap();
        let sources = read(&path);
        fs::read(&path).unwrap();
        assert_eq!(sources.since(), Since::Same);
        fs::write(folder.path().join("beside"), "x").unwrap();
        assert_eq!(sources.since(), Since::Same, "noise in the directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(sources.since(), Since::Changed, "chmod");
        let sources = read(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(sources.since(), Since::Gone);
        let sources = read(&path);
        assert_eq!(sources.since(), Since::Same, "still gone");
        fs::write(&path, "one").unwrap();
        assert_eq!(sources.since(), Since::Changed, "back again");
    }

    #[test]
    fn every_directory_that_decides_what_is_found_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let at = |name: &str| base.join(name);
        // As Kubernetes mounts it.
        fs::create_dir_all(at("etc/..1")).unwrap();
        fs::write(at("etc/..1/c.yaml"), "x").unwrap();
        symlink("..1", at("etc/..data")).unwrap();
        symlink("..data/c.yaml", at("etc/c.yaml")).unwrap();
        symlink("etc", at("link")).unwrap();
        let mut sources = read(&at("link/c.yaml"));
        sources.note_main(&at("link/c.yaml"));
        assert_eq!(sources.places().into_iter().collect::<Vec<_>>(), [at(""), at("etc"), at("etc/..1"), at("link/c.yaml")]);
        // What is missing is awaited where it could appear.
        assert_eq!(read(&at("etc/keys/one/two")).places().into_iter().collect::<Vec<_>>(), [at("etc")]);
    }
}
