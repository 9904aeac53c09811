//! The line of a value, found by the way to it.
//!
//! A parser tells a line only where it stops. So the text is parsed once more by a visitor that
//! walks the way to the value and stops there. That costs a second reading, but only of a file that is wrong.

use super::error::{KeyPath, Step};
use super::file::Format;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The line of the value, from 1; of what would hold it, where the value is missing.
pub fn line(format: Format, text: &str, path: &KeyPath) -> Option<usize> {
    let way = Way(path.steps());
    match format {
        Format::Yaml => way.deserialize(serde_yaml::Deserializer::from_str(text)).err()?.location().map(|place| place.line()),
        Format::Toml => {
            let stopped = way.deserialize(toml::Deserializer::parse(text).ok()?).err()?;
            Some(line_of_offset(text, stopped.span()?.start))
        }
        Format::Json => Some(way.deserialize(&mut serde_json::Deserializer::from_str(text)).err()?.line()),
    }
}

/// The line, from 1, of a byte.
pub fn line_of_offset(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The steps that are left.
struct Way<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The message does not matter: only its place is read.
fn here<E: Error>() -> E {
    E::custom("here")
}

impl<'de> Visitor<'de> for Way<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else { return Err(here()) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                return map.next_value_seed(Way(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(here())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.0.split_first() else { return Err(here()) };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Way(rest))?;
        Err(here())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(here())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(here())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(here())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(here())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(here())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(here())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "listen: localhost\nport: 0\nlogging:\n  level: loud\nrepos:\n  - url: a\n    path: /a\n  # a comment\n  - url: b\n    path: b\n    secret:\n      - x\n      - y\n";
    const TOML: &str = "listen = \"localhost\"\nport = 0\n[logging]\nlevel = \"loud\"\n\n[[repos]]\nurl = \"a\"\n[[repos]]\nurl = \"b\"\npath = \"b\"\nsecret = [\n  \"x\",\n  \"y\"]\n";
    const JSON: &str = "{\n \"listen\": \"localhost\",\n \"port\": 0,\n \"logging\": {\n  \"level\": \"loud\" },\n \"repos\": [\n  {\"url\": \"a\"},\n  {\n   \"url\": \"b\",\n   \"path\": \"b\",\n   \"secret\": [\n    \"x\",\n    \"y\"]}]}\n";

    #[test]
    fn every_parser_tells_the_line() {
        let secret = KeyPath::repo(1, "secret").index(1);
        for (path, lines) in [
            (KeyPath::global("port"), [2, 2, 3]),
            (KeyPath::global("logging").key("level"), [4, 4, 5]),
            (KeyPath::repo(1, "path"), [10, 10, 10]),
            (secret, [13, 13, 13]),
        ] {
            for ((format, text), wanted) in [(Format::Yaml, YAML), (Format::Toml, TOML), (Format::Json, JSON)].into_iter().zip(lines) {
                assert_eq!(line(format, text, &path), Some(wanted), "{path} in {format:?}");
            }
        }
    }

    #[test]
    fn a_missing_key_is_at_its_holder() {
        let path = KeyPath::repo(1, "directory");
        let holder: Vec<_> =
            [(Format::Yaml, YAML), (Format::Toml, TOML), (Format::Json, JSON)].map(|(f, text)| line(f, text, &path)).into();
        assert_eq!(holder, [Some(9), Some(8), Some(13)]);
    }
}
