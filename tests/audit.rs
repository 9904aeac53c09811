//! Audit records as a real syslog daemon receives them: every event from the running gateway, the
//! accounting of a hostile run, and a syslog that is missing, restarted or stuck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use support::account::{self, FILE, SYSLOG, assert_no_hole, lost, most_in_a_second, told};
use support::config::{Config, Repo};
use support::delivery::{Delivery, answered, exchange};
use support::flood::flood;
use support::gateway::Gateway;
use support::hook::Notes;
use support::keys;
use support::loopback::Mode;
use support::remote::Remote;
use support::scratch::Scratch;
use support::site::{Ground, PATH, Site};
use support::sshd::Sshd;
use support::syslog::{Record, Syslog};
use support::wait;

const AUTHPRIV: u8 = 10 << 3;
const DAEMON: u8 = 3 << 3;

/// Records go to that daemon.
fn recorded(syslog: &Syslog) -> Config {
    Config::new().set("audit", json!({"syslog": true, "socket": syslog.socket()}))
}

/// A site with a daemon, whose first update has ended.
fn site() -> Option<(Syslog, Site)> {
    let ground = Ground::new();
    let syslog = Syslog::start(&ground.scratch)?;
    let repo = ground.repo();
    let site = ground.start(recorded(&syslog).repo(repo));
    syslog.wait("update.ok", &[("repo", PATH)]);
    Some((syslog, site))
}

#[test]
fn from_a_delivery_s_id_one_finds_what_changed() {
    let Some((syslog, mut site)) = site() else { return };
    let before = site.remote.head();
    let after = site.deploy(&[("README", "second\n")]);
    let id = [("delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"), ("repo", PATH)];
    let accepted = syslog.wait("delivery.accepted", &id);
    let listener = site.gateway.child("gwg-listener").pid();
    assert_eq!((accepted.priority, accepted.app.as_str(), accepted.pid), (AUTHPRIV + 6, "gwg", site.gateway.process().pid()));
    assert_eq!((accepted.get("by"), accepted.number("by_pid")), (Some("gwg-listener"), listener as u64));
    assert_eq!((accepted.get("src"), accepted.get("event"), accepted.get("coalesced")), (Some("127.0.0.1"), Some("push"), Some("false")));
    assert_eq!(accepted.get("announced"), Some(after.as_str()));
    let start = syslog.wait("update.start", &id);
    assert_eq!((start.priority, start.get("by"), start.get("cause")), (DAEMON + 6, Some("gwg-worker"), Some("delivery")));
    let ok = syslog.wait("update.ok", &id);
    assert_eq!((ok.get("old"), ok.get("new"), ok.get("forced")), (Some(before.as_str()), Some(after.as_str()), Some("false")));
    syslog.wait("trigger.touched", &[("repo", PATH), ("commit", &after)]);
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[("signal", "SIGTERM")]);
    assert_no_hole(&syslog.records(), SYSLOG);
}

