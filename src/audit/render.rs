//! A record as RFC 5424 writes it, with structured data. Pure. Runs in the supervisor.
//!
//! Values are printable ASCII already (`text`); here `"`, `\` and `]` get the backslash of RFC 5424,
//! 6.3.3. So a value can end neither itself, nor its element, nor the record.

use super::event::Event;
use super::fields::{Fields, Value};
use super::schema::{Facility, Severity};
use super::{stamp, text};
use std::fmt::Write as _;
use std::io::Write;
use std::time::SystemTime;

/// Bytes of the longest record.
pub const RECORD: usize = 1024;
/// The element of structured data. 32473 is the enterprise number that RFC 5612 sets aside for those
/// who have none.
pub const ELEMENT: &str = "gwg@32473";
/// What a record ends with that had no room for all of its fields.
const CUT: &str = " cut=\"true\"";
/// Room for the end of the element and for the words after it.
const END: usize = 64;

/// An event with its stamps.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When.
    pub when: SystemTime,
    /// The process that said it.
    pub by: &'static str,
    /// That process's pid.
    pub by_pid: u32,
    /// What happened.
    pub event: Event,
}

/// How records look, as the configuration wants it.
#[derive(Debug, Clone)]
pub struct Format {
    /// APP-NAME.
    pub tag: String,
    /// For all records, where the configuration names one.
    pub facility: Option<Facility>,
    /// HOSTNAME.
    pub host: String,
}

impl Format {
    /// Of this machine.
    pub fn new(tag: &str, facility: Option<Facility>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { tag: name(tag, 48), facility, host: name(host.trim(), 64) }
    }

    fn record(&self, severity: syslog::Severity, entry: &Entry) -> String {
        let schema = entry.event.schema();
        let facility = self.facility.unwrap_or(schema.facility);
        let mut record = format!(
            "<{}>1 {} {} {} {} {} [{ELEMENT}",
            of_facility(facility) as u8 | severity as u8,
            stamp::rfc3339(entry.when),
            self.host,
            self.tag,
            std::process::id(),
            schema.name
        );
        // Writing to a String can't fail.
        let _ = write!(record, " seq=\"{}\" by=\"{}\" by_pid=\"{}\"", entry.seq, entry.by, entry.by_pid);
        for (name, value) in Fields::of(&entry.event).0 {
            let parameter = parameter(name, &value);
            if record.len() + parameter.len() + CUT.len() + END > RECORD {
                record.push_str(CUT);
                break;
            }
            record.push_str(&parameter);
        }
        record.push_str("] ");
        record.push_str(schema.name);
        record
    }
}

impl syslog::LogFormat<&Entry> for Format {
    fn format<W: Write>(&self, to: &mut W, severity: syslog::Severity, entry: &Entry) -> syslog::Result<()> {
        to.write_all(self.record(severity, entry).as_bytes()).map_err(syslog::Error::Write)
    }
}

/// In the crate's words.
pub const fn of_severity(severity: Severity) -> syslog::Severity {
    match severity {
        Severity::Alert => syslog::Severity::LOG_ALERT,
        Severity::Critical => syslog::Severity::LOG_CRIT,
        Severity::Error => syslog::Severity::LOG_ERR,
        Severity::Warning => syslog::Severity::LOG_WARNING,
        Severity::Notice => syslog::Severity::LOG_NOTICE,
        Severity::Info => syslog::Severity::LOG_INFO,
    }
}

const fn of_facility(facility: Facility) -> syslog::Facility {
    match facility {
        Facility::Authpriv => syslog::Facility::LOG_AUTHPRIV,
        Facility::Auth => syslog::Facility::LOG_AUTH,
        Facility::Daemon => syslog::Facility::LOG_DAEMON,
        Facility::User => syslog::Facility::LOG_USER,
        Facility::Local(0) => syslog::Facility::LOG_LOCAL0,
        Facility::Local(1) => syslog::Facility::LOG_LOCAL1,
        Facility::Local(2) => syslog::Facility::LOG_LOCAL2,
        Facility::Local(3) => syslog::Facility::LOG_LOCAL3,
        Facility::Local(4) => syslog::Facility::LOG_LOCAL4,
        Facility::Local(5) => syslog::Facility::LOG_LOCAL5,
        Facility::Local(6) => syslog::Facility::LOG_LOCAL6,
        Facility::Local(_) => syslog::Facility::LOG_LOCAL7,
    }
}

