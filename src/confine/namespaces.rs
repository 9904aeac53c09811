//! Namespaces of a child's own. Listener and worker: network, IPC and UTS, so no interface, no route, no
//! abstract socket, no System V memory of anyone else. A hook: PIDs, so that it sees and signals
//! nothing but what it has started itself, and all of that ends with the first of it.
//!
//! As root the supervisor makes them between fork and exec. Without root the child makes them itself
//! after exec, within a user namespace of its own in which nobody but its own user exists. It is after
//! exec because the user namespace in which a program was started decides who may look into its
//! memory: one made before exec would belong to the invoking user, whose other processes could then
//! ptrace it, dumpable or not.

use super::Role;
use std::io;
use std::path::Path;

const OFFLINE: libc::c_int = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Which namespaces of its own a role has; 0 for none.
const fn own(role: Role) -> libc::c_int {
    match role {
        Role::Listener | Role::Worker => OFFLINE,
        Role::Updater => 0,
        Role::Hook => libc::CLONE_NEWPID,
    }
}

/// Whether a process of this role is still in a namespace of the supervisor's that it should have left.
/// `network`: the supervisor's.
///
/// # Errors
/// `/proc` is not there.
pub fn shares(role: Role, network: &str) -> io::Result<bool> {
    match role {
        Role::Listener | Role::Worker => Ok(self::network()? == network),
        Role::Updater => Ok(false),
        Role::Hook => shares_pids(),
    }
}

/// Whether the children of this process will be in its own PID namespace. The link of one that waits
/// for its first process can't be read: pid_namespaces(7).
fn shares_pids() -> io::Result<bool> {
    let own = std::fs::read_link("/proc/self/ns/pid")?;
    match std::fs::read_link("/proc/self/ns/pid_for_children") {
        Ok(children) => Ok(children == own),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Which network namespace this process is in, as the kernel names it: `net:[4026531833]`.
///
/// # Errors
/// `/proc` is not there.
pub fn network() -> io::Result<String> {
    std::fs::read_link("/proc/self/ns/net").map(|name| name.to_string_lossy().into_owned())
}

/// Leaves the supervisor's namespaces, with CAP_SYS_ADMIN. Makes at most one system call and allocates
/// nothing: it may stand between fork and exec.
///
/// # Errors
/// `EPERM` without that capability, `EINVAL` or `ENOSPC` where the kernel has or gives none.
#[cfg(feature = "supervisor")]
pub fn leave(role: Role) -> io::Result<()> {
    match own(role) {
        0 => Ok(()),
        flags => unshare(flags),
    }
}

/// Leaves the supervisor's namespaces without a privilege. The process has all capabilities *within*
/// its new user namespace afterwards: drop them. Must be the only thread.
///
/// # Errors
/// `EPERM`, `ENOSPC`, `EUSERS` where user namespaces are not given to everybody.
pub fn leave_as_user(role: Role) -> io::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(libc::CLONE_NEWUSER | own(role))?;
    let write = |name: &str, text: String| std::fs::write(Path::new("/proc/self").join(name), text);
    write("uid_map", format!("{uid} {uid} 1"))?;
    // The kernel wants this before it lets an ordinary user map a group.
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{gid} {gid} 1"))
}

/// How this process could give its children namespaces of their own.
#[cfg(feature = "supervisor")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// With CAP_SYS_ADMIN.
    Direct,
    /// Through user namespaces.
    ThroughUser,
    /// Not at all.
    None,
}

/// Finds out by trying, in children that do nothing else.
#[cfg(feature = "supervisor")]
pub fn offered() -> Offer {
    let all = own(Role::Listener) | own(Role::Worker) | own(Role::Hook);
    if works(all) {
        Offer::Direct
    } else if works(libc::CLONE_NEWUSER | all) {
        Offer::ThroughUser
    } else {
        Offer::None
    }
}

#[cfg(feature = "supervisor")]
fn works(flags: libc::c_int) -> bool {
    // SAFETY: the child makes two system calls and is gone: it runs no code that could find a lock
    // held or memory half written by a thread that does not exist in it.
    let child = unsafe {
        match libc::fork() {
            0 => libc::_exit(libc::c_int::from(libc::unshare(flags) != 0)),
            child => child,
        }
    };
    let mut status = -1;
    // SAFETY: `status` is a local of the right type; where fork failed, waiting for -1 fails or waits
    // for no child of ours, since this process has none yet.
    child > 0 && unsafe { libc::waitpid(child, &raw mut status, 0) } == child && status == 0
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes a number; what it changes is this process's view of the kernel, no memory of ours.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
