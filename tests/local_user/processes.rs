//! What a user may do to another process, if anything lets him: read it, steer it, stop it. Each act
//! leaves a process of gwg as it was where it succeeds.
#![allow(unsafe_code)] // One function, for calls of the kernel that nothing wraps.

use super::support::processes::Process;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// A process, and what an attacker may be assumed to know of it.
#[derive(Clone, Copy)]
pub struct Target {
    pub process: Process,
    /// The last bytes of its stack: its program's name stands there, and nobody changes it.
    pub address: usize,
}

impl Target {
    /// Looks where root can look.
    pub fn of(process: Process) -> Self {
        let maps = fs::read_to_string(process.path("maps")).unwrap();
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let end = stack.split(['-', ' ']).nth(1).unwrap();
        Self { process, address: usize::from_str_radix(end, 16).unwrap() - 16 }
    }

    fn pid(self) -> usize {
        usize::try_from(self.process.pid()).unwrap()
    }

    fn read(self, name: &str) -> io::Result<()> {
        fs::read(self.process.path(name)).map(drop)
    }

    fn list(self, name: &str) -> io::Result<()> {
        fs::read_dir(self.process.path(name)).map(drop)
    }

    fn rewrite(self, name: &str) -> io::Result<()> {
        let same = fs::read(self.process.path(name)).unwrap_or_else(|_| b"0\n".to_vec());
        fs::write(self.process.path(name), same)
    }
}

/// What is tried, and whether the kernel lets another process of the same user do it, whatever the
/// process does against it: that is why each role has a user of its own.
pub struct Attack {
    pub name: &'static str,
    pub same_user: bool,
    pub run: fn(Target) -> io::Result<()>,
}

const fn kept(name: &'static str, run: fn(Target) -> io::Result<()>) -> Attack {
    Attack { name, same_user: false, run }
}

const fn shared(name: &'static str, run: fn(Target) -> io::Result<()>) -> Attack {
    Attack { name, same_user: true, run }
}

