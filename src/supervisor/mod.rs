//! The supervisor: starts every process, owns the listening socket, restarts what dies, ends what
//! passes its deadline, writes the log.
//!
//! Holds the briefs (sealed memory files) and the roster; parses no HTTP, no git, and nothing that a
//! stranger wrote. From its children it hears bounded requests and events; what they write to
//! their standard output it escapes and bounds.

mod activation;
mod briefs;
mod children;
mod confinement;
mod control;
mod executables;
mod hooks;
mod journal;
mod lines;
mod log;
mod metrics;
mod notify;
mod operators;
mod outcome;
mod output;
mod outputs;
mod places;
mod process;
mod proposal;
mod prune;
mod pulse;
mod reload;
mod restart;
mod roster;
mod run;
mod transaction;
mod trees;
mod updates;
mod watch;

use crate::config::{self, Config, LogOutput, Origin, Sources};
use crate::confine::{descriptors, keep};
use crate::ids::Generation;
use nix::sys::signal::{SigSet, Signal};
use std::collections::BTreeMap;
use std::error::Error;
use std::hash::RandomState;
use std::process::ExitCode;

/// For the stand-in that starts owned children as this room starts its own.
#[cfg(feature = "owned")]
pub use {executables::Executables, roster::Roster};

/// What this machine offers for the confinement of the processes, for people.
pub fn host() -> String {
    confinement::report()
}

/// Where a running gateway's control socket may be, the likeliest place first.
pub fn control_sockets() -> Vec<std::path::PathBuf> {
    control::candidates(places::state_directory)
}

/// From now on a SIGHUP waits until the gateway runs, and does not end it. Call it first.
pub fn hold_hangups() {
    // It fails for no mask that can be written down.
    let _ = hangup().thread_block();
}

fn hangup() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGHUP);
    set
}

/// Runs the gateway until a signal ends it. 0: it was asked to end. 1: it could not start; the log
/// says why. `origin`: where the configuration can be read again; `sources`: what it was read from.
pub fn main(config: Config, origin: Origin, sources: Sources) -> ExitCode {
    match start(config, origin, sources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(mut config: Config, origin: Origin, sources: Sources) -> Result<(), Box<dyn Error>> {
    // First, while no other descriptor is open that a child's fixed numbers would overwrite.
    let passed = activation::Passed::take()?;
    descriptors::reserve()?;
    let output = std::mem::replace(&mut config.logging.output, LogOutput::Stdout);
    let executables = executables::Executables::open()?;
    if config.accounts.is_some() {
        keep::only_needed().map_err(|error| format!("capabilities: {error}"))?;
    }
    let log = log::Log::begin(log::Shape::of(&config.logging, &output), output)?;
    let _audit = outputs::begin(std::mem::replace(&mut config.audit, config::Audit::none()))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let confinement = confinement::decide(config.confinement)?;
    places::raise_descriptor_limit()?;
    // A parent may have blocked those that end gwg, and a mask goes through exec. SIGHUP waits for the loop.
    let mut others = SigSet::all();
    others.remove(Signal::SIGHUP);
    others.thread_unblock()?;
    let notify = notify::Notify::of_environment()?;
    let state = places::State::open()?;
    let terms = control::Terms::of(&config);
    let control = control::open(terms.rules.control.group, || Ok(state.directory().to_owned()))?;
    let activation::Listening { socket, address: listen, is_given: listen_is_given } = passed.choose(config.listen, &notify)?;
    let socket = Some(socket);
    let scrape_socket = metrics::socket(terms.metrics, None)?.flatten();
    let trees = trees::Trees::open(state.directory()).map_err(|error| format!("trees.jsonl in the state directory: {error}"))?;
    let ledger = control::Ledger::new(control::History::open(state.directory())?);
    let accounts = config.accounts.clone();
    let (mut next_id, salt) = (0, RandomState::new());
    journal::config_begun(&config.file, config.repos.len(), listen);
    let sealed = briefs::Sealed::new(config::split(config, &BTreeMap::new(), &mut next_id), &salt)?;
    let roster = roster::Roster::new(executables, accounts, confinement);
    // One thread: children are forked from the main thread only, since the parent-death signal
    // follows the thread that forks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let generation = Generation::FIRST;
    runtime.block_on(async {
        let (asks, asked) = tokio::sync::mpsc::channel(64);
        let house = control::House { ledger: ledger.clone(), asks };
        let mut scrapes = metrics::Scrapes::default();
        scrapes.serve(scrape_socket, &house)?;
        let door = control::Door::open(control, terms.rules.clone(), house)?;
        let estate = run::Estate {
            origin,
            roster,
            sealed,
            generation,
            next_id,
            salt,
            socket,
            listen,
            listen_is_given,
            state,
            trees,
            log,
            notify,
            ledger,
            door,
            scrapes,
            terms,
        };
        let attended = tokio::spawn(outputs::attend());
        let result = run::run(estate, sources, asked).await;
        attended.abort();
        result
    })
}
