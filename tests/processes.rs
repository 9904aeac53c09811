//! The processes: each may die at any time and nothing is lost; all end with the supervisor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use support::config::Config;
use support::loopback::Mode;
use support::processes::Process;
use support::site::{Ground, PATH, Site};
use support::wait;

/// Connects again and again; says at the end how often, and which of the attempts failed.
struct Knocking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<ErrorKind>)>,
}

impl Knocking {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ours = stop.clone();
        let thread = thread::spawn(move || {
            let (mut count, mut failed) = (0, Vec::new());
            while !ours.load(Ordering::Relaxed) {
                count += 1;
                failed.extend(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).err().map(|error| error.kind()));
                thread::sleep(Duration::from_millis(1));
            }
            (count, failed)
        });
        Self { stop, thread }
    }

    fn assert_none_refused(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (count, failed) = self.thread.join().unwrap();
        assert!(count > 0);
        assert_eq!(failed, [], "of {count} connections");
    }
}

/// A site whose update is running and can't go on until the remote is let go; and the commit.
fn mid_update() -> (Site, String) {
    let site = Site::new();
    let commit = site.deliver_held_up(PATH);
    (site, commit)
}

#[test]
fn a_killed_listener_comes_back_and_no_connection_is_refused() {
    let site = Site::new();
    let knocking = Knocking::start(site.gateway.port());
    for number in 0..3 {
        let listener = site.gateway.child("gwg-listener");
        listener.kill();
        // At once: the supervisor's socket takes it until the next listener is there.
        site.deploy(&[("README", &format!("{number}\n"))]);
        site.gateway.child_other_than("gwg-listener", &[listener]);
    }
    knocking.assert_none_refused();
}

#[test]
fn a_killed_worker_comes_back_and_no_connection_is_refused() {
    let site = Site::new();
    let knocking = Knocking::start(site.gateway.port());
    let worker = site.gateway.child("gwg-worker");
    worker.kill();
    site.deploy(&[("README", "second\n")]);
    site.gateway.child_other_than("gwg-worker", &[worker]);
    knocking.assert_none_refused();
}

#[test]
fn a_commit_acknowledged_by_a_worker_that_dies_is_deployed_all_the_same() {
    let (site, commit) = mid_update();
    let before = site.tree().touched();
    let updater = site.gateway.child("gwg-updater");
    site.gateway.child("gwg-worker").kill();
    // The supervisor ends the updaters of a worker that died.
    updater.wait_until_gone();
    site.daemon.set(Mode::Serve);
    site.tree().wait_for(&commit, before);
}

#[test]
fn a_first_push_acknowledged_by_a_worker_that_dies_clones_all_the_same() {
    let ground = Ground::new();
    ground.daemon.set(Mode::Hold);
    let config = Config::new().set("initialise", false).set("threads", 1).repo(ground.repo()).repo(ground.repo_at("/next"));
    let site = ground.start(config);
    let commit = site.remote.head();
    site.gateway.deliver(PATH, &commit);
    site.daemon.server().wait_for_more_than(0);
    // The only thread is taken: of this push nothing but its mark is there.
    site.gateway.deliver("/next", &commit);
    site.gateway.child("gwg-worker").kill();
    site.daemon.set(Mode::Serve);
    site.gateway.tree("/next").wait_for(&commit, None);
}

#[test]
fn a_killed_updater_is_replaced() {
    let (site, commit) = mid_update();
    let before = site.tree().touched();
    for updater in site.gateway.process().children().into_iter().filter(|child| child.name() == "gwg-updater") {
        updater.kill();
    }
    site.daemon.set(Mode::Serve);
    site.tree().wait_for(&commit, before);
    site.gateway.wait_for_log(0, PATH, &["update failed", "reason=crashed"]);
}

#[test]
fn f3_no_child_outlives_a_killed_supervisor() {
    let (mut site, commit) = mid_update();
    let supervisor = site.gateway.process();
    let children = supervisor.descendants();
    for name in ["gwg-listener", "gwg-worker", "gwg-updater"] {
        assert!(children.iter().any(|child| child.name() == name), "no {name} among the children");
    }
    supervisor.signal(Signal::SIGKILL);
    wait::within(Duration::from_secs(1), "all children are gone", || children.iter().all(|child| !child.alive()).then_some(()));

    // The next start heals.
    let before = site.tree().touched();
    site.daemon.set(Mode::Serve);
    site.gateway.restart();
    site.tree().wait_for(&commit, before);
}

#[test]
fn both_signals_end_all_with_success() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut site = Site::new();
        let children = site.gateway.process().descendants();
        assert!(children.len() >= 2);
        let (status, took) = site.gateway.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(took < Duration::from_secs(5), "{signal}: took {took:?}");
        assert!(children.iter().all(|child| !child.alive()), "{signal}: a child outlived it");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, site.gateway.port())).is_err(), "{signal}: still listens");
    }
}

#[test]
fn a_running_update_may_finish_before_the_end() {
    let (mut site, commit) = mid_update();
    let (supervisor, before) = (site.gateway.process(), site.tree().touched());
    supervisor.signal(Signal::SIGTERM);
    site.daemon.set(Mode::Serve);
    assert_eq!(site.gateway.wait().code(), Some(0));
    assert_eq!(site.tree().head(), Some(commit));
    assert_ne!(site.tree().touched(), before);
    site.tree().assert_healthy();
}

#[test]
fn an_update_that_does_not_finish_does_not_hold_up_the_end() {
    let (mut site, commit) = mid_update();
    let children = site.gateway.process().descendants();
    let (status, took) = site.gateway.stop(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_millis(6500), "took {took:?}");
    assert!(children.iter().all(|child| !child.alive()), "a child outlived it");
    assert_ne!(site.tree().head(), Some(commit.clone()));

    let before = site.tree().touched();
    site.daemon.set(Mode::Serve);
    site.gateway.restart();
    site.tree().wait_for(&commit, before);
}

#[test]
fn starts_and_ends_of_processes_are_logged() {
    let site = Site::new();
    let worker = site.gateway.child("gwg-worker");
    site.gateway.log().wait(&["process started", "role=gwg-worker", &format!("pid={}", worker.pid())]);
    let mark = site.gateway.log().mark();
    worker.kill();
    site.gateway.log().wait_after(mark, &["process died", "role=gwg-worker", "signal 9", &format!("pid={}", worker.pid())]);
    let next: Process = site.gateway.child_other_than("gwg-worker", &[worker]);
    site.gateway.log().wait_after(mark, &["process started", "role=gwg-worker", &format!("pid={}", next.pid())]);
}
