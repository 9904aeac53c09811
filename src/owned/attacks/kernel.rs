//! Attacks on rarely used parts of the kernel.

use super::files::read;
use super::sys::{Int, c, call, says, text};
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;

pub fn keyring(_: &Held, _: &World) -> Tried {
    const PROCESS_KEYRING: i32 = -2;
    const READ: i32 = 11; // KEYCTL_READ
    let key = call!(SYS_add_key, c"user".as_ptr(), c"owned".as_ptr(), c"kept".as_ptr(), 4, PROCESS_KEYRING).int()?;
    let mut bytes = [0_u8; 16];
    let count = call!(SYS_keyctl, READ, key, bytes.as_mut_ptr(), bytes.len(), 0)?;
    text(&bytes, count)
}

pub fn bpf(_: &Held, _: &World) -> Tried {
    let (create_map, look_up, update) = (0, 1, 2); // BPF_MAP_CREATE, _LOOKUP_ELEM, _UPDATE_ELEM
    let create = [2_u32, 4, 8, 1]; // an array of one, with keys of 4 and values of 8 bytes
    let map = call!(SYS_bpf, create_map, create.as_ptr(), size_of_val(&create)).int()?;
    let (key, value, mut found) = (0_u32, 42_u64, 0_u64);
    let address = |pointer: *const u64| pointer.expose_provenance() as u64;
    let element = |value: u64| [u64::from(map.cast_unsigned()), (&raw const key).expose_provenance() as u64, value, 0];
    let put = element(address(&raw const value));
    call!(SYS_bpf, update, put.as_ptr(), size_of_val(&put))?;
    let get = element(address((&raw mut found).cast_const()));
    call!(SYS_bpf, look_up, get.as_ptr(), size_of_val(&get))?;
    // SAFETY: a local that the kernel has written by its address.
    Ok(unsafe { std::ptr::read_volatile(&raw const found) }.to_string())
}

pub fn io_uring(_: &Held, _: &World) -> Tried {
    const PROBE: u32 = 8; // IORING_REGISTER_PROBE
    let mut parameters = [0_u8; 120];
    let ring = call!(SYS_io_uring_setup, 4, parameters.as_mut_ptr()).int()?;
    let mut answer = [0_u8; 16 + 8 * 64];
    call!(SYS_io_uring_register, ring, PROBE, answer.as_mut_ptr(), 64)?;
    // The newest call that a ring makes; the second is readv.
    says(answer.first().is_some_and(|last| *last > 1), "a ring")
}

pub fn perf(_: &Held, _: &World) -> Tried {
    let mut wanted = [0_u8; 112];
    let (software, size, task_clock, user_only) = (1_u32, 112_u32, 1_u64, 0b110_0000_u64);
    for (start, bytes) in
        [(0, &software.to_ne_bytes()[..]), (4, &size.to_ne_bytes()), (8, &task_clock.to_ne_bytes()), (40, &user_only.to_ne_bytes())]
    {
        wanted.get_mut(start..start + bytes.len()).ok_or(Errno::EFAULT)?.copy_from_slice(bytes);
    }
    let counter = call!(SYS_perf_event_open, wanted.as_ptr(), 0, -1, -1, 0).int()?;
    let mut count = 0_u64;
    while count == 0 {
        call!(SYS_read, counter, &raw mut count, 8)?;
    }
    Ok("counted".into())
}

pub fn userfaultfd(_: &Held, _: &World) -> Tried {
    const API: libc::c_ulong = 0xc018_aa3f; // UFFDIO_API
    let file = call!(SYS_userfaultfd, libc::O_CLOEXEC).int()?;
    let mut api = [0xaa_u64, 0, 0];
    call!(SYS_ioctl, file, API, api.as_mut_ptr())?;
    says(api.last().is_some_and(|calls| *calls != 0), "handles faults")
}

pub fn log(_: &Held, _: &World) -> Tried {
    const READ_ALL: i32 = 3;
    let mut bytes = [0_u8; 4096];
    says(call!(SYS_syslog, READ_ALL, bytes.as_mut_ptr(), bytes.len())? > 0, "read")
}

pub fn mount(_: &Held, world: &World) -> Tried {
    let place = c(world.text("tmp")?)?;
    let device = || {
        // SAFETY: plain numbers.
        let mut found: libc::stat = unsafe { std::mem::zeroed() };
        call!(SYS_newfstatat, libc::AT_FDCWD, place.as_ptr(), &raw mut found, 0).map(|_| found.st_dev)
    };
    let before = device()?;
    call!(SYS_mount, c"owned".as_ptr(), place.as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null::<u8>())?;
    let after = device()?;
    call!(SYS_umount2, place.as_ptr(), libc::MNT_DETACH)?;
    says(before != after, "mounted")
}

/// A second root directory, below the one that is left: what is above it is not closed in.
pub fn chroot_escape(_: &Held, world: &World) -> Tried {
    let cell = c(world.text("tmp")?)?;
    call!(SYS_chroot, cell.as_ptr())?;
    call!(SYS_mkdirat, libc::AT_FDCWD, c"/deeper".as_ptr(), 0o755)?;
    call!(SYS_chroot, c"/deeper".as_ptr())?;
    for _ in 0..32 {
        call!(SYS_chdir, c"..".as_ptr())?;
    }
    call!(SYS_chroot, c".".as_ptr())?;
    let _cell_is_clean = call!(SYS_unlinkat, libc::AT_FDCWD, c(&format!("{}/deeper", world.text("tmp")?))?.as_ptr(), libc::AT_REMOVEDIR);
    read(world, "config")
}

/// As if somebody had typed it: a shell that reads from that terminal would run it.
pub fn terminal_input(_: &Held, _: &World) -> Tried {
    let master = call!(SYS_openat, libc::AT_FDCWD, c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY).int()?;
    let unlock = 0_i32;
    call!(SYS_ioctl, master, libc::TIOCSPTLCK, &raw const unlock)?;
    let terminal = call!(SYS_ioctl, master, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY).int()?;
    call!(SYS_ioctl, terminal, libc::TIOCSCTTY, 0)?;
    for letter in b"typed\n" {
        call!(SYS_ioctl, terminal, libc::TIOCSTI, &raw const *letter)?;
    }
    let mut bytes = [0_u8; 16];
    let count = call!(SYS_read, terminal, bytes.as_mut_ptr(), bytes.len())?;
    Ok(text(&bytes, count)?.trim_end().to_owned())
}

pub fn system_v_memory(_: &Held, world: &World) -> Tried {
    let key: i32 = world.number("system-v")?;
    let segment = call!(SYS_shmget, key, 0, 0).int()?;
    let address = call!(SYS_shmat, segment, 0, libc::SHM_RDONLY)?;
    let start: *const u8 = std::ptr::with_exposed_provenance(usize::try_from(address).map_err(|_| Errno::EFAULT)?);
    // SAFETY: the segment has a page at least, and is mapped to be read.
    let bytes = unsafe { std::slice::from_raw_parts(start, 32) };
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
