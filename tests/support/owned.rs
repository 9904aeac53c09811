//! The owned executables: built here, with the feature `owned`, into the target directory of the ordinary
//! ones, which have other names and stay as they are. See `src/owned/`.

use super::need;
use super::scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The stand-in and the owned children.
const NAMES: [&str; 4] = ["gwg-owned", "gwg-owned-listener", "gwg-owned-updater", "gwg-owned-worker"];

/// The directory with the owned executables, built where they are not up to date. Whoever may not write there
/// (a user for whom root built the tests) gets those that are there.
pub fn directory() -> Option<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let ordinary = Path::new(env!("CARGO_BIN_EXE_gwg")).parent().unwrap();
    let target = ordinary.parent().unwrap();
    let built = BUILT.get_or_init(|| {
        if nix::unistd::access(ordinary, nix::unistd::AccessFlags::W_OK).is_err() {
            return target.join("debug");
        }
        let mut command = cargo();
        command.args(["build", "--quiet", "--offline", "--features", "owned", "--target-dir"]).arg(target);
        command.args(NAMES.iter().flat_map(|name| ["--bin", name]));
        let output = command.output().unwrap();
        assert!(output.status.success(), "the owned executables: {}", String::from_utf8_lossy(&output.stderr));
        target.join("debug")
    });
    let complete = NAMES.iter().all(|name| built.join(name).is_file());
    if complete { Some(built) } else { need::missing("the owned executables: run these tests with cargo") }
}

/// Cargo, as it started this test, in the sources that were tested.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Lays executables out as an installation has them, owned ones in the place of the real ones, and the
/// stand-in beside. Gives their directory; the supervisor is `gwg` in it.
pub fn house(scratch: &Scratch, owned: &[&str]) -> Option<PathBuf> {
    let built = directory()?;
    let house = scratch.directory("bin");
    let ordinary = Path::new(env!("CARGO_BIN_EXE_gwg")).parent().unwrap();
    for name in ["gwg", "gwg-listener", "gwg-worker", "gwg-updater", "gwg-hook"] {
        let from = match owned.contains(&name) {
            true => built.join(name.replace("gwg-", "gwg-owned-")),
            false => ordinary.join(name),
        };
        place(&from, &house.join(name));
    }
    place(&built.join("gwg-owned"), &house.join("gwg-owned"));
    Some(house)
}

/// Executables of a debug build are large: a second name, where that may be; a copy of those that look for
/// others beside themselves, and a symlink to those others.
fn place(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_ok() {
        return;
    }
    match to.file_name().and_then(|name| name.to_str()) {
        Some("gwg" | "gwg-owned") => drop(fs::copy(from, to).unwrap()),
        _ => std::os::unix::fs::symlink(from, to).unwrap(),
    }
}
