//! One updater: how it is started and how its end is told, whether it updates for the worker or does an errand of
//! the supervisor's own. Runs in the supervisor; distrusts the updater.

use super::children::tell_later;
use super::journal::{self, Offence};
use super::output;
use super::process::{self, Exit, Process};
use super::roster::Roster;
use super::run::Heard;
use crate::brief::updater::Brief;
use crate::confine::{Role, descriptors};
use crate::link::{self, LinkError, Receiver, Sender};
use crate::wire::order::{FromUpdater, Silence};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What a new updater needs of the house.
pub struct Needs<'a> {
    pub roster: &'a Roster,
    pub brief: &'a Brief,
    /// Its repository's.
    pub name: &'a str,
    /// Then it is ended.
    pub deadline: Duration,
}

/// One that runs and has been sent its brief.
pub struct Started {
    pub process: Process,
    /// To be kept open: an updater that finds its links closed gives up.
    pub sender: Sender<Brief>,
    /// What it says to the supervisor, which is nothing.
    pub receiver: Receiver<Silence>,
    /// The other end of the link on which it takes orders and reports.
    pub peer: UnixStream,
}

/// Starts one. `ended` is called once with its end.
///
/// # Errors
/// The process could not be started.
pub fn start(needs: &Needs<'_>, ended: impl FnOnce(Exit) + Send + 'static) -> io::Result<Started> {
    let Needs { roster, brief, name, deadline } = *needs;
    let (ours, theirs) = UnixStream::pair()?;
    let (peer, for_updater) = UnixStream::pair()?;
    let (log, reader) = output::pipe()?;
    let given = vec![(theirs.into(), descriptors::SUPERVISOR), (for_updater.into(), descriptors::PEER)];
    let process = process::start(roster.updater(&brief.limits, given, log)?, Some(deadline), ended)?;
    journal::process_started_for(Role::Updater, process.pid, roster.account(Role::Updater), name);
    reader.log(Role::Updater, process.pid, Some(name.to_owned()));
    let (sender, receiver) = link::open::<Brief, Silence>(ours.into())?;
    if sender.send(brief).is_err() {
        process.kill();
    }
    Ok(Started { process, sender, receiver, peer })
}

/// Tells that one has ended.
pub fn ended(process: &Process, exit: Exit, name: &str) {
    journal::process_ended_for(Role::Updater, process.pid, exit, process.since.elapsed(), name);
    if exit.is_forbidden_call() {
        journal::violation(Role::Updater, process.pid, Offence::ForbiddenCall);
    }
}

/// What an updater does for the supervisor alone: it takes no order, and says one thing.
pub struct Errand<T> {
    /// Its answer in what it says; none where it is another's.
    pub answer: fn(FromUpdater) -> Option<T>,
    /// What is wrong with anything else, and with a second answer.
    pub otherwise: &'static str,
    /// Its last word, and its end.
    pub ended: fn(Option<T>, Exit) -> Heard,
}

/// Starts one on an errand.
///
/// # Errors
/// As [`start`].
pub fn send_out<T: Send + 'static>(needs: &Needs<'_>, ears: mpsc::Sender<Heard>, errand: Errand<T>) -> io::Result<Process> {
    let (exit, exited) = oneshot::channel();
    let Started { process, sender, receiver: silence, peer } = start(needs, |status| {
        let _nobody_waits = exit.send(status);
    })?;
    // It has its brief already, and nobody would hear of it again.
    let (listening, receiver) = link::open::<Silence, FromUpdater>(peer.into()).inspect_err(|_| process.kill())?;
    let ending = process.clone();
    tokio::spawn(async move {
        let said = listen(receiver, &ending, &errand).await;
        drop((sender, silence, listening));
        let exit = exited.await.unwrap_or(Exit { status: None, deadline: false });
        tell_later(ears, (errand.ended)(said, exit));
    });
    Ok(process)
}

async fn listen<T>(mut receiver: Receiver<FromUpdater>, process: &Process, errand: &Errand<T>) -> Option<T> {
    let mut said = None;
    loop {
        let answer = match receiver.recv().await {
            Ok(Some(message)) => (errand.answer)(message).filter(|_| said.is_none()),
            Err(LinkError::Wire(_)) => None,
            Ok(None) | Err(LinkError::Io(_)) => return said,
        };
        if answer.is_none() {
            journal::violation(Role::Updater, process.pid, errand.otherwise);
            process.kill();
            return None;
        }
        said = answer;
    }
}
