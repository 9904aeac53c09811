//! gwg, the git webhook gateway: several processes, each with the least that it needs.
//!
//! This file is the map. A folder is a room; a process room exports one `main` and nothing else.
//! `tests/rooms.rs` reads the sources and holds them against this table.
//!
//! | room | runs in | is for | may name |
//! |---|---|---|---|
//! | [`ids`] | every process | small checked types that cross borders | – |
//! | [`brief`] | every process | what each child is told about its job | ids |
//! | [`wire`] | every process | the border: framing and one enum for each direction; pure | ids, brief, audit |
//! | [`link`] | supervisor, listener, worker | typed ends of a socketpair, for tokio | wire, confine, ids |
//! | [`confine`] | every process | privileges given before exec and dropped after it; descriptors | – |
//! | [`audit`] | every process | what happened, as types | ids |
//! | `config` | supervisor | file → checked configuration → briefs | ids, brief, audit |
//! | `supervisor` | supervisor | starts, restarts and ends processes; writes the log | config, brief, wire, link, confine, audit, ids |
//! | `cli` | supervisor's executable | the operator's commands | config, brief, wire, supervisor, audit, ids |
//! | `listener` | gwg-listener | HTTP and signatures | brief, wire, link, confine, audit, ids |
//! | `worker` | gwg-worker | what is due, keys, state | brief, wire, link, confine, audit, ids |
//! | `updater` | gwg-updater | one fetch, one reset, one trigger | brief, wire, confine, audit, ids |
//! | `hook` | gwg-hook | one command, and the end of all that it starts | brief, wire, confine, ids |
//! | `owned` | test builds only | the children as an attacker who owns them has them | supervisor, config, listener, updater, brief, wire, confine, ids |

#[cfg(all(feature = "owned", not(debug_assertions)))]
compile_error!("the feature `owned` makes executables that obey an attacker: it is for tests, never for a release build");

pub mod audit;
pub mod brief;
pub mod confine;
pub mod ids;
pub mod wire;

#[cfg(any(feature = "supervisor", feature = "listener", feature = "worker"))]
pub mod link;

#[cfg(feature = "supervisor")]
mod cli;
#[cfg(feature = "supervisor")]
pub mod config;
#[cfg(feature = "hook")]
mod hook;
#[cfg(feature = "listener")]
mod listener;
#[cfg(feature = "owned")]
mod owned;
#[cfg(feature = "supervisor")]
mod supervisor;
#[cfg(feature = "updater")]
mod updater;
#[cfg(feature = "worker")]
mod worker;

#[cfg(feature = "supervisor")]
pub use cli::main as gwg_main;
#[cfg(feature = "hook")]
pub use hook::main as hook_main;
#[cfg(feature = "listener")]
pub use listener::main as listener_main;
#[cfg(all(feature = "owned", feature = "listener"))]
pub use owned::listener_main as owned_listener_main;
#[cfg(all(feature = "owned", feature = "supervisor"))]
pub use owned::stand_in_main;
#[cfg(all(feature = "owned", feature = "updater"))]
pub use owned::updater_main as owned_updater_main;
#[cfg(all(feature = "owned", feature = "worker"))]
pub use owned::worker_main as owned_worker_main;
#[cfg(feature = "updater")]
pub use updater::main as updater_main;
#[cfg(feature = "worker")]
pub use worker::main as worker_main;
