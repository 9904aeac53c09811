//! The process gwg-updater: one fetch, one reset, one trigger, one report; then it ends.
//!
//! It holds one remote's URL (from the supervisor), one key (from the worker) and one work tree, and
//! runs as the tree's owner. It distrusts the remote, everything in the work tree, and `.git`.
//! A call of libgit2 can't be interrupted: the supervisor ends this process at its deadline, and
//! the next one clears up (`crash`).

mod beneath;
mod crash;
mod credentials;
mod damage;
mod endpoint;
mod failure;
mod fetch;
mod gc;
mod gitconfig;
mod gitdir;
mod host_keys;
mod known_hosts;
mod libgit2;
mod place;
mod prescan;
mod prune;
mod reset;
#[cfg(test)]
mod tests;
mod tree;
mod trigger;
mod update;
mod weigh;

use crate::audit::Step;
use crate::brief::updater::{Brief, Purpose};
use crate::confine::enter::{ConfineError, Entered, enter};
use crate::confine::reach::Reach;
use crate::confine::{Role, descriptors};
use crate::wire::frame;
use crate::wire::order::{FromUpdater, Order, Progress};
use endpoint::Endpoint;
use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Instant;

/// Runs one update; its outcome goes to the worker, its story to standard error.
pub fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        let line = format!("gwg-updater {} ({})\n", env!("CARGO_PKG_VERSION"), libgit2::versions());
        return if io::stdout().write_all(line.as_bytes()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), StartError> {
    run_past(|_, _, _| ())
}

/// Runs one update. `closed` is called with the brief and the links to supervisor and worker when the doors
/// are closed, before anything is read that the remote or the work tree says.
///
/// # Errors
/// No update was tried, or its outcome could not be told.
pub fn run_past(closed: impl FnOnce(&Brief, &UnixStream, &UnixStream)) -> Result<(), StartError> {
    let Entered { supervisor, doors } = enter(Role::Updater)?;
    let mut supervisor = UnixStream::from(supervisor);
    let brief: Brief = frame::read(&mut supervisor).map_err(StartError::Brief)?;
    let worker = descriptors::take(descriptors::PEER).map_err(|_| ConfineError::NotStartedByGwg(descriptors::PEER))?;
    let worker = UnixStream::from(worker);
    let close = |reach: &Reach<'_>| {
        // A URL that leads nowhere is refused when it is used; a tree that is only looked at has no remote.
        let endpoint = Endpoint::of(&brief.url).filter(|_| brief.purpose == Purpose::Update);
        let (host, port) = endpoint.as_ref().map_or(("", 0), |endpoint| (endpoint.host.as_str(), endpoint.port));
        let (last, maker) = doors.close_but(reach)?;
        let level = last.close_but(host, port)?;
        if brief.purpose == Purpose::Update {
            // Whether the worker listens shows at the report.
            let _ = frame::write(&mut &worker, &FromUpdater::Confined { landlock: level.landlock });
        }
        closed(&brief, &supervisor, &worker);
        Ok::<_, StartError>(maker)
    };
    match brief.purpose {
        Purpose::Update => {}
        Purpose::Prune(what) => {
            let pruned = prune::prune(&brief, &what, &say, close)?;
            return frame::write(&mut &worker, &FromUpdater::Pruned(pruned)).map_err(StartError::Report);
        }
        Purpose::Gc => {
            let shrunk = gc::gc(&brief, &say, close)?;
            return shrunk.map_or(Ok(()), |shrunk| frame::write(&mut &worker, &FromUpdater::Shrunk(shrunk)).map_err(StartError::Report));
        }
    }
    let last = Cell::new(Step::Start);
    let step = |step: Step| {
        // A repository that is fetched anew goes through its steps twice; the worker hears once.
        if step > last.replace(last.get().max(step)) {
            // Whether the worker listens shows at the report.
            let _ = frame::write(&mut &worker, &FromUpdater::Step(step));
        }
    };
    let spoken = Cell::new(None::<Instant>);
    let progress = |progress| {
        let now = Instant::now();
        if spoken.get().is_none_or(|last| now >= last + Progress::PACE) {
            spoken.set(Some(now));
            // As above.
            let _ = frame::write(&mut &worker, &FromUpdater::Progress(progress));
        }
    };
    let host_key = |key| {
        // As above.
        let _ = frame::write(&mut &worker, &FromUpdater::HostKey(key));
    };
    let tell = update::Tell { say: &say, step: &step, progress: &progress, host_key: &host_key };
    let report = update::update(&brief, &tell, close, || frame::read::<Order>(&mut &worker).map_err(StartError::Order))?;
    frame::write(&mut &worker, &FromUpdater::Report(report)).map_err(StartError::Report)
}

/// Letters of the longest line.
const LINE: usize = 1_000;

/// One line: the supervisor reads lines. A remote can put anything into a message, of any length.
fn say(message: &str) {
    let mut line: String = message.chars().take(LINE).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    line.push('\n');
    let _nobody_listens = io::stderr().write_all(line.as_bytes());
}

/// Why no update was tried, or its outcome could not be told.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A layer of the confinement does not hold.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// No brief, or none that is one.
    #[error("the supervisor's brief did not come: {0}")]
    Brief(io::Error),
    /// No order, or none that is one.
    #[error("the worker's order did not come: {0}")]
    Order(io::Error),
    /// The worker is gone.
    #[error("the worker did not take the report: {0}")]
    Report(io::Error),
}
