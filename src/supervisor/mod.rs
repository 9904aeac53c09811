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
mod gc;
mod handover;
mod hooks;
mod journal;
mod lines;
mod log;
mod metrics;
mod notify;
mod oneline;
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
mod signals;
mod successor;
mod transaction;
mod trees;
mod updater;
mod updates;
mod upgrade;
mod watch;

use crate::config::{self, Config, LogOutput, Origin, Sources};
use crate::confine::{descriptors, keep};
use crate::ids::Generation;
use handover::Inherited;
use run::End;
use std::collections::BTreeMap;
use std::error::Error;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

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

pub use handover::is_there as is_handed_over;
pub use signals::hold_harmless;
pub use successor::YES;

/// Whether this executable could take the place of a running gateway, which listens there and has opened
/// these executables for it.
///
/// # Errors
/// Why not.
pub fn could_take_over(config: &Config, listen: Option<SocketAddr>, executables: BTreeMap<String, RawFd>) -> Result<(), String> {
    if let Some(running) = listen.filter(|running| !activation::serves(*running, config.listen)) {
        let wanted = config.listen;
        return Err(format!("the configuration says to listen on {wanted}, and the gateway listens on {running}: `gwg reload` first"));
    }
    confinement::decide(config.confinement).map_err(|error| error.to_string())?;
    let hooks = config.repos.iter().any(|repo| repo.hooks.success.is_some() || repo.hooks.failure.is_some());
    let executables = handover::take_executables(executables).and_then(executables::Executables::open);
    executables.and_then(|all| all.are_of_one_version(hooks)).map_err(|error| error.to_string())
}

/// Runs the gateway until a signal ends it, or another takes its place. 0: it was asked to end. 1: it could
/// not start; the log says why. `origin`: where the configuration can be read again; `sources`: what it was read from.
pub fn main(config: Config, origin: Origin, sources: Sources) -> ExitCode {
    let end = Inherited::take().map_err(Into::into).and_then(|inherited| start(config, origin, sources, inherited));
    match end {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Replaced(successor, mut handover)) => {
            // All else of this gwg has ended by now, log and audit too.
            handover.seq = journal::last();
            let error = successor.take_over(*handover);
            eprintln!("gwg: nobody can take over: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("gwg: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(mut config: Config, origin: Origin, sources: Sources, inherited: Inherited) -> Result<End, Box<dyn Error>> {
    // First, while no other descriptor is open that a child's fixed numbers would overwrite.
    let Inherited { before, listening, is_given, scrapes, control, state_lock, executables, expected } = inherited;
    let passed = activation::Passed::take()?.and(listening, is_given);
    descriptors::reserve()?;
    // Run by descriptor, it would bear a number: `ps` and `top` show this.
    nix::sys::prctl::set_name(c"gwg")?;
    // Until the loop hears them.
    signals::hold();
    let place = successor::place();
    let output = std::mem::replace(&mut config.logging.output, LogOutput::Stdout);
    let executables = executables::Executables::open(executables)?;
    if config.accounts.is_some() {
        keep::only_needed().map_err(|error| format!("capabilities: {error}"))?;
    }
    let log = log::Log::begin(log::Shape::of(&config.logging, &output), output)?;
    let _audit = outputs::begin(std::mem::replace(&mut config.audit, config::Audit::none()), before)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let confinement = confinement::decide(config.confinement)?;
    places::raise_descriptor_limit()?;
    let notify = notify::Notify::of_environment()?;
    let state = places::State::open(state_lock)?;
    let terms = control::Terms::of(&config);
    let control = control::open(terms.rules.control.group, control, || Ok(state.directory().to_owned()))?;
    let activation::Listening { socket, address: listen, is_given: listen_is_given } = passed.choose(config.listen, &notify)?;
    let socket = Some(socket);
    let scrape_socket = metrics::first_socket(terms.metrics, scrapes)?;
    let trees = trees::Trees::open(state.directory()).map_err(|error| format!("trees.jsonl in the state directory: {error}"))?;
    let ledger = control::Ledger::new(control::History::open(state.directory())?);
    let accounts = config.accounts.clone();
    let (mut next_id, salt) = (0, RandomState::new());
    journal::config_begun(&config.file, config.repos.len(), listen);
    let sealed = briefs::Sealed::new(config::split(config, config::Before::NOTHING, &mut next_id), &salt)?;
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
            expected,
        };
        let attended = tokio::spawn(outputs::attend(signal(SignalKind::user_defined1())?));
        let result = run::run(estate, sources, asked, place).await;
        attended.abort();
        result
    })
}
