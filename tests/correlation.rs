//! From a delivery's id to what it changed: in the records of a real syslog daemon, and in what
//! `gwg log --delivery` shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::config::{Config, SECRET};
use support::delivery::{Delivery, push_payload};
use support::gateway;
use support::hook::Notes;
use support::loopback::Mode;
use support::site::{Ground, PATH, Site};
use support::syslog::{Record, Syslog};
use support::wait;

/// A delivery of its own, by somebody.
fn push(site: &Site, id: u8, commit: &str, pusher: &Value) -> String {
    let id = format!("00000000-0000-4000-8000-0000000000{id:02x}");
    let repo = site.gateway.config().repo_at(PATH);
    let mut payload = push_payload(repo.text("url").unwrap(), &repo.ref_name(), &"0".repeat(40), commit);
    payload["pusher"] = pusher.clone();
    let answer = Delivery::event(PATH, "push", &payload).header("X-GitHub-Delivery", &id).sign(SECRET).send(site.gateway.port());
    assert_eq!(answer.status, 202, "{answer:?}");
    // The listener's word of it may come a moment after the answer.
    site.gateway.wait_for_log(0, PATH, &["delivery accepted", &id]);
    id
}

fn shown(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = gateway::run(&site.scratch, &[&["log"], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The objects that `gwg log --delivery ID --json` shows, by their kinds.
fn chain(site: &Site, id: &str) -> Vec<(String, Value)> {
    let (status, out, err) = shown(site, &["--delivery", id, "--json"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let objects = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects.flat_map(|object| object["what"].as_object().unwrap().clone()).collect()
}

fn kinds(chain: &[(String, Value)]) -> Vec<&str> {
    chain.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// The records of a kind that belong to this update.
fn of_update<'a>(records: &'a [Record], name: &str, update: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.is(name, &[("repo", PATH), ("update", update)])).collect()
}

#[test]
fn several_deliveries_find_the_one_update_that_answered_them_its_trigger_and_its_hook() {
    let ground = Ground::new();
    let Some(syslog) = Syslog::start(&ground.scratch) else { return };
    let notes = Notes::new(&ground.scratch);
    let repo = ground.repo().set("hook", notes.hook("exit 0"));
    let audit = json!({"syslog": true, "socket": syslog.socket()});
    let mut site = ground.start(Config::new().set("audit", audit).set("retry_delay", 3).repo(repo));
    syslog.wait("hook.end", &[("repo", PATH), ("exit", "0")]);
    let before = site.remote.head();

    // One update has failed; the deliveries that come until the next try are served by that.
    let after = site.remote.publish(&[("README", "two\n")]);
    site.daemon.set(Mode::HangUp);
    let first = push(&site, 1, &after, &json!({"name": "ada-f", "email": "ada@lantern.example"}));
    syslog.wait("update.failed", &[("delivery", &first)]);
    let forged = "x\" seq=\"1\"]\n<86>1 - - gwg - update.ok - \u{202e}".repeat(9);
    let pushers = [json!({"name": "grace"}), json!({"name": forged}), json!(7)];
    let mut ids: Vec<String> = pushers.iter().enumerate().map(|(at, pusher)| push(&site, 10 + at as u8, &after, pusher)).collect();
    ids.push(first);
    site.daemon.set(Mode::Serve);
    let ended = syslog.wait("hook.end", &[("repo", PATH), ("commit", &after)]);

    // From syslog alone.
    let records = syslog.records();
    let accepted: Vec<&Record> =
        ids.iter().map(|id| records.iter().find(|record| record.is("delivery.accepted", &[("delivery", id)])).unwrap()).collect();
    let update = ended.get("update").unwrap();
    for accepted in &accepted {
        assert_eq!((accepted.name.as_str(), accepted.get("update")), ("delivery.accepted", Some(update)), "{accepted:?}");
    }
    let ok = of_update(&records, "update.ok", update);
    assert_eq!(ok.len(), 1, "{ok:?}");
    assert_eq!((ok[0].get("old"), ok[0].get("new")), (Some(before.as_str()), Some(after.as_str())));
    for name in ["trigger.touched", "hook.start", "hook.end"] {
        assert_eq!(of_update(&records, name, update).len(), 1, "{name} of {update}");
    }
    assert_eq!(accepted[0].get("claimed_pusher"), Some("grace"));
    let claimed = accepted[1].get("claimed_pusher").unwrap();
    assert!(claimed.starts_with("x\" seq=\"1\"]\\x0a<86>1") && claimed.ends_with("...") && claimed.len() <= 64, "{claimed:?}");
    assert_eq!((accepted[2].get("claimed_pusher"), accepted[3].get("claimed_pusher")), (None, Some("ada-f")));

    // By the command, now and after a restart.
    for restarted in [false, true] {
        if restarted {
            site.gateway.restart();
        }
        for (id, pusher) in ids.iter().zip([Some("grace"), Some(claimed), None, Some("ada-f")]) {
            let chain = chain(&site, id);
            let mut kinds = kinds(&chain);
            kinds.retain(|kind| *kind != "update");
            assert_eq!((kinds.as_slice(), chain.last().unwrap().0.as_str()), (&["delivery", "hook"][..], "hook"), "{chain:?}");
            let delivery = &chain.iter().find(|(kind, _)| kind == "delivery").unwrap().1;
            let (_, hook) = chain.last().unwrap();
            assert!(chain.iter().any(|(_, what)| what["result"]["failed"].is_object()), "{chain:?}");
            assert_eq!(delivery["id"], id.as_str());
            assert_eq!(delivery["claimed_pusher"].as_str(), pusher);
            assert_eq!(delivery["result"]["accepted"]["update"], update);
            let current = &chain[chain.len() - 2].1["result"]["current"];
            assert_eq!((&current["old"], &current["new"], &current["triggered"]), (&json!(before), &json!(after), &json!(true)));
            assert_eq!((&hook["update"], &hook["end"]), (&json!(update), &json!({"exited": 0})));
        }
        let (_, text, _) = shown(&site, &["--delivery", &ids[0]]);
        let lines: Vec<&str> = text.lines().collect();
        let has = |words: &[&str]| assert!(lines.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} in {text}");
        has(&["127.0.0.1", "the payload claims that grace pushed"]);
        has(&["failed at fetch"]);
        has(&[&format!("{} to {}", &before[..10], &after[..10]), "trigger touched"]);
        has(&["on success", "exit 0"]);
        assert!(lines.iter().all(|line| line.contains(&format!("[update {update}]"))), "{text}");
    }
    site.gateway.stop(Signal::SIGTERM);
}

#[test]
fn where_an_update_that_was_under_way_brought_the_commit_the_chain_has_it() {
    let site = Site::new();
    let before = site.remote.head();
    site.daemon.set(Mode::Hold);
    let held = push(&site, 1, &before, &json!({"name": "ada-f"}));
    site.gateway.wait_for_log(0, PATH, &["update started", &held]);
    let after = site.remote.publish(&[("README", "two\n")]);
    let late = push(&site, 2, &after, &json!({"name": "ada-f"}));
    site.daemon.set(Mode::Serve);
    // It is served by an update of its own, which finds that the one before has brought its commit.
    site.gateway.wait_for_log(0, PATH, &["nothing new", &late]);
    wait::until_true("both updates are in its chain", || {
        let chain = chain(&site, &late);
        let current = chain.iter().filter_map(|(_, what)| what["result"]["current"].as_object());
        let pairs: Vec<(&Value, &Value)> = current.map(|current| (&current["old"], &current["new"])).collect();
        pairs == [(&json!(before), &json!(after)), (&json!(after), &json!(after))]
    });
    assert_eq!(chain(&site, &held).len(), 2, "its own update, and no other");
}

#[test]
fn what_failed_first_is_in_the_chain_and_so_is_the_restart_that_answered_it() {
    let mut site = Site::new();
    let commit = site.remote.publish(&[("README", "two\n")]);
    site.daemon.set(Mode::HangUp);
    let id = push(&site, 1, &commit, &json!(null));
    wait::until_true("it has failed", || chain(&site, &id).len() > 1);
    let (_, text, _) = shown(&site, &["--delivery", &id]);
    assert!(text.contains("failed at fetch"), "{text}");
    // The mark goes with the worker; the next one compares, and that answers the delivery.
    site.gateway.child("gwg-worker").kill();
    site.daemon.set(Mode::Serve);
    site.tree().wait_for(&commit, None);
    let answered = |chain: &[(String, Value)]| chain.last().is_some_and(|(_, last)| last["result"]["current"]["new"] == commit.as_str());
    wait::until_true("it is answered", || answered(&chain(&site, &id)));
    site.gateway.restart();
    let all = chain(&site, &id);
    assert!(answered(&all) && all.len() > 2, "{all:?}");
    assert_eq!(all[0].0, "delivery");
    assert!(all[1..all.len() - 1].iter().all(|(kind, update)| kind == "update" && update["result"]["failed"].is_object()), "{all:?}");
}

#[test]
fn an_id_that_never_came_or_is_none_is_told_so() {
    let site = Site::new();
    let (status, out, err) = shown(&site, &["--delivery", "00000000-0000-4000-8000-000000000099"]);
    assert_eq!((status, out.as_str()), (Some(66), ""));
    assert!(err.contains("no delivery 00000000-0000-4000-8000-000000000099 is remembered") && err.lines().count() == 1, "{err}");
    let (status, _, err) = shown(&site, &["--delivery", "latest"]);
    assert_eq!(status, Some(2));
    assert!(err.contains("is a UUID"), "{err}");
}
