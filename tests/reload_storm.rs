//! Storms: signals by the thousand, configurations that are broken in every way, processes that hang or die
//! again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::account;
use support::config::{Config, Repo};
use support::delivery::Delivery;
use support::gateway;
use support::site::{Ground, PATH, Site};
use support::wait;

/// Within so long an end must come, whatever else comes with it.
const END: Duration = Duration::from_secs(15);

fn storm(site: &mut Site, signals: impl Iterator<Item = Signal>) {
    let (supervisor, children) = (site.gateway.process(), site.gateway.process().descendants());
    let start = Instant::now();
    for signal in signals {
        if !supervisor.alive() {
            break;
        }
        supervisor.try_signal(signal);
    }
    assert_eq!(site.gateway.wait().code(), Some(0));
    assert!(start.elapsed() < END, "took {:?}", start.elapsed());
    assert!(children.iter().all(|child| !child.alive()), "a child outlived it");
}

#[test]
fn f26_a_thousand_sighups_are_a_few_reloads_and_lose_nothing() {
    let mut site = Site::audited();
    let supervisor = site.gateway.process();
    for number in 0..1000 {
        supervisor.signal(Signal::SIGHUP);
        if number % 100 == 0 {
            site.gateway.deliver(PATH, &site.remote.head());
        }
    }
    site.gateway.log().wait(&["config unchanged"]);
    site.deploy(&[("README", "second\n")]);
    assert_eq!(site.gateway.log().matching(&["process started"]).iter().filter(|line| !line.contains("updater")).count(), 2);
    account::assert_exact(&mut site);
}

#[test]
fn f26_sighups_between_changes_end_with_the_last_change_in_force() {
    let mut site = Site::audited();
    let config = site.gateway.config().clone();
    let supervisor = site.gateway.process();
    for number in 0..30 {
        let repo = Repo::new(&site.scratch, &format!("/{number}"), &site.daemon.url(site.remote.name()));
        site.gateway.write(config.clone().repo(repo));
        (0..20).for_each(|_| supervisor.signal(Signal::SIGHUP));
    }
    let status = |path: &str| Delivery::event(path, "ping", &serde_json::json!({})).method("GET").send(site.gateway.port()).status;
    wait::until_true("the last change is in force", || status("/29") == 405);
    assert_eq!((status("/28"), status(PATH)), (404, 405));
    // Listeners that were replaced are gone.
    wait::until_true("one listener is left", || supervisor.children().iter().filter(|child| child.name() == "gwg-listener").count() == 1);
    site.deploy(&[("README", "second\n")]);
    account::assert_exact(&mut site);
}

#[test]
fn f26_a_thousand_sigterms_end_it_well() {
    let mut site = Site::new();
    storm(&mut site, (0..1000).map(|_| Signal::SIGTERM));
}

#[test]
fn f26_any_mix_of_signals_ends_it_well() {
    let mut site = Site::new();
    let config = site.gateway.config().clone();
    let repo = Repo::new(&site.scratch, "/second", &site.daemon.url(site.remote.name()));
    site.gateway.write(config.repo(repo));
    let all = [Signal::SIGHUP, Signal::SIGHUP, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT];
    storm(&mut site, (0..3000).map(|number: usize| if number < 50 { Signal::SIGHUP } else { all[number * 7 % all.len()] }));
}

#[test]
fn f26_sighup_during_the_start_does_not_end_it() {
    let mut site = Site::new();
    let before = site.gateway.log().mark();
    site.gateway.restart_under(Signal::SIGHUP);
    site.gateway.log().wait_after(before, &["ready"]);
    site.deploy(&[("README", "second\n")]);
}

/// One change somewhere in the text, the same for the same number.
fn mutated(text: &str, number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut chance = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = chance(lines.len());
    let place = chance(lines[line].len());
    match chance(7) {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => lines.truncate(line),
        3 => lines[line].insert(place, ['{', ':', '\t', '"', '-', '\u{7f}', 'é'][chance(7)]),
        4 => drop(lines[line].remove(place)),
        5 => lines[line] = lines[line].replacen(": ", ": -", 1),
        _ => lines[line] = lines[line].to_uppercase(),
    }
    lines.join("\n") + "\n"
}

/// What the repositories are; the global keys stay, so that the test still finds the gateway and its log.
fn with_mutated_repos(text: &str, number: u64) -> String {
    let (head, repos) = text.split_at(text.find("repos:").unwrap());
    format!("{head}{}", mutated(repos, number))
}

#[test]
fn f14_two_hundred_mutated_configurations_at_a_reload_are_in_force_in_whole_or_not_at_all() {
    let mut site = Site::new();
    let repo = Repo::new(&site.scratch, "/second", &site.daemon.url(site.remote.name()));
    let good = site.gateway.config().clone().repo(repo).set("threads", 2);
    site.gateway.reload(good.clone());
    let worker = site.gateway.child("gwg-worker");
    let status = |path: &str| Delivery::event(path, "ping", &serde_json::json!({})).method("GET").send(site.gateway.port()).status;
    let (mut taken, mut refused) = (0, 0);
    for number in 0..200 {
        // Never the one in force: each is either loaded or refused.
        let text = with_mutated_repos(&good.clone().set("threads", 3).yaml(), number);
        let judged = judge(&site, &text);
        let mark = site.gateway.log().mark();
        site.scratch.file("gwg.yaml", &text);
        site.gateway.process().signal(Signal::SIGHUP);
        let lines = || site.gateway.log().lines().into_iter().skip(mark).filter(|line| line.contains(" config ")).collect::<Vec<_>>();
        let loaded = |line: &String| line.contains("config loaded");
        wait::until_true("the reload ends", || lines().iter().any(|line| loaded(line) || line.contains("still is")));
        let said = lines();
        assert_eq!(said.iter().any(loaded), judged, "{said:?}\n{text}");
        if judged {
            taken += 1;
        } else {
            refused += 1;
            // Why, and where.
            assert!(said.iter().any(|line| line.contains("reason=") && line.contains("gwg.yaml")), "{said:?}");
            assert_eq!((status(PATH), status("/second")), (405, 405), "{text}");
        }
        if judged {
            let mark = site.gateway.log().mark();
            site.scratch.file("gwg.yaml", &good.yaml());
            site.gateway.process().signal(Signal::SIGHUP);
            site.gateway.log().wait_after(mark, &["config loaded"]);
        }
    }
    assert!(taken >= 10 && refused >= 50, "{taken} taken, {refused} refused: the mutations show nothing");
    assert_eq!(site.gateway.child("gwg-worker"), worker);
    site.scratch.file("gwg.yaml", &good.yaml());
    site.gateway.process().signal(Signal::SIGHUP);
    site.deploy(&[("README", "second\n")]);
}

