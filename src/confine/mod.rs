//! Privileges: given before exec, dropped after it, and checked with the kernel. The only room of
//! unsafe code besides libgit2's settings.
//!
//! Two functions tell the whole story, each from top to bottom: [`spawn::command`] is what the
//! supervisor does to a child between fork and exec, [`enter::enter`] is what the child does to
//! itself before its first thread and its first byte from outside.
#![allow(unsafe_code)]

pub mod descriptors;
pub mod enter;
#[cfg(feature = "supervisor")]
pub mod spawn;
