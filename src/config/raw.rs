//! The configuration as it is written: every key that exists, each optional, none checked.
//!
//! Messages of the types here never tell the value: it may be a secret.

use crate::brief::Secret;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The whole file.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub listen: Option<String>,
    pub port: Option<i64>,
    pub retry_count: Option<i64>,
    pub retry_delay: Option<Span>,
    pub reconcile: Option<Span>,
    pub threads: Option<i64>,
    pub initialise: Option<bool>,
    pub user: Option<UserName>,
    pub worker_user: Option<UserName>,
    pub listener_user: Option<UserName>,
    pub confinement: Option<String>,
    pub control: Option<RawControl>,
    pub metrics: Option<RawMetrics>,
    pub alert_after: Option<Span>,
    pub trusted_proxies: Option<Vec<String>>,
    pub proxy_protocol: Option<bool>,
    pub logging: Option<RawLogging>,
    pub audit: Option<RawAudit>,
    pub limits: Option<RawLimits>,
    pub gc: Option<RawGc>,
    pub repos: Option<Vec<RawRepo>>,
}

/// `control`
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawControl {
    pub group: Option<UserName>,
    pub act: Option<bool>,
}

/// `metrics`
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMetrics {
    pub listen: Option<String>,
    pub port: Option<i64>,
}

/// `logging`
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLogging {
    pub format: Option<String>,
    pub output: Option<String>,
    pub level: Option<String>,
    pub timestamp: Option<bool>,
}

/// `audit`
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAudit {
    pub syslog: Option<bool>,
    pub facility: Option<String>,
    pub tag: Option<String>,
    pub file: Option<String>,
    pub socket: Option<String>,
}

/// `limits`, of all repositories or of one.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    pub pack: Option<Size>,
    pub object: Option<Size>,
    pub files: Option<i64>,
    pub tree: Option<Size>,
    pub deadline: Option<Span>,
}

/// `gc`
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGc {
    pub objects: Option<String>,
}

/// One of `repos`.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RawRepo {
    pub url: Option<String>,
    pub path: Option<String>,
    pub directory: Option<String>,
    pub label: Option<String>,
    pub branch: Option<String>,
    pub label_type: Option<String>,
    pub remote: Option<String>,
    pub trigger: Option<String>,
    pub secret: Option<Secrets>,
    pub secret_file: Option<String>,
    pub unsigned: Option<bool>,
    pub signature: Option<String>,
    pub ssh_priv_key: Option<String>,
    pub ssh_pass_phrase: Option<Passphrase>,
    pub ssh_pass_phrase_file: Option<String>,
    pub known_hosts: Option<String>,
    pub ca_file: Option<String>,
    pub limits: Option<RawLimits>,
    pub hook: Option<RawHooks>,
}

/// One of `hook`.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RawHook {
    pub command: Option<Vec<String>>,
    pub user: Option<UserName>,
    pub timeout: Option<Span>,
    pub env: Option<BTreeMap<String, Value>>,
    pub on: Option<String>,
    pub write: Option<Vec<String>>,
}

/// One hook or a list of them.
pub struct RawHooks {
    pub list: Vec<RawHook>,
    /// Written as a list: then a message names the place in it.
    pub is_list: bool,
}

impl<'de> Deserialize<'de> for RawHooks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = RawHooks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys with values")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawHooks, A::Error> {
                RawHook::deserialize(MapAccessDeserializer::new(map)).map(|hook| RawHooks { list: vec![hook], is_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RawHooks, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(|list| RawHooks { list, is_list: true })
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// Milliseconds, written as a number of seconds or as a number with a unit: `90`, `"500ms"`, `"6h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl Span {
    /// Reads the written form.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(end)?;
        let each = match unit.trim_start() {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(each).map(Self)
    }
}

/// How a [`Span`] is written, for messages.
pub const SPAN_FORMS: &str = "a number of seconds, or a number with ms, s, m, h or d, like \"90s\" or \"6h\"";

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SPAN_FORMS)
            }
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
                seconds.checked_mul(1_000).map(Span).ok_or_else(|| E::custom("the time is too long"))
            }
            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
                self.visit_u64(u64::try_from(seconds).map_err(|_| E::custom("a time can't be negative"))?)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                Span::read(text).ok_or_else(|| E::custom(format_args!("this is no time, expected {SPAN_FORMS}")))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// Bytes, written as a number or as a number with a unit: `1048576`, `"512MiB"`, `"10GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// Reads the written form.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(end)?;
        let each = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(each).map(Self)
    }
}

