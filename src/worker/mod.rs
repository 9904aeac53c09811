//! gwg-worker: knows which repositories are due, holds the keys, orders updates.
//!
//! Holds the ssh keys and the state file; no network, no URL, no path, no webhook secret, and
//! nothing here parses what a git server sent. Distrusts the listener (`inbox`) and each updater
//! (`dispatch`). Takes orders from the supervisor only.

mod brief;
mod calendar;
mod dispatch;
mod due;
mod hooks;
mod inbox;
mod reconcile;
mod run;
mod state;

use crate::confine::enter::{Entered, enter, told_version};
use crate::confine::{Role, descriptors};
use brief::Brief;
use state::State;
use std::process::ExitCode;

/// The process. Confined before it reads anything.
pub fn main() -> ExitCode {
    if told_version(Role::Worker) {
        return ExitCode::SUCCESS;
    }
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
    let brief = runtime.block_on(Brief::read(descriptors::take_brief()?)).map_err(|error| format!("the brief: {error}"))?;
    let listener = descriptors::take(descriptors::PEER)?;
    let state = State::open(descriptors::take(descriptors::OWN)?.into());
    Ok(runtime.block_on(run::run(supervisor, listener, brief, state, level))?)
}
