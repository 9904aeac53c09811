//! All that can be said about files without looking at when they were last read: taken before and
//! after an attack, it must be the same.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file as it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
    content: Vec<u8>,
}

/// Everything at and below a directory, but what is at or below `but`.
pub fn take(directory: &Path, but: &Path) -> BTreeMap<PathBuf, Stand> {
    let mut found = BTreeMap::new();
    add(directory, but, &mut found);
    found
}

/// Fails where something is not as it was.
#[track_caller]
pub fn assert_same(what: &str, before: &BTreeMap<PathBuf, Stand>, after: &BTreeMap<PathBuf, Stand>) {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let come = after.keys().filter(|path| !before.contains_key(*path));
    let other = before.iter().filter(|(path, stand)| after.get(*path).is_some_and(|now| now != *stand)).map(|(path, _)| path);
    let all: Vec<_> = gone.chain(come).chain(other).collect();
    assert!(all.is_empty(), "{what}: outside of the work tree these changed: {all:?}");
}

fn add(path: &Path, but: &Path, found: &mut BTreeMap<PathBuf, Stand>) {
    if path == but {
        return;
    }
    let stat = fs::symlink_metadata(path).unwrap();
    let content = if stat.is_file() {
        Sha256::digest(fs::read(path).unwrap()).to_vec()
    } else if stat.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    // A directory's times and links change with what is left out.
    let holds_it = but.starts_with(path);
    let stand = Stand {
        inode: stat.ino(),
        mode: stat.mode(),
        owner: (stat.uid(), stat.gid()),
        links: if holds_it { 0 } else { stat.nlink() },
        size: if holds_it { 0 } else { stat.size() },
        written: if holds_it { (0, 0) } else { (stat.mtime(), stat.mtime_nsec()) },
        changed: if holds_it { (0, 0) } else { (stat.ctime(), stat.ctime_nsec()) },
        content,
    };
    found.insert(path.to_owned(), stand);
    if stat.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            add(&entry.unwrap().path(), but, found);
        }
    }
}
