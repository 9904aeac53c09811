//! Where the control socket is. Runs in the supervisor and in the operator's commands.

use crate::supervisor::places::{directory_of, directory_of_unit};
use std::io;
use std::path::{Path, PathBuf};

/// The socket's name in the runtime directory.
pub const NAME: &str = "control.sock";

/// The runtime directory of a gateway that this process would be: `$RUNTIME_DIRECTORY`; else `/run/gwg`
/// as root, and `$XDG_RUNTIME_DIR/gwg` as anyone else; where that is not set, the state directory.
///
/// # Errors
/// The environment names none of them.
pub fn own(state: impl FnOnce() -> io::Result<PathBuf>) -> io::Result<PathBuf> {
    if let Some(path) = directory_of_unit("RUNTIME_DIRECTORY") {
        return Ok(path);
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from(ROOTS));
    }
    match directory_of("XDG_RUNTIME_DIR") {
        Some(path) => Ok(path.join("gwg")),
        None => state(),
    }
}

const ROOTS: &str = "/run/gwg";

/// Where commands look for a running gateway: the user's own first, then root's.
pub fn candidates(state: impl FnOnce() -> io::Result<PathBuf>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = own(state).into_iter().collect();
    if !places.iter().any(|place| place == Path::new(ROOTS)) {
        places.push(PathBuf::from(ROOTS));
    }
    places.iter().map(|place| place.join(NAME)).collect()
}
