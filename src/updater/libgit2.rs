//! libgit2's process-wide settings: the only unsafe code outside of `confine`. Runs in the updater,
//! which is one thread, and sets all of this before its first repository or connection.
//!
//! SAFETY, for every block that says "settings": libgit2's settings are plain C globals without a
//! lock. git2 demands that no other thread uses libgit2 meanwhile; this process has no other thread
//! (tests hold a mutex), and libgit2 itself starts none for what is used here.
#![allow(unsafe_code)]

use super::failure::{Fault, git};
use crate::audit::{Reason, Step};
use crate::brief::updater::Limits;
use crate::confine::descriptors::FIRST_FREE;
use git2::ConfigLevel;
use nix::sys::socket::{setsockopt, sockopt::TcpNoDelay};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of a pack that are mapped at once, and of all packs: libgit2's defaults would not fit into
/// the address space that an updater gets.
const WINDOW: usize = 32 << 20;
const WINDOWS: usize = 192 << 20;
/// Bytes of objects that are kept in memory.
const CACHE: isize = 64 << 20;

/// No configuration but the repository's own, and limits for a remote that stays silent or sends too much.
///
/// # Errors
/// Those of libgit2's options.
pub fn set_up(connect_ms: u32, silence_ms: u32, limits: &Limits) -> Result<(), Fault> {
    let [connect, silence] = [connect_ms, silence_ms].map(|ms| i32::try_from(ms).unwrap_or(i32::MAX));
    for level in [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global] {
        // SAFETY: settings. The path is copied.
        unsafe { git2::opts::set_search_path(level, "") }.map_err(git(Step::Start))?;
    }
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_server_connect_timeout_in_milliseconds(connect) }.map_err(git(Step::Start))?;
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_server_timeout_in_milliseconds(silence) }.map_err(git(Step::Start))?;
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_mwindow_size(WINDOW) }.map_err(git(Step::Start))?;
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_mwindow_mapped_limit(WINDOWS) }.map_err(git(Step::Start))?;
    // SAFETY: settings, of numbers.
    unsafe { git2::opts::set_cache_max_size(CACHE) }.map_err(git(Step::Start))?;
    set_size(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECTS, limits.objects())?;
    // Of an object that comes as a delta, before its memory is taken.
    set_size(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECT_SIZE, limits.object)?;
    // Objects are hashed when they are read, and what refers to nothing is not written.
    git2::opts::strict_hash_verification(true);
    git2::opts::strict_object_creation(true);
    Ok(())
}

/// Sets an option that takes one `size_t`.
fn set_size(option: libgit2_sys::git_libgit2_opt_t, value: u64) -> Result<(), Fault> {
    let value = usize::try_from(value).unwrap_or(usize::MAX);
    // SAFETY: settings. Both options take one `size_t` and no pointer.
    let result = unsafe { libgit2_sys::git_libgit2_opts(option as std::ffi::c_int, value) };
    if result == 0 { Ok(()) } else { Err(Fault::new(Step::Start, Reason::Other, "libgit2 does not take a limit")) }
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
