//! Paths of work trees: absolute, plain, real, and none inside another.

use super::error::Fault;
use crate::ids::DirectoryId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Directories that hold a system: a work tree would hide or replace what is in them.
const SYSTEM: [&str; 26] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/sbin",
    "/var",
    "/var/lib",
    "/var/log",
];
/// File systems of the kernel: nothing in them is a place for files.
const KERNEL: [&str; 3] = ["proc", "sys", "dev"];

/// An absolute path without `.`, `..`, double and trailing slashes.
pub fn absolute(written: &str) -> Result<PathBuf, Fault> {
    if written.starts_with('~') {
        return Err(Fault::new("~ stands for no directory here", "write the whole path, from /"));
    }
    let path = Path::new(written);
    if !path.is_absolute() {
        return Err(Fault::new("the path is relative", "write the whole path, from /"));
    }
    if written.contains(char::is_control) || path.components().any(|part| part == Component::ParentDir) {
        return Err(Fault::new("the path holds .. or a control character", "write it without"));
    }
    Ok(path.components().collect())
}

/// A work tree's path as it is written, checked without a look at the disk.
pub fn work_tree(written: &str) -> Result<PathBuf, Fault> {
    let path = absolute(written)?;
    no_git_inside(&path)?;
    // Written in one way, paths are equal where their bytes are.
    if SYSTEM.iter().any(|system| path.as_os_str() == *system)
        || path.iter().nth(1).is_some_and(|top| KERNEL.iter().any(|kernel| top == *kernel))
    {
        return Err(Fault::new(format!("{} belongs to the system", path.display()), "name a directory of the repository's own"));
    }
    Ok(path)
}

/// A trigger's path: anywhere but in git's own directories.
pub fn trigger(written: &str, directory: &Path) -> Result<PathBuf, Fault> {
    let path = absolute(written)?;
    no_git_inside(&path)?;
    if written.ends_with('/') || path == directory || path.parent().is_none() {
        return Err(Fault::new("the trigger is a directory", "name a file"));
    }
    Ok(path)
}

fn no_git_inside(path: &Path) -> Result<(), Fault> {
    match path.components().any(|part| part.as_os_str() == ".git") {
        true => Err(Fault::new("the path leads into a .git directory", "name a place outside: what is in there is git's")),
        false => Ok(()),
    }
}

/// Resolves symlinks of what exists, and remembers parents: thousands of trees may share one.
#[derive(Default)]
pub struct Canonical {
    parents: HashMap<PathBuf, PathBuf>,
}

impl Canonical {
    /// The path with every symlink resolved; what does not exist stays as it is.
    pub fn of(&mut self, path: &Path) -> PathBuf {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
        let place = self.parent(parent).join(name);
        match place.symlink_metadata() {
            Ok(about) if about.is_symlink() => std::fs::canonicalize(&place).unwrap_or(place),
            Ok(_) | Err(_) => place,
        }
    }

    /// The same for what may be the parent of thousands.
    pub fn parent(&mut self, path: &Path) -> PathBuf {
        if let Some(known) = self.parents.get(path) {
            return known.clone();
        }
        let found = std::fs::canonicalize(path).unwrap_or_else(|_| self.of(path));
        self.parents.insert(path.to_owned(), found.clone());
        found
    }
}

/// Names a work tree across restarts.
pub fn id(canonical: &Path) -> DirectoryId {
    DirectoryId::from_digest(Sha256::digest(canonical.as_os_str().as_bytes()).into())
}

/// Two work trees in one another's way.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash {
    /// The repository that comes later in the file.
    pub later: usize,
    /// The one that it clashes with.
    pub earlier: usize,
    /// Whether both name one directory; otherwise one lies inside the other.
    pub same: bool,
}

