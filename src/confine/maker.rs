//! A process that can make one thing: an empty file of one name in one directory, when it is asked to. Runs as
//! a copy of gwg-updater, made before that opens its brief's remote or holds a key, and confined to this.
//!
//! Landlock knows no file that is not there yet: whoever may make a trigger may make any other file beside
//! it. So the updater may not, and asks; all that it can say is "now". Distrusts the updater.

use super::enter::{ConfineError, Doors};
use super::fork::fork;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, SFlag, mknodat};
use nix::unistd::{getpid, getppid, pipe2, read, write};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The file's mode, less the umask.
pub(super) const MODE: u32 = 0o644;

/// Asks for the file.
pub struct Maker {
    ask: OwnedFd,
    answer: OwnedFd,
}

impl Maker {
    /// Starts the process, whose doors are closed but for the file `name` in `directory`. It ends when the file
    /// is made, or this process ends.
    ///
    /// # Errors
    /// `EDEADLK`: this process has other threads; out of processes or descriptors.
    pub(super) fn start(doors: Doors, directory: BorrowedFd<'_>, name: &CStr) -> nix::Result<Self> {
        let (asked, ask) = pipe2(OFlag::O_CLOEXEC)?;
        let (answer, answered) = pipe2(OFlag::O_CLOEXEC)?;
        // Nobody waits for it.
        // SAFETY: no handler is set.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        let parent = getpid();
        fork(|| {
            // An answer that is not given is one.
            let _told = serve(doors, [asked.as_fd(), answered.as_fd(), directory], name, parent);
            // SAFETY: ends this process, and runs nothing that the other one has registered for its end.
            unsafe { libc::_exit(0) }
        })?;
        Ok(Self { ask, answer })
    }

    /// Has the file made.
    ///
    /// # Errors
    /// Those of `mknod(2)`; `EPIPE`: the process could not be confined, or is gone.
    pub fn make(&self) -> nix::Result<()> {
        write(&self.ask, &[1])?;
        let mut answer = [0; 4];
        match read(&self.answer, &mut answer)? {
            4 => match i32::from_ne_bytes(answer) {
                0 => Ok(()),
                number => Err(Errno::from_raw(number)),
            },
            _ => Err(Errno::EPIPE),
        }
    }
}

pub(super) const ASKED: RawFd = 0;
pub(super) const ANSWERED: RawFd = 1;
pub(super) const DIRECTORY: RawFd = 2;

/// All that the process does.
fn serve(doors: Doors, kept: [BorrowedFd<'_>; 3], name: &CStr, parent: nix::unistd::Pid) -> Result<(), ConfineError> {
    let call = |error: Errno| ConfineError::Call { what: "maker", error: error.to_string() };
    // Of the links to supervisor and worker, and all else, it keeps nothing.
    keep_only(kept).map_err(call)?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(call)?;
    if getppid() != parent {
        return Err(ConfineError::Orphan);
    }
    // SAFETY: the three are open until this process ends.
    let [asked, answered, directory] = [ASKED, ANSWERED, DIRECTORY].map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    doors.close_but_making(directory)?;
    let mut now = [0];
    if read(asked, &mut now) == Ok(1) {
        let made = mknodat(directory, name, SFlag::S_IFREG, Mode::from_bits_truncate(MODE), 0);
        let errno = made.map_or_else(|errno| errno as i32, |()| 0);
        write(answered, &errno.to_ne_bytes()).map_err(call)?;
    }
    Ok(())
}

/// Puts the three where standard streams are, and closes all others.
fn keep_only(kept: [BorrowedFd<'_>; 3]) -> nix::Result<()> {
    // Copies get numbers above those three: none overwrites one that is still wanted.
    let above: Vec<OwnedFd> = kept.iter().map(|fd| fd.try_clone_to_owned().map_err(|_| Errno::EMFILE)).collect::<Result<_, _>>()?;
    for (copy, number) in above.iter().zip([ASKED, ANSWERED, DIRECTORY]) {
        // SAFETY: takes numbers. Nothing in this process uses the standard streams again.
        Errno::result(unsafe { libc::dup2(copy.as_raw_fd(), number) })?;
    }
    // SAFETY: takes numbers. Whoever owns one of these never runs again.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, DIRECTORY + 1, libc::c_uint::MAX, 0) })?;
    std::mem::forget(above);
    Ok(())
}
