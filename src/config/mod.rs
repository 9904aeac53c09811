//! Configuration: file (syntax) → check (meaning) → split (one configuration, three kinds of
//! brief). Runs in the supervisor only, on files of the administrator.
//!
//! | file | holds |
//! |---|---|
//! | `environment` | what the configuration depends on beside its file |
//! | `file`, `raw`, `locate` | syntax: find, read, parse; the line of a value |
//! | `overrides` | the `GWG_…` variables |
//! | `check`, `repo`, `repo/credentials` | meaning: the global keys; a repository; what it trusts and is trusted by |
//! | `hook` | a repository's hooks |
//! | `accounts`, `owner`, `files` | users; who can write the configuration; reading with that user's rights |
//! | `audit` | where audit records go |
//! | `operate` | who may ask the running gateway, and where figures are served |
//! | `confinement` | what to do where the kernel can't confine in full |
//! | `limits` | what one update may cost |
//! | `gc` | whether object stores are kept small |
//! | `url`, `label`, `directories`, `keys`, `known_hosts` | one subject each |
//! | `split` | one configuration, three kinds of brief |
//! | `sources` | which files were read, and whether they have changed since |
//! | `error`, `nearest` | what is wrong; what was probably meant |

mod accounts;
mod audit;
mod check;
mod confinement;
mod directories;
mod environment;
mod error;
mod file;
mod files;
mod gc;
mod hook;
mod keys;
mod known_hosts;
mod label;
mod limits;
mod locate;
mod nearest;
mod operate;
mod overrides;
mod owner;
mod proxies;
mod raw;
mod repo;
mod sources;
mod split;
#[cfg(test)]
mod tests;
mod url;

pub use environment::Environment;
pub use error::{ConfigError, Fault, KeyPath, Place, Problem, Step};
pub use files::OutputFile;
pub use nearest::nearest;
pub use sources::{Since, Sources};
pub use split::{Before, split};
pub use url::{Remote as RemoteUrl, Transport};

use crate::brief::{self, Key, Label, RemoteName, Secret, listener, updater, worker};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads and checks the configuration: the file named, or the first that is found.
///
/// As root it takes on other users' rights while it reads files: call it from the main thread, while no
/// other one opens files.
///
/// Decoding a key leaves pieces of it on the stack, which are wiped before this returns.
pub fn load(explicit: Option<&Path>, env: &Environment) -> Result<Config, ConfigError> {
    load_with(explicit, env, &mut error::Notes::default())
}

fn load_with(explicit: Option<&Path>, env: &Environment, notes: &mut error::Notes) -> Result<Config, ConfigError> {
    let loaded = read_and_check(explicit, env, notes);
    zeroize::zeroize_stack::<STACK>();
    loaded
}

/// Bytes of stack that reading a configuration may use: several times what it does.
const STACK: usize = 256 << 10;

/// A frame of its own, so that all that it leaves is below `load_with`'s.
#[inline(never)]
fn read_and_check(explicit: Option<&Path>, env: &Environment, notes: &mut error::Notes) -> Result<Config, ConfigError> {
    let path = file::find(explicit, env, notes)?;
    let source = file::read(path, env, notes)?;
    let mut raw = file::parse(&source)?;
    overrides::apply(&mut raw, env, notes);
    check::check(raw, &source, env, notes)
}

/// Judges a remote's URL. No message repeats it: it might hold a password.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<RemoteUrl, Fault> {
    url::check(url)
}

/// Names a work tree across restarts, by its canonical path.
pub fn directory_id(canonical: &Path) -> crate::ids::DirectoryId {
    directories::id(canonical)
}

/// The lines of known hosts that are built in for a host.
pub fn built_in_host_keys(host: &str) -> Vec<&'static str> {
    known_hosts::built_in(host)
}

/// Where the configuration comes from, so that it can be read again.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file that was named; otherwise the first that is found.
    pub file: Option<PathBuf>,
    /// What it depends on beside the file.
    pub env: Environment,
}

