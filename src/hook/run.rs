//! Watches a hook from outside: starts its shepherd, and ends it, and all that it started, when the command
//! has ended, when the deadline passes, or when the supervisor goes away. Runs in gwg-hook, in the
//! supervisor's PID namespace: where the hook has one of its own, it can't even name this process.

use super::{shepherd, sweep};
use crate::confine::fork;
use crate::wire::frame;
use crate::wire::hook::{Brief, End, FromHook};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Runs the command to its end. Afterwards nothing of it runs any more.
///
/// # Errors
/// Out of processes or descriptors; the supervisor is gone. Then, too, nothing of it runs.
pub fn run(brief: &Brief, supervisor: &UnixStream, landlock: u8) -> io::Result<End> {
    // Where the hook has no PID namespace, what it leaves behind becomes this process's child.
    set_child_subreaper(true)?;
    let deadline = Instant::now() + Duration::from_millis(brief.hook.timeout_ms);
    let (mut ours, mut theirs) = io::pipe().map(|(news, for_news)| (Some(news), Some(for_news)))?;
    let shepherd = fork::fork(|| {
        // Its copy of our end would hide from it that this process is gone.
        drop(ours.take());
        if let Some(for_news) = theirs.take() {
            shepherd::main(brief, for_news);
        }
    })?;
    drop(theirs);
    let end = watch(&mut ours.ok_or(io::ErrorKind::BrokenPipe)?, supervisor, landlock, deadline);
    let _gone_already = kill(shepherd, Signal::SIGKILL);
    // The first process of a PID namespace ends when all others in it have: pid_namespaces(7).
    while waitpid(shepherd, None) == Err(Errno::EINTR) {}
    sweep::sweep();
    end
}

fn watch(news: &mut PipeReader, supervisor: &UnixStream, landlock: u8, deadline: Instant) -> io::Result<End> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Longer waits come in pieces: poll(2) counts milliseconds in an int.
        let timeout = PollTimeout::try_from(left.min(Duration::from_secs(3600)) + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(news.as_fd(), PollFlags::POLLIN), PollFd::new(supervisor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [told, spoken] = ready.map(|one| one.any().unwrap_or(false));
        if told {
            // The shepherd was killed before it could tell: by the hook itself, or for want of memory.
            match frame::read(news).unwrap_or(News::Ended(End::Signal(Signal::SIGKILL as u8))) {
                News::Begins { own_pids } => frame::write(&mut &*supervisor, &FromHook::Started { own_pids, landlock })?,
                News::Ended(end) => return Ok(end),
            }
        } else if spoken {
            // After the brief the supervisor says nothing: this is its end.
            return Err(io::ErrorKind::BrokenPipe.into());
        } else if Instant::now() >= deadline {
            return Ok(End::Deadline);
        }
    }
}

/// What the shepherd tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum News {
    /// The command is about to start.
    Begins {
        /// The shepherd is the first process of a PID namespace.
        own_pids: bool,
    },
    /// The command has ended, or could not be started.
    Ended(End),
}

impl frame::Message for News {
    const MAX: usize = 16;
}
