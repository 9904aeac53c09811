//! Ends a process by SIGKILL just before its Nth *telling* system call: one by which something outside of the
//! process changes, or hears of it. Between two of them a killed process leaves the same behind, wherever it
//! was; so the points before each are all that there are.
//!
//! It traces the process (`ptrace(2)`), changes nothing in it, and needs root: the children can't be dumped.

use super::processes::Process;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use std::ffi::c_void;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Whom it waits for.
#[derive(Debug, Clone, Copy)]
pub enum Prey {
    /// A process that runs, with all its threads.
    Running(Process),
    /// The next process that this one's main thread forks, from the fork on.
    NextChildOf(Process),
}

/// What came of it.
#[derive(Debug)]
pub struct Fate {
    /// The telling calls that the process began, the one included that it was killed at.
    pub calls: Vec<&'static str>,
    /// When it was killed; none where it ended without that.
    pub killed: Option<Instant>,
}

/// A thread that waits for the process's Nth telling call.
pub struct Ambush {
    thread: JoinHandle<()>,
    fate: Receiver<Fate>,
}

impl Ambush {
    /// Begins; returns when no call can be missed any more. `nth` counts from 1.
    pub fn lay(prey: Prey, nth: usize) -> Self {
        let ((laid, is_laid), (tell, fate)) = (channel(), channel());
        let thread = thread::spawn(move || {
            let mut watch = Watch { nth, calls: Vec::new() };
            let killed = watch.run(prey, || laid.send(()).unwrap());
            let _nobody_asks = tell.send(Fate { calls: watch.calls, killed });
        });
        is_laid.recv().expect("the process can be traced");
        Self { thread, fate }
    }

    /// What has come of it, within so long; none where it still waits.
    pub fn fate(&self, limit: Duration) -> Option<Fate> {
        match self.fate.recv_timeout(limit) {
            Ok(fate) => Some(fate),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the tracing thread panicked"),
        }
    }

    /// Waits until the thread is gone, and what it traced is free of it.
    pub fn end(self) {
        self.thread.join().expect("the tracing thread ended well");
    }
}

struct Watch {
    nth: usize,
    calls: Vec<&'static str>,
}

impl Watch {
    /// When this thread ends, the kernel frees what it traces: a process that was killed is its parent's to bury.
    fn run(&mut self, prey: Prey, laid: impl FnOnce()) -> Option<Instant> {
        match prey {
            Prey::Running(process) => {
                for task in tasks(process) {
                    seize(task, Options::PTRACE_O_TRACESYSGOOD);
                }
                laid();
            }
            Prey::NextChildOf(parent) => {
                let parent = Pid::from_raw(parent.pid());
                seize(
                    parent,
                    Options::PTRACE_O_TRACESYSGOOD
                        | Options::PTRACE_O_TRACEFORK
                        | Options::PTRACE_O_TRACEVFORK
                        | Options::PTRACE_O_TRACECLONE,
                );
                ptrace::cont(parent, None).unwrap();
                laid();
                let child = next_child(parent)?;
                // It is traced since its fork, and stands still.
                wait_for(child)?;
                resume(child, None);
            }
        }
        self.follow()
    }

    fn follow(&mut self) -> Option<Instant> {
        loop {
            match next_stop()? {
                WaitStatus::PtraceSyscall(task) => {
                    if let Some(call) = entered(task) {
                        self.calls.push(call);
                        if self.calls.len() == self.nth {
                            let now = Instant::now();
                            kill(task, Signal::SIGKILL).unwrap();
                            return Some(now);
                        }
                    }
                    resume(task, None);
                }
                WaitStatus::Stopped(task, signal) => resume(task, Some(signal)),
                WaitStatus::PtraceEvent(task, _, _) => resume(task, None),
                _ended => {}
            }
        }
    }
}

