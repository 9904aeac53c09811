//! Acts as another user of this machine, in a thread whose credentials alone are changed: Linux keeps
//! them for each thread, and only the C library's wrappers change all at once.

use std::thread;

/// A number that no user of the machine has, and that no configuration of the tests names.
pub const STRANGER: u32 = 64_020;

/// What `act` gives when that user does it, without groups and without capabilities. As root: 0 for
/// `user` changes nothing.
#[allow(unsafe_code)]
pub fn as_user<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    let acting = move || {
        if user != 0 {
            // SAFETY: three calls with numbers and a null list of length 0; they change the calling thread only.
            let changed = unsafe {
                libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) == 0
                    && libc::syscall(libc::SYS_setresgid, user, user, user) == 0
                    && libc::syscall(libc::SYS_setresuid, user, user, user) == 0
            };
            assert!(changed, "not root");
        }
        act()
    };
    thread::scope(|scope| scope.spawn(acting).join().unwrap())
}
