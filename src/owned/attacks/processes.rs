//! Attacks by way of processes, programs, users and namespaces.

use super::sys::{Int, c, call, says};
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;
use std::ffi::CStr;

/// Becomes another program, with the empty environment.
pub fn replace(program: &CStr, arguments: &[&CStr]) -> Tried {
    let pointers = pointers(arguments);
    call!(SYS_execve, program.as_ptr(), pointers.as_ptr(), std::ptr::null::<*const libc::c_char>())?;
    Ok(String::new())
}

/// As the kernel wants arguments.
fn pointers(arguments: &[&CStr]) -> Vec<*const libc::c_char> {
    arguments.iter().map(|argument| argument.as_ptr()).chain([std::ptr::null()]).collect()
}

fn script(world: &World) -> Result<std::ffi::CString, Errno> {
    c(&format!("printf %s '{}' > '{}'", world.text("nonce")?, world.text("tmp-file")?))
}

pub fn execute(_: &Held, world: &World) -> Tried {
    replace(c"/bin/sh", &[c"sh", c"-c", &script(world)?])
}

/// A copy of the shell that no path leads to.
pub fn execute_memory(_: &Held, world: &World) -> Tried {
    let file = call!(SYS_memfd_create, c"program".as_ptr(), 0).int()?;
    let shell = call!(SYS_openat, libc::AT_FDCWD, c"/bin/sh".as_ptr(), libc::O_RDONLY).int()?;
    while call!(SYS_sendfile, file, shell, std::ptr::null::<libc::off_t>(), 1 << 20)? > 0 {}
    let script = script(world)?;
    let arguments = pointers(&[c"sh", c"-c", &script]);
    call!(SYS_execveat, file, c"".as_ptr(), arguments.as_ptr(), std::ptr::null::<*const libc::c_char>(), libc::AT_EMPTY_PATH)?;
    Ok(String::new())
}

fn wait(child: libc::c_int) -> Result<libc::c_int, Errno> {
    let mut status = 0;
    call!(SYS_wait4, child, &raw mut status, libc::__WALL, 0)?;
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(Errno::ECHILD) }
}

fn leave(code: libc::c_int) -> ! {
    // SAFETY: ends the process at once, with nothing of the library's.
    unsafe { libc::_exit(code) }
}

pub fn fork(_: &Held, _: &World) -> Tried {
    match call!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).int()? {
        0 => leave(42),
        child => Ok(wait(child)?.to_string()),
    }
}

pub fn fork_many(_: &Held, _: &World) -> Tried {
    const MANY: usize = 300;
    let mut children = Vec::new();
    let mut failed = None;
    for _ in 0..MANY {
        match call!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).int() {
            Ok(0) => loop {
                let _woken = call!(SYS_ppoll, 0, 0, 0, 0, 0);
            },
            Ok(child) => children.push(child),
            Err(errno) => failed = Some(errno),
        }
    }
    for child in &children {
        let _gone = call!(SYS_kill, *child, libc::SIGKILL);
        let _reaped = wait(*child);
    }
    failed.map_or_else(|| Ok(children.len().to_string()), Err)
}

/// What the kernel calls this process's namespace of a kind.
fn space(kind: &str) -> Result<[u8; 64], Errno> {
    let mut name = [0_u8; 64];
    call!(SYS_readlinkat, libc::AT_FDCWD, c(&format!("/proc/self/ns/{kind}"))?.as_ptr(), name.as_mut_ptr(), name.len())?;
    Ok(name)
}

/// A child in a namespace of its own, by `clone3`.
pub fn namespace(kind: &str, flag: libc::c_int) -> Tried {
    // SAFETY: plain numbers, of which zero means "not given".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(flag.cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    let path = c(&format!("/proc/self/ns/{kind}"))?;
    let before = number(&path);
    match call!(SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()).int()? {
        // Where /proc can't be read, that the kernel made it is all there is to see.
        0 => leave(if before != 0 && number(&path) == before { 1 } else { 42 }),
        child => says(wait(child)? == 42, "in a new one"),
    }
}

/// The namespace's number; 0 where it can't be read.
fn number(path: &CStr) -> u64 {
    // SAFETY: plain numbers.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    match call!(SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), &raw mut found, 0) {
        Ok(_) => found.st_ino,
        Err(_) => 0,
    }
}

pub fn unshare(_: &Held, _: &World) -> Tried {
    let before = space("mnt");
    call!(SYS_unshare, libc::CLONE_NEWNS)?;
    says(before != space("mnt"), "unshared")
}

pub fn join(_: &Held, world: &World) -> Tried {
    let path = format!("/proc/{}/ns/net", world.text("supervisor.pid")?);
    let theirs = call!(SYS_openat, libc::AT_FDCWD, c(&path)?.as_ptr(), libc::O_RDONLY).int()?;
    call!(SYS_setns, theirs, libc::CLONE_NEWNET)?;
    Ok("joined".into())
}

pub fn become_root(_: &Held, _: &World) -> Tried {
    call!(SYS_setuid, 0)?;
    Ok(call!(SYS_getuid)?.to_string())
}

pub fn join_group(_: &Held, _: &World) -> Tried {
    let group: libc::gid_t = 42; // Debian's: shadow
    call!(SYS_setgroups, 1, &raw const group)?;
    let mut groups = [0; 8];
    let count = call!(SYS_getgroups, 8, groups.as_mut_ptr())?;
    says(count == 1 && groups.first() == Some(&group), "joined")
}

/// CAP_DAC_OVERRIDE, with which file modes say nothing.
pub fn regain(_: &Held, _: &World) -> Tried {
    const VERSION: u32 = 0x2008_0522;
    const WANTED: u32 = 1 << 1;
    let header = [VERSION, 0];
    let sets = [WANTED, WANTED, 0, 0, 0, 0];
    call!(SYS_capset, header.as_ptr(), sets.as_ptr())?;
    let mut found = [0_u32; 6];
    call!(SYS_capget, header.as_ptr(), found.as_mut_ptr())?;
    says(found.first() == Some(&WANTED), "regained")
}

pub fn outlive(_: &Held, _: &World) -> Tried {
    call!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0)?;
    let mut signal = -1;
    call!(SYS_prctl, libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0)?;
    says(signal == 0, "outlives")
}

pub fn real_time(_: &Held, _: &World) -> Tried {
    let priority = libc::sched_param { sched_priority: 1 };
    call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const priority)?;
    says(call!(SYS_sched_getscheduler, 0)? == libc::c_long::from(libc::SCHED_FIFO), "first")
}