/// What `gwg check` says of a configuration.
fn judge(site: &Site, text: &str) -> bool {
    let file = site.scratch.file("judged.yaml", text);
    let status = gateway::run(&site.scratch, &["check", "--config", file.to_str().unwrap()]).status;
    match status.code() {
        Some(0) => true,
        Some(78) => false,
        other => panic!("gwg check ended with {other:?} for:\n{text}"),
    }
}

#[test]
fn f14_two_hundred_mutated_configurations_at_the_start_are_refused_with_their_place_or_are_good() {
    let ground = Ground::new();
    // Nothing that is good is started, so nobody listens there.
    let good = Config::new().set("port", 5555).repo(ground.repo()).repo(ground.repo_at("/second"));
    let (mut taken, mut refused) = (0, 0);
    for number in 0..200 {
        let file = ground.scratch.file("mutated.yaml", &with_mutated_repos(&good.yaml(), number));
        let arguments = ["--config", file.to_str().unwrap()];
        if gateway::run(&ground.scratch, &["check", arguments[0], arguments[1]]).status.success() {
            taken += 1;
            continue;
        }
        refused += 1;
        let output = gateway::run(&ground.scratch, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        // The file, and the line or the key.
        let place = said.split("mutated.yaml").nth(1).unwrap_or_default();
        assert!(place.starts_with(':') || place.contains("repos"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(taken >= 10 && refused >= 50, "{taken} taken, {refused} refused: the mutations show nothing");
}

#[test]
fn f5_a_worker_that_hangs_is_answered_503_for_and_replaced() {
    let mut site = Site::audited();
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGSTOP);
    let commit = site.remote.publish(&[("README", "second\n")]);
    assert_eq!(site.gateway.push(PATH, &commit).send(site.gateway.port()).status, 503);
    let twice = wait::LONG * 2;
    wait::within(twice, "the worker is replaced", || (!worker.alive()).then_some(()));
    site.gateway.log().wait(&["has not answered", "role=gwg-worker"]);
    // What was not acknowledged was kept; and the next worker compares everything.
    site.tree().wait_for(&commit, None);
    site.deploy(&[("README", "third\n")]);
    account::assert_exact(&mut site);
}

#[test]
fn f5_a_listener_that_hangs_is_replaced_and_who_waits_is_answered() {
    let site = Site::new();
    let listener = site.gateway.child("gwg-listener");
    listener.signal(Signal::SIGSTOP);
    let commit = site.remote.publish(&[("README", "second\n")]);
    let (push, port) = (site.gateway.push(PATH, &commit), site.gateway.port());
    let twice = wait::LONG * 2;
    wait::within(twice, "the listener is replaced", || (!listener.alive()).then_some(()));
    assert_eq!(push.send(port).status, 202);
    site.tree().wait_for(&commit, None);
}

#[test]
fn f27_a_process_that_dies_again_and_again_is_called_degraded() {
    let site = Site::new();
    let mut listener = site.gateway.child("gwg-listener");
    for _ in 0..5 {
        listener.kill();
        listener = site.gateway.child_other_than("gwg-listener", &[listener]);
        site.gateway.log().wait(&["process confined", &format!("pid={} ", listener.pid())]);
    }
    site.gateway.log().wait(&["degraded", "role=gwg-listener", "restarts=5"]);
    site.deploy(&[("README", "second\n")]);
}

/// Where times are written down for people, and nothing is timed by them; and where files on disk are aged, by days and
/// weeks, over any number of restarts: only the wall's clock goes on from one boot to the next.
const STAMPS: [&str; 7] = [
    "src/updater/trigger.rs",
    "src/cli/demo/",
    "src/audit/",
    "src/ids/moment.rs",
    "src/supervisor/journal.rs",
    "src/supervisor/lines.rs",
    "src/updater/gc/",
];

/// A clock that is set must move no deadline, no retry and no restart: they all go by the monotonic one.
/// The other may stand where something is stamped: a file, a record, a state that people read.
#[test]
fn f17_no_timer_goes_by_the_clock_on_the_wall() {
    let mut named = Vec::new();
    look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut named);
    let allowed = |path: &String| STAMPS.iter().any(|place| path.contains(place)) || path.contains("/tests");
    named.retain(|path| !allowed(path));
    assert_eq!(named, [""; 0], "these name SystemTime");
}

fn look(directory: &Path, named: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            look(&path, named);
        } else if fs::read_to_string(&path).is_ok_and(|text| text.contains("SystemTime") || text.contains("CLOCK_REALTIME")) {
            named.push(path.display().to_string());
        }
    }
}
