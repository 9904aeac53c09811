//! Attacks on neighbours: bytes of the attacker's choice on a link.

use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::write;
use std::os::fd::{BorrowedFd, RawFd};

/// Says `bytes` (hexadecimal) to `to` (`supervisor`, `worker` or `log`), `times` times. With `listening`
/// it reads what comes back meanwhile; else it is deaf.
pub fn say(held: &Held, world: &World) -> Tried {
    let to = match world.text("to")? {
        "supervisor" => held.supervisor,
        "worker" => held.worker,
        "log" => nix::libc::STDERR_FILENO,
        _ => return Err(Errno::EINVAL),
    };
    let bytes = decoded(world.text("bytes")?).ok_or(Errno::EINVAL)?;
    let listening = world.text("listening").is_ok();
    for _ in 0..world.number("times").unwrap_or(1_u32) {
        if listening { say_listening(to, &bytes)? } else { say_deaf(to, &bytes)? }
    }
    Ok("said".to_owned())
}

fn say_deaf(to: RawFd, mut bytes: &[u8]) -> nix::Result<()> {
    // SAFETY: the descriptor is open as long as this process obeys.
    let to = unsafe { BorrowedFd::borrow_raw(to) };
    while !bytes.is_empty() {
        bytes = bytes.get(write(to, bytes)?..).unwrap_or_default();
    }
    Ok(())
}

fn say_listening(to: RawFd, mut bytes: &[u8]) -> nix::Result<()> {
    let mut heard = [0; 4096];
    while !bytes.is_empty() {
        match send(to, bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
        match recv(to, &mut heard, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(Errno::EPIPE),
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let pair = |place: usize| u8::from_str_radix(text.get(place..place + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}
