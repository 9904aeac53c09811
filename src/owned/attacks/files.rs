//! Attacks on files that are not the attacker's.

use super::sys::{Int, c, call, says, text};
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use libc::AT_FDCWD;
use nix::errno::Errno;

fn open(path: &str, flags: libc::c_int) -> Result<libc::c_int, Errno> {
    call!(SYS_openat, AT_FDCWD, c(path)?.as_ptr(), flags, 0o666).int()
}

pub fn read_path(path: &str) -> Tried {
    let file = open(path, libc::O_RDONLY)?;
    let mut bytes = [0_u8; 1024];
    let count = call!(SYS_read, file, bytes.as_mut_ptr(), bytes.len())?;
    text(&bytes, count)
}

pub fn read(world: &World, key: &str) -> Tried {
    read_path(world.text(key)?)
}

fn put(path: &str, flags: libc::c_int, text: &str) -> Tried {
    let file = open(path, flags)?;
    call!(SYS_write, file, text.as_ptr(), text.len())?;
    Ok(String::new())
}

pub fn write(world: &World, key: &str) -> Tried {
    put(world.text(key)?, libc::O_WRONLY | libc::O_APPEND, world.text("nonce")?)
}

pub fn make(world: &World, key: &str) -> Tried {
    put(world.text(key)?, libc::O_WRONLY | libc::O_CREAT, world.text("nonce")?)
}

pub fn list(_: &Held, world: &World) -> Tried {
    let directory = open(world.text("other-tree")?, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut bytes = [0_u8; 4096];
    let count = call!(SYS_getdents64, directory, bytes.as_mut_ptr(), bytes.len())?;
    text(&bytes, count)
}

pub fn read_environ(_: &Held, world: &World) -> Tried {
    read_path(&format!("/proc/{}/environ", world.text("supervisor.pid")?))
}

/// The kernel asks for the rights of the directories above a file only where it is opened by its path.
pub fn read_by_handle(_: &Held, world: &World) -> Tried {
    #[repr(C)]
    struct Handle {
        length: u32,
        kind: i32,
        bytes: [u8; 128],
    }
    let mut handle = Handle { length: 128, kind: 0, bytes: [0; 128] };
    let mut mount = 0_i32;
    call!(SYS_name_to_handle_at, AT_FDCWD, c(world.text("config")?)?.as_ptr(), &raw mut handle, &raw mut mount, 0)?;
    let home = open(world.text("tmp")?, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let file = call!(SYS_open_by_handle_at, home, &raw const handle, libc::O_RDONLY).int()?;
    let mut bytes = [0_u8; 1024];
    let count = call!(SYS_read, file, bytes.as_mut_ptr(), bytes.len())?;
    text(&bytes, count)
}

pub fn truncate(_: &Held, world: &World) -> Tried {
    call!(SYS_truncate, c(world.text("other-file")?)?.as_ptr(), 0)?;
    Ok(String::new())
}

pub fn make_directory(_: &Held, world: &World) -> Tried {
    call!(SYS_mkdirat, AT_FDCWD, c(world.text("other-new")?)?.as_ptr(), 0o755)?;
    Ok(String::new())
}

pub fn make_node(world: &World, kind: libc::mode_t, device: libc::dev_t) -> Tried {
    call!(SYS_mknodat, AT_FDCWD, c(world.text("tmp-new")?)?.as_ptr(), kind | 0o666, device)?;
    Ok(String::new())
}

pub fn make_socket(_: &Held, world: &World) -> Tried {
    let socket = call!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).int()?;
    let (address, length) = super::network::path_address(world.text("tmp-new")?);
    call!(SYS_bind, socket, &raw const address, length)?;
    Ok(String::new())
}

pub fn link_out(_: &Held, world: &World) -> Tried {
    call!(SYS_linkat, AT_FDCWD, c(world.text("key")?)?.as_ptr(), AT_FDCWD, c(world.text("tmp-new")?)?.as_ptr(), 0)?;
    Ok(String::new())
}

pub fn symlink(_: &Held, world: &World) -> Tried {
    call!(SYS_symlinkat, c"/".as_ptr(), AT_FDCWD, c(world.text("other-new")?)?.as_ptr())?;
    Ok(String::new())
}

pub fn rename_out(_: &Held, world: &World) -> Tried {
    let (from, to) = (c(world.text("other-file")?)?, c(world.text("tmp-new")?)?);
    call!(SYS_renameat2, AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), 0)?;
    Ok(String::new())
}

pub fn unlink(_: &Held, world: &World) -> Tried {
    call!(SYS_unlinkat, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), 0)?;
    Ok(String::new())
}

pub fn chmod(_: &Held, world: &World) -> Tried {
    call!(SYS_fchmodat, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), 0o777)?;
    Ok(String::new())
}

pub fn chown(_: &Held, world: &World) -> Tried {
    call!(SYS_fchownat, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), 12_345, 12_345, 0)?;
    Ok(String::new())
}

pub fn set_attribute(_: &Held, world: &World) -> Tried {
    call!(SYS_setxattr, c(world.text("other-file")?)?.as_ptr(), c"user.owned".as_ptr(), c"x".as_ptr(), 1, 0)?;
    Ok(String::new())
}

pub fn touch(_: &Held, world: &World) -> Tried {
    call!(SYS_utimensat, AT_FDCWD, c(world.text("other-trigger")?)?.as_ptr(), std::ptr::null::<libc::timespec>(), 0)?;
    Ok(String::new())
}

pub fn watch(_: &Held, world: &World) -> Tried {
    let path = world.text("other-file")?;
    let watch = call!(SYS_inotify_init1, libc::IN_NONBLOCK).int()?;
    call!(SYS_inotify_add_watch, watch, c(path)?.as_ptr(), libc::IN_OPEN)?;
    open(path, libc::O_RDONLY)?;
    let mut event = [0_u8; 64];
    says(call!(SYS_read, watch, event.as_mut_ptr(), event.len())? > 0, "opened")
}