#[test]
fn the_ordinary_day_is_recorded_from_start_to_stop() {
    let Some((syslog, mut site)) = site() else { return };
    let pid = site.gateway.process().pid().to_string();
    let start = syslog.wait("service.start", &[("seq", "1"), ("pid", &pid), ("by", "gwg")]);
    assert!(start.priority == DAEMON + 5 && start.get("libgit2").is_some_and(|version| version.starts_with("1.")), "{start:?}");
    assert!(start.get("openssl").is_some() && start.get("libssh2").is_some(), "{start:?}");
    syslog.wait("config.loaded", &[("generation", "1"), ("added", "1"), ("removed", "0")]);
    for role in ["gwg-listener", "gwg-worker"] {
        let pid = site.gateway.child(role).pid().to_string();
        syslog.wait("process.start", &[("role", role), ("pid", &pid)]);
        let level =
            syslog.wait("confinement.level", &[("role", role), ("pid", &pid), ("caps", "none"), ("no_new_privs", "1"), ("seccomp", "2")]);
        assert_eq!(level.get("missing").is_some(), level.priority == AUTHPRIV + 1, "{level:?}");
    }
    syslog.wait("process.start", &[("role", "gwg-updater"), ("repo", PATH)]);
    let level = syslog.wait("confinement.level", &[("role", "gwg-updater"), ("caps", "none"), ("no_new_privs", "1"), ("seccomp", "2")]);
    assert_eq!(level.get("missing").is_some(), level.priority == AUTHPRIV + 1, "{level:?}");
    syslog.wait("process.exit", &[("role", "gwg-updater"), ("repo", PATH), ("exit", "0")]);
    syslog.wait("service.ready", &[("repos", "1")]);
    syslog.wait("reconcile.start", &[("cause", "start"), ("repos", "1")]);
    syslog.wait("reconcile.end", &[("cause", "start"), ("repos", "1"), ("behind", "1"), ("failed", "0")]);

    site.gateway.deliver(PATH, &site.remote.head());
    syslog.wait("update.noop", &[("repo", PATH), ("new", &site.remote.head())]);
    let unknown = "1234567890123456789012345678901234567890";
    site.gateway.deliver(PATH, unknown);
    // What was changed is told whether or not it is what was announced.
    let ahead = site.remote.publish(&[("README", "ahead\n")]);
    site.gateway.deliver(PATH, unknown);
    syslog.wait("update.ok", &[("repo", PATH), ("new", &ahead)]);
    syslog.wait("update.awaits", &[("repo", PATH), ("announced", unknown), ("attempt", "1")]);
    site.daemon.set(Mode::HangUp);
    site.gateway.deliver(PATH, unknown);
    let failed = syslog.wait("update.failed", &[("repo", PATH), ("step", "fetch"), ("reason", "net")]);
    assert_eq!(failed.priority, DAEMON + 3);
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[("signal", "SIGTERM")]);
    // Not for each update: the next ones were confined as the first was.
    assert_eq!(syslog.records().iter().filter(|record| record.is("confinement.level", &[("role", "gwg-updater")])).count(), 1);
    assert_no_hole(&syslog.records(), SYSLOG);
}

#[test]
fn a_child_that_dies_or_breaks_a_rule_is_recorded() {
    let Some((syslog, site)) = site() else { return };
    let mut listener = site.gateway.child("gwg-listener");
    // The kernel's own answer to a forbidden call.
    listener.signal(Signal::SIGSYS);
    let pid = listener.pid().to_string();
    let violation = syslog.wait("confinement.violation", &[("role", "gwg-listener"), ("pid", &pid), ("kind", "seccomp")]);
    assert_eq!((violation.priority, violation.get("by")), (AUTHPRIV + 2, Some("gwg")));
    let exit = syslog.wait("process.exit", &[("role", "gwg-listener"), ("pid", &pid), ("signal", "31"), ("wait_s", "0")]);
    assert_eq!(exit.priority, DAEMON + 3);
    syslog.wait("reconcile.end", &[("cause", "listener_crash"), ("repos", "1")]);
    for _ in 0..12 {
        let next = wait::until("the next listener serves, or waits", || {
            let next = site.gateway.process().children().into_iter().find(|child| child.name() == "gwg-listener" && *child != listener)?;
            let pid = next.pid().to_string();
            syslog.records().iter().any(|record| record.is("confinement.level", &[("pid", &pid)])).then_some(next)
        });
        next.kill();
        listener = next;
        let pid = listener.pid().to_string();
        let died = syslog.wait("process.exit", &[("pid", &pid), ("signal", "9")]);
        if died.number("wait_s") > 0 {
            break;
        }
    }
    syslog.wait("process.throttled", &[("role", "gwg-listener"), ("reason", "crashes"), ("wait_s", "1")]);
    assert_no_hole(&syslog.records(), SYSLOG);
}

#[test]
fn a_refused_host_key_is_an_alert() {
    let scratch = Scratch::new();
    let (Some(syslog), Some(sshd)) = (Syslog::start(&scratch), Sshd::start(&scratch.directory("sshd"))) else { return };
    let remote = Remote::new(&scratch.directory("remotes"), "site");
    sshd.authorize(&keys::generate(scratch.path(), "key", &["-t", "ed25519"], "").public);
    let known =
        scratch.file("known_hosts", "other.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n");
    let repo = Repo::new(&scratch, PATH, &sshd.url(remote.bare()));
    let repo = repo.set("sshPrivKey", scratch.path().join("key").to_str().unwrap()).set("knownHosts", known.to_str().unwrap());
    let _gateway = Gateway::start(&scratch, recorded(&syslog).repo(repo));
    let refused = syslog.wait("hostkey.refused", &[("repo", PATH), ("key_type", "ed25519")]);
    assert_eq!(refused.priority, AUTHPRIV + 1);
    assert!(refused.get("host").unwrap().contains("127.0.0.1:"), "{refused:?}");
    assert!(refused.get("fingerprint").unwrap().starts_with("SHA256:"), "{refused:?}");
    syslog.wait("update.failed", &[("repo", PATH), ("reason", "host_key")]);
}

