//! A copy of this process. Runs in gwg-hook, and in gwg-updater before its doors are closed: no other child may
//! fork.

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
use std::path::Path;

/// Forks; `child` runs in the copy, which ends when it returns.
///
/// # Errors
/// The user has too many processes. `EDEADLK`: this process has other threads, whose locks nobody would
/// ever open in the copy.
pub fn fork(child: impl FnOnce()) -> nix::Result<Pid> {
    if !is_alone() {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: the one thread of this process, so the copy finds no lock held and no memory half written.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            child();
            std::process::exit(0)
        }
    }
}

/// Whether this process has one thread. The kernel says so without any file in reach; a hook's filter refuses the
/// question, and `/proc` answers there.
fn is_alone() -> bool {
    // SAFETY: takes a number. It changes nothing, and is EINVAL for who has other threads: unshare(2).
    match Errno::result(unsafe { libc::unshare(libc::CLONE_THREAD) }) {
        Ok(_) => true,
        Err(Errno::EINVAL) => false,
        Err(_) => Path::new("/proc/self/task").read_dir().is_ok_and(|threads| threads.count() == 1),
    }
}
