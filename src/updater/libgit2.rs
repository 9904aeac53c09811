//! libgit2's process-wide settings: the only unsafe code outside of `confine`. Runs in the updater,
//! which is one thread, and sets all of this before its first repository or connection.
//!
//! SAFETY, for every block that says "settings": libgit2's settings are plain C globals without a
//! lock. git2 demands that no other thread uses libgit2 meanwhile; this process has no other thread
//! (tests hold a mutex), and libgit2 itself starts none for what is used here.
#![allow(unsafe_code)]

use super::failure::{Fault, git};
use crate::audit::{Reason, Step};
use crate::confine::descriptors::FIRST_FREE;
use git2::ConfigLevel;
use nix::sys::socket::{setsockopt, sockopt::TcpNoDelay};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// No configuration but the repository's own, and limits for a remote that stays silent.
///
/// # Errors
/// Those of libgit2's options.
pub fn set_up(connect_ms: u32, silence_ms: u32) -> Result<(), Fault> {
    let [connect, silence] = [connect_ms, silence_ms].map(|ms| i32::try_from(ms).unwrap_or(i32::MAX));
    for level in [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global] {
        // SAFETY: settings. The path is copied.
        unsafe { git2::opts::set_search_path(level, "") }.map_err(git(Step::Start))?;
    }
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_server_connect_timeout_in_milliseconds(connect) }.map_err(git(Step::Start))?;
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_server_timeout_in_milliseconds(silence) }.map_err(git(Step::Start))?;
    // Objects are hashed when they are read, and what refers to nothing is not written.
    git2::opts::strict_hash_verification(true);
    git2::opts::strict_object_creation(true);
    Ok(())
}

/// Where libgit2 looks for `.ssh/known_hosts`: it chooses the kind of host key by what stands there.
/// The directory must stay open while connections are made.
///
/// # Errors
/// libgit2's answer, without detail.
pub fn set_home(directory: &OwnedFd) -> Result<(), Fault> {
    // By descriptor: whatever is renamed above it meanwhile, this is what libgit2 reads.
    let path = CString::new(format!("/proc/self/fd/{}", directory.as_raw_fd())).unwrap_or_default();
    // SAFETY: settings. GIT_OPT_SET_HOMEDIR takes one `const char *`, which libgit2 copies
    // (`git_sysdir_set`), so the string need not outlive the call.
    let result = unsafe { libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_HOMEDIR as std::ffi::c_int, path.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(Fault::new(Step::Start, Reason::Other, "libgit2 does not take a home directory")) }
}

/// Trusts the certificates of a file, beside the system's.
///
/// # Errors
/// OpenSSL's, where the file is no PEM.
pub fn trust(file: &str) -> Result<(), Fault> {
    // SAFETY: settings. OpenSSL reads the file at once and keeps no pointer.
    unsafe { git2::opts::set_ssl_cert_file(file) }
        .map_err(|error| Fault::new(Step::Start, Reason::Certificate, format!("caFile: {}", error.message())))
}

/// Sends small packets at once on the process's one TCP connection: libgit2 leaves Nagle's
/// algorithm on, which costs 40 ms for each of two requests of an ssh fetch. Call it from a callback
/// that runs when the connection is up.
pub fn hurry() {
    for number in FIRST_FREE..64 {
        // SAFETY: the number is used for one setsockopt, which answers EBADF where nothing is open
        // and ENOTSOCK or EOPNOTSUPP for what is no TCP socket; nothing is closed or kept.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _not_a_tcp_socket = setsockopt(&descriptor, TcpNoDelay, &true);
    }
}

/// The versions of what is linked: for `--version`.
pub fn versions() -> String {
    let (major, minor, patch) = git2::Version::get().libgit2_version();
    format!("libgit2 {major}.{minor}.{patch}")
}
