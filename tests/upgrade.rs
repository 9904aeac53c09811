//! Another version takes the running one's place in the same process: nothing is refused, reset or lost, and what
//! can't take over changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::config::Config;
use support::delivery::Delivery;
use support::gateway::{self, Gateway, free_port};
use support::installation::{Installation, OTHER, OURS};
use support::loopback::Mode;
use support::need;
use support::processes::Process;
use support::pushing::{Pushed, Pushing};
use support::scratch::INVOKER;
use support::site::{Ground, PATH, Site};
use support::wait;

/// A site that runs from an installation.
fn site() -> Option<(Installation, Site)> {
    site_with(|config, _| config)
}

fn site_with(change: impl FnOnce(Config, &Ground) -> Config) -> Option<(Installation, Site)> {
    let ground = Ground::new();
    let installation = Installation::new(&ground.scratch)?;
    let config = change(Config::new().repo(ground.repo()), &ground);
    let site = ground.start(config);
    site.tree().wait_for(&site.remote.head(), None);
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    Some((installation, site))
}

/// `gwg` to its end: status and what it said.
fn run(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = gateway::run(&site.scratch, arguments);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn upgrade(site: &Site) {
    let (status, said) = run(site, &["upgrade"]);
    assert_eq!(status, Some(0), "{said}");
}

fn refused(site: &Site, words: &[&str]) {
    let (before, children) = (site.gateway.process(), site.gateway.process().children());
    let mark = site.gateway.log().mark();
    let (status, said) = run(site, &["upgrade"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(words.iter().chain(&["the running gateway goes on"]).all(|word| said.contains(word)), "{said}");
    site.gateway.log().wait_after(mark, &["upgrade refused", words[0]]);
    assert_eq!(site.gateway.process(), before);
    assert!(children.iter().all(|child| child.alive()), "a child was ended");
    assert_eq!(running_version(site), OURS);
}

fn status(site: &Site) -> Value {
    let output = gateway::run(&site.scratch, &["status", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn running_version(site: &Site) -> String {
    status(site)["gateway"]["version"].as_str().unwrap().to_owned()
}

/// The records of the audit file.
fn records(site: &Site) -> Vec<Value> {
    let text = fs::read_to_string(site.scratch.path().join("audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn audited(config: Config, ground: &Ground) -> Config {
    let file = ground.scratch.path().join("audit.log");
    config.set("audit", serde_json::json!({"syslog": false, "file": file}))
}

#[test]
fn f28_twenty_upgrades_under_load_refuse_reset_and_lose_nothing() {
    const TIMES: usize = 20;
    let more = |mut config: Config, ground: &Ground| {
        for number in 0..TIMES {
            config = config.repo(ground.repo_at(&format!("/{number}")));
        }
        audited(config, ground)
    };
    let Some((installation, site)) = site_with(more) else { return };
    let supervisor = site.gateway.process();
    wait::until_true("all is cloned", || status(&site)["repos"].as_array().unwrap().iter().all(|repo| repo["state"] == "current"));
    let open = open_by(supervisor);
    let pushing = Pushing::start(&site, 40, 200);
    for number in 0..TIMES {
        let (path, version) = (format!("/{number}"), if number % 2 == 0 { OTHER } else { OURS });
        pushing.go_on();
        let children = supervisor.children();
        let commit = site.remote.publish(&[("README", &format!("{number}\n"))]);
        installation.install(version);
        // Pushes to a repository that nobody else pushes to, before, during and after.
        thread::scope(|scope| {
            let upgrade = scope.spawn(|| upgrade(&site));
            while !upgrade.is_finished() {
                site.gateway.deliver(&path, &commit);
            }
        });
        assert_eq!(site.gateway.process(), supervisor, "another process");
        assert!(!children.iter().any(|child| child.alive()), "a child of the one before is left");
        assert_eq!(running_version(&site), version);
        // Other updates of it may follow this one.
        wait::until_true("the acknowledged commit is deployed", || site.gateway.tree(&path).head().as_ref() == Some(&commit));
    }
    pushing.go_on();
    let Pushed { sent, refused, wrong } = pushing.end();
    assert_eq!((wrong, refused), (Vec::new(), 0), "of {sent}");
    assert!(site.gateway.log().matching(&["violation"]).is_empty());
    wait::until_true("all is done", || status(&site)["repos"].as_array().unwrap().iter().all(|repo| repo["state"] == "current"));
    (0..TIMES).for_each(|number| site.gateway.tree(&format!("/{number}")).assert_healthy());
    site.deploy(&[("README", "at last\n")]);
    // What it has open differs a little with what it has just done; one for each upgrade would be many more.
    let left = open_by(supervisor);
    assert!(left.len() < open.len() + TIMES / 2, "before: {open:?}, after: {left:?}");
    audit_is_whole(&site, sent, TIMES);
}

/// As a reverse proxy's: who has a connection open may send on it at any moment, and must have an answer.
#[test]
fn connections_that_are_kept_end_with_an_answer() {
    let Some((installation, mut site)) = site() else { return };
    let pushing = Pushing::start_keeping(&site, 40, 200);
    for number in 0..6 {
        pushing.go_on();
        if number % 2 == 0 {
            installation.install(if number % 4 == 0 { OTHER } else { OURS });
            upgrade(&site);
        } else {
            let config = site.gateway.config().clone().set("reconcile", format!("{number}h"));
            site.gateway.reload(config);
        }
    }
    pushing.go_on();
    let Pushed { sent, refused, wrong } = pushing.end();
    assert_eq!((wrong, refused), (Vec::new(), 0), "of {sent}");
}

/// What the supervisor has open, without the numbers of what has no name.
fn open_by(supervisor: Process) -> Vec<String> {
    let kind = |what: String| match what.split_once(':') {
        Some((kind, _)) => kind.to_owned(),
        None => what.trim_end_matches(" (deleted)").to_owned(),
    };
    let mut all: Vec<String> = supervisor.descriptors().into_iter().map(|(_, what)| kind(what)).collect();
    all.sort();
    all
}

fn audit_is_whole(site: &Site, sent: usize, times: usize) {
    let records = records(site);
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "a hole, or a number twice");
    let named = |name: &str| records.iter().filter(|record| record["name"] == name).count();
    assert_eq!((named("service.start"), named("service.upgrade"), named("service.stop")), (1, times, 0));
    assert!(named("delivery.accepted") >= sent, "{} deliveries of more than {sent}", named("delivery.accepted"));
    let versions: Vec<_> =
        records.iter().filter(|record| record["name"] == "service.upgrade").map(|record| (&record["from"], &record["version"])).collect();
    assert_eq!(versions[..2], [(&Value::from(OURS), &Value::from(OTHER)), (&Value::from(OTHER), &Value::from(OURS))]);
    let file = site.scratch.path().join("audit.log");
    let (status, said) = run(site, &["audit", "verify", file.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn sigusr2_upgrades_and_many_of_them_end_well() {
    let Some((installation, site)) = site() else { return };
    let supervisor = site.gateway.process();
    let pushing = Pushing::start(&site, 40, 200);
    installation.install(OTHER);
    (0..200).for_each(|_| {
        supervisor.signal(Signal::SIGUSR2);
        sleep(Duration::from_millis(5));
    });
    site.gateway.log().wait(&["upgraded in place", &format!("version={OTHER}")]);
    wait::until_true("both children serve", || supervisor.children().len() == 2);
    pushing.go_on();
    let Pushed { sent, refused, wrong } = pushing.end();
    assert_eq!((wrong, refused), (Vec::new(), 0), "of {sent}");
    assert_eq!(running_version(&site), OTHER);
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn what_runs_by_the_path_that_it_was_called_by_follows_a_link_to_another_version() {
    let ground = Ground::new();
    let Some(installation) = Installation::new(&ground.scratch) else { return };
    // As where each version has a directory of its own.
    let versions = ground.scratch.directory("versions");
    let house = ground.scratch.path().join("bin");
    fs::rename(&house, versions.join("one")).unwrap();
    std::os::unix::fs::symlink("versions/one", &house).unwrap();
    let repo = ground.repo();
    let site = ground.start_with(repo);
    fs::remove_file(&house).unwrap();
    fs::create_dir(versions.join("two")).unwrap();
    std::os::unix::fs::symlink("versions/two", &house).unwrap();
    installation.install(OTHER);
    upgrade(&site);
    assert_eq!(running_version(&site), OTHER);
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn an_executable_that_is_broken_changes_nothing_and_is_told() {
    let Some((installation, site)) = site() else { return };
    let half = fs::read(installation.path("gwg")).unwrap();
    let half = half[..half.len() / 2].to_vec();
    for (content, words) in [
        (b"\x7fELF and no more".to_vec(), "it can't be run"),
        (half, "ended it"),
        (fs::read("/bin/true").unwrap(), "does not say that it can take over"),
        (fs::read("/bin/false").unwrap(), "and said nothing"),
    ] {
        installation.replace("gwg", &content);
        let output = upgrade_by(&site);
        assert!(output.contains(words) && output.contains("the running gateway goes on"), "{output}");
        site.gateway.log().wait(&["upgrade refused", words]);
    }
    // Who can write it could have gwg run anything.
    installation.install(OTHER);
    fs::set_permissions(installation.path("gwg"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(upgrade_by(&site).contains("chmod 755"));
    fs::remove_file(installation.path("gwg")).unwrap();
    assert!(upgrade_by(&site).contains("No such file"));
    installation.install(OURS);
    site.deploy(&[("README", "second\n")]);
    assert_eq!(site.gateway.log().matching(&["process started", "gwg-worker"]).len(), 1);
    installation.install(OTHER);
    upgrade(&site);
    site.deploy(&[("README", "third\n")]);
}

/// `gwg upgrade`, by a gwg that is not the installed one.
fn upgrade_by(site: &Site) -> String {
    let mut command = Command::new(gateway::GWG);
    command.args(["upgrade", "--socket"]).arg(site.scratch.path().join("run/control.sock")).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Nobody is left alone because a process had bad luck.
#[test]
fn f1_f2_a_child_that_dies_as_it_starts_after_an_upgrade_is_started_again() {
    let Some((_, site)) = site_with(audited) else { return };
    for name in ["gwg-listener", "gwg-worker"] {
        let died = (0..20).any(|_| {
            let mark = site.gateway.log().mark();
            let (supervisor, old) = (site.gateway.process(), site.gateway.child(name));
            thread::scope(|scope| {
                scope.spawn(|| upgrade(&site));
                next_child(supervisor, name, old).try_signal(Signal::SIGKILL);
            });
            assert_eq!(site.gateway.process(), supervisor, "another process");
            site.deploy(&[("README", &format!("{mark}\n"))]);
            // Otherwise it had served already.
            site.gateway.log().lines().iter().skip(mark).any(|line| line.contains("wait_s=1") && line.contains(name))
        });
        assert!(died, "twenty times {name} was ready faster than it was killed");
    }
}

/// A child by its name as soon as it bears that: it will be ready in milliseconds.
fn next_child(parent: Process, name: &str, old: Process) -> Process {
    let children = parent.path("task").join(parent.pid().to_string()).join("children");
    let until = Instant::now() + wait::LONG;
    loop {
        let pids = fs::read_to_string(&children).unwrap();
        let found = pids.split_whitespace().filter_map(|pid| Process::of(pid.parse().unwrap()));
        if let Some(child) = found.into_iter().find(|child| *child != old && child.name() == name) {
            return child;
        }
        assert!(Instant::now() < until, "no other {name}");
    }
}

#[test]
fn an_installation_of_two_versions_changes_nothing_and_is_told() {
    let Some((installation, site)) = site() else { return };
    installation.install_one("gwg-worker", OTHER);
    refused(&site, &["gwg-worker is of version", "install all of gwg"]);
    installation.install(OTHER);
    upgrade(&site);
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn a_configuration_that_is_wrong_or_listens_elsewhere_changes_nothing_and_is_told() {
    let Some((installation, site)) = site() else { return };
    installation.install(OTHER);
    let good = site.gateway.config().clone();
    site.scratch.file("gwg.yaml", &format!("threads: lots\n{}", good.yaml()));
    refused(&site, &["threads", "gwg.yaml"]);
    // The port is another process's, so the running gateway has not moved there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mark = site.gateway.log().mark();
    site.scratch.file("gwg.yaml", &good.clone().set("port", taken.local_addr().unwrap().port()).yaml());
    site.gateway.log().wait_after(mark, &["config refused"]);
    refused(&site, &["gwg reload"]);
    site.scratch.file("gwg.yaml", &good.yaml());
    upgrade(&site);
    assert_eq!(running_version(&site), OTHER);
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn an_update_that_runs_ends_before_the_upgrade_and_what_comes_meanwhile_is_deployed_after_it() {
    let Some((installation, site)) = site() else { return };
    site.deliver_held_up(PATH);
    let updater = site.gateway.child("gwg-updater");
    installation.install(OTHER);
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| upgrade(&site));
        site.gateway.log().wait(&["an upgrade waits", "updates=1"]);
        // Who comes meanwhile is heard.
        let second = site.remote.publish(&[("README", "third\n")]);
        site.gateway.deliver(PATH, &second);
        assert!(!upgrade.is_finished() && updater.alive());
        site.daemon.set(Mode::Serve);
        upgrade.join().unwrap();
        site.tree().wait_for(&second, None);
    });
    assert!(site.gateway.log().matching(&["update failed"]).is_empty(), "the update was cut short");
    assert_eq!(running_version(&site), OTHER);
}

#[test]
fn an_update_that_does_not_end_is_ended_and_made_good() {
    let Some((installation, site)) = site() else { return };
    let commit = site.deliver_held_up(PATH);
    let updater = site.gateway.child("gwg-updater");
    installation.install(OTHER);
    upgrade(&site);
    assert!(!updater.alive());
    site.daemon.set(Mode::Serve);
    site.tree().wait_for(&commit, None);
    assert_eq!(running_version(&site), OTHER);
}

#[test]
fn a_refusal_after_the_wait_lets_what_waited_go_on() {
    let Some((installation, site)) = site() else { return };
    site.deliver_held_up(PATH);
    thread::scope(|scope| {
        let refused = scope.spawn(|| upgrade_by(&site));
        site.gateway.log().wait(&["an upgrade waits"]);
        // It was whole when it was tried first.
        installation.replace("gwg", &fs::read("/bin/false").unwrap());
        let second = site.remote.publish(&[("README", "third\n")]);
        site.gateway.deliver(PATH, &second);
        site.daemon.set(Mode::Serve);
        assert!(refused.join().unwrap().contains("the running gateway goes on"));
        site.tree().wait_for(&second, None);
    });
    assert_eq!(site.gateway.log().matching(&["process started", "gwg-worker"]).len(), 1);
    site.deploy(&[("README", "fourth\n")]);
}

#[test]
fn control_and_metrics_sockets_answer_after_it_and_who_waits_in_them_is_served() {
    let port = free_port();
    let Some((installation, site)) = site_with(|config, _| config.set("metrics", serde_json::json!({"port": port}))) else { return };
    installation.install(OTHER);
    let scrape = || Delivery::event("/metrics", "ping", &serde_json::json!({})).method("GET").try_send(port);
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Connecting is never refused, whoever answers.
                UnixStream::connect(site.scratch.path().join("run/control.sock")).expect("the control socket is there");
                TcpStream::connect(("127.0.0.1", port)).expect("the metrics socket is there");
                asked += 1;
                sleep(Duration::from_millis(5));
            }
            asked
        });
        (0..3).for_each(|_| upgrade(&site));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asking.join().unwrap() > 10);
    });
    wait::until_true("figures are served", || scrape().is_ok_and(|answer| answer.status == 200 && answer.body.contains("gwg_")));
    assert_eq!(status(&site)["repos"][0]["state"], "current");
    // What happened before is still known.
    let (_, log) = run(&site, &["log"]);
    assert!(log.contains(&site.remote.head()[..10]), "{log}");
}

#[test]
fn only_one_gwg_can_be_in_charge_after_an_upgrade_as_before() {
    let Some((_installation, site)) = site() else { return };
    upgrade(&site);
    let mut second = gateway::command(&site.scratch, None);
    let output = second.arg("--config").arg(site.gateway.file()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another gwg"), "{output:?}");
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn upgrades_reloads_and_changes_mixed_end_with_the_last_configuration_in_force() {
    // The installation is replaced at any moment of the upgrades, too.
    let Some((installation, mut site)) = site() else { return };
    let (config, supervisor) = (site.gateway.config().clone(), site.gateway.process());
    let pushing = Pushing::start(&site, 40, 200);
    for number in 0..10 {
        installation.install(if number % 2 == 0 { OTHER } else { OURS });
        let repo = support::config::Repo::new(&site.scratch, &format!("/{number}"), &site.daemon.url(site.remote.name()));
        site.gateway.write(config.clone().repo(repo));
        for signal in [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGHUP, Signal::SIGUSR2] {
            supervisor.signal(signal);
        }
        pushing.go_on();
    }
    let answer = |path: &str| Delivery::event(path, "ping", &serde_json::json!({})).method("GET").send(site.gateway.port()).status;
    wait::until_true("the last change is in force", || (answer("/8"), answer("/9"), answer(PATH)) == (404, 405, 405));
    let Pushed { sent, refused, wrong } = pushing.end();
    assert_eq!((wrong, refused), (Vec::new(), 0), "of {sent}");
    upgrade(&site);
    assert_eq!(running_version(&site), OURS);
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn f26_the_end_comes_well_whenever_it_is_asked_for() {
    let Some((installation, mut site)) = site() else { return };
    for delay in (0..20).map(|step| Duration::from_millis(step * 15)) {
        installation.install(OTHER);
        let (supervisor, children) = (site.gateway.process(), site.gateway.process().descendants());
        supervisor.signal(Signal::SIGUSR2);
        sleep(delay);
        supervisor.signal(Signal::SIGTERM);
        assert_eq!(site.gateway.wait().code(), Some(0), "SIGTERM {delay:?} after the upgrade was asked for");
        assert!(children.iter().all(|child| !child.alive()), "a child outlived it");
        assert!(!site.scratch.path().join("run/control.sock").exists(), "the control socket is left");
        installation.install(OURS);
        site.gateway.restart();
    }
}

/// A request whose last bytes are not sent yet.
fn begun(site: &Site) -> (TcpStream, Vec<u8>) {
    let request = site.gateway.push(PATH, &site.remote.head()).request();
    let (first, rest) = request.split_at(request.len() - 10);
    let mut stream = TcpStream::connect(("127.0.0.1", site.gateway.port())).unwrap();
    stream.write_all(first).unwrap();
    (stream, rest.to_vec())
}

#[test]
fn a_request_that_was_begun_is_answered_before_the_upgrade() {
    let Some((installation, site)) = site() else { return };
    installation.install(OTHER);
    let (mut stream, rest) = begun(&site);
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| upgrade(&site));
        site.gateway.log().wait(&["another executable takes over"]);
        stream.write_all(&rest).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202") && answer.to_lowercase().contains("connection: close"), "{answer}");
        upgrade.join().unwrap();
    });
    assert_eq!(running_version(&site), OTHER);
}

#[test]
fn where_the_kernel_refuses_at_last_the_one_before_goes_on() {
    let Some((installation, site)) = site_with(audited) else { return };
    let supervisor = site.gateway.process();
    installation.install(OTHER);
    // Holds the upgrade up between the trial and the exec.
    let (mut stream, rest) = begun(&site);
    thread::scope(|scope| {
        let refused = scope.spawn(|| upgrade_by(&site));
        site.gateway.log().wait(&["another executable takes over"]);
        fs::set_permissions(installation.path("gwg"), fs::Permissions::from_mode(0o600)).unwrap();
        stream.write_all(&rest).unwrap();
        let refused = refused.join().unwrap();
        assert!(refused.contains("could not be run") && refused.contains("Permission denied"), "{refused}");
    });
    assert_eq!(site.gateway.process(), supervisor);
    site.gateway.log().wait(&["upgrade refused", "could not be run"]);
    site.deploy(&[("README", "second\n")]);
    let seqs: Vec<u64> = records(&site).iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "a hole, or a number twice");
    installation.install(OTHER);
    upgrade(&site);
    assert_eq!(running_version(&site), OTHER);
}

#[test]
fn without_root_it_is_the_same() {
    if need::root().is_none() {
        return;
    }
    let ground = Ground::new();
    let Some(installation) = Installation::new(&ground.scratch) else { return };
    let repo = ground.repo();
    for directory in [repo.text("directory").unwrap(), repo.text("trigger").unwrap()].map(Path::new) {
        support::scratch::give_to(directory.parent().unwrap(), INVOKER);
    }
    let config = Config::new().without("user").without("worker_user").without("listener_user");
    let gateway = Gateway::start_as(&ground.scratch, config.repo(repo), Some(INVOKER));
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
    let supervisor = gateway.process();
    for version in [OTHER, OURS] {
        let mark = gateway.log().mark();
        installation.install(version);
        supervisor.signal(Signal::SIGUSR2);
        gateway.log().wait_after(mark, &["upgraded in place", &format!("version={version}")]);
        gateway.log().wait_after(mark, &[" ready "]);
        assert_eq!(supervisor.status("Uid").unwrap().split_whitespace().next(), Some(INVOKER.to_string().as_str()));
        gateway.deploy(PATH, &ground.remote.publish(&[("README", version)]));
    }
}
