//! gwg-worker: knows which repositories are due, holds the keys, orders updates.
//!
//! Holds the ssh keys and the state file; no network, no URL, no path, no webhook secret, and
//! nothing here parses what a git server sent. Distrusts the listener (`inbox`) and each updater
//! (`dispatch`). Takes orders from the supervisor only.

mod dispatch;
mod due;
mod hooks;
mod inbox;
mod run;
mod state;

use crate::brief::Key;
use crate::brief::worker::{Head, Repo};
use crate::confine::enter::{Entered, enter};
use crate::confine::{Role, descriptors};
use crate::wire::frame;
use state::State;
use std::io;
use std::process::ExitCode;

/// All that the worker was told.
struct Brief {
    head: Head,
    keys: Vec<Key>,
    repos: Vec<Repo>,
}

/// The process. Confined before it reads anything.
pub fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), Box<dyn std::error::Error>> {
    let Entered { supervisor, doors } = enter(Role::Worker)?;
    // Made first: its descriptors are the last that are opened.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let level = doors.close()?;
    let brief = read_brief().map_err(|error| format!("the brief: {error}"))?;
    let listener = descriptors::take(descriptors::PEER)?;
    let state = State::open(descriptors::take(descriptors::OWN)?.into());
    Ok(runtime.block_on(run::run(supervisor, listener, brief, state, level))?)
}

fn read_brief() -> io::Result<Brief> {
    let mut from = descriptors::take_brief()?;
    let head: Head = frame::read(&mut from)?;
    let keys = (0..head.keys).map(|_| frame::read(&mut from)).collect::<io::Result<_>>()?;
    let repos = (0..head.repos).map(|_| frame::read(&mut from)).collect::<io::Result<_>>()?;
    Ok(Brief { head, keys, repos })
}
