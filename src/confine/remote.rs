//! Where an updater's remote is: looked up once, and laid where nothing can change it any more. Runs in the
//! updater, when its first doors are closed and before its last are (`enter`): no byte of the remote or the work
//! tree has been read.
//!
//! libgit2 asks the C library for addresses whenever it connects, and the C library asks name servers, by UDP,
//! anywhere. So `bin/gwg-updater.rs` defines the two functions by which libgit2 asks, and they answer from
//! here. The last filter of system calls knows no datagrams, and lets this process connect to the addresses
//! on this page only. It compares where an address lies and not what it says; hence the page is read-only and
//! sealed (`mseal(2)`, Linux 6.10). Before that kernel an attacker can lay another page there, and
//! Landlock alone says to which port.
//!
//! Distrusts name servers: the C library reads their answers, behind the first doors.

use super::enter::{ConfineError, call};
use nix::errno::Errno;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// The most addresses that are kept; a name may have any number.
const MOST: usize = 16;
const PAGE: usize = 4096;
const _: () = assert!(MOST * size_of::<Entry>() <= PAGE);

/// One address, as `getaddrinfo(3)` lists it.
#[repr(C)]
struct Entry {
    info: libc::addrinfo,
    address: libc::sockaddr_storage,
}

/// What was looked up, and what was found.
struct Found {
    host: String,
    port: String,
    /// Where the page with the list lies, and how long the list is; or the resolver's error.
    list: Result<(usize, usize), c_int>,
}

static FOUND: OnceLock<Found> = OnceLock::new();

/// Asks the C library where this host is, once. That it does not know is no error here: libgit2 is told so when it
/// asks.
///
/// # Errors
/// There is no memory, or the C library has no resolver.
pub fn look_up(host: &str, port: u16) -> Result<(), ConfineError> {
    let port = port.to_string();
    let list = match ask(host, &port)? {
        Ok(first) => Ok(call("memory for the remote's addresses", keep(first))?),
        Err(error) => Err(error),
    };
    let _the_first_counts = FOUND.set(Found { host: host.to_owned(), port, list });
    Ok(())
}

/// Where the addresses lie to which this process may connect.
pub fn places() -> Vec<u64> {
    let Some(&Found { list: Ok((page, length)), .. }) = FOUND.get() else { return Vec::new() };
    (0..length).map(|at| (page + at * size_of::<Entry>() + std::mem::offset_of!(Entry, address)) as u64).collect()
}

/// Nobody can write, unmap, move or replace the page any more. A kernel that can't do it says so.
pub(super) fn seal() -> nix::Result<()> {
    let Some(&Found { list: Ok((page, _)), .. }) = FOUND.get() else { return Ok(()) };
    // SAFETY: numbers; the page stays as it is.
    Errno::result(unsafe { libc::syscall(libc::SYS_mseal, page, PAGE, 0) }).map(drop)
}

/// Whether this kernel seals memory.
#[cfg(feature = "supervisor")]
pub(super) fn can_seal() -> bool {
    // SAFETY: numbers; nothing is sealed where the length is 0.
    unsafe { libc::syscall(libc::SYS_mseal, 0, 0, 0) == 0 }
}

type GetAddrInfo = unsafe extern "C" fn(*const c_char, *const c_char, *const libc::addrinfo, *mut *mut libc::addrinfo) -> c_int;

/// The C library's answer. Its function has to be looked for behind the one of the same name that the
/// executable defines.
fn ask(host: &str, port: &str) -> Result<Result<*const libc::addrinfo, c_int>, ConfineError> {
    let nothing = || ConfineError::Call { what: "getaddrinfo", error: "the C library has none".to_owned() };
    let (Ok(host), Ok(port)) = (CString::new(host), CString::new(port)) else { return Ok(Err(libc::EAI_NONAME)) };
    // SAFETY: the name ends with a zero byte.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, c"getaddrinfo".as_ptr()) };
    if function.is_null() {
        return Err(nothing());
    }
    // SAFETY: a function of this name has this type: getaddrinfo(3).
    let function = unsafe { std::mem::transmute::<*mut c_void, GetAddrInfo>(function) };
    // SAFETY: plain numbers and null pointers; as libgit2 asks.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_family = libc::AF_UNSPEC;
    let mut list = ptr::null_mut();
    // SAFETY: all four outlive the call. The list is never freed: this process lives for one update.
    let error = unsafe { function(host.as_ptr(), port.as_ptr(), &raw const hints, &raw mut list) };
    Ok(if error == 0 { Ok(list.cast_const()) } else { Err(error) })
}

