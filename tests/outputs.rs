//! The files of log and audit: their modes, logrotate, a full disk, tampering; and that no secret is in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use support::config::{Config, SECRET};
use support::delivery::Delivery;
use support::gateway;
use support::need;
use support::scratch::Scratch;
use support::site::{Ground, PATH, Site};
use support::wait;

/// A site with a log file and an audit file, and the directory that they are in.
fn site(settings: Value) -> (Site, PathBuf) {
    let ground = Ground::new();
    let place = ground.scratch.directory("var-log");
    let site = start(ground, &place, settings);
    (site, place)
}

fn start(ground: Ground, place: &Path, settings: Value) -> Site {
    let mut logging = json!({"output": place.join("log")});
    logging.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let config = Config::new().set("logging", logging).set("audit", json!({"syslog": false, "file": place.join("audit")}));
    let repo = ground.repo();
    let site = ground.start(config.repo(repo));
    site.tree().wait_for(&site.remote.head(), None);
    site
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn records(path: &Path) -> Vec<Value> {
    text(path).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn wait_for_line(path: &Path, words: &[&str]) {
    wait::until_true(&format!("{} has a line with {words:?}", path.display()), || {
        text(path).lines().any(|line| words.iter().all(|word| line.contains(word)))
    });
}

fn verify(scratch: &Scratch, files: &[&Path]) -> Output {
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    gateway::run(scratch, &[&["audit", "verify"], files.as_slice()].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_chain_goes_on_over_restarts_and_any_change_is_found() {
    let (mut site, place) = site(json!({}));
    let audit = place.join("audit");
    assert_eq!(fs::metadata(&audit).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(place.join("log")).unwrap().mode() & 0o777, 0o640);
    let commit = site.deploy(&[("README", "second\n")]);
    wait_for_line(&audit, &["update.ok", &commit]);
    site.gateway.restart();
    site.gateway.stop(Signal::SIGTERM);
    wait_for_line(&audit, &["service.stop"]);
    let records = records(&audit);
    assert_eq!(records.iter().filter(|record| record["name"] == "service.start").count(), 2);
    let second = records.iter().rposition(|record| record["name"] == "service.start").unwrap();
    assert_eq!(records[second]["chain"], records[second - 1]["hash"], "the second start does not go on where the first ended");
    let good = verify(&site.scratch, &[&audit]);
    assert!(good.status.success() && said(&good).contains(&format!("{} records", records.len())), "{}", said(&good));
    let ends_with = |output: &Output, record: &Value| {
        let words = format!("{}, seq {};", record["hash"].as_str().unwrap(), record["seq"]);
        assert!(output.status.success() && said(output).contains(&words), "{words}: {}", said(output));
    };
    ends_with(&good, records.last().unwrap());

    let lines: Vec<String> = text(&audit).lines().map(|line| format!("{line}\n")).collect();
    let copy = site.scratch.path().join("copy");
    let check = |change: &dyn Fn(&mut Vec<String>), words: &str| {
        let mut lines = lines.clone();
        change(&mut lines);
        fs::write(&copy, lines.concat()).unwrap();
        let bad = verify(&site.scratch, &[&copy]);
        assert!(!bad.status.success() && said(&bad).contains(words), "{words}: {}", said(&bad));
    };
    // A cut end is no fault that the file can show: where it ends is told, to be held against syslog.
    fs::write(&copy, lines[..lines.len() - 2].concat()).unwrap();
    ends_with(&verify(&site.scratch, &[&copy]), &records[records.len() - 3]);
    check(&|lines| drop(lines.remove(6)), ":7: a record before this one is missing");
    check(&|lines| lines.swap(4, 5), ":5: a record before this one is missing, or this one is not in its place");
    check(&|lines| lines[3] = lines[3].replacen("\"seq\":4", "\"seq\":5", 1), ":4: this record was changed");
}

#[test]
fn logrotate_by_renaming_and_by_sigusr1_loses_nothing() {
    let (site, place) = site(json!({}));
    let (log, audit) = (place.join("log"), place.join("audit"));
    let mut old = Vec::new();
    for round in 0..3 {
        for file in [&log, &audit] {
            let aside = file.with_extension(format!("{round}"));
            fs::rename(file, &aside).unwrap();
            if file == &audit {
                old.push(aside);
            }
        }
        if round == 2 {
            site.gateway.process().signal(Signal::SIGUSR1);
            wait::until_true("both are made anew", || log.exists() && audit.exists());
        }
        // What notices a rename is that something is written.
        let commit = site.deploy(&[("README", &format!("rotated {round}\n"))]);
        wait::until_true("both are made anew", || {
            site.gateway.deliver(PATH, &commit);
            log.exists() && audit.exists()
        });
        let commit = site.deploy(&[("README", &format!("rotated {round} and written\n"))]);
        wait_for_line(&log, &["update ok", &commit[..10]]);
        wait_for_line(&audit, &["update.ok", &commit]);
        assert_eq!(fs::metadata(&audit).unwrap().mode() & 0o777, 0o640);
    }
    let files: Vec<&Path> = old.iter().map(PathBuf::as_path).chain([audit.as_path()]).collect();
    let good = verify(&site.scratch, &files);
    assert!(good.status.success(), "{}", said(&good));
    let seqs: Vec<u64> = files.iter().flat_map(|file| records(file)).map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "records were lost: {seqs:?}");
}

/// A file system of so many KiB, gone with the test.
struct Small(PathBuf);

impl Small {
    fn new(place: PathBuf) -> Option<Self> {
        need::root()?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs"]).arg(&place).status();
        if mounted.is_ok_and(|status| status.success()) { Some(Self(place)) } else { need::missing("the right to mount a file system") }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    let ground = Ground::new();
    let Some(small) = Small::new(ground.scratch.directory("var-log")) else { return };
    let mut site = start(ground, &small.0, json!({}));
    let (log, audit, ballast) = (small.0.join("log"), small.0.join("audit"), small.0.join("ballast"));
    let _ = fs::write(&ballast, vec![0; 4 << 20]);
    for round in 0..12 {
        site.deploy(&[("README", &format!("full {round}\n"))]);
    }
    fs::remove_file(&ballast).unwrap();
    wait::until_true("lines and records come again, and what was lost is told", || {
        site.gateway.deliver(PATH, &site.remote.head());
        // Not so many that the disk is full again.
        std::thread::sleep(Duration::from_millis(250));
        let causes: Vec<Value> =
            records(&audit).into_iter().filter(|record| record["name"] == "log.gap").map(|gap| gap["cause"].clone()).collect();
        causes.contains(&json!("file")) && causes.contains(&json!("log"))
    });
    site.gateway.stop(Signal::SIGTERM);
    wait_for_line(&audit, &["service.stop"]);
    wait_for_line(&log, &["stopped"]);
    let records = records(&audit);
    let lost: u64 = records.iter().filter(|record| record["cause"] == "file").map(|gap| gap["lost"].as_u64().unwrap()).sum();
    assert_eq!(records.len() as u64 + lost, records.last().unwrap()["seq"].as_u64().unwrap(), "{lost} lost");
    assert!(verify(&site.scratch, &[&audit]).status.success());
}

#[test]
fn no_secret_signature_or_body_is_in_log_or_audit_at_any_level() {
    let (mut site, place) = site(json!({"level": "trace"}));
    let canary = "canary-in-a-body-4b1d";
    let body = json!({"ref": "refs/heads/master", "canary": canary});
    let signed = Delivery::event(PATH, "push", &body).sign(SECRET);
    let request = String::from_utf8_lossy(&signed.request()).into_owned();
    let signature = request.split("sha256=").nth(1).unwrap()[..64].to_owned();
    let header = signed.clone().header("X-Canary", canary).header("Authorization", canary);
    for delivery in [signed.clone(), header, signed.clone().body(format!("{{{canary}")), signed.header("X-Hub-Signature", canary)] {
        let _ = delivery.send(site.gateway.port());
    }
    site.deploy(&[("README", "second\n")]);
    site.gateway.stop(Signal::SIGTERM);
    wait_for_line(&place.join("audit"), &["service.stop"]);
    for file in ["log", "audit"] {
        let text = text(&place.join(file));
        assert!(text.contains(PATH), "{file} has nothing in it");
        for secret in [SECRET, canary, &signature] {
            assert!(!text.contains(secret), "{secret} is in {file}");
        }
    }
}
