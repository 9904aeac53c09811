//! A directory for one test, with the owners and modes that a gateway's directories have.
//!
//! As root it lies where only root can write, in it or above it, and everyone may pass: a gateway
//! that runs as root trusts a configuration as far as it trusts whoever could have written it.

use super::need;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The children's users where the tests run as root: numbers that no user has.
pub const UPDATER: u32 = 64001;
/// See [`UPDATER`].
pub const WORKER: u32 = 64002;
/// See [`UPDATER`].
pub const LISTENER: u32 = 64003;
/// The user of hooks where the tests run as root.
pub const HOOK: u32 = 64004;
/// Invokes gwg where a test as root wants to see an ordinary user do it.
pub const INVOKER: u32 = 64010;

/// Gone when the last copy is dropped.
#[derive(Debug, Clone)]
pub struct Scratch {
    directory: Arc<TempDir>,
}

impl Scratch {
    /// Makes one.
    pub fn new() -> Self {
        let base = if need::is_root() { PathBuf::from("/run") } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("gwg-test-").tempdir_in(base).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Self { directory: Arc::new(directory) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory in it, made where missing, that belongs to whoever runs the tests.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A directory in it, made where missing, in which updaters may write.
    pub fn updaters_directory(&self, name: &str) -> PathBuf {
        let path = self.directory(name);
        give_to_updater(&path);
        path
    }

    /// A file in it, for nobody else to read; its owner stays who it was. It is there in whole or not at all: a
    /// gateway that watches it reads at any moment.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path().join(name), self.path().join(format!("{name}.new")));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        if let Ok(before) = path.metadata() {
            give_to(&new, before.uid());
        }
        fs::rename(new, &path).unwrap();
        path
    }
}

/// As root: makes the path the updaters' user's.
pub fn give_to_updater(path: &Path) {
    give_to(path, UPDATER);
}

/// As root: makes the path that user's.
pub fn give_to(path: &Path, user: u32) {
    if need::is_root() {
        std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    }
}
