//! The command's parent: starts it, waits for its end, and takes in what it leaves behind. Runs in a
//! copy of gwg-hook, as the first process of the hook's PID namespace where there is one: the kernel
//! ends all others with it.

use super::environment;
use super::run::News;
use super::say;
use crate::wire::frame;
use crate::wire::hook::{Brief, End};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, setsid};
use std::io::PipeWriter;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Tells the watcher how it goes. Returns when the command has ended.
pub fn main(brief: &Brief, mut news: PipeWriter) {
    // A session of its own: a signal to the command's process group must not meet the watcher.
    let set = setsid().and(prctl::set_pdeathsig(Signal::SIGKILL));
    if set.is_err() || is_orphan(&news) {
        return;
    }
    let own_pids = getpid() == Pid::from_raw(1);
    // Untold news is a watcher that is gone, and then this process is as well.
    let _ = frame::write(&mut news, &News::Begins { own_pids });
    let end = start(brief).map_or(End::NotStarted, wait);
    let _ = frame::write(&mut news, &News::Ended(end));
}

/// The watcher may have died before its death was to be told; then nobody has the pipe's other end. Its pid
/// would not tell: from within a PID namespace a parent outside has none.
fn is_orphan(news: &PipeWriter) -> bool {
    let mut end = [PollFd::new(news.as_fd(), PollFlags::empty())];
    poll(&mut end, PollTimeout::ZERO).is_err() || end.iter().any(|end| end.any().unwrap_or(true))
}

fn start(brief: &Brief) -> Option<Pid> {
    let hook = &brief.hook;
    let (program, arguments) = hook.command.split_first()?;
    if let Err(error) = std::env::set_current_dir(&hook.directory) {
        say(&format!("the hook's user can't enter the work tree {}: {error}", hook.directory.display()));
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment::variables(brief)).process_group(0);
    match command.spawn() {
        Ok(child) => i32::try_from(child.id()).ok().map(Pid::from_raw),
        Err(error) => {
            say(&format!("{program} can't be started: {error}"));
            None
        }
    }
}

/// Waits for the command, and for each process that lost its parent.
fn wait(command: Pid) -> End {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => return End::Exited((code & 0xff) as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => return End::Signal(signal as u8),
            Ok(_) | Err(Errno::EINTR) => {}
            // There is no child any more: the command's end was not seen, which does not happen.
            Err(_) => return End::NotStarted,
        }
    }
}
