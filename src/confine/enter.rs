//! What a child does to itself after exec: before its first thread, before its first byte from
//! outside. Then it asks the kernel whether all of that holds, and refuses to go on otherwise.
//!
//! Runs in listener, worker, updater and hook. Believes the kernel only: the child is told no uid that it
//! could be told wrongly; the socket's peer credentials say who made it.
//!
//! Two steps: [`enter`] drops what exec could not; then the child opens what it will ever need, and
//! closes its [`Doors`].

use super::calls::Table;
use super::layers::Layer;
use super::maker::Maker;
use super::reach::{self, Reach, ReachError, Trigger};
use super::{Confinement, Role, descriptors, filter, namespaces, remote, verify};
use caps::CapSet;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, getppid};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Why a process refuses to be what it is.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Someone started the executable by hand.
    #[error("this process is started by gwg, and not by hand: run `gwg` instead (descriptor {0} is not open)")]
    NotStartedByGwg(i32),
    /// Supervisor and child are of different builds.
    #[error("version {child} was started by gwg {supervisor}: install all of gwg from one build")]
    OtherBuild {
        /// This executable's version.
        child: &'static str,
        /// The supervisor's.
        supervisor: String,
    },
    /// The supervisor died while this process started.
    #[error("the supervisor is gone")]
    Orphan,
    /// A call failed.
    #[error("{what}: {error}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        error: String,
    },
    /// A layer that the configuration requires can't be had.
    #[error("{layer}: {error}; `gwg check --host` says what this machine offers, and `confinement: best-effort` goes without")]
    Missing {
        /// The layer.
        layer: &'static str,
        /// Why not.
        error: String,
    },
    /// The kernel says that a layer does not hold.
    #[error("confinement does not hold: {0}")]
    NotConfined(String),
}

pub(super) fn call<T, E: std::fmt::Display>(what: &'static str, result: Result<T, E>) -> Result<T, ConfineError> {
    result.map_err(|error| ConfineError::Call { what, error: error.to_string() })
}

/// A process that has dropped its privileges and may still open things.
pub struct Entered {
    /// The link to the supervisor.
    pub supervisor: OwnedFd,
    /// What is left to do.
    pub doors: Doors,
}

/// What stays open until the process has all that it will ever open. Close them before the first
/// byte from outside.
#[must_use = "without this neither files nor system calls are restricted"]
pub struct Doors {
    pub(super) role: Role,
    pub(super) confinement: Confinement,
}

/// The layers that not every kernel has, as this process found them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The version of Landlock that holds; 0 for none.
    pub landlock: u8,
}

/// Prints name and version where that is all that is asked: by a gateway that tries its successor, say.
pub fn told_version(role: Role) -> bool {
    use std::io::Write;
    let asked = std::env::args().nth(1).as_deref() == Some("--version");
    if asked {
        // Who asked and does not listen has no other ear.
        let _ = writeln!(std::io::stdout(), "{} {}", role.name(), env!("CARGO_PKG_VERSION"));
    }
    asked
}

