//! Thousands of texts that would break out of a record, through the running gateway: as paths, header values, ids of
//! deliveries, refs and names in signed payloads, as what a git server says and what a hook prints. Log and audit are
//! read by readers that know nothing of gwg: each byte is printable, each record has the fields of its kind and
//! no others, and each line is one of gwg's. The same for every text and every kind of event, without
//! processes: `src/audit/forgery.rs` and `src/supervisor/lines.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::sync::Mutex;
use support::account::{self, FILE};
use support::config::{Repo, SECRET};
use support::delivery::{Delivery, ZERO, exchange, push_payload};
use support::hook::Notes;
use support::loopback::Loopback;
use support::site::{Ground, PATH, Site};

/// Requests of each kind.
const REQUESTS: usize = 400;
const REMOTE: &str = "/remote";

const PIECES: [&[u8]; 18] = [
    b"\"",
    b"\\",
    b"]",
    b"[",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x1b[2J",
    b" ",
    b"=",
    b"\xc2\x9b",
    b"\xff",
    b"\"] gwg forged",
    b"\" repo=\"/forged",
    b"\n<86>1 - - gwg - delivery.accepted - ",
    b"\n2026-01-01T00:00:00Z  INFO update ok repo=/forged",
    b"\",\"repo\":\"/forged",
    b"\"}\n{\"level\":\"INFO\",\"message\":\"forged\",\"repo\":\"/forged\"}\n",
];

/// Numbers that are the same in each run: splitmix64.
struct Random(u64);

impl Random {
    /// Says where it begins, so that a failure can be had again.
    fn new(seed: u64) -> Self {
        println!("seed {seed:#x}");
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((number ^ (number >> 31)) % bound as u64).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(12) {
            match self.below(4) {
                0 => bytes.push(u8::try_from(self.below(256)).unwrap()),
                _ => bytes.extend_from_slice(PIECES[self.below(PIECES.len())]),
            }
        }
        bytes
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// Whatever stands in a request before its body, as raw bytes.
fn raw(site: &Site, random: &mut Random) {
    let port = site.gateway.port();
    for _ in 0..REQUESTS {
        let request: Vec<u8> = match random.below(4) {
            0 => [b"POST /", &*random.bytes(), b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"].concat(),
            1 => [b"POST /site HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-GitHub-Delivery: ", &*random.bytes(), b"\r\n\r\n"].concat(),
            2 => [b"POST /site HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", &*random.bytes(), b": a\r\nX-Forwarded-For: b\r\n\r\n"]
                .concat(),
            _ => [&*random.bytes(), b" /site HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat(),
        };
        // Some are no HTTP at all, and some are two requests; what becomes of them is not asked here.
        let _answer = exchange(port, &request);
    }
}

/// What a forge signs: authentic, and still not to be believed.
fn signed(site: &Site, random: &mut Random) {
    let repo = site.gateway.config().repo_at(PATH);
    let (url, of_repo) = (repo.text("url").unwrap(), repo.ref_name());
    for round in 0..REQUESTS {
        let other_ref = format!("refs/heads/{}", random.text());
        let mut payload = push_payload(url, if round % 2 == 0 { &of_repo } else { &other_ref }, ZERO, &site.remote.head());
        payload["pusher"] = json!({"name": random.text(), "email": random.text()});
        payload["head_commit"]["message"] = random.text().into();
        payload["repository"]["full_name"] = random.text().into();
        let answer = Delivery::event(PATH, "push", &payload).sign(SECRET).send(site.gateway.port());
        assert!([200, 202].contains(&answer.status), "{answer:?}");
    }
}

/// A site whose hook and whose second remote say such texts.
fn start(format: &str, seed: u64) -> (Site, Loopback) {
    let ground = Ground::new();
    let mut random = Random::new(seed);
    let of_hook: String = (0..100).flat_map(|_| random.bytes()).map(|byte| format!("\\{byte:03o}")).collect();
    let of_server = Mutex::new(random);
    let server = Loopback::start(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let text = [b"ERR ", &*of_server.lock().unwrap().bytes()].concat();
        let _ = stream.write_all(&[format!("{:04x}", text.len() + 4).as_bytes(), &text].concat());
    });
    let notes = Notes::new(&ground.scratch);
    let config = account::config(&ground.scratch).set("logging", json!({"format": format, "level": "debug"})).set("retry_count", 8);
    let remote = Repo::new(&ground.scratch, REMOTE, &format!("git://127.0.0.1:{}/site.git", server.port()));
    let repo = ground.repo().set("hook", notes.hook(&format!("printf '{of_hook}'; printf '{of_hook}' >&2")));
    let site = ground.start(config.repo(repo).repo(remote));
    (site, server)
}

/// The fields of each kind of event, by the page that auditors read.
fn page() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let (mut page, mut event) = (BTreeMap::<_, BTreeSet<_>>::new(), "");
    for line in include_str!("../docs/audit-events.md").lines() {
        if let Some(name) = line.strip_prefix("### `") {
            event = name.split('`').next().unwrap();
        } else if let Some(field) = line.strip_prefix("| `") {
            page.entry(event).or_default().insert(field.split('`').next().unwrap());
        }
    }
    page
}

fn assert_audit(site: &Site) {
    // Each line is printable, is JSON, and is in its place.
    let records = account::of_file(&fs::read_to_string(account::file(&site.scratch)).unwrap());
    account::assert_no_hole(&records, FILE);
    let page = page();
    assert!(page[""].contains("seq") && page.len() > 25, "the page is not what it was");
    for record in &records {
        let fields = page.get(record.name.as_str()).unwrap_or_else(|| panic!("an event that there is not: {record:?}"));
        for (name, value) in &record.fields {
            assert!(page[""].contains(name.as_str()) || fields.contains(name.as_str()), "a field that there is not: {name} in {record:?}");
            assert!(value.len() <= 128, "{record:?}");
        }
        assert!(record.get("repo").is_none_or(|repo| repo == PATH || repo == REMOTE), "{record:?}");
        assert!(record.get("src").is_none_or(|source| source == "127.0.0.1"), "{record:?}");
        let is_id = |id: &str| id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        assert!(record.get("delivery").is_none_or(is_id), "{record:?}");
    }
    let count = |name: &str, field: &str| records.iter().filter(|record| record.name == name && record.get(field).is_some()).count();
    assert_eq!(count("delivery.accepted", "claimed_pusher"), REQUESTS / 2, "claims are not tried");
    assert_eq!(count("delivery.ignored", "reason"), REQUESTS / 2, "refs are not tried");
    assert!(count("delivery.rejected", "reason") > 0 && count("hook.end", "ms") > 0 && count("update.failed", "step") > 1);
}

/// As `json`, or as `text`.
fn assert_log(site: &Site, format: &str) {
    let lines = site.gateway.log().lines();
    for line in &lines {
        assert!(line.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{line:?}");
        if format == "json" {
            let object: Map<String, Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(object.get("repo").is_none_or(|repo| repo == PATH || repo == REMOTE || repo == "-"), "{line}");
            assert!(object["message"] != "forged", "{line}");
        } else {
            assert!(line.starts_with("20") && !line.starts_with("2026-01-01"), "{line}");
            let level = line.split_whitespace().nth(1).unwrap();
            assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&level), "{line}");
        }
    }
    for speaker in ["gwg-updater[", "gwg-hook["] {
        assert!(lines.iter().any(|line| line.contains(speaker)), "{speaker} said nothing");
    }
}

fn nothing_is_forged(format: &str, seed: u64) {
    let (mut site, _server) = start(format, seed);
    site.tree().wait_for(&site.remote.head(), None);
    let mut random = Random::new(seed + 1);
    raw(&site, &mut random);
    signed(&site, &mut random);
    site.gateway.log().wait(&["hook ended"]);
    support::wait::until_true("the remote has been tried again", || site.gateway.log().matching(&["update failed", REMOTE]).len() > 1);
    site.gateway.stop(Signal::SIGTERM);
    assert_audit(&site);
    assert_log(&site, format);
}

#[test]
fn no_request_no_remote_and_no_hook_forges_a_record_or_a_line_of_text() {
    nothing_is_forged("text", 0x6777_6710);
}

#[test]
fn no_request_no_remote_and_no_hook_forges_a_record_or_an_object_of_json() {
    nothing_is_forged("json", 0x6777_6720);
}