/// What strangers send, and how many of each.
fn strangers(site: &Site) -> Vec<(Delivery, &'static str)> {
    let push = site.gateway.push(PATH, &site.remote.head());
    let forged = "x\" repo=\"/forged\"] \n<80>1 - - gwg 1 update.ok [gwg@32473 seq=\"9\"]";
    vec![
        (push.clone().body("{}"), "bad_signature"),
        (push.clone().without("X-Hub-Signature-256"), "no_signature"),
        (push.clone().path("/%22%5D%0a%3c80%3e1"), "unknown_path"),
        (push.clone().path("/]\"\\x0a"), "unknown_path"),
        (push.clone().method("PUT"), "method"),
        (push.clone().header("Content-Type", "text/\"]"), "content_type"),
        (push.clone().header("X-Hub-Signature-256", "sha256=\"]\\"), "bad_signature"),
        (push.header("X-GitHub-Delivery", &forged.replace('\n', " ")).without("X-Hub-Signature-256"), "no_signature"),
    ]
}

#[test]
fn a_hostile_run_is_accounted_for_to_the_last_request() {
    let Some((syslog, mut site)) = site() else { return };
    let (port, strangers) = (site.gateway.port(), strangers(&site));
    let ping = Delivery::event(PATH, "ping", &json!({"zen": "\"] forged=\"1"})).sign(support::config::SECRET);
    let push = site.gateway.push(PATH, &site.remote.head());
    let (mut hostile, mut ignored, mut accepted) = (0, 0, 0);
    for round in 0..40 {
        for (stranger, _) in &strangers {
            let answer = stranger.send(port);
            assert!((400..500).contains(&answer.status), "{answer:?}");
            hostile += 1;
        }
        assert_eq!(exchange(port, b"\x00\x01 no HTTP\r\n\r\n").unwrap().status, 400);
        hostile += 1;
        if round % 4 == 0 {
            assert_eq!(ping.send(port).status, 200);
            assert_eq!(push.send(port).status, 202);
            (ignored, accepted) = (ignored + 1, accepted + 1);
        }
    }
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[]);
    syslog.wait("delivery.rejected", &[("reason", "bad_signature"), ("status", "401"), ("repo", PATH)]);
    syslog.wait("reject.summary", &[("reason", "bad_signature"), ("sources", "1")]);
    syslog.wait("delivery.ignored", &[("reason", "ping"), ("event", "ping"), ("repo", PATH)]);
    wait::until_true("the sums are there", || told(&syslog.records()) >= answered(port));
    let records = syslog.records();
    let count = |name: &str| records.iter().filter(|record| record.name == name).count() as u64;
    // The test kit asked, besides, whether gwg answers.
    assert!(answered(port) > hostile + ignored + accepted);
    assert_eq!(told(&records), answered(port));
    assert_eq!((count("delivery.accepted"), count("delivery.ignored")), (accepted, ignored), "a good event was held back");
    assert!(count("reject.summary") > 0 && count("delivery.rejected") < hostile, "nothing was summed up");
    assert_no_hole(&records, SYSLOG);
    most_in_a_second(&records);
    assert!(!records.iter().any(|record| record.get("repo").is_some_and(|repo| repo != PATH)), "a repository that there is not");
    let known: BTreeMap<&str, ()> = strangers.iter().map(|(_, reason)| (*reason, ())).chain([("malformed", ())]).collect();
    for record in records.iter().filter(|record| record.name.starts_with("delivery.rejected") || record.name == "reject.summary") {
        assert!(known.contains_key(record.get("reason").unwrap()), "{record:?}");
    }
    // The log has the same rejections, and no more.
    let lines = site.gateway.log().matching(&["delivery rejected"]).len() as u64;
    assert_eq!(lines, count("delivery.rejected"));
}