/// Drops what exec could not, and checks everything.
///
/// # Errors
/// Any layer that can't be set or does not hold. The caller must end.
pub fn enter(role: Role) -> Result<Entered, ConfineError> {
    let told = told()?;
    // Started by descriptor, it would bear a number: `ps` and `top` show this.
    call("name", prctl::set_name(&CString::new(role.name()).unwrap_or_default()))?;
    let supervisor = descriptors::take(descriptors::SUPERVISOR).map_err(|_| ConfineError::NotStartedByGwg(descriptors::SUPERVISOR))?;
    // SO_PEERCRED of a socketpair names the process that made it.
    let maker = getsockopt(&supervisor, PeerCredentials).map_err(|_| ConfineError::NotStartedByGwg(descriptors::SUPERVISOR))?;
    let rootless = Uid::from_raw(maker.uid()) == nix::unistd::getuid();

    // A debug build unwinds; what is tested must be what is shipped, where a panic ends the process.
    end_at_panic();
    // First, since it wants a process that may still be dumped, and gives capabilities that the next
    // lines take away.
    let own = Layer::Namespaces.is_on();
    if own && shares(role, &told)? {
        told.confinement.had("namespaces", namespaces::leave_as_user(role))?;
        // The rest of this function does not need them; where the line above failed there are none.
        let _none_to_drop = caps::clear(None, CapSet::Bounding);
    }
    // The kernel clears the parent-death signal when the uid changes, so it is set here, after that;
    // a parent that died before this line is seen by its pid.
    call("parent-death signal", prctl::set_pdeathsig(Signal::SIGKILL))?;
    if getppid().as_raw() != maker.pid() {
        return Err(ConfineError::Orphan);
    }
    // Nothing that this process could ever start gains anything by it. Landlock and seccomp ask for it.
    if Layer::NoNewPrivs.is_on() {
        call("no-new-privs", prctl::set_no_new_privs())?;
    }
    // Empty already where the uid changed; not so in a user namespace of its own.
    if Layer::Capabilities.is_on() {
        call("effective capabilities", clear(CapSet::Effective))?;
        call("permitted capabilities", clear(CapSet::Permitted))?;
        call("inheritable capabilities", clear(CapSet::Inheritable))?;
        call("ambient capabilities", clear(CapSet::Ambient))?;
    }
    // No core dump, no ptrace, no /proc/PID/mem for another process of this user.
    if Layer::NonDumpable.is_on() {
        call("non-dumpable", prctl::set_dumpable(false))?;
    }

    verify::dropped(rootless)?;
    if own && shares(role, &told)? {
        told.confinement.had::<(), _>("namespaces", Err("still in the supervisor's"))?;
    }
    Ok(Entered { supervisor, doors: Doors { role, confinement: told.confinement } })
}

impl Doors {
    /// Closes every door: no file, no port, and only the system calls that the role makes when it
    /// has all that it needs.
    ///
    /// # Errors
    /// A layer that the configuration requires and the kernel does not have, or that does not hold.
    pub fn close(self) -> Result<Level, ConfineError> {
        let own = Table::Of(self.role);
        self.close_with(own, reach::close_all)
    }

    /// For an updater: closes every door but these, and those to name servers, where it may look up where its
    /// remote is. A trigger that is to be made is made by another process, which is started here: no secret of
    /// this update may be in memory yet.
    ///
    /// # Errors
    /// As [`Doors::close`]; the other process can't be started.
    pub fn close_but(self, reach: &Reach<'_>) -> Result<(LastDoor, Option<Maker>), ConfineError> {
        let Self { role, confinement } = self;
        let maker = match reach.trigger {
            Some(Trigger::Missing { directory, name }) => {
                Some(call("a process for the trigger", Maker::start(Self { role, confinement }, directory, name))?)
            }
            Some(Trigger::File(_)) | None => None,
        };
        let level = self.close_with(Table::LookUp, || reach::close_but(reach))?;
        Ok((LastDoor { confinement, level }, maker))
    }

    /// For the process that makes a trigger: closes every door but to make files in this directory.
    ///
    /// # Errors
    /// As [`Doors::close`].
    pub(super) fn close_but_making(self, directory: BorrowedFd<'_>) -> Result<Level, ConfineError> {
        self.close_with(Table::Maker, || reach::close_but_making(directory))
    }

    /// For a hook: what its user may read and run stays open, and what it may write too, or, where
    /// directories are named, only what is beneath them. System calls that attack a kernel are refused.
    ///
    /// # Errors
    /// As [`Doors::close`]; a directory that can't be opened.
    #[cfg(feature = "hook")]
    pub fn close_but_writing(self, beneath: Option<&[std::path::PathBuf]>) -> Result<Level, ConfineError> {
        let own = Table::Of(self.role);
        let Some(beneath) = beneath else { return self.close_calls(own, 0) };
        let directories: Result<Vec<_>, ConfineError> = beneath
            .iter()
            .map(|path| {
                reach::open_directory(path)
                    .map_err(|error| ConfineError::Call { what: "write", error: format!("{}: {error}", path.display()) })
            })
            .collect();
        let directories = directories?;
        self.close_with(own, || reach::write_beneath(&directories))
    }

