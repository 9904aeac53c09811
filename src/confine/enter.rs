//! What a child does to itself after exec: before its first thread, before its first byte from
//! outside. Then it asks the kernel whether all of that holds, and refuses to go on otherwise.
//!
//! Runs in listener, worker and updater. Believes the kernel only: the child is told no uid that it
//! could be told wrongly; the socket's peer credentials say who made it.

use super::descriptors;
use caps::CapSet;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, getgroups, getppid, getresgid, getresuid};
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
    /// The kernel says that a layer does not hold.
    #[error("confinement does not hold: {0}")]
    NotConfined(String),
}

fn call<T, E: std::fmt::Display>(what: &'static str, result: Result<T, E>) -> Result<T, ConfineError> {
    result.map_err(|error| ConfineError::Call { what, error: error.to_string() })
}

/// Drops what exec could not, checks everything, and gives the link to the supervisor.
///
/// # Errors
/// Any layer that can't be set or does not hold. The caller must end.
pub fn enter() -> Result<OwnedFd, ConfineError> {
    same_build()?;
    let supervisor = descriptors::take(descriptors::SUPERVISOR).map_err(|_| ConfineError::NotStartedByGwg(descriptors::SUPERVISOR))?;
    // SO_PEERCRED of a socketpair names the process that made it.
    let maker = getsockopt(&supervisor, PeerCredentials).map_err(|_| ConfineError::NotStartedByGwg(descriptors::SUPERVISOR))?;

    // The kernel clears the parent-death signal when the uid changes, so it is set here, after that;
    // a parent that died before this line is seen by its pid.
    call("parent-death signal", prctl::set_pdeathsig(Signal::SIGKILL))?;
    if getppid().as_raw() != maker.pid() {
        return Err(ConfineError::Orphan);
    }
    call("no-new-privs", prctl::set_no_new_privs())?;
    call("inheritable capabilities", caps::clear(None, CapSet::Inheritable))?;
    call("ambient capabilities", caps::clear(None, CapSet::Ambient))?;
    // No core dump, no ptrace, no /proc/PID/mem for another process of this user.
    call("non-dumpable", prctl::set_dumpable(false))?;

    let rootless = Uid::from_raw(maker.uid()) == nix::unistd::getuid();
    verify(rootless)?;
    Ok(supervisor)
}

fn same_build() -> Result<(), ConfineError> {
    let child = env!("CARGO_PKG_VERSION");
    match std::env::args().nth(1) {
        Some(supervisor) if supervisor == child => Ok(()),
        Some(supervisor) => Err(ConfineError::OtherBuild { child, supervisor }),
        None => Err(ConfineError::NotStartedByGwg(descriptors::SUPERVISOR)),
    }
}

/// Asks the kernel. `rootless`: the supervisor runs as the same user, so that uid, groups and
/// bounding set are those of whoever invoked it.
fn verify(rootless: bool) -> Result<(), ConfineError> {
    let require = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(ConfineError::NotConfined(what.to_owned())) }
    };
    let uid = call("getresuid", getresuid())?;
    let gid = call("getresgid", getresgid())?;
    require(uid.real == uid.effective && uid.real == uid.saved, "real, effective and saved uid differ")?;
    require(gid.real == gid.effective && gid.real == gid.saved, "real, effective and saved gid differ")?;
    require(!uid.real.is_root(), "runs as root")?;
    if !rootless {
        require(gid.real.as_raw() != 0, "runs in group root")?;
        require(call("getgroups", getgroups())?.is_empty(), "has supplementary groups")?;
    }
    let mut sets = vec![CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient];
    if !rootless {
        sets.push(CapSet::Bounding);
    }
    for set in sets {
        require(call("capabilities", caps::read(None, set))?.is_empty(), &format!("{set:?} capabilities are not empty"))?;
    }
    require(call("no-new-privs", prctl::get_no_new_privs())?, "no-new-privs is off")?;
    require(!call("dumpable", prctl::get_dumpable())?, "the process is dumpable")?;
    require(call("parent-death signal", prctl::get_pdeathsig())? == Some(Signal::SIGKILL), "the parent-death signal is not set")?;
    let core = call("core limit", getrlimit(Resource::RLIMIT_CORE))?;
    require(core == (0, 0), "core dumps are allowed")?;
    only_own_descriptors()
}

/// No descriptor above the fixed numbers came through exec.
fn only_own_descriptors() -> Result<(), ConfineError> {
    for number in descriptors::FIRST_FREE..64 {
        // SAFETY: used for one fcntl only, which answers EBADF where nothing is open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_GETFD) {
            Err(Errno::EBADF) => {}
            _ => return Err(ConfineError::NotConfined(format!("descriptor {number} is open"))),
        }
    }
    Ok(())
}