/// How a [`Size`] is written, for messages.
pub const SIZE_FORMS: &str = "a number of bytes, or a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB, like \"10GiB\"";

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SIZE_FORMS)
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size can't be negative"))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::read(text).ok_or_else(|| E::custom(format_args!("this is no size, expected {SIZE_FORMS}")))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// A user's name, or a number.
pub struct UserName(pub String);

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = UserName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user's name or number")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<UserName, E> {
                Ok(UserName(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<UserName, E> {
                Ok(UserName(number.to_string()))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<UserName, E> {
                Ok(UserName(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// One webhook secret or a list of them.
pub struct Secrets(pub Vec<Secret>);

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretText).map(Self)
    }
}

/// The passphrase of a key.
pub struct Passphrase(pub Secret);

impl<'de> Deserialize<'de> for Passphrase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = deserializer.deserialize_any(SecretText)?;
        match (found.pop(), found.is_empty()) {
            (Some(secret), true) => Ok(Self(secret)),
            _ => Err(D::Error::custom("a key has one passphrase, expected a string")),
        }
    }
}

/// The value of a hook's variable.
pub struct Value(pub Secret);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = deserializer.deserialize_any(SecretText)?;
        match (found.pop(), found.is_empty()) {
            (Some(value), true) => Ok(Self(value)),
            _ => Err(D::Error::custom("a variable has one value, expected a string")),
        }
    }
}

/// Takes text or a list of texts; all else is refused without telling what it was.
struct SecretText;

const QUOTE: &str = "a secret is text, expected a string";

impl<'de> Visitor<'de> for SecretText {
    type Value = Vec<Secret>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Secret>, E> {
        Ok(vec![Secret::new(text.as_bytes().to_vec())])
    }
    fn visit_string<E: Error>(self, text: String) -> Result<Vec<Secret>, E> {
        Ok(vec![Secret::new(text.into_bytes())])
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Secret>, A::Error> {
        let mut all = Vec::new();
        while let Some(Passphrase(one)) = list.next_element()? {
            all.push(one);
        }
        Ok(all)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Vec<Secret>, E> {
        Err(E::custom(QUOTE))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Vec<Secret>, E> {
        Err(E::custom(QUOTE))
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Vec<Secret>, E> {
        Err(E::custom(QUOTE))
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Vec<Secret>, E> {
        Err(E::custom(QUOTE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("1b", 1),
            ("512 MiB", 512 << 20),
            ("10GiB", 10 << 30),
            ("1tib", 1 << 40),
            ("2KiB", 2048),
            ("2kB", 2000),
            ("3MB", 3_000_000),
            ("1GB", 1_000_000_000),
            (" 1TB ", 1_000_000_000_000),
        ] {
            assert_eq!(Size::read(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "GiB", "-1", "1G", "1.5GiB", "1GiBs", "99999999999999999999", "18446744073709551615KiB", "é"] {
            assert_eq!(Size::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_span_is_read_with_and_without_a_unit() {
        for (text, ms) in
            [("0", 0), ("1", 1_000), ("90s", 90_000), ("500ms", 500), ("2m", 120_000), (" 6 h ", 21_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(Span::read(text), Some(Span(ms)), "{text}");
        }
        for text in ["", "h", "-1", "1w", "1.5h", "1h30m", "99999999999999999999", "18446744073709551615d", "é"] {
            assert_eq!(Span::read(text), None, "{text}");
        }
    }
}
