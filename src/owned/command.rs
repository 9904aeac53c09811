//! Commands and answers, a line each: `NAME`, then `KEY=VALUE` with tabs between. An answer is
//! `succeeded` with what the attacker got, or `refused` with the kernel's errno.

use super::Held;
use super::attacks;
use nix::errno::Errno;
use std::collections::BTreeMap;

/// What an attack got hold of, for the harness to compare; or how it was refused.
pub type Tried = Result<String, Errno>;

/// The command to a victim: keep this value in memory, and say where.
pub const PLANT: &str = "plant";

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

    /// A value that is a number or an address.
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
    let tried = match attacks::find(name) {
        Some(attack) => (attack.run)(held, &world),
        None if name == PLANT => world.text("value").map(|value| plant(value).to_string()),
        None => return format!("unknown\t{name}\n"),
    };
    match tried {
        Ok(got) => format!("succeeded\t{}\n", got.replace(['\n', '\t'], " ")),
        Err(errno) => format!("refused\t{errno:?}\n"),
    }
}

/// Keeps a value for good; gives its address.
pub fn plant(value: &str) -> usize {
    let kept: &'static mut str = value.to_owned().leak();
    kept.as_ptr().expose_provenance()
}
