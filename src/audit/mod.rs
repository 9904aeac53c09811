//! What happened, as types: the listener and the worker make events, the supervisor writes them.
//!
//! What crosses a border holds ids, numbers, digests and reasons from closed lists, never text from a
//! stranger. The supervisor alone makes [`Event`]s of that, numbers them and writes them: each is one
//! line of the log and one audit record, so the two can't disagree.
//!
//! | file | holds |
//! |---|---|
//! | `delivery`, `update`, `reconcile`, `host_key`, `prune` | what children say, in every process |
//! | `event`, `schema` | every event; its name, facility, severity and fields: the one table |
//! | `fields`, `text`, `stamp` | an event as names and values; bytes as printable text; time |
//! | `render`, `chain`, `verify` | RFC 5424; a line of the audit file; reading such a file back |
//! | `flood` | at most ten rejections a second, the rest counted |
//! | `record` | the supervisor's end: numbers events and never waits |
//! | `queue`, `writer`, `syslog`, `file` | the thread behind it, and its two sinks |

pub mod delivery;
pub mod host_key;
pub mod prune;
pub mod reconcile;
pub mod text;
pub mod update;

#[cfg(feature = "supervisor")]
pub mod chain;
#[cfg(all(test, feature = "supervisor"))]
mod document;
#[cfg(feature = "supervisor")]
pub mod event;
#[cfg(feature = "supervisor")]
mod fields;
#[cfg(feature = "supervisor")]
pub mod file;
#[cfg(feature = "supervisor")]
mod flood;
#[cfg(all(test, feature = "supervisor"))]
mod forgery;
#[cfg(feature = "supervisor")]
mod queue;
#[cfg(feature = "supervisor")]
pub mod record;
#[cfg(feature = "supervisor")]
mod render;
#[cfg(all(test, feature = "supervisor"))]
pub mod samples;
#[cfg(feature = "supervisor")]
pub mod schema;
#[cfg(feature = "supervisor")]
mod stamp;
#[cfg(feature = "supervisor")]
mod syslog;
#[cfg(feature = "supervisor")]
pub mod verify;
#[cfg(feature = "supervisor")]
mod writer;

pub use delivery::{Claim, DeliveryEvent, DeliveryResult, Ignored, Rejected};
pub use host_key::{HostKey, KeyKind};
pub use prune::{Kept, Pruned};
pub use reconcile::{ReconcileCause, ReconcileEvent};
pub use update::{Cause, Failure, Reason, Step, UpdateEvent, UpdateResult};

#[cfg(feature = "supervisor")]
pub use event::Event;
#[cfg(feature = "supervisor")]
pub use record::{Audit, Before, Settings};
#[cfg(feature = "supervisor")]
pub use schema::Facility;
