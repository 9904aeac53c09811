//! What each child is told about its job: privileges are given, never subtracted.
//!
//! The supervisor makes briefs out of a checked configuration; a child reads its own and no
//! other, and never the configuration file. One file for each child, and four for what they share.

pub mod hook;
pub mod key;
pub mod label;
pub mod listener;
pub mod remote;
pub mod secret;
pub mod updater;
pub mod worker;

pub use key::Key;
pub use label::{Label, LabelKind};
pub use remote::RemoteName;
pub use secret::Secret;
