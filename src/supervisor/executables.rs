//! Finds and opens the children's executables, once, at start. Runs in the supervisor.
//!
//! They are started by descriptor: a package upgrade can't mix builds under a running supervisor,
//! and the directories above them need not be open to the children's users.

use crate::confine::{Role, descriptors};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The opened executables.
pub struct Executables {
    listener: OwnedFd,
    worker: OwnedFd,
    updater: OwnedFd,
    hook: OwnedFd,
}

/// Descriptors of executables, by name.
pub type Named<T> = BTreeMap<String, T>;

impl Executables {
    /// Those that came over from who had this process before; the others as [`beside`](Self::beside) this
    /// executable.
    ///
    /// # Errors
    /// As [`beside`](Self::beside).
    pub fn open(inherited: Named<OwnedFd>) -> io::Result<Self> {
        Self::find(&std::env::current_exe()?, inherited)
    }

    /// Looks beside an executable `gwg`, then in `../libexec/gwg`.
    ///
    /// # Errors
    /// One is missing, or others than its owner may not run it.
    pub fn beside(gwg: &Path) -> io::Result<Self> {
        Self::find(gwg, Named::new())
    }

    fn find(gwg: &Path, mut inherited: Named<OwnedFd>) -> io::Result<Self> {
        let beside = gwg.parent().unwrap_or(Path::new("/"));
        let places = [beside.to_owned(), beside.join("../libexec/gwg")];
        let mut open = |role: Role| inherited.remove(role.name()).map_or_else(|| open_one(role.name(), &places), Ok);
        let (listener, worker) = (open(Role::Listener)?, open(Role::Worker)?);
        Ok(Self { listener, worker, updater: open(Role::Updater)?, hook: open(Role::Hook)? })
    }

    /// All of them by name, left open over the next exec.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn leave(&self) -> io::Result<Named<RawFd>> {
        let leave = |role: Role| {
            descriptors::outlive_exec(self.of(role))?;
            Ok((role.name().to_owned(), self.of(role).as_raw_fd()))
        };
        [Role::Listener, Role::Worker, Role::Updater, Role::Hook].into_iter().map(leave).collect()
    }

    /// Whether all are of this version: each is asked. `hooks`: gwg-hook too, which not every policy lets run.
    ///
    /// # Errors
    /// One is not, or can't be run.
    pub fn are_of_one_version(&self, hooks: bool) -> io::Result<()> {
        let hook = hooks.then_some(Role::Hook);
        [Role::Listener, Role::Worker, Role::Updater].into_iter().chain(hook).try_for_each(|role| {
            let name = role.name();
            let mut command = Command::new(format!("/proc/self/fd/{}", self.of(role).as_raw_fd()));
            let output =
                command.arg("--version").stdin(Stdio::null()).output().map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            let said = String::from_utf8_lossy(&output.stdout);
            let version = said.strip_prefix(name).and_then(|rest| rest.split_whitespace().next());
            match version {
                Some(env!("CARGO_PKG_VERSION")) => Ok(()),
                Some(other) => Err(io::Error::other(format!(
                    "{name} is of version {other}, and gwg of {}: install all of gwg",
                    env!("CARGO_PKG_VERSION")
                ))),
                None => {
                    Err(io::Error::other(format!("{name} does not tell its version: {}", String::from_utf8_lossy(&output.stderr).trim())))
                }
            }
        })
    }

    /// A role's executable.
    pub fn of(&self, role: Role) -> &OwnedFd {
        match role {
            Role::Listener => &self.listener,
            Role::Worker => &self.worker,
            Role::Updater => &self.updater,
            Role::Hook => &self.hook,
        }
    }
}

fn open_one(name: &str, places: &[PathBuf]) -> io::Result<OwnedFd> {
    let Some(path) = places.iter().map(|place| place.join(name)).find(|path| path.is_file()) else {
        let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        return Err(io::Error::other(format!("the executable {name} is missing: looked in {}; install all of gwg", looked.join(" and "))));
    };
    let file = File::options().read(true).custom_flags(nix::libc::O_PATH | nix::libc::O_CLOEXEC).open(&path)?;
    let mode = file.metadata()?.mode();
    if nix::unistd::geteuid().is_root() && mode & 0o001 == 0 {
        return Err(io::Error::other(format!("{}: its own user may not run it: chmod 755 {0}", path.display())));
    }
    Ok(file.into())
}
