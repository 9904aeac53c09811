//! `limits`: what one update may cost. Runs in the supervisor.

use super::error::{Fault, KeyPath, Notes};
use super::raw::{RawLimits, Span};
use crate::brief::updater::Limits;
use std::ops::RangeInclusive;

/// Less would refuse everything; more is no limit any machine could hold.
const BYTES: RangeInclusive<u64> = 64 << 10..=1 << 50;
const FILES: RangeInclusive<u64> = 1..=100_000_000;
const DEADLINE_MS: RangeInclusive<u64> = 1_000..=7 * 86_400_000;

/// Checks the limits that stand at `at`; what is not written there is `otherwise`'s.
pub fn check(written: RawLimits, otherwise: &Limits, at: &KeyPath, notes: &mut Notes) -> Option<Limits> {
    let RawLimits { pack, object, files, tree, deadline } = written;
    let mut bounded = |key: &str, written: Option<u64>, otherwise: u64, range: RangeInclusive<u64>, remedy: &str| {
        let value = written.unwrap_or(otherwise);
        let fault = || Fault::new("the limit is out of range", remedy);
        notes.take(at.clone().key(key), range.contains(&value).then_some(value).ok_or_else(fault))
    };
    let bytes = "write a size from 64KiB to 1024TiB";
    // A negative number is out of range as well.
    let files = files.map(|files| u64::try_from(files).unwrap_or_default());
    let pack = bounded("pack", pack.map(|size| size.0), otherwise.pack, BYTES, bytes);
    let object = bounded("object", object.map(|size| size.0), otherwise.object, BYTES, bytes);
    let files = bounded("files", files, otherwise.files, FILES, "write a number from 1 to 100000000");
    let tree = bounded("tree", tree.map(|size| size.0), otherwise.tree, BYTES, bytes);
    let deadline =
        bounded("deadline", deadline.map(|Span(ms)| ms), otherwise.deadline_ms, DEADLINE_MS, "write a time from 1 second to 7 days");
    Some(Limits { pack: pack?, object: object?, files: files?, tree: tree?, deadline_ms: deadline? })
}
