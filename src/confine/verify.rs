//! Asks the kernel whether the layers hold. Runs in every child, after each step of `enter`.

use super::descriptors;
use super::enter::{ConfineError, call};
use super::layers::Layer;
use caps::CapSet;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{getgroups, getresgid, getresuid};
use std::os::fd::BorrowedFd;

fn require(layer: Layer, holds: bool, what: &str) -> Result<(), ConfineError> {
    must_hold(holds || !layer.is_on(), what)
}

fn must_hold(holds: bool, what: &str) -> Result<(), ConfineError> {
    if holds { Ok(()) } else { Err(ConfineError::NotConfined(what.to_owned())) }
}

/// What exec and [`enter`](super::enter::enter) have dropped. `rootless`: the supervisor runs as the
/// same user, so that uid, groups and bounding set are those of whoever invoked it.
pub fn dropped(rootless: bool) -> Result<(), ConfineError> {
    let uid = call("getresuid", getresuid())?;
    let gid = call("getresgid", getresgid())?;
    require(Layer::Users, uid.real == uid.effective && uid.real == uid.saved, "real, effective and saved uid differ")?;
    require(Layer::Users, gid.real == gid.effective && gid.real == gid.saved, "real, effective and saved gid differ")?;
    require(Layer::Users, !uid.real.is_root(), "runs as root")?;
    if !rootless {
        require(Layer::Users, gid.real.as_raw() != 0, "runs in group root")?;
        require(Layer::Users, call("getgroups", getgroups())?.is_empty(), "has supplementary groups")?;
    }
    let mut sets = vec![CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient];
    if !rootless {
        sets.push(CapSet::Bounding);
    }
    for set in sets {
        let empty = call("capabilities", caps::read(None, set))?.is_empty();
        require(Layer::Capabilities, empty, &format!("{set:?} capabilities are not empty"))?;
    }
    require(Layer::NoNewPrivs, call("no-new-privs", prctl::get_no_new_privs())?, "no-new-privs is off")?;
    require(Layer::NonDumpable, !call("dumpable", prctl::get_dumpable())?, "the process is dumpable")?;
    let signal = call("parent-death signal", prctl::get_pdeathsig())?;
    must_hold(signal == Some(Signal::SIGKILL), "the parent-death signal is not set")?;
    let core = call("core limit", getrlimit(Resource::RLIMIT_CORE))?;
    require(Layer::Limits, core == (0, 0), "core dumps are allowed")?;
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

/// System calls are filtered.
pub fn filtered() -> Result<(), ConfineError> {
    // SAFETY: takes a number and gives one: the mode, 2 for a filter. prctl(2).
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    require(Layer::Seccomp, mode == libc::SECCOMP_MODE_FILTER.cast_signed(), "system calls are not filtered")
}
