//! A line of the audit file: one JSON object that holds the hash of the line before and its own. So no
//! line can be changed, removed or moved without the next one saying so. Pure but for reading a
//! file's end. Runs in the supervisor.
//!
//! `hash` is the SHA-256 of the line's bytes up to `,"hash"`; `prev` is the `hash` of the line before, and
//! 64 zeros in a file's first line unless the chain goes on from another file.

use super::fields::{Fields, Value};
use super::render::Entry;
use super::stamp;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Digits of a hash.
pub const DIGITS: usize = 64;
/// The longest line is much shorter.
const TAIL: u64 = 64 << 10;
const PREV: &str = "{\"prev\":\"";
const SEQ: &str = ",\"seq\":";
const HASH: &str = ",\"hash\":\"";
const END: &str = "\"}";

/// A hash, as digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash(String);

impl Hash {
    /// Before the first line.
    pub fn zero() -> Self {
        Self("0".repeat(DIGITS))
    }

    /// The digits.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Reads 64 hexadecimal digits in lower case.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| Self(text.to_owned()))
    }

    fn of(bytes: &[u8]) -> Self {
        let mut digits = String::with_capacity(DIGITS);
        for byte in Sha256::digest(bytes) {
            // Writing to a String can't fail.
            let _ = write!(digits, "{byte:02x}");
        }
        Self(digits)
    }
}

/// The line of an entry, with its newline, and its hash.
pub fn line(entry: &Entry, prev: &Hash) -> (String, Hash) {
    let mut line = format!("{PREV}{}\",\"time\":\"{}\"{SEQ}{}", prev.0, stamp::rfc3339(entry.when), entry.seq);
    let _ = write!(line, ",\"name\":\"{}\",\"by\":\"{}\",\"by_pid\":{}", entry.event.schema().name, entry.by, entry.by_pid);
    for (name, value) in Fields::of(&entry.event).0 {
        let _ = match value {
            Value::Number(number) => write!(line, ",\"{name}\":{number}"),
            Value::Flag(flag) => write!(line, ",\"{name}\":{flag}"),
            // Printable ASCII: only these two mean something in JSON.
            Value::Text(text) => write!(line, ",\"{name}\":\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        };
    }
    let hash = Hash::of(line.as_bytes());
    let _ = writeln!(line, ",\"hash\":\"{}{END}", hash.0);
    (line, hash)
}

/// What a line of an audit file is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A record that nobody has changed.
    Whole {
        /// The hash of the line before.
        prev: Hash,
        /// Its own.
        hash: Hash,
    },
    /// A record whose hash is not that of its bytes.
    Changed {
        /// The hash that it claims.
        claims: Hash,
    },
    /// No record.
    Other,
}

/// Judges a line, without its newline, by itself.
pub fn judge(line: &[u8]) -> Line {
    read(line).unwrap_or(Line::Other)
}

/// The number that a line gives its record.
pub fn seq(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    // No text comes before it that is not gwg's own.
    let (_, rest) = text.split_once(SEQ)?;
    rest.split(',').next()?.parse().ok()
}

fn read(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    let prev = Hash::read(text.strip_prefix(PREV)?.get(..DIGITS)?)?;
    let body_end = text.len().checked_sub(HASH.len() + DIGITS + END.len())?;
    let (body, tail) = text.split_at_checked(body_end)?;
    let claims = Hash::read(tail.strip_prefix(HASH)?.strip_suffix(END)?)?;
    Some(if Hash::of(body.as_bytes()) == claims { Line::Whole { prev, hash: claims } } else { Line::Changed { claims } })
}

/// Where a file's chain ends.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// The hash that the next line begins with; none where the file's end holds no record.
    pub hash: Option<Hash>,
    /// The last line has no newline.
    pub torn: bool,
}

/// Reads a file's end.
///
/// # Errors
/// Those of reading.
pub fn end_of(file: &mut File) -> io::Result<End> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let last = tail.split(|byte| *byte == b'\n').rev().find_map(|line| match judge(line) {
        Line::Whole { hash, .. } | Line::Changed { claims: hash } => Some(hash),
        Line::Other => None,
    });
    let hash = if length == 0 { Some(Hash::zero()) } else { last };
    Ok(End { hash, torn: tail.last().is_some_and(|byte| *byte != b'\n') })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::event::Event;
    use crate::audit::samples::{self, Random};
    use std::io::Write as _;
    use std::time::SystemTime;

    fn entry(event: Event) -> Entry {
        Entry { seq: 7, when: SystemTime::now(), by: "gwg", by_pid: 12, event }
    }

    #[test]
    fn each_event_is_one_json_object_that_is_whole() {
        for event in samples::all() {
            let (line, hash) = line(&entry(event.clone()), &Hash::zero());
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((object["name"].as_str(), object["seq"].as_u64()), (Some(event.schema().name), Some(7)));
            assert_eq!((object["prev"].as_str(), object["hash"].as_str()), (Some(Hash::zero().digits()), Some(hash.digits())));
            assert_eq!(judge(line.trim_end().as_bytes()), Line::Whole { prev: Hash::zero(), hash });
        }
    }

    #[test]
    fn no_value_of_any_kind_makes_a_second_line_or_another_key() {
        let mut random = Random::new(0xf11e);
        for round in 0..20_000 {
            let text = String::from_utf8_lossy(&random.hostile()).into_owned();
            let event = Event::ConfigRejected { file: Some(text.clone()), line: None, key: Some(text.clone()), reason: text };
            let (line, _) = line(&entry(event), &Hash::zero());
            let body = line.strip_suffix('\n').unwrap();
            assert!(body.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "round {round}");
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap();
            let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, ["by", "by_pid", "file", "hash", "key", "name", "prev", "reason", "seq", "time"], "round {round}: {body}");
        }
    }

    #[test]
    fn any_changed_byte_is_seen() {
        let (line, _) = line(&entry(samples::all().swap_remove(0)), &Hash::zero());
        let line = line.trim_end().as_bytes();
        for place in 0..line.len() {
            let mut other = line.to_vec();
            other[place] ^= 1;
            assert!(!matches!(judge(&other), Line::Whole { .. }), "byte {place}");
        }
    }

    #[test]
    fn a_chain_goes_on_after_what_was_cut_off() {
        let (whole, hash) = line(&entry(samples::all().swap_remove(0)), &Hash::zero());
        let end = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            end_of(&mut file).unwrap()
        };
        assert_eq!(end(b""), End { hash: Some(Hash::zero()), torn: false });
        assert_eq!(end(whole.as_bytes()), End { hash: Some(hash.clone()), torn: false });
        assert_eq!(end(whole.trim_end().as_bytes()), End { hash: Some(hash.clone()), torn: true });
        assert_eq!(end(format!("{whole}{}", &whole[..90]).as_bytes()), End { hash: Some(hash), torn: true });
        assert_eq!(end(b"something else\n"), End { hash: None, torn: false });
    }
}
