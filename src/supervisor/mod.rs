//! The supervisor: starts every process, owns the listening socket, restarts what dies, ends what
//! passes its deadline, writes the log.
//!
//! Holds the briefs (sealed memory files) and the roster; parses no HTTP, no git, and nothing that a
//! stranger wrote. From its children it hears bounded requests and events; what they write to
//! their standard output it escapes and bounds.

mod briefs;
mod confinement;
mod control;
mod executables;
mod journal;
mod log;
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

/// What this machine offers for the confinement of the processes, for people.
pub fn host() -> String {
    confinement::report()
}

/// Where a running gateway's control socket may be, the likeliest place first.
pub fn control_sockets() -> Vec<std::path::PathBuf> {
    control::candidates(places::state_directory)
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
    let state = places::State::open()?;
    let control = control::open(config.control.group, || Ok(state.directory().to_owned()))?;
    let socket = Some(places::listen(config.listen)?);
    let ledger = control::Ledger::new(control::History::open(state.directory())?);
    let children = config.accounts.iter().flat_map(|all| [all.updater.uid, all.worker.uid, all.listener.uid]).collect();
    let rules = control::Rules { own: nix::unistd::geteuid().as_raw(), control: config.control, children };
    let (listen, accounts, threads) = (config.listen, config.accounts.clone(), config.schedule.threads);
    let mut next_id = 0;
    let sealed = briefs::Sealed::new(config::split(config, &mut next_id))?;
    let roster = roster::Roster::new(executables, accounts, confinement);
    // One thread: children are forked from the main thread only, since the parent-death signal
    // follows the thread that forks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (asks, asked) = tokio::sync::mpsc::channel(64);
        let _served = control::serve(control, rules, ledger.clone(), asks)?;
        run::run(run::Estate { roster, sealed, socket, listen, state, threads, ledger }, asked).await
    })
}
