//! Meaning of `gc`: whether gwg keeps object stores small. Runs in the supervisor.

use super::Gc;
use super::error::{Fault, KeyPath, Notes};
use super::raw::RawGc;

/// By itself where nothing is written, as git does.
pub fn check(raw: RawGc, notes: &mut Notes) -> Option<Gc> {
    let wanted = match raw.objects.unwrap_or_default().trim() {
        "" | "auto" => Ok(Gc::Auto),
        "off" => Ok(Gc::Off),
        other => Err(Fault::new(format!("{other:?} is neither auto nor off"), "write auto or off")),
    };
    notes.take(KeyPath::global("gc").key("objects"), wanted)
}
