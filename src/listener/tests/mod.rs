//! The listener in one process with its tests, which play everybody around it: strangers over real
//! loopback connections, the supervisor and the worker over real socketpairs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod bounds;
mod house;
mod neighbours;
mod proxies;
