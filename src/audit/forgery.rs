//! Tests that no text forges a record, a field or a byte: each kind of event, each of its texts filled with what
//! would break out, as a record of syslog and as a line of the audit file. Both are read by readers that know
//! nothing of gwg and its escapes, and each field must say what it was given, and no other. The log's
//! forms are tried the same way in `supervisor/lines`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::chain::{self, Hash, Line};
use super::event::Event;
use super::fields::VALUE;
use super::render::tests::{parse, rendered};
use super::render::{Entry, RECORD};
use super::samples::{self, Random};
use super::schema::STAMPS;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::time::SystemTime;

/// Poisoned texts; there are twenty and more kinds of event, and each of them has its share.
const TEXTS: usize = 100_000;
/// Fields that are of one run, and not of the event.
const OF_THE_RUN: [&str; 1] = ["pid"];

type Texts = Vec<(&'static str, String)>;
type Named = Vec<(String, String)>;

/// Each kind of event in turn: what is expected of it, as it is with poison in it, and the poison.
fn each<T>(expect: impl Fn(Event) -> T, mut judge: impl FnMut(&str, &T, Event, &Texts)) {
    let (samples, seed) = (samples::all(), 0x6777_6700);
    let expected: Vec<T> = samples.iter().cloned().map(expect).collect();
    let mut random = Random::new(seed);
    let mut texts = 0;
    for round in 0.. {
        let place = round % samples.len();
        let mut event = samples[place].clone();
        let poison = samples::poison(&mut event, &mut random);
        texts += poison.len();
        judge(&format!("seed {seed:#x}, round {round}: {poison:?}"), &expected[place], event, &poison);
        if texts >= TEXTS {
            return;
        }
    }
}

/// The bytes that a value stood for.
fn original(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (byte, rest) {
            (b'\\', [b'\\', after @ ..]) => {
                rest = after;
                b'\\'
            }
            (b'\\', [b'x', high, low, after @ ..]) => {
                rest = after;
                u8::from_str_radix(std::str::from_utf8(&[*high, *low]).ok()?, 16).ok()?
            }
            (b'\\', _) => return None,
            (plain, _) => *plain,
        });
    }
    Some(bytes)
}

/// A value says the text that it was given, or its beginning.
fn says(value: &str, text: &str) -> bool {
    let start = value.strip_suffix("...").filter(|_| value.len() > 50);
    value.len() <= VALUE
        && (original(value).is_some_and(|bytes| bytes == text.as_bytes())
            || start.and_then(original).is_some_and(|bytes| text.as_bytes().starts_with(&bytes)))
}

/// Each field has its place, its name, and what it was given; all others are as they were. A record may end early.
fn assert_fields(at: &str, got: &Named, benign: &Named, poison: &Texts) {
    for ((name, value), (expected, before)) in got.iter().zip(benign) {
        assert_eq!(name, expected, "{at}: {got:?}");
        match poison.iter().find(|(poisoned, _)| poisoned == name) {
            Some((_, text)) => assert!(says(value, text), "{at}: {name} is {value:?}"),
            None => assert!(value == before || OF_THE_RUN.contains(&name.as_str()), "{at}: {name} is {value:?}"),
        }
    }
}

#[test]
fn no_text_in_any_event_forges_a_record_of_syslog() {
    let mut cuts = 0;
    let parsed = |event| parse(&rendered(event)).unwrap();
    each(parsed, |at, expected, event, poison| {
        let record = rendered(event);
        assert!(record.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && record.len() <= RECORD, "{at}: {record:?}");
        let mut got = parse(&record).unwrap_or_else(|| panic!("{at}: {record}"));
        assert_eq!((&got.name, got.priority, &got.element), (&expected.name, expected.priority, &expected.element), "{at}");
        if got.fields.last().is_some_and(|field| field == &("cut".to_owned(), "true".to_owned())) {
            got.fields.pop();
            cuts += 1;
        } else {
            assert_eq!(got.fields.len(), expected.fields.len(), "{at}: {record}");
        }
        assert_fields(at, &got.fields, &expected.fields, poison);
    });
    assert!(cuts > 0, "no record was too long for all of its fields: the texts are not what they were");
}

/// The pairs of an object in their order, also where a name is there twice.
struct Pairs(Named);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    pairs.push((name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// The fields of a line, without what each line has of its own.
fn read(at: &str, event: Event, when: SystemTime) -> Named {
    let (line, hash) = chain::line(&Entry { seq: 7, when, by: "gwg-listener", by_pid: 12, event }, &Hash::zero());
    let body = line.strip_suffix('\n').unwrap();
    assert!(body.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{at}: {line:?}");
    assert_eq!(chain::judge(body.as_bytes()), Line::Whole { prev: Hash::zero(), hash }, "{at}: {line}");
    let Pairs(mut pairs) = serde_json::from_str(body).unwrap_or_else(|error| panic!("{at}: {error}: {line}"));
    assert_eq!(pairs.pop().map(|(name, _)| name).as_deref(), Some("hash"), "{at}: {line}");
    pairs
}

#[test]
fn no_text_in_any_event_forges_a_line_of_the_audit_file() {
    let when = SystemTime::now();
    let honest = |event| read("as it should be", event, when);
    each(honest, |at, expected, event, poison| {
        let got = read(at, event, when);
        assert_eq!(got.len(), expected.len(), "{at}: {got:?}");
        assert_fields(at, &got, expected, poison);
    });
}

/// What the two tests above go by: nearly every kind of event has a text that they fill.
#[test]
fn each_text_of_a_sample_is_poisoned() {
    let mut random = Random::new(1);
    for benign in samples::all() {
        let mut event = benign.clone();
        let poison = samples::poison(&mut event, &mut random);
        let (before, after) = (parse(&rendered(benign)).unwrap(), parse(&rendered(event)).unwrap());
        let is_stamp = |name: &str| STAMPS.iter().any(|(stamp, _)| *stamp == name);
        let changed = before.fields.iter().zip(&after.fields).filter(|(before, after)| !is_stamp(&before.0) && before.1 != after.1);
        let shown = |name: &str| !["header", "gid", "error"].contains(&name);
        let cut = after.fields.iter().any(|(name, _)| name == "cut");
        assert!(cut || changed.count() == poison.iter().filter(|(name, _)| shown(name)).count(), "{}: {poison:?}", before.name);
    }
}