impl Origin {
    /// Does as [`load`], and says which files were read.
    pub fn load(&self) -> (Result<Config, ConfigError>, Sources) {
        let mut notes = error::Notes::default();
        let config = load_with(self.file.as_deref(), &self.env, &mut notes);
        (config, notes.sources)
    }
}

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
    /// What the children do where the kernel does not have a layer.
    pub confinement: Confinement,
    /// Who may ask the running gateway.
    pub control: Control,
    /// Where figures are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Seconds that a repository may fail before `/healthz` says so.
    pub alert_after_s: u64,
    /// Reverse proxies in front of gwg.
    pub proxies: listener::Proxies,
    /// How the log is written.
    pub logging: Logging,
    /// Where audit records go.
    pub audit: Audit,
    /// How updates are scheduled.
    pub schedule: worker::Schedule,
    /// What is done about object stores.
    pub gc: Gc,
    /// Whether missing work trees are cloned at start.
    pub initialise: bool,
    /// The files with keys, secrets, hosts and certificates that it names: the supervisor reads them.
    pub files: BTreeSet<PathBuf>,
    /// The distinct ssh keys of all repositories.
    pub keys: Vec<Key>,
    /// The repositories, in the file's order.
    pub repos: Vec<Repo>,
}

/// One checked repository.
pub struct Repo {
    /// The request path, with its leading slash and without a trailing one. Names the repository in logs.
    pub path: String,
    /// The remote.
    pub url: String,
    /// The repository that the URL names.
    pub remote_name: RemoteName,
    /// The work tree, its symlinks resolved.
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
    /// The file that the key came from, for people.
    pub key_file: Option<PathBuf>,
    /// Known hosts, those of the configuration first, then the user's, the system's, the built-in.
    pub known_hosts: Arc<[updater::KnownHosts]>,
    /// Certificates to trust beside the system's.
    pub ca: Option<Arc<str>>,
    /// What is run after its updates.
    pub hooks: Hooks<Hook>,
    /// What an update may cost.
    pub limits: updater::Limits,
    /// Whether it is brought up to date at start: not so where it is not cloned and `initialise` is off.
    pub at_start: bool,
}

/// What a repository has for each of its hooks.
pub struct Hooks<T> {
    /// For the one that runs for each commit that is deployed.
    pub success: Option<T>,
    /// For the one that runs when the tries of an update are used up.
    pub failure: Option<T>,
}

impl<T> Default for Hooks<T> {
    fn default() -> Self {
        Self { success: None, failure: None }
    }
}

/// A checked hook. Its variables may be secrets.
pub struct Hook {
    /// Whom it runs as; none without root.
    pub account: Option<Account>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its variables.
    pub env: Vec<(String, Secret)>,
    /// Its user's home.
    pub home: PathBuf,
    /// Milliseconds that it may run.
    pub timeout_ms: u64,
    /// Where it may write, if that is bounded.
    pub write: Option<Vec<PathBuf>>,
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

/// `control`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Its members may ask how it stands; none without root.
    pub group: Option<u32>,
    /// They may also have things done.
    pub act: bool,
}

/// `confinement`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Refuse to start.
    Require,
    /// Run with the layers that there are.
    BestEffort,
}

/// `gc.objects`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gc {
    /// Make an object store smaller when it has become large.
    Auto,
    /// Leave that to others.
    Off,
}

/// `audit`
#[derive(Debug)]
pub struct Audit {
    /// The socket of syslog; none for no syslog.
    pub syslog: Option<PathBuf>,
    /// For all records; none for what each kind of event has.
    pub facility: Option<crate::audit::Facility>,
    /// What records call gwg.
    pub tag: String,
    /// The file with the hash chain.
    pub file: Option<OutputFile>,
}

impl Audit {
    /// Nowhere.
    pub fn none() -> Self {
        Self { syslog: None, facility: None, tag: String::new(), file: None }
    }
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
    File(OutputFile),
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

/// A hook, ready to be run.
pub struct HookBrief {
    /// Whom it runs as; none without root.
    pub account: Option<Account>,
    /// What it is told. A hook that runs keeps it, whatever becomes of the configuration.
    pub brief: Arc<brief::hook::Hook>,
}

/// One configuration as briefs: who gets what.
pub struct Briefs {
    /// The listener's.
    pub listener: (listener::Head, Vec<listener::Repo>),
    /// The worker's.
    pub worker: (worker::Head, Vec<Key>, Vec<worker::Repo>),
    /// An updater's, by repository.
    pub updaters: BTreeMap<crate::ids::RepoId, Arc<updater::Brief>>,
    /// The hooks of those repositories that have some.
    pub hooks: BTreeMap<crate::ids::RepoId, Hooks<HookBrief>>,
    /// What the log calls a repository: its path.
    pub names: BTreeMap<crate::ids::RepoId, Arc<str>>,
}
