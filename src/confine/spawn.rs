//! What the supervisor does to a child between fork and exec. Runs in the supervisor, and in the
//! forked child until its exec.
//!
//! No-new-privs is not set here: AppArmor would then refuse the change of profile at exec (EPERM).

use super::descriptors::{FIRST_FREE, SUPERVISOR};
use super::layers::{self, Layer};
use super::{Confinement, Role, namespaces};
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The user that a child becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Resource limits that a child starts with, soft and hard the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors.
    pub descriptors: u64,
    /// Bytes of the largest file that it may write; `None`: no limit.
    pub file_size: Option<u64>,
    /// Processes of its user, all that run already included; `None`: as many as the supervisor's.
    pub processes: Option<u64>,
    /// Bytes of address space; `None`: no limit.
    pub memory: Option<u64>,
}

/// All that a child is given. What is not here, it does not have.
pub struct Given<'a> {
    /// What it is: its name, and whether it gets namespaces of its own.
    pub role: Role,
    /// The executable, opened when the supervisor started: a package upgrade in between can't mix
    /// builds, and directories above it need not be open to the child's user.
    pub program: &'a OwnedFd,
    /// The descriptors, with the numbers that they get.
    pub descriptors: Vec<(OwnedFd, RawFd)>,
    /// The log pipe, for standard output and error.
    pub log: OwnedFd,
    /// Whom it becomes; `None` leaves it the supervisor's user (which is then not root).
    pub account: Option<Account>,
    /// Resource limits.
    pub limits: Limits,
    /// File mode mask.
    pub umask: u32,
    /// What it does where the kernel does not have a layer.
    pub confinement: Confinement,
}

/// A command that starts the child so. Start it from the main thread: the parent-death signal
/// follows the thread that forks.
///
/// # Errors
/// Those of duplicating descriptors.
pub fn command(given: Given<'_>) -> io::Result<Command> {
    let program = given.program.try_clone()?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    // Everybody may read arguments. The last says which network is not the child's: without /proc
    // neither knows, and that is for the child to judge.
    let network = namespaces::network().unwrap_or_default();
    command.arg0(given.role.name()).args([env!("CARGO_PKG_VERSION"), given.confinement.word(), network.as_str()]);
    command.args(layers::left_out());
    command.env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(given.log.try_clone()?).stderr(given.log);
    let Given { role, descriptors, account, limits, umask, .. } = given;
    let before_exec = move || {
        // The program's descriptor is close-on-exec; it must outlive the fork.
        let _open_until_exec = &program;
        place(&descriptors)?;
        // SAFETY: the calls below take plain numbers or pointers to locals that live across the call.
        unsafe {
            ok(libc::setsid())?;
            libc::umask(umask);
            if Layer::Limits.is_on() {
                set_limits(limits)?;
            }
            if let Some(Account { uid, gid }) = account {
                if Layer::Namespaces.is_on() {
                    // Where this fails the child finds itself in the supervisor's namespaces, and decides.
                    let _the_child_looks = namespaces::leave(role);
                }
                if Layer::Capabilities.is_on() {
                    empty_bounding_set()?;
                }
                if Layer::Users.is_on() {
                    ok(libc::setgroups(0, std::ptr::null()))?;
                    ok(libc::setresgid(gid, gid, gid))?;
                    ok(libc::setresuid(uid, uid, uid))?;
                }
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only: it allocates nothing and
    // takes no lock (`Errno` to `io::Error` is a number).
    unsafe { command.pre_exec(before_exec) };
    Ok(command)
}

/// Puts each descriptor at its number and marks all others close-on-exec.
fn place(descriptors: &[(OwnedFd, RawFd)]) -> io::Result<()> {
    // `descriptors::reserve` keeps the supervisor's own descriptors above the fixed numbers, so no
    // dup2 overwrites the source of another.
    for (descriptor, number) in descriptors {
        // SAFETY: both are numbers; dup2 clears close-on-exec on the copy.
        ok(unsafe { libc::dup2(descriptor.as_raw_fd(), *number) })?;
    }
    for number in SUPERVISOR..FIRST_FREE {
        if !descriptors.iter().any(|(_, given)| *given == number) {
            // SAFETY: only placeholders of `descriptors::reserve` stand here in the forked child.
            unsafe { libc::close(number) };
        }
    }
    let first = libc::c_uint::try_from(FIRST_FREE).unwrap_or(libc::c_uint::MAX);
    // SAFETY: takes three numbers; marks, closes nothing yet, so std's own error pipe still works.
    ok(unsafe { libc::close_range(first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) })?;
    Ok(())
}

/// Needs CAP_SETPCAP. Ends at the first number that the kernel does not know (EINVAL).
fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 as libc::c_ulong {
        // SAFETY: prctl with plain numbers.
        match ok(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            other => other?,
        };
    }
    Ok(())
}

fn set_limits(limits: Limits) -> io::Result<()> {
    // SAFETY: each is one of the RLIMIT constants.
    unsafe {
        limit(libc::RLIMIT_CORE, 0)?;
        limit(libc::RLIMIT_NOFILE, limits.descriptors)?;
        limit(libc::RLIMIT_MEMLOCK, 0)?;
        if let Some(bytes) = limits.memory {
            limit(libc::RLIMIT_AS, bytes)?;
        }
        if let Some(count) = limits.processes {
            limit(libc::RLIMIT_NPROC, count)?;
        }
        if let Some(bytes) = limits.file_size {
            limit(libc::RLIMIT_FSIZE, bytes)?;
            // The write fails then, and the process lives to say so.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
    }
    Ok(())
}

/// # Safety
/// `resource` is one of the RLIMIT constants.
unsafe fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is a local of the right type.
    ok(unsafe { libc::getrlimit(resource, &raw mut now) })?;
    // Only root may raise a hard limit: without root the lower one stays.
    let value = value.min(now.rlim_max);
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` is a local of the right type.
    ok(unsafe { libc::setrlimit(resource, &raw const limit) })?;
    Ok(())
}

fn ok(result: libc::c_int) -> io::Result<libc::c_int> {
    Errno::result(result).map_err(io::Error::from)
}
