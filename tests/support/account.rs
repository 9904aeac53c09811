//! The accounting of requests: what the audit file tells, read by nothing of gwg's, beside what the test's own
//! clients were answered. Each test that plays strangers ends with [`assert_exact`].

use super::config::Config;
use super::delivery;
use super::scratch::Scratch;
use super::site::Site;
use super::syslog::Record;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// The audit file of an audited configuration.
pub fn file(scratch: &Scratch) -> PathBuf {
    scratch.path().join("account.jsonl")
}

/// A configuration whose requests can be accounted for.
pub fn config(scratch: &Scratch) -> Config {
    Config::new().set("audit", json!({"syslog": false, "file": file(scratch)}))
}

/// Stops the gateway, and holds its records against the requests that this process was answered on its port.
pub fn assert_exact(site: &mut Site) {
    let port = site.gateway.port();
    assert_exact_of(site, &[port]);
}

/// The same for a gateway that moved from port to port.
pub fn assert_exact_of(site: &mut Site, ports: &[u16]) {
    site.gateway.stop(Signal::SIGTERM);
    assert_ended_exact(site, ports);
}

/// The same for a gateway that has ended already.
pub fn assert_ended_exact(site: &Site, ports: &[u16]) {
    let records = of_file(&fs::read_to_string(file(&site.scratch)).unwrap());
    assert!(records.iter().any(|record| record.name == "service.stop"), "records are missing at the end");
    assert_no_hole(&records, FILE);
    let answered: u64 = ports.iter().map(|port| delivery::answered(*port)).sum();
    assert!(answered > 0, "nothing was asked");
    assert_eq!(lost(&records, FILE), 0, "records were lost: the account can't be exact");
    assert_eq!(told(&records), answered, "requests that the records tell of, and requests that were answered");
    most_in_a_second(&records);
}

/// The lines of an audit file as records, each whole and in its place.
pub fn of_file(text: &str) -> Vec<Record> {
    let mut last = "0".repeat(64);
    text.lines().map(|line| of_line(line, &mut last)).collect()
}

fn of_line(line: &str, last: &mut String) -> Record {
    assert!(line.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "a byte that is not printable: {line:?}");
    let object: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (body, _) = line.rsplit_once(",\"hash\":").unwrap();
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((object["prev"].as_str(), object["hash"].as_str()), (Some(last.as_str()), Some(hash.as_str())), "{line}");
    *last = hash;
    let stamps = ["prev", "hash", "time", "name"];
    let fields = object.iter().filter(|(name, _)| !stamps.contains(&name.as_str()));
    Record {
        priority: 0,
        time: text(&object["time"]),
        app: String::new(),
        pid: 0,
        name: text(&object["name"]),
        fields: fields.map(|(name, value)| (name.clone(), text(value))).collect(),
    }
}

/// What is lost to those who read syslog, by the causes of `log.gap`.
pub const SYSLOG: &[&str] = &["syslog", "queue"];
/// And to those who read the file.
pub const FILE: &[&str] = &["file", "queue"];

/// Each number from the first to the last is there, or counted as lost.
pub fn assert_no_hole(records: &[Record], causes: &[&str]) {
    let seqs: Vec<u64> = records.iter().map(|record| record.number("seq")).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "records out of order, or twice");
    let (lost, last) = (lost(records, causes), *seqs.last().unwrap());
    assert_eq!(seqs.len() as u64 + lost, last, "{} records and {lost} lost do not make {last}", seqs.len());
}

/// How many records are told to be lost.
pub fn lost(records: &[Record], causes: &[&str]) -> u64 {
    let gaps = records.iter().filter(|record| record.is("log.gap", &[]));
    gaps.filter(|gap| causes.contains(&gap.get("cause").unwrap())).map(|gap| gap.number("lost")).sum()
}

/// How many requests the records tell of.
pub fn told(records: &[Record]) -> u64 {
    let each = |record: &Record| match record.name.as_str() {
        "delivery.accepted" | "delivery.ignored" | "delivery.rejected" => 1,
        "reject.summary" => record.number("count"),
        "log.gap" if record.get("cause") == Some("listener") => record.number("lost"),
        _ => 0,
    };
    records.iter().map(each).sum()
}

/// No second has more than ten rejections, by the records' own times.
pub fn most_in_a_second(records: &[Record]) {
    let second = |record: &Record| record.time.split_once('.').unwrap().0.to_owned();
    let mut seconds = std::collections::BTreeMap::<String, u64>::new();
    for record in records.iter().filter(|record| record.name == "delivery.rejected") {
        *seconds.entry(second(record)).or_default() += 1;
    }
    assert!(seconds.values().all(|count| *count <= 10), "{seconds:?}");
}
