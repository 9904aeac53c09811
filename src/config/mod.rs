//! Configuration: file (syntax) → check (meaning) → split (one configuration, three kinds of
//! brief). Runs in the supervisor only, on files of the administrator.

use crate::brief::{Label, listener, updater, worker};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A checked configuration. Holds secrets until [`split`] has made briefs of it.
pub struct Config {
    /// The file that it came from.
    pub file: PathBuf,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<String>,
    /// Where to listen. "All interfaces" is `[::]`, with IPv4 on the same socket.
    pub listen: SocketAddr,
    /// Who the children become; none without root.
    pub accounts: Option<Accounts>,
    /// How the log is written.
    pub logging: Logging,
    /// How updates are scheduled.
    pub schedule: worker::Schedule,
    /// Whether missing work trees are cloned at start.
    pub initialise: bool,
    /// The distinct ssh keys of all repositories.
    pub keys: Vec<worker::Key>,
    /// The repositories, in the file's order.
    pub repos: Vec<Repo>,
}

/// One checked repository.
pub struct Repo {
    /// The request path, with its leading slash and without a trailing one. Names the repository in logs.
    pub path: String,
    /// The remote.
    pub url: String,
    /// The work tree.
    pub directory: PathBuf,
    /// The branch or tag.
    pub label: Label,
    /// The remote's name in `.git/config`.
    pub remote: String,
    /// The file to touch.
    pub trigger: Option<PathBuf>,
    /// How a delivery proves that it is authentic.
    pub proof: listener::Proof,
    /// The ssh key.
    pub key: Option<worker::KeyIndex>,
    /// Known hosts, those of the configuration first, then the user's, the system's, the built-in.
    pub known_hosts: Vec<updater::KnownHosts>,
    /// Certificates to trust beside the system's.
    pub ca: Option<String>,
}

/// Who the children become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// `user`: owns the work trees.
    pub updater: Account,
    /// `worker_user`.
    pub worker: Account,
    /// `listener_user`.
    pub listener: Account,
}

/// A user of the system, never root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// As the configuration names it.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Its primary group; for a number that no user has, the same number.
    pub gid: u32,
}

/// How the log is written.
#[derive(Debug)]
pub struct Logging {
    /// Text or JSON.
    pub format: LogFormat,
    /// Where it goes.
    pub output: LogOutput,
    /// The least level that is written.
    pub level: LogLevel,
    /// Whether lines begin with the time.
    pub timestamp: bool,
}

/// `logging.output`
#[derive(Debug)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Opened for appending, with the rights of the configuration's owner.
        file: std::fs::File,
    },
}

/// `logging.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// `logging.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures that want a hand.
    Error,
    /// What is probably not meant.
    Warn,
    /// Each delivery, update and process.
    Info,
    /// What a developer wants.
    Debug,
    /// All.
    Trace,
}

/// One configuration as briefs: who gets what.
pub struct Briefs {
    /// The listener's.
    pub listener: (listener::Head, Vec<listener::Repo>),
    /// The worker's.
    pub worker: (worker::Head, Vec<worker::Key>, Vec<worker::Repo>),
    /// An updater's, by repository.
    pub updaters: BTreeMap<crate::ids::RepoId, updater::Brief>,
    /// What the log calls a repository: its path.
    pub names: BTreeMap<crate::ids::RepoId, String>,
}

/// to come
pub fn split(_: Config, _: &mut u32) -> Briefs {
    todo!()
}