/// Stops a task and traces it from there on.
fn seize(task: Pid, options: Options) {
    ptrace::seize(task, options).unwrap();
    ptrace::interrupt(task).unwrap();
    loop {
        match wait_for(task).expect("the process lives") {
            WaitStatus::PtraceEvent(..) => break,
            WaitStatus::Stopped(_, signal) => ptrace::cont(task, signal).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    if !options.contains(Options::PTRACE_O_TRACEFORK) {
        resume(task, None);
    }
}

/// Lets the parent run until it has forked, and lets go of it.
fn next_child(parent: Pid) -> Option<Pid> {
    loop {
        match wait_for(parent)? {
            WaitStatus::PtraceEvent(_, _, event) if event != libc::PTRACE_EVENT_STOP => {
                let child = Pid::from_raw(ptrace::getevent(parent).unwrap().try_into().unwrap());
                if is_process(child) {
                    ptrace::detach(parent, None).unwrap();
                    return Some(child);
                }
                // A thread of its own.
                wait_for(child);
                let _gone_already = ptrace::detach(child, None);
                ptrace::cont(parent, None).unwrap();
            }
            WaitStatus::Stopped(_, signal) => ptrace::cont(parent, signal).unwrap(),
            WaitStatus::PtraceEvent(..) => ptrace::cont(parent, None).unwrap(),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return None,
            other => panic!("{other:?}"),
        }
    }
}

/// Until its next call, or signal. One that was killed meanwhile is waited for by the next look.
fn resume(task: Pid, signal: Option<Signal>) {
    match ptrace::syscall(task, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("process {task}: {errno}"),
    }
}

fn wait_for(task: Pid) -> Option<WaitStatus> {
    wait(task, libc::PTRACE_CONT)
}

/// Of any task that this thread traces; never of another thread's children.
fn next_stop() -> Option<WaitStatus> {
    wait(Pid::from_raw(-1), libc::PTRACE_SYSCALL)
}

/// A real-time signal, which has no name here, goes through by `request`: with one the C library gives all threads the
/// rights of one.
fn wait(task: Pid, request: libc::c_uint) -> Option<WaitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes the status, and nothing else.
        #[allow(unsafe_code)]
        let found = unsafe { libc::waitpid(task.as_raw(), &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        match Errno::result(found).map(Pid::from_raw) {
            Ok(stopped) => match WaitStatus::from_raw(stopped, status) {
                Ok(status) => return Some(status),
                Err(_) => pass(stopped, request, libc::WSTOPSIG(status)),
            },
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return None,
            Err(errno) => panic!("waitpid: {errno}"),
        }
    }
}

fn pass(task: Pid, request: libc::c_uint, signal: libc::c_int) {
    // SAFETY: it reads and writes no memory of this process.
    #[allow(unsafe_code)]
    let passed = unsafe { libc::ptrace(request, task.as_raw(), 0, signal) };
    match Errno::result(passed) {
        Ok(_) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("process {task}, signal {signal}: {errno}"),
    }
}

fn tasks(process: Process) -> Vec<Pid> {
    let entries = fs::read_dir(process.path("task")).expect("the process lives").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

fn is_process(task: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Tgid:").is_some_and(|group| group.trim() == task.to_string()))
}

/// The telling call that a task is about to make; none where it makes another, or comes back from one.
fn entered(task: Pid) -> Option<&'static str> {
    if ptrace::syscall_info(task).ok()?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // The number and the arguments, as words.
    let text = fs::read_to_string(format!("/proc/{task}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let arguments: Vec<u64> = words.map_while(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
    let argument = |place: usize| arguments.get(place).copied().unwrap_or_default();
    let makes = |flags: u64| flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0;
    match number {
        libc::SYS_openat => makes(argument(2)).then_some("openat"),
        libc::SYS_openat2 => makes(word_at(task, argument(2))).then_some("openat2"),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => makes(argument(1)).then_some("open"),
        _ => TELLING.iter().find(|(telling, _)| *telling == number).map(|(_, name)| *name),
    }
}

/// The flags of `openat2`: the first word of what its argument points to.
fn word_at(task: Pid, address: u64) -> u64 {
    ptrace::read(task, address as *mut c_void).map_or(0, |word| word as u64)
}

macro_rules! calls {
    ($($(#[$only:meta])? $name:ident $number:ident),* $(,)?) => { &[$($(#[$only])? (libc::$number, stringify!($name))),*] };
}

const TELLING: &[(libc::c_long, &str)] = calls![
    // Bytes, to files and to others.
    write SYS_write, pwrite64 SYS_pwrite64, writev SYS_writev, pwritev SYS_pwritev, sendto SYS_sendto, sendmsg SYS_sendmsg,
    connect SYS_connect, accept4 SYS_accept4, shutdown SYS_shutdown, ftruncate SYS_ftruncate, fallocate SYS_fallocate,
    fsync SYS_fsync, fdatasync SYS_fdatasync, msync SYS_msync,
    // Names.
    mkdirat SYS_mkdirat, mknodat SYS_mknodat, renameat SYS_renameat, renameat2 SYS_renameat2, linkat SYS_linkat, symlinkat SYS_symlinkat, unlinkat SYS_unlinkat,
    #[cfg(target_arch = "x86_64")] mkdir SYS_mkdir,
    #[cfg(target_arch = "x86_64")] rmdir SYS_rmdir,
    #[cfg(target_arch = "x86_64")] rename SYS_rename,
    #[cfg(target_arch = "x86_64")] link SYS_link,
    #[cfg(target_arch = "x86_64")] symlink SYS_symlink,
    #[cfg(target_arch = "x86_64")] unlink SYS_unlink,
    // What files are said to be, and who has them.
    utimensat SYS_utimensat, fchmod SYS_fchmod, fchmodat SYS_fchmodat, fchown SYS_fchown, flock SYS_flock,
    // Processes.
    clone SYS_clone, clone3 SYS_clone3, execve SYS_execve, execveat SYS_execveat, unshare SYS_unshare, setresuid SYS_setresuid,
    kill SYS_kill, pidfd_send_signal SYS_pidfd_send_signal, exit_group SYS_exit_group,
];
