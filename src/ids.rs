//! Small checked types that cross the borders between processes.
//!
//! Used in every process; holds nothing. Fields are private and constructors check, so a value of
//! one of these types is always well formed, whoever sent it. Upwards (from the less to the more
//! trusted process) only these, bounded numbers and digests travel.

mod moment;

pub use moment::{Moment, millis};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Names one configured repository. Given out by the supervisor and never used twice in its life,
/// so that a job for a repository that is gone can be told from one for its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepoId(u32);

impl RepoId {
    /// Any number is well formed; whether the repository exists is for the receiver's brief to say.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Numbers the configurations of one supervisor's life, upwards from the one that it started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(u32);

impl Generation {
    /// The configuration that the supervisor started with.
    pub const FIRST: Self = Self(1);

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Numbers the orders of one worker: each starts one update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderId(u64);

impl OrderId {
    /// The order before the first.
    pub const ZERO: Self = Self(0);

    /// The next order.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Numbers updates, upwards, also over restarts where the clock was not set back: the first number of a
/// worker is the time of its start in microseconds. An update answers each delivery of its repository
/// that was given a number not above its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId(u64);

impl UpdateId {
    /// Not numbered yet.
    pub const NONE: Self = Self(0);

    /// The number before the first of a worker that starts at that moment.
    pub const fn since(start: Moment) -> Self {
        Self(start.millis().saturating_mul(1000))
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Reads what is written: up to 16 hexadecimal digits.
    pub fn read(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Numbers the jobs of one listener, upwards; an answer names the job that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobNumber(u64);

impl JobNumber {
    /// The job before the first.
    pub const ZERO: Self = Self(0);

    /// The next job.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// The name of a commit or of an annotated tag: 20 bytes (SHA-1 object format).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitId([u8; 20]);

impl CommitId {
    /// The bytes as git's object database has them.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Reads 40 hexadecimal digits. `None` for anything else, and for the all-zero id, by which
    /// forges say "no commit".
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = decode_hex::<20>(text.as_bytes())?;
        (bytes != [0; 20]).then_some(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The first ten digits, for people.
    pub const fn short(&self) -> ShortId {
        let [a, b, c, d, e, ..] = self.0;
        ShortId([a, b, c, d, e])
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The beginning of a [`CommitId`], for people.
#[derive(Clone, Copy)]
pub struct ShortId([u8; 5]);

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// The forge's name for a delivery, a UUID at every forge that has one. It is not signed: it is for
/// the log and decides nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId([u8; 16]);

impl DeliveryId {
    /// Reads a UUID (RFC 9562) in its 36-character form. `None` for anything else.
    pub fn from_uuid(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut digits = [0; 32];
        let mut at = 0;
        for (place, byte) in bytes.iter().enumerate() {
            let dash = matches!(place, 8 | 13 | 18 | 23);
            if dash != (*byte == b'-') {
                return None;
            }
            if !dash {
                *digits.get_mut(at)? = *byte;
                at += 1;
            }
        }
        decode_hex::<16>(&digits).map(Self)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        for (place, length) in [4, 2, 2, 2, 6].into_iter().enumerate() {
            let (group, after) = rest.split_at(length);
            if place > 0 {
                f.write_str("-")?;
            }
            write_hex(f, group)?;
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Bytes across a border, and the form for people in JSON.
macro_rules! written_for_people_as {
    ($type:ident, $read:path, $what:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                    return $read(&text).ok_or_else(|| de::Error::custom($what));
                }
                Deserialize::deserialize(deserializer).map(Self)
            }
        }
    };
}

written_for_people_as!(CommitId, CommitId::from_hex, "no commit");
written_for_people_as!(DeliveryId, DeliveryId::from_uuid, "no delivery");
written_for_people_as!(UpdateId, UpdateId::read, "no update");

/// Names a work tree across restarts: the SHA-256 of its canonical directory, so that the worker
/// keeps a state for each tree without ever being told a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DirectoryId([u8; 32]);

impl DirectoryId {
    /// A digest that the supervisor made.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Decodes exactly `N` bytes of hexadecimal, either case.
pub fn decode_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(out)
}

/// Writes up to 20 bytes as hexadecimal, all at once: ids stand in every line of the log, and
/// `{:02x}` for each byte was a third of what a line cost.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut text = [0; 40];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    let text = text.get(..bytes.len() * 2).and_then(|text| std::str::from_utf8(text).ok());
    f.write_str(text.ok_or(fmt::Error)?)
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_id_is_forty_digits_and_not_zero() {
        let text = "0123456789abcdefABCDEF0123456789abcdef01";
        assert_eq!(CommitId::from_hex(text).map(|c| c.to_string()), Some(text.to_lowercase()));
        assert_eq!(CommitId::from_hex(&"0".repeat(40)), None);
        for bad in ["", "abc", &"g".repeat(40), &"a".repeat(39), &"a".repeat(64)] {
            assert_eq!(CommitId::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn updates_are_numbered_upwards_over_restarts_and_read_back() {
        let first = UpdateId::since(Moment::from_millis(1_795_348_800_000)).next();
        let after_a_restart = UpdateId::since(Moment::from_millis(1_795_348_800_001)).next();
        assert!(first < first.next() && first.next() < after_a_restart);
        assert_eq!(first.to_string(), "660dc3778d001");
        assert_eq!(UpdateId::read(&first.to_string()), Some(first));
        for bad in ["", "+1", "g", "0x1", "11111111111111111"] {
            assert_eq!(UpdateId::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_delivery_id_is_a_uuid() {
        let text = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
        assert_eq!(DeliveryId::from_uuid(text).map(|d| d.to_string()), Some(text.into()));
        for bad in ["", "72d3162ecc7811e381ab4c9367dc0958", "72d3162e-cc78-11e3-81ab-4c9367dc095\n", "é2d3162e-cc78-11e3-81ab-4c9367dc095"]
        {
            assert_eq!(DeliveryId::from_uuid(bad), None, "{bad:?}");
        }
    }
}
