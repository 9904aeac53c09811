//! What happened, as types: the listener and the worker make events, the supervisor writes them.
//!
//! An event holds ids, numbers and reasons from closed lists, never text from a stranger, so that
//! nothing in it can forge a line of the log.

pub mod delivery;
pub mod text;
pub mod update;

pub use delivery::{DeliveryEvent, DeliveryResult, Ignored, Rejected};
pub use update::{Cause, Failure, Reason, Step, UpdateEvent, UpdateResult};