pub const ATTACKS: &[Attack] = &[
    kept("read its memory (/proc/PID/mem)", |at| File::open(at.process.path("mem"))?.read_exact_at(&mut [0; 8], at.address as u64)),
    kept("write its memory (/proc/PID/mem)", |at| File::options().write(true).open(at.process.path("mem")).map(drop)),
    kept("read its memory (process_vm_readv)", |at| move_memory(libc::SYS_process_vm_readv, at)),
    kept("write its memory (process_vm_writev)", |at| move_memory(libc::SYS_process_vm_writev, at)),
    kept("trace it (ptrace)", |at| call(libc::SYS_ptrace, &[PTRACE_SEIZE, at.pid(), 0, 0]).map(drop)),
    kept("steal a descriptor (pidfd_getfd)", |at| {
        let handle = call(libc::SYS_pidfd_open, &[at.pid(), 0])?;
        let stolen = call(libc::SYS_pidfd_getfd, &[handle, 2, 0]);
        call(libc::SYS_close, &[handle])?;
        call(libc::SYS_close, &[stolen?]).map(drop)
    }),
    kept("write to its log pipe (/proc/PID/fd/2)", |at| File::options().write(true).open(at.process.path("fd/2")).map(drop)),
    kept("list its descriptors", |at| at.list("fd")),
    kept("read where its descriptors stand", |at| at.read("fdinfo/0")),
    kept("read its environment", |at| at.read("environ")),
    kept("read its memory map", |at| at.read("maps")),
    kept("read its larger memory map", |at| at.read("smaps_rollup")),
    kept("read its auxiliary vector", |at| at.read("auxv")),
    kept("read its pages' places", |at| File::open(at.process.path("pagemap"))?.read_exact_at(&mut [0; 8], 0)),
    kept("read what it has read and written", |at| at.read("io")),
    kept("read which call it is in", |at| at.read("syscall")),
    kept("read its kernel stack", |at| File::open(at.process.path("stack")).map(drop)),
    kept("list its mapped files", |at| at.list("map_files")),
    kept("open its root", |at| at.list("root/")),
    kept("open its working directory", |at| at.list("cwd/")),
    kept("open its executable", |at| File::open(at.process.path("exe")).map(drop)),
    kept("open its network namespace", |at| File::open(at.process.path("ns/net")).map(drop)),
    kept("compare its descriptors with one's own (kcmp)", |at| {
        call(libc::SYS_kcmp, &[at.pid(), std::process::id() as usize, 1, 0, 0]).map(drop)
    }),
    kept("read its list of locks (get_robust_list)", |at| {
        let mut found = [0_usize; 2];
        let to = found.as_mut_ptr() as usize;
        call(libc::SYS_get_robust_list, &[at.pid(), to, to + size_of::<usize>()]).map(drop)
    }),
    kept("choose it for the out-of-memory killer", |at| at.rewrite("oom_score_adj")),
    kept("let it dump core (coredump_filter)", |at| at.rewrite("coredump_filter")),
    shared("stop it (SIGSTOP)", |at| {
        call(libc::SYS_kill, &[at.pid(), libc::SIGSTOP as usize])?;
        call(libc::SYS_kill, &[at.pid(), libc::SIGCONT as usize]).map(drop)
    }),
    shared("end it (kill, as far as asking)", |at| call(libc::SYS_kill, &[at.pid(), 0]).map(drop)),
    shared("change its limits (prlimit)", |at| {
        let mut now = [0_u64; 2];
        call(libc::SYS_prlimit64, &[at.pid(), libc::RLIMIT_NOFILE as usize, 0, now.as_mut_ptr() as usize])?;
        call(libc::SYS_prlimit64, &[at.pid(), libc::RLIMIT_NOFILE as usize, now.as_ptr() as usize, 0]).map(drop)
    }),
    shared("slow it down (setpriority)", |at| {
        // The call answers 20 less the value that it takes.
        let now = call(libc::SYS_getpriority, &[libc::PRIO_PROCESS as usize, at.pid()])?;
        call(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, at.pid(), 20_usize.wrapping_sub(now)]).map(drop)
    }),
    shared("slow its disk down (ioprio_set)", |at| call(libc::SYS_ioprio_set, &[1, at.pid(), 2 << 13 | 4]).map(drop)),
    shared("choose its scheduler (sched_setscheduler)", |at| {
        let none = 0_i32;
        call(libc::SYS_sched_setscheduler, &[at.pid(), libc::SCHED_OTHER as usize, &raw const none as usize]).map(drop)
    }),
    shared("choose its processors (sched_setaffinity)", |at| {
        let mut set = [0_u64; 128];
        let used = call(libc::SYS_sched_getaffinity, &[at.pid(), size_of_val(&set), set.as_mut_ptr() as usize])?;
        call(libc::SYS_sched_setaffinity, &[at.pid(), used, set.as_ptr() as usize]).map(drop)
    }),
];

const PTRACE_SEIZE: usize = 0x4206;

/// Eight bytes out of it, or the same eight bytes into it again.
fn move_memory(number: libc::c_long, at: Target) -> io::Result<()> {
    let mut bytes = [0_u8; 8];
    move_bytes(libc::SYS_process_vm_readv, at, &mut bytes)?;
    move_bytes(number, at, &mut bytes)
}

fn move_bytes(number: libc::c_long, at: Target, bytes: &mut [u8; 8]) -> io::Result<()> {
    let ours = [bytes.as_mut_ptr() as usize, bytes.len()];
    let theirs = [at.address, bytes.len()];
    call(number, &[at.pid(), ours.as_ptr() as usize, 1, theirs.as_ptr() as usize, 1, 0]).map(drop)
}

/// A call by its number. Addresses among the arguments are of the caller's own locals.
fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<usize> {
    let at = |place: usize| arguments.get(place).copied().unwrap_or_default();
    // SAFETY: the kernel reads and writes no more than the callers above give it room for, all of it
    // locals of theirs that outlive the call.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
