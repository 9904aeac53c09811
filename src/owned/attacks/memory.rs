//! Attacks on the attacker's own process: code that was never loaded, and to be looked into.

use super::sys::{Int, call, says};
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;

/// A function that gives 42.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[0xb8, 42, 0, 0, 0, 0xc3];
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6];

const PAGE: usize = 4096;

fn map(rights: libc::c_int) -> Result<*mut u8, Errno> {
    let none = std::ptr::null_mut::<u8>();
    let address = call!(SYS_mmap, none, PAGE, rights, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
    Ok(std::ptr::with_exposed_provenance_mut(usize::try_from(address).map_err(|_| Errno::EFAULT)?))
}

fn write_code(page: *mut u8) {
    // SAFETY: the page was just mapped, writable, for nobody else.
    unsafe { std::ptr::copy_nonoverlapping(CODE.as_ptr(), page, CODE.len()) };
}

fn run(page: *const u8) -> Tried {
    // SAFETY: a function of this type was written there, and the page may be run.
    let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(page) };
    Ok(function().to_string())
}

pub fn write_then_run(_: &Held, _: &World) -> Tried {
    let page = map(libc::PROT_READ | libc::PROT_WRITE)?;
    write_code(page);
    call!(SYS_mprotect, page, PAGE, libc::PROT_READ | libc::PROT_EXEC)?;
    run(page)
}

pub fn writable_code(_: &Held, _: &World) -> Tried {
    let page = map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
    write_code(page);
    run(page)
}

/// Written over by [`rewrite_code`].
#[inline(never)]
extern "C" fn seven() -> i32 {
    std::hint::black_box(7)
}

/// The kernel writes into pages that the process itself may only run.
pub fn rewrite_code(_: &Held, _: &World) -> Tried {
    let file = call!(SYS_openat, libc::AT_FDCWD, c"/proc/self/mem".as_ptr(), libc::O_RDWR).int()?;
    let function = std::hint::black_box(seven as extern "C" fn() -> i32);
    call!(SYS_pwrite64, file, CODE.as_ptr(), CODE.len(), function as usize)?;
    Ok(function().to_string())
}

pub fn dumpable(_: &Held, _: &World) -> Tried {
    call!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)?;
    says(call!(SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0)? == 1, "dumpable")
}

pub fn fixed_addresses(_: &Held, _: &World) -> Tried {
    const ASK: libc::c_ulong = 0xffff_ffff;
    call!(SYS_personality, libc::ADDR_NO_RANDOMIZE)?;
    let fixed = libc::c_long::from(libc::ADDR_NO_RANDOMIZE);
    says(call!(SYS_personality, ASK)? & fixed == fixed, "fixed")
}

pub fn file(_: &Held, _: &World) -> Tried {
    let file = call!(SYS_memfd_create, c"owned".as_ptr(), 0).int()?;
    call!(SYS_write, file, c"x".as_ptr(), 1)?;
    Ok("made".into())
}
