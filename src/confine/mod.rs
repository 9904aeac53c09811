//! Privileges: given before exec, dropped after it, and checked with the kernel. The only room of
//! unsafe code besides libgit2's settings.
//!
//! Two functions tell the whole story, each from top to bottom: [`spawn::command`] is what the
//! supervisor does to a child between fork and exec, [`enter::enter`] is what the child does to
//! itself before its first thread and its first byte from outside; [`enter::Doors`] are closed when it has
//! all that it will ever open.
//!
//! | layer | listener | worker | updater | hook | set in |
//! |---|---|---|---|---|---|
//! | user, groups, capabilities, limits | own | own | the trees' | the configuration's | `spawn` |
//! | namespaces | network, IPC, UTS | network, IPC, UTS | – | PIDs | `namespaces` |
//! | Landlock | nothing | nothing | its tree, its trigger, its port | writes, where configured | `reach` |
//! | seccomp | no file, no socket | no file, no socket | no exec, no fork | all but what attacks a kernel | `calls`, `filter` |
#![allow(unsafe_code)]

mod calls;
pub mod descriptors;
pub mod enter;
mod filter;
pub mod fork;
#[cfg(feature = "supervisor")]
pub mod heap;
#[cfg(feature = "supervisor")]
pub mod host;
#[cfg(feature = "supervisor")]
pub mod keep;
pub mod layers;
pub mod maker;
mod namespaces;
#[cfg(feature = "supervisor")]
pub mod peer;
pub mod reach;
pub mod remote;
#[cfg(feature = "supervisor")]
pub mod spawn;
#[cfg(test)]
mod tests;
mod verify;

/// Whose confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Hears HTTP.
    Listener,
    /// Holds the keys and the marks.
    Worker,
    /// Runs one update.
    Updater,
    /// Runs one hook: a command of the administrator's.
    Hook,
}

impl Role {
    /// The executable's name, which is also the process's, and the role's in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listener => "gwg-listener",
            Self::Worker => "gwg-worker",
            Self::Updater => "gwg-updater",
            Self::Hook => "gwg-hook",
        }
    }

    /// Whether it is cut off from every network. An updater talks to its remote, a hook to whom it likes.
    pub const fn is_offline(self) -> bool {
        match self {
            Self::Listener | Self::Worker => true,
            Self::Updater | Self::Hook => false,
        }
    }
}

/// What a child does where the kernel does not have a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// It ends.
    Require,
    /// It runs with the layers that there are.
    BestEffort,
}

impl Confinement {
    /// As the configuration and the children's arguments have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::BestEffort => "best-effort",
        }
    }

    /// Reads [`word`](Self::word).
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Require, Self::BestEffort].into_iter().find(|one| one.word() == word)
    }
}
