//! The log: its forms, and that nobody but the supervisor can write a line of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use support::config::{Config, Repo};
use support::gateway::Gateway;
use support::loopback::Loopback;
use support::scratch::Scratch;
use support::site::{Ground, PATH, Site};
use support::wait;

/// A site whose log is as given, and which has deployed one push.
fn logging(settings: Value) -> Site {
    let ground = Ground::new();
    let config = Config::new().set("logging", settings).repo(ground.repo());
    let site = ground.start(config);
    site.tree().wait_for(&site.remote.head(), None);
    site.deploy(&[("README", "second\n")]);
    site
}

#[test]
fn as_text_a_line_is_for_people() {
    let site = logging(json!({}));
    let line = site.gateway.wait_for_log(0, PATH, &["update ok", "cause=delivery", "old=", "new=", "ms="]);
    assert!(line.starts_with("20") && line.contains(" INFO "), "no time and level: {line}");
    assert!(!line.contains('\x1b'), "colours in a pipe: {line:?}");
}

#[test]
fn as_json_each_line_is_an_object() {
    let site = logging(json!({"format": "json"}));
    site.gateway.log().wait(&["update ok", "cause:delivery"]);
    let lines = site.gateway.log().lines();
    let objects: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let update = objects.iter().find(|object| object["message"] == "update ok" && object["cause"] == "delivery").unwrap();
    assert_eq!(update["repo"], PATH);
    assert_eq!(update["level"], "INFO");
    assert!(update["timestamp"].is_string(), "{update}");
    assert!(update["ms"].is_u64(), "{update}");
}

#[test]
fn timestamp_and_level_may_be_chosen() {
    let site = logging(json!({"timestamp": false}));
    let line = site.gateway.wait_for_log(0, PATH, &["delivery accepted"]);
    assert!(line.trim_start().starts_with("INFO"), "{line}");

    let site = logging(json!({"level": "error"}));
    assert_eq!(site.gateway.log().lines(), Vec::<String>::new());
}

#[test]
fn the_log_may_go_to_a_file() {
    let scratch = Scratch::new();
    let file = scratch.path().join("gwg.log");
    let site = logging(json!({"output": file.to_str().unwrap()}));
    wait::until_true("the file has the line", || {
        fs::read_to_string(&file).is_ok_and(|text| text.lines().any(|line| line.contains("update ok")))
    });
    assert!(site.gateway.log().matching(&["update ok"]).is_empty(), "it went to standard output too");
}

#[test]
fn what_a_stranger_writes_into_a_request_makes_no_line() {
    let site = Site::new();
    let push = site.gateway.push(PATH, &site.remote.head());
    for delivery in ["x\x1b[2J", "72d3162e-cc78-11e3-81ab-4c9367dc0958 update ok repo=/forged", "\u{9b}31m"] {
        let _ = push.clone().header("X-GitHub-Delivery", delivery).try_send(site.gateway.port());
    }
    let _ = push.clone().path("/forged%0aINFO%20update").send(site.gateway.port());
    site.deploy(&[("README", "second\n")]);
    let lines = site.gateway.log().lines();
    assert!(!lines.iter().any(|line| line.contains("forged") || line.contains('\x1b') || line.contains('\u{9b}')), "{lines:#?}");
}

/// git shows what a server says; a server that says line ends and escapes must not write our log.
#[test]
fn what_a_remote_says_makes_no_line_of_its_own() {
    let scratch = Scratch::new();
    let server = Loopback::start(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let text = "ERR no\n2026-11-22T12:00:00Z  INFO update ok repo=/forged\n\x1b[2Jcleared\r\nrm\u{7}\u{9b}31m\n";
        let _ = stream.write_all(format!("{:04x}{text}", text.len() + 4).as_bytes());
    });
    let repo = Repo::new(&scratch, PATH, &format!("git://127.0.0.1:{}/site.git", server.port()));
    let gateway = Gateway::start(&scratch, Config::new().repo(repo));
    gateway.wait_for_log(0, PATH, &["update failed", "step=fetch"]);
    let lines = gateway.log().lines();
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.contains("repo=/forged") || line.contains("gwg-updater["), "a forged line: {line:?}");
        assert!(line.contains("INFO") || line.contains("WARN") || line.contains("ERROR"), "a line without a level: {line:?}");
    }
}
