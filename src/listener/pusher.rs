//! Who pushed, by the payload's word. Pure. Runs in `gwg-listener`.
//!
//! It is shown and decides nothing, so whatever else stands in its place is no reason to refuse a
//! delivery: it counts as nobody. Nothing of it is kept but a name.

use crate::audit::Claim;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The name in a payload's `pusher`: `name` at GitHub, `login` at forges that imitate it.
#[derive(Default)]
pub struct Pusher<'a>(Option<Cow<'a, str>>);

impl Pusher<'_> {
    /// The name, as it may be shown.
    pub fn claim(&self) -> Option<Claim> {
        self.0.as_deref().and_then(Claim::of)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pusher<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Anything)? {
            Found::Names { name, login } => Self(name.or(login)),
            Found::Text(_) | Found::Other => Self(None),
        })
    }
}

/// What stands somewhere in a payload.
enum Found<'a> {
    Text(Cow<'a, str>),
    Names { name: Option<Cow<'a, str>>, login: Option<Cow<'a, str>> },
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Found<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

/// Takes whatever comes, and keeps texts and names.
struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Found::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut name, mut login) = (None, None);
        while let Some(key) = map.next_key::<Found<'de>>()? {
            let slot = match key {
                Found::Text(key) if key == "name" => &mut name,
                Found::Text(key) if key == "login" => &mut login,
                Found::Text(_) | Found::Names { .. } | Found::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = match map.next_value::<Found<'de>>()? {
                Found::Text(text) => Some(text),
                Found::Names { .. } | Found::Other => None,
            };
        }
        Ok(Found::Names { name, login })
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn claimed(json: &str) -> Option<String> {
        serde_json::from_str::<Pusher<'_>>(json).unwrap().claim().map(String::from)
    }

    #[test]
    fn a_name_is_found_and_made_printable() {
        assert_eq!(claimed(r#"{"name":"ada-f","email":"ada@lantern.example"}"#).as_deref(), Some("ada-f"));
        assert_eq!(claimed(r#"{"id":7,"login":"ada-f","full_name":"Ada"}"#).as_deref(), Some("ada-f"));
        assert_eq!(claimed(r#"{"login":"x","na\u006de":"a\nb\" seq=\"1"}"#).as_deref(), Some(r#"a\x0ab" seq="1"#));
        assert_eq!(claimed(&format!(r#"{{"name":"{}"}}"#, "a".repeat(100_000))).unwrap().len(), Claim::MAX);
    }

    #[test]
    fn whatever_else_stands_there_is_nobody() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for odd in [
            "null",
            "7",
            "-7",
            "1.5",
            "true",
            "\"ada\"",
            "[]",
            "[\"name\"]",
            "{}",
            r#"{"name":null}"#,
            r#"{"name":{"name":"x"}}"#,
            r#"{"name":""}"#,
            &deep,
        ] {
            assert_eq!(claimed(odd), None, "{odd}");
        }
    }
}
