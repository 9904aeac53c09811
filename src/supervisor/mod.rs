//! The supervisor: starts every process, owns the listening socket, restarts what dies, ends what
//! passes its deadline, writes the log.
//!
//! Holds the briefs (sealed memory files) and the roster; parses no HTTP, no git, and nothing that a
//! stranger wrote. From its children it hears bounded requests and events; what they write to
//! their standard output it escapes and bounds.

mod activation;
mod briefs;
mod confinement;
mod executables;
mod hooks;
mod journal;
mod log;
mod notify;
mod output;
mod places;
mod process;
mod restart;
mod roster;
mod run;
mod updates;

use crate::config::{self, Config, LogOutput};
use crate::confine::{descriptors, keep};
use nix::sys::signal::SigSet;
use std::error::Error;
use std::process::ExitCode;

/// For the stand-in that starts owned children as this room starts its own.
#[cfg(feature = "owned")]
pub use {executables::Executables, roster::Roster};

/// What this machine offers for the confinement of the processes, for people.
pub fn host() -> String {
    confinement::report()
}

/// Runs the gateway until a signal ends it. 0: it was asked to end. 1: it could not start; the log
/// says why.
pub fn main(config: Config) -> ExitCode {
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(mut config: Config) -> Result<(), Box<dyn Error>> {
    // First, while no other descriptor is open that a child's fixed numbers would overwrite.
    let passed = activation::Passed::take()?;
    descriptors::reserve()?;
    let output = std::mem::replace(&mut config.logging.output, LogOutput::Stdout);
    let executables = executables::Executables::open()?;
    if config.accounts.is_some() {
        keep::only_needed().map_err(|error| format!("capabilities: {error}"))?;
    }
    let _log = log::begin(&config.logging, output)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let confinement = confinement::decide(config.confinement)?;
    places::raise_descriptor_limit()?;
    // A parent may have blocked those that end gwg, and a mask goes through exec.
    SigSet::all().thread_unblock()?;
    let notify = notify::Notify::of_environment()?;
    let activation::Listening { socket, address: listen } = passed.choose(config.listen, &notify)?;
    let socket = Some(socket);
    let state = places::State::open()?;
    let (accounts, threads) = (config.accounts.clone(), config.schedule.threads);
    let mut next_id = 0;
    let sealed = briefs::Sealed::new(config::split(config, &mut next_id))?;
    let roster = roster::Roster::new(executables, accounts, confinement);
    // One thread: children are forked from the main thread only, since the parent-death signal
    // follows the thread that forks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run::run(run::Estate { roster, sealed, socket, listen, state, threads, notify }))
}
