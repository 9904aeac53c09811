//! Commands and answers, a line each: `NAME`, then `KEY=VALUE` with tabs between. An answer is
//! `succeeded` with what the attacker got, or `refused` with the kernel's errno.

use super::Held;
use super::attacks;
use nix::errno::Errno;
use std::collections::BTreeMap;

/// What an attack got hold of, for the harness to compare; or how it was refused.
pub type Tried = Result<String, Errno>;

/// What the attacker knows of the machine: told with the command, since a real one would find it out.
pub struct World(BTreeMap<String, String>);

impl World {
    /// A value; one that was not told is as good as a file that is not there.
    ///
    /// # Errors
    /// `ENODATA`
    pub fn text(&self, key: &str) -> Result<&str, Errno> {
        self.0.get(key).map(String::as_str).ok_or(Errno::ENODATA)
    }

    /// A value that is a number.
    ///
    /// # Errors
    /// `ENODATA`, `EINVAL`
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, Errno> {
        self.text(key)?.parse().map_err(|_| Errno::EINVAL)
    }
}

/// A name and a world.
pub fn parse(line: &str) -> (&str, World) {
    let mut parts = line.trim_end().split('\t');
    let name = parts.next().unwrap_or_default();
    let pairs = parts.filter_map(|part| part.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
    (name, World(pairs.collect()))
}

/// Makes the attack that a line commands, and gives the line that answers it.
pub fn obey(line: &str, held: &Held) -> String {
    let (name, world) = parse(line);
    match attacks::find(name).map(|attack| (attack.run)(held, &world)) {
        Some(Ok(got)) => format!("succeeded\t{}\n", got.replace(['\n', '\t'], " ")),
        Some(Err(errno)) => format!("refused\t{errno:?}\n"),
        None => format!("unknown\t{name}\n"),
    }
}
