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
    if Path::new("/proc/self/task").read_dir().is_ok_and(|threads| threads.count() != 1) {
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
