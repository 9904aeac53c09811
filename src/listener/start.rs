//! From exec to serving: confine, take what was given, read the brief, open the links.
//!
//! Runs once, in `gwg-listener`, before its first byte from the network. Trusts the supervisor, and
//! checks what it says all the same: a brief that can't be right ends the process.

use super::route::{RouteError, Routes};
use super::serve::{self, Given, ServeError};
use crate::brief::listener::{Head, Limits, Repo};
use crate::confine::descriptors::Brief;
use crate::confine::enter::{self, ConfineError, Entered};
use crate::confine::{Role, descriptors};
use crate::link;
use crate::wire::frame;
use std::io;
use std::os::fd::OwnedFd;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// Why a listener ends otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A layer of the confinement does not hold.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A descriptor that the supervisor gives is missing.
    #[error("descriptor {0} was not given: this process is started by gwg")]
    NotGiven(i32),
    /// The brief ends early, or is none.
    #[error("reading the brief: {0}")]
    Brief(io::Error),
    /// The brief contradicts itself.
    #[error("the brief: {0}")]
    Routes(#[from] RouteError),
    /// The runtime, a link or the socket.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// It served, and could not go on.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// All that a listener ever has: its doors are closed, and no byte from the network has come.
pub struct Held {
    runtime: LocalRuntime,
    /// The version of Landlock that holds.
    pub landlock: u8,
    limits: Limits,
    routes: Routes,
    /// The link to the supervisor.
    pub supervisor: OwnedFd,
    /// The link to the worker.
    pub worker: OwnedFd,
    /// The listening socket.
    pub socket: std::net::TcpListener,
}

/// Serves until told to drain.
///
/// # Errors
/// See [`StartError`]; the supervisor starts another listener.
pub fn run() -> Result<(), StartError> {
    serve(hold()?)
}

/// Confines this process and takes what it was given.
///
/// # Errors
/// A layer or a descriptor is missing, or the brief can't be right.
pub fn hold() -> Result<Held, StartError> {
    let Entered { supervisor, doors } = enter::enter(Role::Listener)?;
    // One thread: connections share tables without locks, and there is nothing here to wait for but
    // sockets. Made first: its descriptors are the last that are opened.
    let runtime =
        Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default()).map_err(io_at("the runtime"))?;
    let landlock = doors.close()?.landlock;
    let brief = descriptors::take_brief().map_err(|_| StartError::NotGiven(descriptors::BRIEF))?;
    let (limits, routes) = read_brief(brief)?;
    let worker = take(descriptors::PEER)?;
    let socket = std::net::TcpListener::from(take(descriptors::OWN)?);
    Ok(Held { runtime, landlock, limits, routes, supervisor, worker, socket })
}

/// Serves with what is held until told to drain.
///
/// # Errors
/// See [`StartError`].
pub fn serve(held: Held) -> Result<(), StartError> {
    let Held { runtime, landlock, limits, routes, supervisor, worker, socket } = held;
    runtime.block_on(async {
        socket.set_nonblocking(true).map_err(io_at("the listening socket"))?;
        let given = Given {
            socket: tokio::net::TcpListener::from_std(socket).map_err(io_at("the listening socket"))?,
            limits,
            routes,
            landlock,
            supervisor: link::open(supervisor).map_err(io_at("the link to the supervisor"))?,
            worker: link::open(worker).map_err(io_at("the link to the worker"))?,
        };
        Ok(serve::serve(given).await?)
    })
}

fn take(number: i32) -> Result<OwnedFd, StartError> {
    descriptors::take(number).map_err(|_| StartError::NotGiven(number))
}

fn io_at(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Io { what, error }
}

/// Reads the brief. The secrets in it are turned into keyed hash states and wiped.
fn read_brief(mut from: Brief) -> Result<(Limits, Routes), StartError> {
    let head: Head = frame::read(&mut from).map_err(StartError::Brief)?;
    let mut routes = Routes::default();
    for _ in 0..head.repos {
        let repo: Repo = frame::read(&mut from).map_err(StartError::Brief)?;
        routes.add(repo)?;
    }
    Ok((head.limits, routes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::brief::listener::Proof;
    use crate::brief::{RemoteName, Secret};
    use crate::ids::RepoId;
    use std::fs::File;
    use std::io::Write;

    fn written(repos: u32, announced: u32) -> File {
        let mut file = tempfile::tempfile().unwrap();
        frame::write(&mut file, &Head { repos: announced, limits: Limits::default() }).unwrap();
        for number in 0..repos {
            let repo = Repo {
                id: RepoId::new(number),
                path: format!("/{number}"),
                proof: Proof::Signed { secrets: vec![Secret::new(b"s".to_vec())], sha1: false },
                ref_name: "refs/heads/main".into(),
                remote: RemoteName::from_url("https://forge.example/a/b").unwrap(),
            };
            frame::write(&mut file, &repo).unwrap();
        }
        file
    }

    #[test]
    fn a_brief_is_read_from_its_start_again_and_again() {
        let file = written(3, 3);
        for _ in 0..2 {
            let (limits, routes) = read_brief(Brief::of(file.try_clone().unwrap())).unwrap();
            assert_eq!(limits, Limits::default());
            assert_eq!(routes.find("/2").unwrap().repo, RepoId::new(2));
        }
    }

    #[test]
    fn a_brief_that_ends_early_or_is_none_is_refused() {
        assert!(matches!(read_brief(Brief::of(written(2, 3))), Err(StartError::Brief(_))));
        let mut garbage = tempfile::tempfile().unwrap();
        garbage.write_all(&[0xff; 64]).unwrap();
        assert!(matches!(read_brief(Brief::of(garbage)), Err(StartError::Brief(_))));
    }
}
