//! Attacks that only an updater can try: it has a work tree, a trigger and a remote.

use super::files::read_path;
use super::processes;
use super::sys::{Int, c, call, says};
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use libc::AT_FDCWD;
use nix::errno::Errno;

/// A path in its own tree.
fn own(world: &World, name: &str) -> Result<String, Errno> {
    Ok(format!("{}/{name}", world.text("tree")?))
}

fn make_own(path: &str, text: &str, mode: libc::mode_t) -> Result<(), Errno> {
    let file = call!(SYS_openat, AT_FDCWD, c(path)?.as_ptr(), libc::O_WRONLY | libc::O_CREAT, mode).int()?;
    call!(SYS_write, file, text.as_ptr(), text.len())?;
    call!(SYS_close, file)?;
    Ok(())
}

pub fn through_symlink(_: &Held, world: &World) -> Tried {
    let link = own(world, "through")?;
    call!(SYS_symlinkat, c(world.text("other-file")?)?.as_ptr(), AT_FDCWD, c(&link)?.as_ptr())?;
    read_path(&link)
}

pub fn through_link(_: &Held, world: &World) -> Tried {
    let link = own(world, "linked")?;
    call!(SYS_linkat, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), AT_FDCWD, c(&link)?.as_ptr(), 0)?;
    read_path(&link)
}

pub fn rename_in(_: &Held, world: &World) -> Tried {
    let mine = own(world, "moved")?;
    call!(SYS_renameat2, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), AT_FDCWD, c(&mine)?.as_ptr(), 0)?;
    read_path(&mine)
}

pub fn rename_over(_: &Held, world: &World) -> Tried {
    let mine = own(world, "mine")?;
    make_own(&mine, world.text("nonce")?, 0o644)?;
    call!(SYS_renameat2, AT_FDCWD, c(&mine)?.as_ptr(), AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), 0)?;
    Ok(String::new())
}

pub fn climb(_: &Held, world: &World) -> Tried {
    let root = call!(SYS_openat, AT_FDCWD, c(world.text("tree")?)?.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY).int()?;
    let path = format!("../../../../../../../../../..{}", world.text("other-file")?);
    let file = call!(SYS_openat, root, c(&path)?.as_ptr(), libc::O_RDONLY).int()?;
    let mut bytes = [0_u8; 1024];
    let count = call!(SYS_read, file, bytes.as_mut_ptr(), bytes.len())?;
    super::sys::text(&bytes, count)
}

pub fn run(_: &Held, world: &World) -> Tried {
    let script = own(world, "script")?;
    let text = format!("#!/bin/sh\nprintf %s '{}' > '{}'\n", world.text("nonce")?, world.text("tmp-file")?);
    make_own(&script, &text, 0o755)?;
    processes::replace(&c(&script)?, &[c"script"])
}

pub fn make_pipe(_: &Held, world: &World) -> Tried {
    call!(SYS_mknodat, AT_FDCWD, c(world.text("tree-new")?)?.as_ptr(), libc::S_IFIFO | 0o666, 0)?;
    Ok(String::new())
}

/// Opened for nothing, as Landlock allows for every path.
pub fn chmod_descriptor(_: &Held, world: &World) -> Tried {
    let file = call!(SYS_openat, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), libc::O_PATH).int()?;
    let through = c(&format!("/proc/self/fd/{file}"))?;
    call!(SYS_fchmod, file, 0o777).or_else(|_| call!(SYS_fchmodat, AT_FDCWD, through.as_ptr(), 0o777))?;
    Ok(String::new())
}

pub fn unlink_neighbour(_: &Held, world: &World) -> Tried {
    call!(SYS_unlinkat, AT_FDCWD, c(world.text("neighbour")?)?.as_ptr(), 0)?;
    Ok(String::new())
}

pub fn ask(_: &Held, world: &World) -> Tried {
    says(call!(SYS_faccessat, AT_FDCWD, c(world.text("other-file")?)?.as_ptr(), libc::F_OK)? == 0, "there")
}
