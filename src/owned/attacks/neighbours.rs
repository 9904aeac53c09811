//! Attacks on other processes: `supervisor`, `twin` and `cousin`. The world says of each its pid, where in its
//! memory something is planted, and which descriptor holds the same, unread.

use super::sys::{Int, c, call, text};
use crate::owned::command::{Tried, World};
use nix::errno::Errno;

struct Victim {
    pid: libc::pid_t,
    address: usize,
    descriptor: libc::c_int,
}

/// Bytes of what is planted.
const LENGTH: usize = 32;

fn victim(world: &World, who: &str) -> Result<Victim, Errno> {
    let number = |what: &str| world.number::<usize>(&format!("{who}.{what}"));
    let int = |what: &str| libc::c_int::try_from(number(what)?).map_err(|_| Errno::ERANGE);
    Ok(Victim { pid: int("pid")?, address: number("address")?, descriptor: int("descriptor")? })
}

pub fn kill(world: &World, who: &str) -> Tried {
    call!(SYS_kill, victim(world, who)?.pid, libc::SIGKILL)?;
    Ok(String::new())
}

pub fn trace(world: &World, who: &str) -> Tried {
    let Victim { pid, address, .. } = victim(world, who)?;
    call!(SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0)?;
    let mut status = 0;
    call!(SYS_wait4, pid, &raw mut status, 0, 0)?;
    let mut words = [0_u64; LENGTH / 8];
    for (place, word) in words.iter_mut().enumerate() {
        // The bare call writes where its last argument points.
        call!(SYS_ptrace, libc::PTRACE_PEEKDATA, pid, address + place * 8, &raw mut *word)?;
    }
    call!(SYS_ptrace, libc::PTRACE_DETACH, pid, 0, 0)?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    text(&bytes, LENGTH as libc::c_long)
}

pub fn read_memory(world: &World, who: &str) -> Tried {
    let Victim { pid, address, .. } = victim(world, who)?;
    let mut bytes = [0_u8; LENGTH];
    let own = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: LENGTH };
    let theirs = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: LENGTH };
    let count = call!(SYS_process_vm_readv, pid, &raw const own, 1_usize, &raw const theirs, 1_usize, 0_usize)?;
    text(&bytes, count)
}

pub fn open_memory(world: &World, who: &str) -> Tried {
    let Victim { pid, address, .. } = victim(world, who)?;
    let file = call!(SYS_openat, libc::AT_FDCWD, c(&format!("/proc/{pid}/mem"))?.as_ptr(), libc::O_RDONLY).int()?;
    let mut bytes = [0_u8; LENGTH];
    let count = call!(SYS_pread64, file, bytes.as_mut_ptr(), LENGTH, address)?;
    text(&bytes, count)
}

pub fn take(world: &World, who: &str) -> Tried {
    let Victim { pid, descriptor, .. } = victim(world, who)?;
    let process = call!(SYS_pidfd_open, pid, 0).int()?;
    let stolen = call!(SYS_pidfd_getfd, process, descriptor, 0).int()?;
    let mut bytes = [0_u8; LENGTH];
    let none = std::ptr::null::<u8>();
    let count = call!(SYS_recvfrom, stolen, bytes.as_mut_ptr(), LENGTH, libc::MSG_PEEK | libc::MSG_DONTWAIT, none, none)?;
    text(&bytes, count)
}

pub fn renice(world: &World, who: &str) -> Tried {
    call!(SYS_setpriority, libc::PRIO_PROCESS, victim(world, who)?.pid, 19)?;
    Ok(String::new())
}

pub fn limit(world: &World, who: &str) -> Tried {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let pid = victim(world, who)?.pid;
    call!(SYS_prlimit64, pid, libc::RLIMIT_NOFILE, &raw const none, std::ptr::null_mut::<libc::rlimit>())?;
    Ok(String::new())
}

pub fn doom(world: &World, who: &str) -> Tried {
    let path = c(&format!("/proc/{}/oom_score_adj", victim(world, who)?.pid))?;
    let file = call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_WRONLY).int()?;
    call!(SYS_write, file, c"1000".as_ptr(), 4)?;
    Ok(String::new())
}
