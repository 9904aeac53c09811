//! Another configuration comes into force while gwg runs: in whole or not at all, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::thread::{self, sleep};
use std::time::Duration;
use support::account;
use support::config::{Config, Repo, SECRET};
use support::delivery::Delivery;
use support::gateway;
use support::loopback::Mode;
use support::need;
use support::pushing::{Pushed, Pushing};
use support::remote::Remote;
use support::scratch;
use support::site::{Ground, PATH, Site};
use support::wait;

/// Another repository of the site's remote.
fn another(site: &Site, path: &str) -> Repo {
    Repo::new(&site.scratch, path, &site.daemon.url(site.remote.name()))
}

/// What a path answers to a request that is no delivery: 405 where there is a repository, 404 where none.
fn status(site: &Site, path: &str) -> u16 {
    Delivery::event(path, "ping", &serde_json::json!({})).method("GET").send(site.gateway.port()).status
}

#[test]
fn sighup_brings_another_configuration_into_force() {
    let mut site = Site::new();
    let config = site.gateway.config().clone().repo(another(&site, "/second"));
    let line = site.gateway.reload(config);
    assert!(line.contains("generation=2") && line.contains("added=1"), "{line}");
    assert!(line.contains("removed=0") && line.contains("changed=0"), "{line}");
    // It is cloned, and serves.
    site.gateway.tree("/second").wait_for(&site.remote.head(), None);
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deploy("/second", &commit);
    site.gateway.deploy(PATH, &commit);
}

#[test]
fn sighup_without_a_change_changes_nothing() {
    let site = Site::new();
    let children = site.gateway.process().children();
    let mark = site.gateway.log().mark();
    site.gateway.process().signal(Signal::SIGHUP);
    site.gateway.log().wait_after(mark, &["config unchanged", "generation=1"]);
    assert_eq!(site.gateway.process().children(), children);
}

#[test]
fn what_is_to_be_cloned_from_now_on_is_cloned() {
    let ground = Ground::new();
    let config = Config::new().set("initialise", false).repo(ground.repo());
    let mut site = ground.start(config);
    let config = site.gateway.config().clone().set("initialise", true);
    let line = site.gateway.reload(config);
    assert!(line.contains("changed=1"), "{line}");
    site.tree().wait_for(&site.remote.head(), None);
}