/// Copies a list onto a page of its own, which is then read-only; gives its place and its length.
fn keep(mut from: *const libc::addrinfo) -> nix::Result<(usize, usize)> {
    // SAFETY: new memory, at a place of the kernel's choice.
    let page =
        unsafe { libc::mmap(ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let entries = page.cast::<Entry>();
    let mut length = 0;
    while length < MOST && !from.is_null() {
        // SAFETY: the C library's list, which is never freed: getaddrinfo(3).
        let info = unsafe { &*from };
        let size = usize::try_from(info.ai_addrlen).unwrap_or(usize::MAX);
        if size <= size_of::<libc::sockaddr_storage>() {
            // SAFETY: the page has room for MOST entries and is this function's alone; an address is as long as its
            // list says, and no longer than its place here.
            unsafe {
                let entry = entries.add(length);
                ptr::copy_nonoverlapping(info.ai_addr.cast::<u8>(), (&raw mut (*entry).address).cast::<u8>(), size);
                let next = ptr::null_mut();
                (*entry).info =
                    libc::addrinfo { ai_addr: (&raw mut (*entry).address).cast(), ai_canonname: ptr::null_mut(), ai_next: next, ..*info };
                if length > 0 {
                    (*entries.add(length - 1)).info.ai_next = &raw mut (*entry).info;
                }
            }
            length += 1;
        }
        from = info.ai_next;
    }
    // SAFETY: the page above; nothing writes to it after this line.
    Errno::result(unsafe { libc::mprotect(page, PAGE, libc::PROT_READ) })?;
    Ok((page.expose_provenance(), length))
}

/// Answers libgit2 in `getaddrinfo(3)`'s place: one host and port have addresses, all others none.
///
/// # Safety
/// As there: `node` and `service` end with a zero byte or are null, and `list` may be written.
pub unsafe fn answer(node: *const c_char, service: *const c_char, list: *mut *mut libc::addrinfo) -> c_int {
    let Some(found) = FOUND.get() else { return libc::EAI_FAIL };
    if node.is_null() || service.is_null() {
        return libc::EAI_NONAME;
    }
    // SAFETY: the caller's promise.
    let [node, service] = [node, service].map(|text| unsafe { CStr::from_ptr(text) }.to_bytes());
    if !node.eq_ignore_ascii_case(found.host.as_bytes()) || service != found.port.as_bytes() {
        return libc::EAI_NONAME;
    }
    match found.list {
        Ok((page, 1..)) => {
            // SAFETY: the caller's promise. Nobody writes to what it points at: libgit2 reads lists.
            unsafe { *list = ptr::with_exposed_provenance_mut(page) };
            0
        }
        Ok((_, 0)) => libc::EAI_NONAME,
        Err(error) => error,
    }
}

/// Defines the functions by which libgit2 asks for addresses: for the updater's executables, and no other.
#[macro_export]
macro_rules! answer_for_the_resolver {
    () => {
        /// See `src/confine/remote.rs`.
        ///
        /// # Safety
        /// As `getaddrinfo(3)`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn getaddrinfo(
            node: *const libc::c_char,
            service: *const libc::c_char,
            _hints: *const libc::addrinfo,
            list: *mut *mut libc::addrinfo,
        ) -> libc::c_int {
            // SAFETY: the caller's promise is the same.
            unsafe { $crate::confine::remote::answer(node, service, list) }
        }

        /// What is answered stays: it is one list, for good.
        #[unsafe(no_mangle)]
        pub extern "C" fn freeaddrinfo(_list: *mut libc::addrinfo) {}
    };
}
