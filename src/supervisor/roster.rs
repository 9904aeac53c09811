//! The roster: the whole picture of who gets what, in one table. Runs in the supervisor.

use super::executables::Executables;
use crate::config::Accounts;
use crate::confine::Confinement;
use crate::confine::spawn::{self, Account, Given, Limits};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::process::Command;

/// The kinds of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Hears HTTP.
    Listener,
    /// Holds the keys and the marks.
    Worker,
    /// Runs one update.
    Updater,
}

/// What a role is given besides its descriptors.
struct Row {
    name: &'static str,
    limits: Limits,
    umask: u32,
    /// Cut off from every network, with namespaces of its own.
    offline: bool,
}

impl Role {
    const fn row(self) -> Row {
        match self {
            // A descriptor for each connection (1,024) and a few of its own; it writes no file.
            Self::Listener => {
                Row { name: "gwg-listener", limits: Limits { descriptors: 1100, file_size: Some(0) }, umask: 0o777, offline: true }
            }
            // A link for each running update, and the state file.
            Self::Worker => {
                Row { name: "gwg-worker", limits: Limits { descriptors: 1100, file_size: Some(1 << 30) }, umask: 0o077, offline: true }
            }
            // What it writes is for others to read: a web server, say. It talks to its remote.
            Self::Updater => {
                Row { name: "gwg-updater", limits: Limits { descriptors: 1024, file_size: None }, umask: 0o022, offline: false }
            }
        }
    }

    /// The executable's name, which is also the role's name in the log.
    pub const fn name(self) -> &'static str {
        self.row().name
    }
}

/// The roles with the executables and users of this run.
pub struct Roster {
    executables: Executables,
    accounts: Option<Accounts>,
    confinement: Confinement,
}

impl Roster {
    /// `accounts`: none without root.
    pub fn new(executables: Executables, accounts: Option<Accounts>, confinement: Confinement) -> Self {
        Self { executables, accounts, confinement }
    }

    /// A command that starts a child of this role with these descriptors.
    ///
    /// # Errors
    /// Those of duplicating descriptors.
    pub fn command(&self, role: Role, descriptors: Vec<(OwnedFd, RawFd)>, log: OwnedFd) -> io::Result<Command> {
        let Row { name, limits, umask, offline } = role.row();
        let (program, account, confinement) = (self.executables.of(role), self.account(role), self.confinement);
        spawn::command(Given { program, name, descriptors, log, account, limits, umask, offline, confinement })
    }

    /// Who a role becomes; none without root.
    pub fn account(&self, role: Role) -> Option<Account> {
        let accounts = self.accounts.as_ref()?;
        let account = match role {
            Role::Listener => &accounts.listener,
            Role::Worker => &accounts.worker,
            Role::Updater => &accounts.updater,
        };
        Some(Account { uid: account.uid, gid: account.gid })
    }
}
