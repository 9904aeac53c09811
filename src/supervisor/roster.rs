//! The roster: the whole picture of who gets what, in one table. Runs in the supervisor.

use super::executables::Executables;
use crate::brief::updater;
use crate::config::Accounts;
use crate::confine::spawn::{self, Account, Given, Limits};
use crate::confine::{Confinement, Role};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::process::Command;
use std::rc::Rc;

/// What a role is given besides its descriptors, its user, and what its code is confined to.
struct Row {
    limits: Limits,
    umask: u32,
}

const fn row(role: Role) -> Row {
    match role {
        // A descriptor for each connection (1,024) and a few of its own; it writes no file. Its own bounds
        // (64 MiB of bodies, connections) keep it far below that much memory.
        Role::Listener => {
            Row { limits: Limits { descriptors: 1100, file_size: Some(0), memory: Some(1 << 30), processes: None }, umask: 0o777 }
        }
        // A link for each running update, and the state file.
        Role::Worker => {
            Row { limits: Limits { descriptors: 1100, file_size: Some(1 << 30), memory: Some(4 << 30), processes: None }, umask: 0o077 }
        }
        // What it writes is for others to read: a web server, say. How much, its brief says.
        Role::Updater => Row { limits: Limits { descriptors: 1024, file_size: None, memory: None, processes: None }, umask: 0o022 },
        // The kernel counts processes by user, over all hooks of one and whatever else it runs.
        Role::Hook => Row { limits: Limits { descriptors: 1024, file_size: None, memory: None, processes: Some(1024) }, umask: 0o022 },
    }
}

/// The roles with the executables and users of one configuration.
#[derive(Clone)]
pub struct Roster {
    executables: Rc<Executables>,
    accounts: Option<Accounts>,
    confinement: Confinement,
}

impl Roster {
    /// `accounts`: none without root.
    pub fn new(executables: Executables, accounts: Option<Accounts>, confinement: Confinement) -> Self {
        Self { executables: Rc::new(executables), accounts, confinement }
    }

    /// What children are started from.
    pub fn executables(&self) -> Rc<Executables> {
        Rc::clone(&self.executables)
    }

    /// The same executables under another configuration.
    pub fn with(&self, accounts: Option<Accounts>, confinement: Confinement) -> Self {
        Self { executables: Rc::clone(&self.executables), accounts, confinement }
    }

    /// A command that starts a listener or worker with these descriptors.
    ///
    /// # Errors
    /// Those of duplicating descriptors.
    pub fn command(&self, role: Role, descriptors: Vec<(OwnedFd, RawFd)>, log: OwnedFd) -> io::Result<Command> {
        self.start(role, row(role), self.account(role), descriptors, log)
    }

    /// A command that starts an updater which may cost this much.
    ///
    /// # Errors
    /// As [`Roster::command`].
    pub fn updater(&self, brief: &updater::Limits, descriptors: Vec<(OwnedFd, RawFd)>, log: OwnedFd) -> io::Result<Command> {
        let Row { limits, umask } = row(Role::Updater);
        let limits = Limits { file_size: Some(brief.file_size()), memory: Some(brief.memory()), ..limits };
        self.start(Role::Updater, Row { limits, umask }, self.account(Role::Updater), descriptors, log)
    }

    /// A command that starts a hook, which becomes the user that its own brief says.
    ///
    /// # Errors
    /// As [`Roster::command`].
    pub fn hook(&self, account: Option<Account>, descriptors: Vec<(OwnedFd, RawFd)>, log: OwnedFd) -> io::Result<Command> {
        self.start(Role::Hook, row(Role::Hook), account, descriptors, log)
    }

    fn start(
        &self,
        role: Role,
        row: Row,
        account: Option<Account>,
        descriptors: Vec<(OwnedFd, RawFd)>,
        log: OwnedFd,
    ) -> io::Result<Command> {
        let Row { limits, umask } = row;
        let (program, confinement) = (self.executables.of(role), self.confinement);
        spawn::command(Given { role, program, descriptors, log, account, limits, umask, confinement })
    }

    /// Who a role becomes; none without root, and for hooks, each of which has its own.
    pub fn account(&self, role: Role) -> Option<Account> {
        let accounts = self.accounts.as_ref()?;
        let account = match role {
            Role::Listener => &accounts.listener,
            Role::Worker => &accounts.worker,
            Role::Updater => &accounts.updater,
            Role::Hook => return None,
        };
        Some(Account { uid: account.uid, gid: account.gid })
    }
}

impl PartialEq for Roster {
    /// Whether children of both are the same.
    fn eq(&self, other: &Self) -> bool {
        let Self { executables: _, accounts, confinement } = self;
        (accounts, confinement) == (&other.accounts, &other.confinement)
    }
}