#[test]
fn f18_a_syslog_that_is_missing_restarted_or_stuck_holds_nothing_up() {
    let ground = Ground::new();
    let Some(mut syslog) = Syslog::new(&ground.scratch) else { return };
    let repo = ground.repo();
    // The file has what syslog misses.
    let audit = json!({"syslog": true, "socket": syslog.socket(), "file": account::file(&ground.scratch)});
    let mut site = ground.start(Config::new().set("audit", audit).repo(repo));
    site.tree().wait_for(&site.remote.head(), None);
    site.deploy(&[("README", "without a syslog\n")]);
    assert!(syslog.records().is_empty());

    syslog.run();
    syslog.wait("service.start", &[("seq", "1")]);
    syslog.wait("update.ok", &[("cause", "delivery")]);
    for round in 0..3 {
        syslog.end();
        let commit = site.deploy(&[("README", &format!("restarted {round}\n"))]);
        syslog.run();
        syslog.wait("update.ok", &[("new", &commit)]);
    }

    syslog.signal(Signal::SIGSTOP);
    let port = site.gateway.port();
    let push = site.gateway.push(PATH, &site.remote.head());
    // More than the kernel's buffer, the waiting records and the queue hold together.
    flood(port, &push, 202, 40_000);
    site.deploy(&[("README", "stuck\n")]);
    syslog.signal(Signal::SIGCONT);
    let gap = syslog.wait("log.gap", &[("cause", "syslog")]);
    assert!(gap.number("lost") > 0 && gap.priority == DAEMON + 4, "{gap:?}");
    let last = site.deploy(&[("README", "awake\n")]);
    syslog.wait("update.ok", &[("new", &last)]);
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[]);
    let records = syslog.records();
    assert_no_hole(&records, SYSLOG);
    let whole = account::of_file(&std::fs::read_to_string(account::file(&site.scratch)).unwrap());
    // Nothing that syslog missed was another's, and each record that it has is as the file has it.
    let seqs: BTreeMap<u64, &Record> = whole.iter().map(|record| (record.number("seq"), record)).collect();
    for record in &records {
        let same = seqs.get(&record.number("seq")).unwrap_or_else(|| panic!("not in the file: {record:?}"));
        assert_eq!((&record.name, &record.time, record.get("delivery")), (&same.name, &same.time, same.get("delivery")));
    }
    assert_no_hole(&whole, FILE);
    // Where the file's queue was full too, requests are among what was lost; no others are.
    let (told, sent) = (told(&whole), answered(port));
    assert!(told <= sent && sent <= told + lost(&whole, FILE), "{told} told and {} lost of {sent}", lost(&whole, FILE));
}

#[test]
fn a_flood_of_bad_signatures_makes_ten_records_a_second_and_hides_no_good_delivery() {
    let ground = Ground::new();
    let Some(syslog) = Syslog::start(&ground.scratch) else { return };
    let repo = ground.repo();
    let audit = json!({"syslog": true, "socket": syslog.socket(), "file": account::file(&ground.scratch)});
    let mut site = ground.start(Config::new().set("audit", audit).repo(repo));
    syslog.wait("update.ok", &[("repo", PATH)]);
    let (port, push) = (site.gateway.port(), site.gateway.push(PATH, &site.remote.head()));
    let bad = push.clone().sign("another secret, as long as it must be");
    let flooding = std::thread::spawn(move || flood(port, &bad, 401, 60_000));
    let mut good = 0;
    while !flooding.is_finished() {
        assert_eq!(push.send(port).status, 202);
        good += 1;
    }
    flooding.join().unwrap();
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[]);
    let records = syslog.records();
    assert_no_hole(&records, SYSLOG);
    most_in_a_second(&records);
    let of = |name: &'static str| records.iter().filter(move |record| record.name == name);
    assert_eq!(of("delivery.accepted").count(), good, "a good delivery was held back");
    let bad = |record: &&Record| record.get("reason") == Some("bad_signature");
    let alone = of("delivery.rejected").filter(bad).count() as u64;
    let summed: u64 = of("reject.summary").filter(bad).map(|record| record.number("count")).sum();
    assert_eq!(alone + summed, 60_000);
    assert!(of("reject.summary").all(|record| record.get("sources") == Some("1")), "they came from one address");
    account::assert_ended_exact(&site, &[port]);
}

#[test]
fn tag_and_facility_are_the_configuration_s() {
    let ground = Ground::new();
    let Some(syslog) = Syslog::start(&ground.scratch) else { return };
    let repo = ground.repo();
    let audit = json!({"syslog": true, "socket": syslog.socket(), "facility": "local6", "tag": "gwg-web"});
    let _site = ground.start(Config::new().set("audit", audit).repo(repo));
    let record = syslog.wait("service.ready", &[]);
    assert_eq!((record.priority, record.app.as_str()), ((22 << 3) + 5, "gwg-web"));
}