/// A name of the header: printable, without spaces, never empty.
fn name(text: &str, most: usize) -> String {
    let name: String = text::bounded(text.as_bytes(), most).split(' ').collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

fn parameter(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) => format!(" {name}=\"{number}\""),
        Value::Flag(flag) => format!(" {name}=\"{flag}\""),
        Value::Text(text) => {
            let mut parameter = format!(" {name}=\"");
            for letter in text.chars() {
                if matches!(letter, '"' | '\\' | ']') {
                    parameter.push('\\');
                }
                parameter.push(letter);
            }
            parameter.push('"');
            parameter
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::samples;
    use crate::audit::schema::{self, STAMPS};

    pub fn rendered(event: Event) -> String {
        let severity = of_severity(event.severity());
        let entry = Entry { seq: 7, when: SystemTime::now(), by: "gwg-listener", by_pid: 4_294_967_295, event };
        Format { tag: "gwg".into(), facility: None, host: "host.example".into() }.record(severity, &entry)
    }

    /// A record, as a reader of RFC 5424 takes it apart who knows nothing of gwg.
    pub struct Parsed {
        pub priority: u8,
        pub name: String,
        pub element: String,
        pub fields: Vec<(String, String)>,
    }

    pub fn parse(record: &str) -> Option<Parsed> {
        let (priority, rest) = record.strip_prefix('<')?.split_once(">1 ")?;
        let [_time, _host, _tag, _pid, name, rest] = rest.splitn(6, ' ').collect::<Vec<_>>().try_into().ok()?;
        let mut letters = rest.strip_prefix('[')?.chars().peekable();
        let mut element = String::new();
        while *letters.peek()? != ' ' {
            element.push(letters.next()?);
        }
        let mut fields = Vec::new();
        while letters.next()? == ' ' {
            let mut field = String::new();
            while *letters.peek()? != '=' {
                field.push(letters.next()?);
            }
            (letters.next()? == '=' && letters.next()? == '"').then_some(())?;
            let mut value = String::new();
            loop {
                match letters.next()? {
                    '"' => break,
                    '\\' => match letters.next()? {
                        escaped @ ('"' | '\\' | ']') => value.push(escaped),
                        other => value.extend(['\\', other]),
                    },
                    ']' => return None,
                    other => value.push(other),
                }
            }
            fields.push((field, value));
            if *letters.peek()? == ']' {
                letters.next();
                let message: String = letters.collect();
                let named = message == format!(" {name}");
                return named.then(|| Parsed { priority: priority.parse().unwrap(), name: name.into(), element, fields });
            }
        }
        None
    }

    #[test]
    fn each_event_has_the_fields_of_its_row_in_their_order() {
        let mut seen = std::collections::BTreeSet::new();
        for event in samples::all() {
            let schema = event.schema();
            seen.insert(schema.name);
            let parsed = parse(&rendered(event.clone())).unwrap();
            assert_eq!((parsed.name.as_str(), parsed.element.as_str()), (schema.name, "gwg@32473"));
            let mut allowed = STAMPS.iter().chain(schema.fields).map(|(name, _)| *name);
            for (field, _) in &parsed.fields {
                assert!(allowed.any(|name| name == field), "{}: {field} is not in the table, or not in its place", schema.name);
            }
            let (facility, severity) = (parsed.priority >> 3, parsed.priority & 7);
            assert_eq!(facility, if schema.facility == Facility::Authpriv { 10 } else { 3 }, "{}", schema.name);
            assert_eq!(
                severity,
                ["emerg", "alert", "crit", "err", "warning", "notice", "info"]
                    .iter()
                    .position(|word| *word == event.severity().word())
                    .unwrap() as u8
            );
        }
        assert_eq!(seen, schema::ALL.iter().map(|schema| schema.name).collect(), "rows of the table without a sample");
    }

    #[test]
    fn each_field_of_the_table_is_in_a_sample() {
        for schema in schema::ALL {
            for (field, _) in schema.fields {
                let of_it = samples::all().into_iter().filter(|event| event.schema() == *schema);
                let found = of_it.map(rendered).any(|record| parse(&record).unwrap().fields.iter().any(|(name, _)| name == field));
                assert!(found, "{}: no event has {field}", schema.name);
            }
        }
    }

    #[test]
    fn a_tag_and_a_host_name_stay_within_their_columns() {
        assert_eq!(Format::new("web hooks\n", None).tag, "webhooks\\x0a");
        assert_eq!(Format::new("", None).tag, "-");
        let format = Format { tag: "gwg".into(), facility: Some(Facility::Local(6)), host: "h".into() };
        let entry = Entry { seq: 1, when: SystemTime::now(), by: "gwg", by_pid: 1, event: samples::all().swap_remove(0) };
        assert!(format.record(syslog::Severity::LOG_INFO, &entry).starts_with("<182>1 "), "local6.info is 22 * 8 + 6");
    }
}
