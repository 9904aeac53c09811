//! The control socket: operators ask the running gateway, and have it do things. Runs in the supervisor.
//!
//! Who asks is whom the kernel names. A request is one bounded frame; the answer is frames, each
//! with a deadline. A client that is slow, silent or gone costs its own task and nothing else.
//!
//! | file | holds |
//! |---|---|
//! | `place`, `socket` | where it is; making it |
//! | `access` | who may do what |
//! | `serve`, `client`, `conversation` | taking clients; frames and deadlines; requests and answers |
//! | `ledger`, `book`, `tally`, `history` | what is remembered: how it stands, how often, what happened |
//! | `survey` | asking the worker |

mod access;
mod book;
mod client;
mod conversation;
mod history;
mod ledger;
mod place;
mod serve;
mod socket;
mod survey;
mod tally;

pub use access::Terms;
pub use conversation::House;
pub use history::History;
pub use ledger::Ledger;
pub use place::candidates;
pub use serve::Door;
pub use socket::Socket;
pub use survey::Survey;
pub use tally::Histogram;

use super::metrics::Figures;
use super::upgrade::Asker;
use crate::ids::RepoId;
use crate::wire::control::{Process, Refusal, Tree};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a conversation wants of the supervisor's loop.
pub enum Ask {
    /// What runs here?
    Premises(oneshot::Sender<Premises>),
    /// How does it stand, in the worker's words?
    Survey(survey::Asker),
    /// Have these updated; false where there is no worker.
    Update(Vec<RepoId>, oneshot::Sender<bool>),
    /// Somebody asks for figures: have it answered.
    Scrape(OwnedFd, Arc<Figures>),
    /// Look at the trees that are no longer configured, delete them where that is said; what became of each.
    Prune(bool, mpsc::Sender<Result<Tree, Refusal>>),
    /// Read the configuration again; what came of it, in words where it is refused.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Have the executable that is installed now take over.
    Upgrade(Asker),
}

/// What runs here.
pub struct Premises {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The processes.
    pub processes: Vec<Process>,
}

/// Makes the control socket, for its owner and one group. `kept`: the one that this process has already, and its
/// lock. `state` gives the state directory, where the environment names no better place.
///
/// # Errors
/// As [`socket::open`].
pub fn open(group: Option<u32>, kept: Option<(OwnedFd, OwnedFd)>, state: impl FnOnce() -> io::Result<PathBuf>) -> io::Result<Socket> {
    let directory = place::own(state)?;
    match kept {
        Some((socket, lock)) => socket::keep(&directory, group, socket, lock),
        None => socket::open(&directory, group),
    }
}