/// Bytes by which everything inside a directory follows it directly, before any name that is like the directory's.
fn by_component(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

/// Finds work trees that are the same or inside one another, by one sort.
pub fn clashes(trees: &[(usize, PathBuf)]) -> Vec<Clash> {
    let mut sorted: Vec<_> = trees.iter().collect();
    sorted.sort_by_cached_key(|tree| (by_component(&tree.1), tree.0));
    let mut found = Vec::new();
    let mut outer: Option<&(usize, PathBuf)> = None;
    for tree in sorted {
        match outer.filter(|outer| tree.1.starts_with(&outer.1)) {
            Some(outer) => found.push(Clash { later: outer.0.max(tree.0), earlier: outer.0.min(tree.0), same: outer.1 == tree.1 }),
            None => outer = Some(tree),
        }
    }
    found.sort_by_key(|clash| clash.later);
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_written_in_one_way() {
        for written in ["/srv/www", "/srv//www/", "/srv/./www/."] {
            assert_eq!(work_tree(written), Ok(PathBuf::from("/srv/www")), "{written}");
        }
    }

    #[test]
    fn paths_that_are_refused_and_why() {
        for (written, why) in [
            ("", "relative"),
            ("srv/www", "relative"),
            ("./www", "relative"),
            ("~/www", "~ stands for"),
            ("/srv/../etc", ".."),
            ("/srv/\0x", "control"),
            ("/srv/\x1b[2J", "control"),
            ("/", "belongs to the system"),
            ("//", "belongs to the system"),
            ("/etc/", "belongs to the system"),
            ("/usr/bin", "belongs to the system"),
            ("/proc/1/cwd", "belongs to the system"),
            ("/srv/www/.git", ".git"),
            ("/srv/www/.git/x", ".git"),
        ] {
            let fault = work_tree(written).unwrap_err();
            assert!(fault.what.contains(why), "{written}: {fault}");
        }
        assert!(work_tree("/etc/puppet/code").is_ok());
        let tree = Path::new("/srv/www");
        for (written, why) in
            [("x", "relative"), ("/srv/www", "directory"), ("/x/", "directory"), ("/srv/www/.git/hooks/post-merge", ".git")]
        {
            assert!(trigger(written, tree).unwrap_err().what.contains(why), "{written}");
        }
        assert_eq!(trigger("/srv/www/tmp/restart.txt", tree), Ok("/srv/www/tmp/restart.txt".into()));
    }

    #[test]
    fn a_clash_is_found_wherever_it_stands() {
        let trees = |paths: &[&str]| paths.iter().map(PathBuf::from).enumerate().collect::<Vec<_>>();
        assert_eq!(clashes(&trees(&["/a", "/b", "/a-b", "/ab/c"])), []);
        assert_eq!(clashes(&trees(&["/a/b", "/c", "/a/b"])), [Clash { later: 2, earlier: 0, same: true }]);
        // Between /a and /a/x other names sort in, by bytes but not by components.
        assert_eq!(clashes(&trees(&["/a/x", "/a-b", "/a.b", "/a"])), [Clash { later: 3, earlier: 0, same: false }]);
        assert_eq!(clashes(&trees(&["/a", "/a/b/c", "/a/b"])).len(), 2);
    }

    #[test]
    fn symlinks_are_resolved_and_what_is_missing_stays() {
        let base = tempfile::tempdir().unwrap();
        let real = base.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("trees")).unwrap();
        std::os::unix::fs::symlink(real.join("trees"), real.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", real.join("dangling")).unwrap();
        let mut canonical = Canonical::default();
        assert_eq!(canonical.of(&real.join("link")), real.join("trees"));
        assert_eq!(canonical.of(&real.join("link/a/b")), real.join("trees/a/b"));
        assert_eq!(canonical.of(&real.join("link/a/c")), real.join("trees/a/c"));
        assert_eq!(canonical.of(&real.join("dangling")), real.join("dangling"));
        assert_eq!(canonical.of(Path::new("/")), Path::new("/"));
        assert_eq!(id(&canonical.of(&real.join("link/a"))), id(&real.join("trees/a")));
    }
}
