//! Attacks on what the machine has for everybody.

use super::sys::{c, call, says};
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;

const MANY: usize = 5000;

/// Copies where it may, else files of its own tree.
pub fn descriptors(held: &Held, world: &World) -> Tried {
    let tree = c(world.text("tree")?)?;
    for _ in 0..MANY {
        match held.listening {
            // Its filter lets an updater open what it likes.
            None => call!(SYS_openat, libc::AT_FDCWD, tree.as_ptr(), libc::O_PATH)?,
            Some(_) => call!(SYS_dup, 2)?,
        };
    }
    Ok(MANY.to_string())
}

/// More than any of its role ever needs.
pub fn memory(_: &Held, world: &World) -> Tried {
    hold(world, libc::MAP_PRIVATE)
}

/// Which not every kind of limit counts.
pub fn shared_memory(_: &Held, world: &World) -> Tried {
    hold(world, libc::MAP_SHARED)
}

fn hold(world: &World, kind: libc::c_int) -> Tried {
    let bytes: usize = world.number("memory")?;
    let none = std::ptr::null_mut::<u8>();
    let kind = kind | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let address = call!(SYS_mmap, none, bytes, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0)?;
    says(address > 0, "held")
}

pub fn raise(_: &Held, _: &World) -> Tried {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let none = std::ptr::null::<libc::rlimit>();
    call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, none, &raw mut now)?;
    let wanted = libc::rlimit { rlim_cur: now.rlim_max.max(1), rlim_max: now.rlim_max.max(1) };
    call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const wanted, std::ptr::null_mut::<libc::rlimit>())?;
    call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, none, &raw mut now)?;
    if now.rlim_cur > 0 { Ok("raised".into()) } else { Err(Errno::EPERM) }
}
