//! An installation that a test replaces while gwg runs from it, as a package manager does: each file is written
//! beside the old one and renamed over it. `gateway` starts the gwg that is there.

use super::need;
use super::scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This build's version.
pub const OURS: &str = env!("CARGO_PKG_VERSION");
/// The other one: the same build, with another version written into it.
pub const OTHER: &str = "0.1.~";

const NAMES: [&str; 5] = ["gwg", "gwg-listener", "gwg-worker", "gwg-updater", "gwg-hook"];

/// What is installed, and what can be.
pub struct Installation {
    /// What it can be made of.
    shelf: PathBuf,
    /// Where it is.
    house: PathBuf,
}

impl Installation {
    /// Installs this build's version. None: it can't be made so that there is another one, too.
    pub fn new(scratch: &Scratch) -> Option<Self> {
        need::program("strip", "binutils")?;
        let installation = Self { shelf: scratch.directory("shelf"), house: scratch.directory("bin") };
        for name in NAMES {
            let built = Path::new(env!("CARGO_BIN_EXE_gwg")).with_file_name(name);
            // Executables of a debug build are ten times as large with their symbols.
            let stripped = installation.shelf.join(format!("{name} {OURS}"));
            assert!(Command::new("strip").arg("-s").arg("-o").args([&stripped, &built]).status().unwrap().success());
            let other = fs::read(&stripped).unwrap();
            fs::write(installation.shelf.join(format!("{name} {OTHER}")), with_version(other)).unwrap();
        }
        installation.install(OTHER);
        for name in ["gwg", "gwg-worker", "gwg-updater"] {
            let told = Command::new(installation.path(name)).arg("--version").stdin(Stdio::null()).output().unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            assert!(told.starts_with(&format!("{name} {OTHER}")), "another version can't be made of this build: {told}");
        }
        installation.install(OURS);
        Some(installation)
    }

    /// Installs a version, all of it.
    pub fn install(&self, version: &str) {
        // As packages have them: what is run first comes last.
        NAMES.iter().rev().for_each(|name| self.install_one(name, version));
    }

    /// Installs one executable of a version.
    pub fn install_one(&self, name: &str, version: &str) {
        self.place(&self.shelf.join(format!("{name} {version}")), name);
    }

    /// Puts another file in the place of an executable.
    pub fn replace(&self, name: &str, content: &[u8]) {
        let file = self.shelf.join(name);
        fs::write(&file, content).unwrap();
        self.place(&file, name);
    }

    /// By another process: what this one writes, another test's child may hold open for a moment, and what is
    /// open for writing can't be run.
    fn place(&self, from: &Path, name: &str) {
        let new = self.house.join(format!("{name}.new"));
        assert!(Command::new("install").args(["-m", "755"]).args([from, &new]).status().unwrap().success());
        fs::rename(&new, self.path(name)).unwrap();
    }

    /// Where an executable is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.house.join(name)
    }
}

fn with_version(mut executable: Vec<u8>) -> Vec<u8> {
    let (ours, other) = (OURS.as_bytes(), OTHER.as_bytes());
    assert_eq!(ours.len(), other.len(), "so that it fits in its place");
    let places: Vec<usize> = executable.windows(ours.len()).enumerate().filter(|(_, text)| *text == ours).map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "no version in it");
    for place in places {
        executable[place..place + other.len()].copy_from_slice(other);
    }
    executable
}
