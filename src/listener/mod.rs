//! The listener's room: HTTP from anyone, and the proof that a delivery is authentic.
//!
//! Runs in `gwg-listener`, as a user of its own. Holds the webhook secrets (as keyed hash states),
//! the table of paths and the inherited listening socket; no ssh key, no file, no path of a work
//! tree. Distrusts every byte that comes from the network, and can say to the worker no more than
//! "this repository may be behind".
//!
//! ```text
//! serve ── accepts ──▶ connection ── a request ──▶ http ── route, body, signature, github ──▶ answer
//!   │                      │                         │
//!   └─ sweeps ── admit ◀───┘ (slots, bytes)          └─ jobs ── outbox ══▶ worker    events ══▶ supervisor
//! ```
//!
//! After [`start`] it opens nothing: it reads, writes, accepts and closes.

mod admit;
mod answer;
mod body;
mod connection;
mod events;
mod forwarded;
mod github;
mod http;
mod jobs;
mod outbox;
mod preface;
mod pusher;
mod route;
mod scrape;
mod serve;
mod signature;
mod start;

#[cfg(test)]
mod tests;

use crate::confine::Role;
use crate::confine::enter::told_version;
use std::process::ExitCode;

/// The start of this process, for one that is owned from there on.
#[cfg(feature = "owned")]
pub use start::{Held, StartError, hold, serve};

/// The process `gwg-listener`.
pub fn main() -> ExitCode {
    if told_version(Role::Listener) {
        return ExitCode::SUCCESS;
    }
    match start::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg-listener: {error}");
            ExitCode::FAILURE
        }
    }
}
