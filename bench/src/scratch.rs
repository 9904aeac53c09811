//! Where a figure's files lie: on a disk, not in memory, since updates write and sync. As root it is
//! where only root can write, for gwg trusts a configuration as far as whoever could have written it.

use crate::Result;
use nix::unistd::geteuid;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The children's users as root: numbers that no user has.
pub const UPDATER: u32 = 64001;
pub const WORKER: u32 = 64002;
pub const LISTENER: u32 = 64003;

/// A directory that is gone when this is dropped.
pub struct Scratch(TempDir);

impl Scratch {
    pub fn new() -> Result<Self> {
        let base = if is_root() { "/var/lib" } else { "/var/tmp" };
        let directory = tempfile::Builder::new().prefix("gwg-bench-").tempdir_in(base)?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        Ok(Self(directory))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A directory, made where missing.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A directory in which updaters may write.
    pub fn updaters(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory(name)?;
        if is_root() {
            lchown(&path, Some(UPDATER), Some(UPDATER))?;
        }
        Ok(path)
    }

    /// A file for nobody else to read.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(path)
    }
}

/// Whether children have users of their own.
pub fn is_root() -> bool {
    geteuid().is_root()
}
