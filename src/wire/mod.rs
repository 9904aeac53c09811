//! THE BORDER: how messages are framed, and one enum for each direction.
//!
//! Pure: bytes in, checked types out, in every process. Less trusted sides ask with ids and
//! bounded numbers; the more trusted side decides from its own brief. Any message that is
//! malformed, too long or out of turn ends the peer that sent it.
//!
//! ```text
//! supervisor ── ToListener ──▶ listener ── Job ─────▶ worker ── Order ──▶ updater
//! supervisor ◀─ FromListener ─ listener ◀─ JobAnswer ─ worker ◀─ Report ── updater
//! supervisor ── ToWorker ────▶ worker                        supervisor ── Brief ──▶ updater
//! supervisor ◀─ FromWorker ─── worker                        supervisor ── Brief ──▶ hook
//!                                                             supervisor ◀─ FromHook ─ hook
//! ```

pub mod frame;
pub mod hook;
pub mod job;
pub mod listener;
pub mod order;
pub mod worker;

pub use frame::{Decoder, Message, WireError};