#[test]
fn what_was_removed_is_unknown_and_its_tree_stays() {
    let ground = Ground::new();
    let config = Config::new().repo(ground.repo()).repo(ground.repo_at("/second"));
    let mut site = ground.start(config);
    let tree = site.gateway.tree("/second");
    tree.wait_for(&site.remote.head(), None);
    let config = site.gateway.config().clone().without_repo("/second");
    let line = site.gateway.reload(config);
    assert!(line.contains("removed=1"), "{line}");
    wait::until_true("the path is unknown", || status(&site, "/second") == 404);
    tree.assert_healthy();
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn a_bad_file_changes_nothing_and_the_log_says_where_and_why() {
    let mut site = Site::new();
    let mark = site.gateway.log().mark();
    let good = site.gateway.config().clone();
    let text = format!("threads: lots\n{}", good.yaml());
    site.scratch.file("gwg.yaml", &text);
    let line = site.gateway.log().wait_after(mark, &["config refused", "key=threads"]);
    assert!(line.contains("line=1") && line.contains("gwg.yaml") && line.contains("whole number"), "{line}");
    site.gateway.log().wait_after(mark, &["the one that was in force still is", "in_force=1"]);
    site.deploy(&[("README", "second\n")]);
    // Each mistake has its line, and the whole is refused for one of them.
    let broken = good.clone().repo(another(&site, "/fine")).repo(another(&site, "/bad").set("url", "nothing://x"));
    let mark = site.gateway.log().mark();
    site.scratch.file("gwg.yaml", &broken.yaml());
    site.gateway.log().wait_after(mark, &["config refused", "key=repos[2].url"]);
    assert_eq!((status(&site, "/fine"), status(&site, PATH)), (404, 405));
    site.gateway.reload(good.repo(another(&site, "/fine")));
}

#[test]
fn a_port_that_is_taken_is_refused_and_a_free_one_is_moved_to() {
    let mut site = Site::new();
    let old = site.gateway.port();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mark = site.gateway.log().mark();
    let config = site.gateway.config().clone();
    site.scratch.file("gwg.yaml", &config.clone().set("port", taken.local_addr().unwrap().port()).yaml());
    site.gateway.log().wait_after(mark, &["config refused", "another process listens there"]);
    site.deploy(&[("README", "second\n")]);
    let free = gateway::free_port();
    site.gateway.reload(config.set("port", free));
    site.deploy(&[("README", "third\n")]);
    wait::until_true("nobody listens at the old port", || {
        std::net::TcpStream::connect(("127.0.0.1", old)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn one_address_and_all_of_them_follow_each_other_on_one_port() {
    let mut site = Site::new();
    let config = site.gateway.config().clone();
    for listen in ["", "127.0.0.1", "0.0.0.0", "127.0.0.1"] {
        site.gateway.reload(config.clone().set("listen", listen));
        site.deploy(&[("README", &format!("on {listen:?}\n"))]);
    }
}

#[test]
fn a_running_update_ends_under_the_brief_it_began_with() {
    let mut site = Site::new();
    let other = Remote::new(&site.scratch.directory("remotes"), "other");
    let there = other.publish(&[("README", "the other remote\n")]);
    let here = site.deliver_held_up(PATH);
    let url = site.daemon.url(other.name());
    let config = site.gateway.config().clone().change_repo(PATH, |repo| repo.set("url", url));
    let mark = site.gateway.log().mark();
    let line = site.gateway.reload(config);
    assert!(line.contains("changed=1"), "{line}");
    site.daemon.set(Mode::Serve);
    let new = |commit: &str| format!("new={}", &commit[..10]);
    site.gateway.wait_for_log(mark, PATH, &["update ok", &new(&here)]);
    // And then once more, under the new one.
    site.gateway.wait_for_log(mark, PATH, &["update ok", &new(&there)]);
    site.tree().wait_for(&there, None);
}

#[test]
fn an_update_of_what_was_removed_ends_in_peace() {
    let ground = Ground::new();
    let config = Config::new().set("threads", 1).repo(ground.repo()).repo(ground.repo_at("/second"));
    let mut site = ground.start(config);
    let tree = site.gateway.tree("/second");
    tree.wait_for(&site.remote.head(), None);
    site.tree().wait_for(&site.remote.head(), None);
    let commit = site.deliver_held_up("/second");
    let config = site.gateway.config().clone().without_repo("/second");
    let mark = site.gateway.log().mark();
    site.gateway.reload(config);
    site.daemon.set(Mode::Serve);
    site.gateway.wait_for_log(mark, "/second", &["update ok"]);
    assert_eq!(tree.head(), Some(commit));
    // Its slot is free again.
    site.deploy(&[("README", "third\n")]);
    assert!(site.gateway.log().matching(&["violation"]).is_empty());
}

#[test]
fn a_worker_that_dies_in_the_middle_of_a_reload_does_not_stop_it() {
    let mut site = Site::new();
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGSTOP);
    let config = site.gateway.config().clone().repo(another(&site, "/second"));
    let mark = site.gateway.log().mark();
    site.gateway.write(config);
    site.gateway.process().signal(Signal::SIGHUP);
    // It is asked, and can't answer: nothing is in force yet.
    sleep(Duration::from_millis(500));
    assert_eq!(status(&site, "/second"), 404);
    worker.kill();
    site.gateway.log().wait_after(mark, &["config loaded", "added=1"]);
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deploy("/second", &commit);
    site.gateway.deploy(PATH, &commit);
}

#[test]
fn a_worker_that_does_not_answer_refuses_the_reload_in_whole() {
    let mut site = Site::new();
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGSTOP);
    let config = site.gateway.config().clone().repo(another(&site, "/second"));
    let mark = site.gateway.log().mark();
    site.scratch.file("gwg.yaml", &config.yaml());
    site.gateway.log().wait_after(mark, &["config refused", "did not answer in time"]);
    assert_eq!(status(&site, "/second"), 404);
    worker.signal(Signal::SIGCONT);
    site.deploy(&[("README", "second\n")]);
    assert_eq!(status(&site, "/second"), 404);
    // It answers late, and that is no offence. The next one is taken.
    site.gateway.reload(config);
    assert!(site.gateway.log().matching(&["violation"]).is_empty());
    assert_eq!(site.gateway.child("gwg-worker"), worker);
}

#[test]
fn a_new_listener_that_always_dies_leaves_the_old_configuration_in_force() {
    let mut site = Site::new();
    // A listener reads so long a brief for a while before it is ready; and one that died ten times has to wait.
    let many = (0..2_000).map(|number| another(&site, &format!("/many-{number}")));
    let config = many.fold(site.gateway.config().clone().set("initialise", false), Config::repo);
    let supervisor = site.gateway.process();
    for round in 0..9 {
        let path = format!("/round-{round}");
        let old = site.gateway.child("gwg-listener");
        let mark = site.gateway.log().mark();
        site.gateway.write(config.clone().repo(another(&site, &path)));
        supervisor.signal(Signal::SIGHUP);
        let refused = wait::until("the reload ends", || {
            // As soon as one is there: mostly before it is ready, sometimes after.
            let listeners = supervisor.children().into_iter().filter(|child| child.name() == "gwg-listener" && *child != old);
            listeners.for_each(|new| new.try_signal(Signal::SIGKILL));
            let lines: Vec<_> = site.gateway.log().lines().into_iter().skip(mark).collect();
            let said = |words: &str| lines.iter().any(|line| line.contains(words));
            said("the new listener ended").then_some(true).or(said("config loaded").then_some(false))
        });
        assert_eq!(status(&site, PATH), 405);
        if !refused {
            // The line comes first, and then the old listener stops to accept.
            wait::until_true("only the new listener answers", || status(&site, &path) == 405);
        }
        if refused {
            assert_eq!(status(&site, &path), 404);
            assert_eq!(site.gateway.child("gwg-listener"), old);
            site.deploy(&[("README", "after\n")]);
            return;
        }
    }
    panic!("no listener could be killed before it was ready");
}

#[test]
fn f16_no_signed_request_is_lost_by_adding_removing_renaming_rotating_and_moving() {
    let mut site = Site::audited();
    let mut ports = vec![site.gateway.port()];
    let pushing = Pushing::start(&site, 4, 200);
    let first = site.gateway.config().clone();
    let rotated = "another secret, as long as it must be";
    for round in 0..3 {
        let more = first.clone().repo(another(&site, "/second")).repo(another(&site, "/third"));
        site.gateway.reload(more.clone());
        pushing.go_on();
        site.gateway.reload(more.change_repo("/second", |repo| repo.set("path", "/renamed")));
        pushing.go_on();
        // As a secret is rotated: both, then the new one.
        let both = first.clone().change_repo(PATH, |repo| repo.set("secret", vec![SECRET, rotated]));
        site.gateway.reload(both.clone());
        pushing.go_on();
        pushing.sign_with(rotated);
        pushing.go_on();
        site.gateway.reload(first.clone().change_repo(PATH, |repo| repo.set("secret", vec![rotated])));
        pushing.go_on();
        site.gateway.reload(both.set("threads", 2 + round));
        pushing.sign_with(SECRET);
        pushing.go_on();
        let port = gateway::free_port();
        site.gateway.reload(first.clone().set("port", port));
        pushing.go_to(port);
        ports.push(port);
        pushing.go_on();
    }
    let Pushed { sent, wrong, refused: _ } = pushing.end();
    assert_eq!(wrong, [""; 0], "of {sent}");
    // The first worker is the last one, and nobody broke a rule.
    assert!(site.gateway.log().matching(&["violation"]).is_empty());
    assert_eq!(site.gateway.log().matching(&["process started", "gwg-worker"]).len(), 1);
    site.deploy(&[("README", "at last\n")]);
    account::assert_exact_of(&mut site, &ports);
}

#[test]
fn who_waits_in_the_backlog_of_a_port_that_is_left_is_answered() {
    let mut site = Site::new();
    let push = site.gateway.push(PATH, &site.remote.head());
    let old = site.gateway.port();
    // Nobody accepts them now.
    let listener = site.gateway.child("gwg-listener");
    listener.signal(Signal::SIGSTOP);
    let waiting: Vec<_> = (0..20).map(|_| push.clone()).map(|push| thread::spawn(move || push.try_send(old))).collect();
    sleep(Duration::from_millis(300));
    let free = gateway::free_port();
    let config = site.gateway.config().clone().set("port", free);
    site.gateway.reload(config);
    listener.signal(Signal::SIGCONT);
    for answer in waiting {
        assert_eq!(answer.join().unwrap().unwrap().status, 202);
    }
}

#[test]
fn a_connection_from_before_is_answered_by_the_listener_from_before() {
    use std::io::{Read, Write};
    let mut site = Site::new();
    let push = site.gateway.push(PATH, &site.remote.head());
    let request = push.request();
    let (head, rest) = request.split_at(request.len() - 10);
    let mut client = std::net::TcpStream::connect(("127.0.0.1", site.gateway.port())).unwrap();
    client.write_all(head).unwrap();
    sleep(Duration::from_millis(100));
    let config = site.gateway.config().clone().change_repo(PATH, |repo| repo.set("secret", "an entirely different one"));
    site.gateway.reload(config);
    client.write_all(rest).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert_eq!(push.send(site.gateway.port()).status, 401);
}

/// As the original's set-up has it: the configuration and its keys belong to `gwg`, in a directory of its own.
#[test]
fn what_belongs_to_another_user_is_read_again_as_it_was_at_the_start() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    let etc = ground.scratch.updaters_directory("etc");
    let secret = ground.scratch.file("etc/secret", "a secret of the user gwg\n");
    scratch::give_to_updater(&secret);
    fs::set_permissions(&etc, Permissions::from_mode(0o700)).unwrap();
    let repo = ground.repo().without("secret").set("secretFile", secret.to_str().unwrap());
    // Numbers that the owner may not name: root says them by variables of the environment.
    let config = Config::new()
        .without("user")
        .without("worker_user")
        .without("listener_user")
        .without("audit")
        .set("port", gateway::free_port())
        .repo(repo);
    let file = ground.scratch.file("etc/gwg.yaml", &config.yaml());
    scratch::give_to_updater(&file);
    let gateway = gateway::Bare::start(&ground.scratch, &file);
    gateway.log().wait(&["ready"]);
    let mark = gateway.log().mark();
    fs::write(&file, config.set("threads", 3).yaml()).unwrap();
    gateway.log().wait_after(mark, &["config loaded", "cause=file"]);
    fs::write(&secret, "a new secret of the user gwg\n").unwrap();
    gateway.log().wait_after(mark, &["config loaded", "changed=1"]);
}

#[test]
fn the_log_changes_with_the_configuration_and_a_rotated_file_is_opened_anew() {
    let mut site = Site::new();
    let config = site.gateway.config().clone();
    site.gateway.reload(config.clone().set("logging", serde_json::json!({"format": "json"})));
    let mark = site.gateway.log().mark();
    site.gateway.deliver(PATH, &site.remote.head());
    let line = site.gateway.log().wait_after(mark, &["delivery accepted"]);
    assert!(line.starts_with('{'), "{line}");
    let file = site.scratch.directory("log").join("gwg.log");
    let read = || fs::read_to_string(&file).unwrap_or_default();
    site.gateway.write(config.set("logging", serde_json::json!({"output": file.to_str().unwrap()})));
    wait::until_true("the log goes to the file", || read().contains("config loaded"));
    fs::rename(&file, file.with_extension("1")).unwrap();
    site.gateway.process().signal(Signal::SIGHUP);
    wait::until_true("the log goes to a new file", || read().contains("config unchanged"));
    let before = fs::read_to_string(file.with_extension("1")).unwrap();
    assert!(before.contains("config loaded") && !before.contains("config unchanged"), "{before}");
}

#[test]
fn the_workers_user_can_t_change_while_it_runs() {
    let Some(()) = need::root() else { return };
    let mut site = Site::new();
    let config = site.gateway.config().clone();
    let mark = site.gateway.log().mark();
    site.scratch.file("gwg.yaml", &config.clone().set("worker_user", 64020).yaml());
    site.gateway.log().wait_after(mark, &["config refused", "key=worker_user", "restart gwg"]);
    // The others' can: the next of them have it.
    let old = site.gateway.child("gwg-listener");
    site.gateway.reload(config.set("listener_user", 64021));
    assert_eq!(site.gateway.child_other_than("gwg-listener", &[old]).status("Uid").unwrap().split_whitespace().next(), Some("64021"));
    site.deploy(&[("README", "second\n")]);
}
