//! The process `gwg-owned-worker`: the real confinement, then whatever an owned listener commands on the job
//! link, which is all that reaches it. It reads no brief and opens no state.

use super::{Held, command};
use crate::confine::enter::{Entered, enter};
use crate::confine::{Role, descriptors};
use crate::wire::frame;
use crate::wire::worker::FromWorker;
use std::error::Error;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

/// Starts as a worker does, and obeys.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg-owned-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Entered { supervisor, doors } = enter(Role::Worker)?;
    let landlock = doors.close()?.landlock;
    let mut listener = descriptors::take(descriptors::PEER)?;
    let mut ready = Vec::new();
    frame::encode(&FromWorker::Ready { landlock }, &mut ready)?;
    nix::unistd::write(&supervisor, &ready)?;
    loop {
        let held = Held { supervisor: supervisor.as_raw_fd(), worker: listener.as_raw_fd(), listening: None, accepted: None };
        let mut heard = Vec::new();
        while let Some(line) = next_line(&listener, &mut heard)? {
            // Nobody hears the answer: what came of it shows at the supervisor.
            command::obey(&line, &held);
        }
        match next_link(&supervisor)? {
            Some(next) => listener = next,
            None => return Ok(()),
        }
    }
}

/// To the next listener: the supervisor sends it, among other things.
fn next_link(supervisor: &OwnedFd) -> nix::Result<Option<OwnedFd>> {
    let mut links = Vec::new();
    while links.is_empty() {
        if descriptors::receive(supervisor, &mut [0; 4096], &mut links)? == 0 {
            return Ok(None);
        }
    }
    Ok(links.pop())
}

/// By the call that a worker may make.
fn next_line(from: &OwnedFd, heard: &mut Vec<u8>) -> nix::Result<Option<String>> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
            let line = heard.drain(..=end).collect::<Vec<u8>>();
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
        match descriptors::receive(from, &mut piece, &mut Vec::new())? {
            0 => return Ok(None),
            count => heard.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
}
