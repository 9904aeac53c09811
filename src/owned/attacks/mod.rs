//! The attacks, in two tables. Each is tried by a process of its own, so that it may break what it likes.
//!
//! An attack proves its effect: it gives what it read, or changes something outside that the
//! harness then looks at. A call that only returned success would be no proof.

mod files;

use super::Held;
use super::command::{Tried, World};

/// One attack.
pub struct Attack {
    /// Its name, in commands and in the published table.
    pub name: &'static str,
    /// What the attacker wants, for people.
    pub wants: &'static str,
    /// Tries it.
    pub run: fn(&Held, &World) -> Tried,
}

const fn attack(name: &'static str, wants: &'static str, run: fn(&Held, &World) -> Tried) -> Attack {
    Attack { name, wants, run }
}

/// What an owned listener tries.
pub const LISTENER: &[Attack] = &[attack("read-config", "the configuration, with the webhook secrets", files::read_config)];

/// What an owned updater tries.
pub const UPDATER: &[Attack] = &[attack("read-config", "the configuration, with the webhook secrets", files::read_config)];

/// The attack with this name. One that both tables have is the same in both.
pub fn find(name: &str) -> Option<&'static Attack> {
    LISTENER.iter().chain(UPDATER).find(|attack| attack.name == name)
}
