//! Figures for Prometheus and `/healthz`, over a real socket; the dashboard and the alert rules that are
//! shipped; and those who ask badly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use support::config::Config;
use support::gateway;
use support::loopback::Mode;
use support::site::{Ground, PATH, Site};
use support::wait;

/// A site that serves figures, and their port.
fn site(alert_after: &str) -> (Site, u16) {
    for _ in 0..10 {
        let ground = Ground::new();
        // Free a moment ago; where another test was faster, gwg says so and another is tried.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = Config::new().repo(ground.repo()).set("metrics", serde_json::json!({ "port": port })).set("alert_after", alert_after);
        let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ground.start(config)));
        if let Ok(site) = started {
            site.gateway.wait_for_log(0, PATH, &["update ok"]);
            return (site, port);
        }
    }
    panic!("found no free port");
}

fn ask(port: u16, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // One that is sent away may be reset.
    let end = stream.read_to_string(&mut answer);
    let Some(status) = answer.split(' ').nth(1).and_then(|status| status.parse().ok()) else { return (0, format!("{end:?}: {answer:?}")) };
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn get(port: u16, path: &str) -> (u16, String) {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// Each line's name with its labels, and its value.
fn figures(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
        })
        .collect()
}

fn wait_for(port: u16, what: &str, wanted: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    wait::until(what, || Some(figures(&get(port, "/metrics").1)).filter(|figures| wanted(figures)))
}

#[test]
fn figures_count_what_happens() {
    let (site, port) = site("15m");
    site.deploy(&[("page", "two")]);
    assert_eq!(
        site.gateway.push(PATH, &site.remote.head()).header("X-Hub-Signature-256", "sha256=00").send(site.gateway.port()).status,
        401
    );
    let figures = wait_for(port, "the deliveries are counted", |figures| {
        figures.get("gwg_deliveries_total{result=\"accepted\",reason=\"\"}") == Some(&1.0)
            && figures.get("gwg_deliveries_total{result=\"rejected\",reason=\"bad_signature\"}") == Some(&1.0)
            && figures.get("gwg_updates_total{result=\"deployed\",reason=\"\"}") == Some(&2.0)
    });
    for (name, value) in [
        ("gwg_repos", 1.0),
        ("gwg_worker_up", 1.0),
        ("gwg_update_seconds_count", 2.0),
        ("gwg_repo_failing_seconds{repo=\"/site\"}", 0.0),
        ("gwg_process_up{process=\"gwg-listener\"}", 1.0),
        ("gwg_process_confined{process=\"gwg-worker\",layer=\"privileges\"}", 1.0),
    ] {
        assert_eq!(figures.get(name), Some(&value), "{name} in {figures:#?}");
    }
    assert_eq!(figures["gwg_delivery_seconds_bucket{le=\"+Inf\"}"], figures["gwg_delivery_seconds_count"]);
    assert!(figures.contains_key("gwg_repo_current_age_seconds{repo=\"/site\"}"));
    let output = gateway::run(&site.scratch, &["status", "--prometheus"]);
    let same: BTreeSet<String> = self::figures(std::str::from_utf8(&output.stdout).unwrap()).into_keys().collect();
    assert!(figures.keys().all(|name| same.contains(name)), "{same:?}");
}

#[test]
fn health_is_bad_while_the_worker_is_away_and_while_a_repository_fails_for_too_long() {
    let (site, port) = site("1s");
    assert_eq!(get(port, "/healthz"), (200, "ok\n".to_owned()));
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGSTOP);
    let (_, body) = wait::until("health is bad", || Some(get(port, "/healthz")).filter(|(status, _)| *status == 503));
    assert!(body.contains("gwg-worker"), "{body}");
    worker.signal(Signal::SIGCONT);
    wait::until("health is good again", || Some(()).filter(|()| get(port, "/healthz").0 == 200));
    site.daemon.set(Mode::HangUp);
    site.gateway.deliver(PATH, &site.remote.head());
    let (_, body) = wait::until("health is bad", || Some(get(port, "/healthz")).filter(|(status, _)| *status == 503));
    assert!(body.contains("1 failing"), "{body}");
    site.daemon.set(Mode::Serve);
    wait::until("health is good again", || Some(()).filter(|()| get(port, "/healthz").0 == 200));
}

