//! The first steps of a reload: read, check, compare with what is in force, bind, split. Nothing that
//! runs is touched, so all of it can be dropped again. Runs in the supervisor, on its main thread.

use super::briefs::Sealed;
use super::control::Terms;
use super::log::Shape;
use super::outcome::{Difference, Reason};
use super::roster::Roster;
use super::run::Estate;
use super::{confinement, metrics, outputs, places};
use crate::config::{self, Before, Config, LogOutput, Sources};
use crate::confine::Role;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What is read.
pub enum Reading {
    /// What is written is in force already.
    Same(Logging),
    /// Another configuration.
    Other(Box<Proposal>),
    /// None that could be in force.
    Refused(Vec<Reason>),
}

/// How and where to log from now on.
pub struct Logging {
    /// How.
    pub shape: Shape,
    /// Where: opened anew, since a file may have been rotated.
    pub output: LogOutput,
    /// Where audit records go from now on.
    pub audit: config::Audit,
}

/// A configuration that may come into force.
pub struct Proposal {
    /// Its file.
    pub file: PathBuf,
    /// Its briefs.
    pub sealed: Sealed,
    /// What it changes.
    pub difference: Difference,
    /// Who the next children become.
    pub roster: Roster,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The socket, where that is another place than before.
    pub socket: Option<OwnedFd>,
    /// How and where to log.
    pub logging: Logging,
    /// Who may ask and act, and where figures are served.
    pub terms: Terms,
    /// The socket of figures, where that is another one than before.
    pub scrapes: Option<Option<OwnedFd>>,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<String>,
}

/// Reads the configuration, and compares it with the one in force. Says also which files that took.
pub fn read(estate: &mut Estate) -> (Reading, Sources) {
    let (config, sources) = estate.origin.load();
    let reading = match config {
        Ok(config) => propose(config, estate).unwrap_or_else(|reason| Reading::Refused(vec![reason])),
        Err(error) => Reading::Refused(Reason::all(error)),
    };
    (reading, sources)
}

fn propose(mut config: Config, estate: &mut Estate) -> Result<Reading, Reason> {
    let file = config.file.clone();
    let output = std::mem::replace(&mut config.logging.output, LogOutput::Stdout);
    let audit = std::mem::replace(&mut config.audit, config::Audit::none());
    let logging = Logging { shape: Shape::of(&config.logging, &output), output, audit };
    let listen = if estate.listen_is_given { estate.listen } else { config.listen };
    let warnings = std::mem::take(&mut config.warnings);
    let roster = roster(&config, estate)?;
    let terms = Terms::of(&config);
    let scrapes =
        metrics::socket(terms.metrics, Some(&estate.terms)).map_err(|error| Reason::key(file.clone(), "metrics", error.to_string()))?;
    let moved = listen != estate.listen;
    let socket = match moved {
        true => Some(
            places::listen_beside(listen, estate.socket.as_ref())
                .map_err(|error| Reason::key(file.clone(), "listen, port", error.to_string()))?,
        ),
        false => None,
    };
    let briefs = config::split(config, Before { updaters: &estate.sealed.updaters, names: &estate.sealed.names }, &mut estate.next_id);
    let sealed = Sealed::new(briefs, &estate.salt).map_err(|error| Reason::of(format!("the briefs: {error}")))?;
    let difference = sealed.difference(&estate.sealed);
    let as_before = sealed.schedule == estate.sealed.schedule && sealed.proxies == estate.sealed.proxies;
    let same = !moved && difference == Difference::default() && as_before && roster == estate.roster;
    if same && terms == estate.terms && logging.shape == *estate.log.shape() && outputs::is(&logging.audit) {
        return Ok(Reading::Same(logging));
    }
    Ok(Reading::Other(Box::new(Proposal { file, sealed, difference, roster, listen, socket, logging, warnings, terms, scrapes })))
}

/// Who the next children become.
fn roster(config: &Config, estate: &Estate) -> Result<Roster, Reason> {
    let confinement =
        confinement::decide(config.confinement).map_err(|error| Reason::key(config.file.clone(), "confinement", error.to_string()))?;
    let roster = estate.roster.with(config.accounts.clone(), confinement);
    if roster.account(Role::Worker) != estate.roster.account(Role::Worker) {
        let what = "the worker can't change its user while it runs; restart gwg for that";
        return Err(Reason::key(config.file.clone(), "worker_user", what));
    }
    Ok(roster)
}
