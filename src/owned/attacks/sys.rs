//! The kernel, called as an attacker calls it: past the library.

use nix::errno::Errno;

/// A system call by its name, with its arguments: numbers and pointers, each as wide as a register.
macro_rules! call {
    ($name:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: the arguments are numbers, or pointers to locals and constants of the caller's that are
        // as the kernel wants them and outlive the call. This process is an attacker's: what it breaks,
        // it breaks for the tests to see.
        nix::errno::Errno::result(unsafe { libc::syscall(libc::$name $(, $argument as libc::c_long)*) })
    };
}
pub(super) use call;

/// The number that the kernel gave, as a descriptor, pid or count.
pub fn int(answer: libc::c_long) -> Result<libc::c_int, Errno> {
    libc::c_int::try_from(answer).map_err(|_| Errno::ERANGE)
}

/// The same, of a call that gives one.
pub trait Int {
    /// See [`int`].
    fn int(self) -> Result<libc::c_int, Errno>;
}

impl Int for Result<libc::c_long, Errno> {
    fn int(self) -> Result<libc::c_int, Errno> {
        self.and_then(int)
    }
}

/// A path for the kernel.
pub fn c(path: &str) -> Result<std::ffi::CString, Errno> {
    std::ffi::CString::new(path).map_err(|_| Errno::EINVAL)
}

/// What stands in a buffer up to there, for the answer.
pub fn text(bytes: &[u8], count: libc::c_long) -> Result<String, Errno> {
    let count = usize::try_from(count).map_err(|_| Errno::EIO)?;
    let bytes = bytes.get(..count).ok_or(Errno::EIO)?;
    if bytes.is_empty() { Err(Errno::ENODATA) } else { Ok(String::from_utf8_lossy(bytes).into_owned()) }
}

/// What an attack that looked itself says where it saw what it wanted.
pub fn says(holds: bool, word: &str) -> Result<String, Errno> {
    if holds { Ok(word.to_owned()) } else { Err(Errno::ENOTSUP) }
}