#[test]
fn who_asks_badly_is_told_so_and_holds_up_nobody() {
    let (site, port) = site("15m");
    for (request, status) in [
        ("GET /hooks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), 405),
        ("\0\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000)), 0),
    ] {
        let (got, _) = ask(port, &request);
        // A header without end is cut off, with or without a word.
        assert!(got == status || (status == 0 && got >= 400), "{got} for {:?}", request.get(..40));
    }
    // Deliveries are not served there, nor figures where deliveries are.
    let here = site.gateway.push(PATH, &site.remote.head()).send(port);
    assert_eq!(here.status, 404, "{here:?}");
    assert_eq!(get(site.gateway.port(), "/metrics").0, 404);
    let idle: Vec<TcpStream> = (0..100).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    let commit = site.remote.publish(&[("page", "two")]);
    site.gateway.deploy(PATH, &commit);
    wait::until("an honest scrape is answered while they are connected", || Some(()).filter(|()| get(port, "/metrics").0 == 200));
    assert_eq!(idle.len(), 100);
}

#[test]
fn a_killed_listener_costs_no_scrape_for_long_and_the_counters_go_on() {
    let (site, port) = site("15m");
    site.deploy(&[("page", "two")]);
    wait_for(port, "the delivery is counted", |figures| figures.get("gwg_deliveries_total{result=\"accepted\",reason=\"\"}") == Some(&1.0));
    site.gateway.child("gwg-listener").kill();
    let figures = wait_for(port, "the restart is counted", |figures| {
        figures.get("gwg_process_restarts_total{process=\"gwg-listener\"}") == Some(&1.0)
    });
    assert_eq!(figures["gwg_deliveries_total{result=\"accepted\",reason=\"\"}"], 1.0);
}

#[test]
fn a_reload_moves_the_figures_and_takes_them_away() {
    let (site, port) = site("15m");
    let config = site.gateway.config().clone().set("port", site.gateway.port());
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.scratch.file("gwg.yaml", &config.clone().set("metrics", serde_json::json!({ "port": other })).yaml());
    wait::until("the figures have moved", || Some(()).filter(|()| TcpStream::connect(("127.0.0.1", other)).is_ok()));
    let answer = get(other, "/healthz");
    assert_eq!(answer.0, 200, "{answer:?}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the old port still listens");
    site.scratch.file("gwg.yaml", &config.set("metrics", serde_json::json!({})).yaml());
    wait::until("the figures are gone", || Some(()).filter(|()| TcpStream::connect(("127.0.0.1", other)).is_err()));
}

/// Every word in a text that begins as a metric does.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("gwg_")).map(str::to_owned).collect()
}

fn monitoring(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring").join(name)).unwrap()
}

#[test]
fn dashboard_and_alert_rules_name_only_what_is_served() {
    let (site, port) = site("15m");
    site.deploy(&[("page", "two")]);
    let (_, text) = get(port, "/metrics");
    let served: BTreeSet<String> = figures(&text).keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
    // Each has its kind and its help, once.
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = line.split_once(' ').unwrap();
        assert_eq!(text.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
    }
    for (file, least) in [("grafana-dashboard.json", 12), ("alerts.yaml", 7)] {
        let used = named(&monitoring(file));
        assert!(used.len() >= least, "{file} names {used:?}");
        for name in used {
            assert!(served.contains(&name), "{file} names {name}, which is not served:\n{text}");
        }
    }
    let dashboard: Value = serde_json::from_str(&monitoring("grafana-dashboard.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            assert!(!named(target["expr"].as_str().unwrap()).is_empty(), "{panel}");
        }
    }
}