#[test]
fn configurations_are_recorded_and_the_audit_itself_is_reloaded() {
    let ground = Ground::new();
    let Some(syslog) = Syslog::start(&ground.scratch) else { return };
    let repo = ground.repo();
    let config = recorded(&syslog).repo(repo);
    let mut site = ground.start(config.clone());
    syslog.wait("reconcile.end", &[("cause", "start")]);
    let file = site.scratch.path().join("gwg.yaml").to_str().unwrap().to_owned();
    let good = std::fs::read_to_string(&file).unwrap();

    std::fs::write(&file, format!("threadz: 1\n{good}")).unwrap();
    site.gateway.process().signal(Signal::SIGHUP);
    let rejected = syslog.wait("config.rejected", &[("file", &file), ("line", "1"), ("key", "threadz")]);
    assert_eq!((rejected.priority, rejected.get("by")), (AUTHPRIV + 3, Some("gwg")));

    let audit = site.scratch.path().join("audit");
    let more = json!({"syslog": true, "socket": syslog.socket(), "tag": "gwg-two", "file": audit});
    let old = good.lines().find(|line| line.starts_with("audit: ")).unwrap();
    let second = Repo::new(&site.scratch, "/second", &site.daemon.url(site.remote.name()));
    let text = Config::new().repo(second).yaml();
    let second = text.split_once("repos:\n").unwrap().1;
    std::fs::write(&file, good.replace(old, &format!("audit: {more}")) + second).unwrap();
    site.gateway.process().signal(Signal::SIGHUP);
    let loaded = syslog.wait("config.loaded", &[("generation", "2"), ("added", "1"), ("changed", "0"), ("removed", "0")]);
    assert_eq!((loaded.app.as_str(), loaded.get("repos")), ("gwg-two", Some("2")));
    syslog.wait("reconcile.end", &[("cause", "reload"), ("repos", "1"), ("behind", "1")]);
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[]);
    assert_no_hole(&syslog.records(), SYSLOG);
    let lines = std::fs::read_to_string(&audit).unwrap();
    assert!(lines.lines().next().unwrap().contains("config.loaded") && lines.contains("service.stop"), "{lines}");
}

#[test]
fn hooks_are_recorded_with_what_they_print_left_out() {
    let ground = Ground::new();
    let Some(syslog) = Syslog::start(&ground.scratch) else { return };
    let notes = Notes::new(&ground.scratch);
    let forged = "echo '\"] hook.end [gwg@32473 seq=\"1\"'; printf 'line\\n<86>1 - - gwg - update.ok - -\\n'; exit 3";
    let repo = ground.repo().set("hook", notes.hook(forged));
    let mut site = ground.start(recorded(&syslog).set("retry_count", 1).repo(repo));
    let commit = site.remote.head();
    let hook = [("repo", PATH), ("on", "success"), ("commit", commit.as_str())];
    syslog.wait("hook.start", &hook);
    let end = syslog.wait("hook.end", &hook);
    assert_eq!((end.get("exit"), end.get("by")), (Some("3"), Some("gwg")));
    let failed = syslog.wait("hook.failed", &[("repo", PATH), ("new", &commit)]);
    assert_eq!((failed.priority, failed.get("by")), (DAEMON + 3, Some("gwg-worker")));
    site.gateway.stop(Signal::SIGTERM);
    syslog.wait("service.stop", &[]);
    let records = syslog.records();
    assert_no_hole(&records, SYSLOG);
    assert!(records.iter().all(|record| record.fields.iter().all(|(_, value)| !value.contains("32473"))), "a hook's words are in a record");
}

/// The gateway makes each of them, or the test that waits for it fails; tests/upgrade.rs counts those of an upgrade.
#[test]
fn each_event_of_the_page_is_waited_for_by_a_test() {
    let events: Vec<&str> =
        include_str!("../docs/audit-events.md").lines().filter_map(|line| line.strip_prefix("### `")?.split('`').next()).collect();
    assert!(events.len() > 25, "the page is not what it was: {events:?}");
    let source = include_str!("audit.rs");
    let upgrade = include_str!("upgrade.rs");
    let prune = include_str!("prune.rs");
    let is_seen = |event: &str| {
        source.contains(&format!("syslog.wait(\"{event}\", "))
            || upgrade.contains(&format!("named(\"{event}\")"))
            || prune.contains(&format!("\\\"{event}\\\""))
    };
    let unseen: Vec<&&str> = events.iter().filter(|event| !is_seen(event)).collect();
    assert!(unseen.is_empty(), "no test waits for {unseen:?}");
}
