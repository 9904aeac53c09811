//! Attacks on files.

use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// The first bytes of a file.
fn read(path: &str) -> Tried {
    let file = open(path, OFlag::O_RDONLY, Mode::empty())?;
    let mut bytes = [0; 256];
    let count = nix::unistd::read(&file, &mut bytes)?;
    let bytes = bytes.get(..count).unwrap_or_default();
    if bytes.is_empty() { Err(Errno::ENODATA) } else { Ok(String::from_utf8_lossy(bytes).into_owned()) }
}

pub fn read_config(_: &Held, world: &World) -> Tried {
    read(world.text("config")?)
}
