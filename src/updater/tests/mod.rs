//! The updater against real remotes, with the real git as the judge. Each test plays one day in the
//! life of a work tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dirt;
mod gc;
mod hostile;
mod https;
mod ordinary;
mod repair;
mod ssh;
pub mod world;