    fn close_with(self, table: Table, reach: impl FnOnce() -> Result<(), ReachError>) -> Result<Level, ConfineError> {
        // Landlock first: the filter allows none of its calls.
        let mut landlock = 0;
        if Layer::Landlock.is_on() && self.confinement.had("Landlock", reach())?.is_some() {
            landlock = u8::try_from(reach::abi()).unwrap_or(u8::MAX);
        }
        self.close_calls(table, landlock)
    }

    fn close_calls(self, table: Table, landlock: u8) -> Result<Level, ConfineError> {
        if Layer::Seccomp.is_on() && self.confinement.had("seccomp", filter::load(table, &[]))?.is_some() {
            verify::filtered()?;
        }
        Ok(Level { landlock })
    }
}

/// By which an updater asks name servers. Close it before the first byte of the remote and of the work tree.
#[must_use = "without this it can send datagrams to anybody"]
pub struct LastDoor {
    confinement: Confinement,
    level: Level,
}

impl LastDoor {
    /// Looks up where the remote is, and leaves connecting to there, and no datagrams.
    ///
    /// # Errors
    /// As [`Doors::close`]. That nobody knows the host is none: it shows when the process connects.
    pub fn close_but(self, host: &str, port: u16) -> Result<Level, ConfineError> {
        remote::look_up(host, port)?;
        if Layer::Landlock.is_on() {
            self.confinement.had("Landlock", reach::close_ports_but(port))?;
        }
        if Layer::Seccomp.is_on() {
            // Where the kernel has no seals, Landlock's ports are what holds: as with Landlock's versions, all that
            // there is is asked for.
            let _sealed = remote::seal();
            self.confinement.had("seccomp", filter::load(Table::Of(Role::Updater), &remote::places()))?;
        }
        Ok(self.level)
    }
}

impl Confinement {
    /// What to do about a layer that can't be had.
    fn had<T, E: std::fmt::Display>(self, layer: &'static str, result: Result<T, E>) -> Result<Option<T>, ConfineError> {
        match (result, self) {
            (Ok(done), _) => Ok(Some(done)),
            (Err(error), Self::Require) => Err(ConfineError::Missing { layer, error: error.to_string() }),
            (Err(_), Self::BestEffort) => Ok(None),
        }
    }
}

/// What the supervisor says in the arguments, which everybody may read: see [`super::spawn`].
struct Told {
    confinement: Confinement,
    network: String,
}

fn told() -> Result<Told, ConfineError> {
    let by_hand = || ConfineError::NotStartedByGwg(descriptors::SUPERVISOR);
    let child = env!("CARGO_PKG_VERSION");
    let mut arguments = std::env::args().skip(1);
    let supervisor = arguments.next().ok_or_else(by_hand)?;
    if supervisor != child {
        return Err(ConfineError::OtherBuild { child, supervisor });
    }
    let confinement = arguments.next().and_then(|word| Confinement::of_word(&word)).ok_or_else(by_hand)?;
    Ok(Told { confinement, network: arguments.next().ok_or_else(by_hand)? })
}

/// Whether this process is still in one of the supervisor's namespaces that it should have left.
fn shares(role: Role, told: &Told) -> Result<bool, ConfineError> {
    // Without /proc nobody knows: then it is tried.
    Ok(told.confinement.had("namespaces", namespaces::shares(role, &told.network))?.unwrap_or(true))
}

/// A service manager that gave none need not allow the call either.
fn clear(set: CapSet) -> Result<(), caps::errors::CapsError> {
    if caps::read(None, set)?.is_empty() { Ok(()) } else { caps::clear(None, set) }
}

pub(super) fn end_at_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}
