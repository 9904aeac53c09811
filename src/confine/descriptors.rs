//! Descriptors with fixed numbers, and descriptors that travel over sockets. Every process.
//!
//! | number | listener | worker | updater |
//! |---|---|---|---|
//! | 0 | /dev/null | /dev/null | /dev/null |
//! | 1, 2 | the log pipe | the log pipe | the log pipe |
//! | 3 [`SUPERVISOR`] | link to the supervisor | link to the supervisor | its brief comes here |
//! | 4 [`PEER`] | link to the worker | link to the listener | link to the worker |
//! | 5 [`BRIEF`] | its brief | its brief | – |
//! | 6 [`OWN`] | the listening socket | the state file | – |
//!
//! All others are closed at exec.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The link to the supervisor.
pub const SUPERVISOR: RawFd = 3;
/// The link to the neighbour.
pub const PEER: RawFd = 4;
/// The sealed memory file that holds the brief.
pub const BRIEF: RawFd = 5;
/// What only this child has.
pub const OWN: RawFd = 6;
/// The first number that no child is given.
pub const FIRST_FREE: RawFd = 7;

/// Takes an inherited descriptor over. Each number can be taken once.
///
/// # Errors
/// `EBADF` where it is not open: the process was not started by the supervisor.
pub fn take(number: RawFd) -> nix::Result<OwnedFd> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    if !(SUPERVISOR..FIRST_FREE).contains(&number) {
        return Err(Errno::EBADF);
    }
    let bit = 1 << number;
    if TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_GETFD reads a flag of the descriptor table and touches no memory of ours.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: the descriptor is open (checked above) and came through exec, so no Rust object in
    // this process owns it; TAKEN makes sure that only one ever will.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(descriptor)
}

/// The child's brief, read from its beginning. Several generations of a child share one sealed
/// memory file, and with it the file's offset; so this reader keeps an offset of its own.
pub struct Brief {
    file: std::fs::File,
    offset: u64,
    /// What is read and not yet taken: thousands of small frames would each cost two calls. Wiped at the end.
    ahead: zeroize::Zeroizing<Vec<u8>>,
    taken: usize,
}

/// Bytes that are read at once.
const AHEAD: usize = 64 << 10;

/// Takes the brief's descriptor over; it is closed when the reader is dropped.
///
/// # Errors
/// As [`take`].
pub fn take_brief() -> nix::Result<Brief> {
    Ok(Brief::of(take(BRIEF)?.into()))
}

impl Brief {
    /// Reads a file from its beginning, wherever its own offset stands.
    pub fn of(file: std::fs::File) -> Self {
        Self { file, offset: 0, ahead: zeroize::Zeroizing::default(), taken: 0 }
    }
}

impl std::io::Read for Brief {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.ahead.len() {
            self.ahead.resize(AHEAD, 0);
            let count = std::os::unix::fs::FileExt::read_at(&self.file, &mut self.ahead, self.offset);
            self.ahead.truncate(*count.as_ref().unwrap_or(&0));
            self.offset += count? as u64;
            self.taken = 0;
        }
        let count = self.ahead.get(self.taken..).unwrap_or_default().read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

/// Sends bytes and one descriptor that belongs to the first of them.
pub fn send_with(socket: impl AsFd, bytes: &[u8], descriptor: &OwnedFd) -> nix::Result<usize> {
    let numbers = [descriptor.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None)
}

/// Receives bytes, and descriptors where some came with them.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], into: &mut impl Extend<OwnedFd>) -> nix::Result<usize> {
    let mut space = cmsg_space!([RawFd; 4]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let bytes = message.bytes;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing
            // else has seen their numbers.
            into.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok(bytes)
}

/// Takes over sockets that a service manager passed through exec, from number 3 on, and moves them above
/// the children's numbers.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`: there are fewer, or something else.
#[cfg(feature = "supervisor")]
pub fn take_passed(count: usize) -> std::io::Result<Vec<OwnedFd>> {
    (SUPERVISOR..).take(count).map(take_passed_one).collect()
}

#[cfg(feature = "supervisor")]
fn take_passed_one(number: RawFd) -> std::io::Result<OwnedFd> {
    // A variable of the environment may be wrong: a file of ours that stands there is not taken.
    // SAFETY: used for one getsockopt only, which answers EBADF where nothing is open.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::SockType)?;
    let above = nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE))?;
    // SAFETY: the socket came through exec and is owned by nothing in this process, which makes no
    // socket before this.
    unsafe { libc::close(number) };
    // SAFETY: fcntl has just made this number, and nothing else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(above) })
}

/// Leaves a descriptor open over the exec by which another gwg takes this one's place.
///
/// # Errors
/// Those of fcntl(2).
#[cfg(feature = "supervisor")]
pub fn outlive_exec(descriptor: &OwnedFd) -> std::io::Result<()> {
    nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(())
}

/// Takes a descriptor over that was left open so. Each can be taken once.
///
/// # Errors
/// `EBADF`: nothing is open there, or what is open is this process's own.
#[cfg(feature = "supervisor")]
pub fn take_outlived(number: RawFd) -> std::io::Result<OwnedFd> {
    if number < FIRST_FREE {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: F_GETFD reads a flag of the descriptor table and touches no memory of ours.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // All that this process opens itself is close-on-exec, and so is what was taken already.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: the descriptor is open and came through exec (checked above), so no Rust object in this
    // process owns it; the next line makes sure that only this one ever will.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(descriptor)
}

/// Fills the numbers below [`FIRST_FREE`], so that nothing of the supervisor's own ever stands where
/// a child's descriptor goes: std's pipe for exec errors would be overwritten there.
///
/// # Errors
/// Those of opening /dev/null.
#[cfg(feature = "supervisor")]
pub fn reserve() -> std::io::Result<()> {
    loop {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() >= FIRST_FREE {
            return Ok(());
        }
        std::mem::forget(null);
    }
}
