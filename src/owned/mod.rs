//! The owned process: a listener or an updater as an attacker who runs code in it has it. In test builds
//! only (feature `owned`; a release build does not compile with it).
//!
//! `gwg-owned-listener` and `gwg-owned-updater` start as the real ones do, through the same functions: they
//! are confined, take what they are given, close their doors. Where the first byte from outside would come,
//! they obey commands instead. `gwg-owned` is a stand-in for the supervisor, which starts them from the real
//! roster, one for each attack; the real supervisor starts them too, where they lie beside it under the names
//! of the real ones.
//!
//! How a command comes (a line, as [`command`] has it), and where its answer goes:
//!
//! - listener: a connection to its listening socket; a line is a command, each answered by a line, until
//!   the connection ends; then the next one. `serve` makes it a listener like any other. Works under the
//!   stand-in and under the real supervisor.
//! - updater: where its label is the branch `owned`, on its link to the worker, after the order. The real
//!   worker commands nothing, so there the branch `owned/NAME` commands the attack NAME (with commas in the
//!   place of tabs), and the answer is a
//!   line on standard error, which the supervisor logs; then it goes on like any other updater, which is
//!   what it is with every other label.
//! - worker (`gwg-owned-worker`): a line on its job link, from an owned listener; nobody answers.
//!
//! To add an attack: a function `fn(&Held, &World) -> Tried` in a file of `attacks/`, and a row in the tables of
//! `attacks/mod.rs`. [`Held`] has the links and the listening socket as raw descriptors: read and write them
//! at will. What the attack needs to know (paths, ports, pids) comes with the command: [`World`].
#![allow(unsafe_code)] // Attackers call the kernel as they like.

mod attacks;
#[cfg(feature = "supervisor")]
mod child;
mod command;
#[cfg(feature = "listener")]
mod listener;
#[cfg(feature = "supervisor")]
mod stand_in;
#[cfg(feature = "updater")]
mod updater;
#[cfg(feature = "supervisor")]
mod victims;
#[cfg(feature = "worker")]
mod worker;

#[cfg(feature = "listener")]
pub use listener::main as listener_main;
#[cfg(feature = "supervisor")]
pub use stand_in::main as stand_in_main;
#[cfg(feature = "updater")]
pub use updater::main as updater_main;
#[cfg(feature = "worker")]
pub use worker::main as worker_main;

use std::os::fd::RawFd;

/// What the attacker got hold of, besides the memory.
pub struct Held {
    /// The link to the supervisor.
    pub supervisor: RawFd,
    /// The link to the worker; in a worker, to the listener.
    pub worker: RawFd,
    /// The listening socket, in a listener.
    pub listening: Option<RawFd>,
    /// The connection over which the command came, in a listener.
    pub accepted: Option<RawFd>,
}
