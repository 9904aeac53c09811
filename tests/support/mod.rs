//! What the integration tests share: remotes, servers on loopback, a running gwg, deliveries.
//!
//! Everything here drives real programs (git, sshd, the built executables) and judges by what can be
//! seen from outside: HTTP answers, `/proc`, real git, and, where nothing else can tell, the log.
//! Each test file compiles this on its own and uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod account;
pub mod ambush;
pub mod as_user;
pub mod attacks;
pub mod config;
pub mod delivery;
pub mod dns;
pub mod flood;
pub mod gateway;
pub mod git_daemon;
pub mod hook;
pub mod http_backend;
pub mod https;
pub mod installation;
pub mod keys;
pub mod log;
pub mod loopback;
pub mod manifest;
pub mod matrix;
pub mod memory;
pub mod need;
pub mod owned;
pub mod pack;
pub mod processes;
pub mod pushing;
pub mod remote;
pub mod says;
pub mod scratch;
pub mod site;
pub mod sshd;
pub mod syslog;
pub mod tree;
pub mod updater;
pub mod wait;
