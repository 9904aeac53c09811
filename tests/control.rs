//! The running gateway and its operators, over the control socket; and those who are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use gwg::wire::control::{Answer, Happens, Refusal, Request};
use gwg::wire::frame;
use gwg::wire::order::Progress;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use support::config::{Config, Repo};
use support::gateway::{self, Gateway};
use support::loopback::Mode;
use support::scratch::{INVOKER, UPDATER};
use support::site::{Ground, PATH, Site};
use support::{need, wait};

/// A group that nobody is in; a process of a test's is given it.
const GROUP: u32 = 64_020;

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    said(&gateway::run(&site.scratch, arguments))
}

fn works(site: &Site, arguments: &[&str]) -> String {
    let (status, out, err) = run(site, arguments);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    out
}

fn status(site: &Site) -> Value {
    serde_json::from_str(&works(site, &["status", "--json"])).unwrap()
}

fn socket(site: &Site) -> PathBuf {
    site.scratch.path().join("run/control.sock")
}

fn connect(site: &Site) -> UnixStream {
    UnixStream::connect(socket(site)).unwrap()
}

#[test]
fn status_says_what_runs_and_what_is_deployed() {
    let site = Site::new();
    let head = site.remote.head();
    let all = status(&site);
    let names: Vec<&str> = all["gateway"]["processes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gwg", "gwg-listener", "gwg-worker"]);
    for (name, process) in [("gwg-listener", site.gateway.child("gwg-listener")), ("gwg-worker", site.gateway.child("gwg-worker"))] {
        let shown = all["gateway"]["processes"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(shown["pid"], process.pid(), "{name}");
        assert_eq!((&shown["capabilities"], &shown["no_new_privs"]), (&Value::from("none"), &Value::from("1")), "{name}");
    }
    let repo = &all["repos"][0];
    assert_eq!(
        (&repo["name"], &repo["deployed"], &repo["state"]),
        (&Value::from(PATH), &Value::from(head.as_str()), &Value::from("current"))
    );
    let text = works(&site, &["status"]);
    assert!(text.contains(&head[..10]) && text.contains("1 repository: 1 current"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b'), "colour, and nobody looks");
    let one = works(&site, &["status", PATH]);
    assert!(one.contains(&head) && one.contains("branch master of git://"), "{one}");
}

#[test]
fn an_operators_update_deploys_what_nobody_announced_and_the_log_tells_of_it() {
    let site = Site::new();
    let commit = site.remote.publish(&[("page", "two")]);
    let out = works(&site, &["update", "--wait", PATH]);
    assert!(out.contains(&commit[..10]), "{out}");
    assert_eq!(status(&site)["repos"][0]["deployed"], commit.as_str());
    site.tree().wait_for(&commit, None);
    let log = works(&site, &["log", PATH]);
    assert!(log.lines().any(|line| line.contains(&commit[..10]) && line.contains("by operator")), "{log}");
    // Nothing new is success, too.
    assert!(works(&site, &["update", "--all", "--wait"]).contains("nothing new"));
}

#[test]
fn an_update_that_fails_is_a_failure_and_status_says_since_when() {
    let site = Site::new();
    fs::rename(site.remote.bare(), site.remote.bare().with_extension("away")).unwrap();
    let (code, out, err) = run(&site, &["update", "--wait", PATH]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("failed at fetch") && err.contains("1 of 1 failed"), "{out}{err}");
    let repo = &status(&site)["repos"][0];
    assert_eq!(repo["failing"]["failure"]["step"], "fetch", "{repo}");
    assert_eq!(repo["deployed"], site.tree().head().unwrap().as_str(), "a failed fetch made nothing fresh or stale");
}

#[test]
fn exit_statuses_say_what_was_wrong() {
    let mut site = Site::new();
    let (code, _, err) = run(&site, &["update", "/sitr"]);
    assert_eq!((code, err.as_str()), (Some(66), "gwg: there is no repository /sitr: did you mean /site?\n"));
    assert_eq!(run(&site, &["log", "/quite-another"]).0, Some(66));
    assert_eq!(run(&site, &["update"]).0, Some(2), "neither names nor --all");
    site.gateway.stop(Signal::SIGTERM);
    assert!(!socket(&site).exists(), "the socket is still there");
    for arguments in [&["status"][..], &["log"], &["update", "--all"], &["reload"]] {
        let (code, out, err) = run(&site, arguments);
        assert_eq!((code, out.as_str()), (Some(69), ""), "{arguments:?}");
        assert!(err.contains("no gateway runs here") && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn send_makes_a_delivery_as_the_forge_would() {
    let site = Site::new();
    let commit = site.remote.publish(&[("page", "two")]);
    let config = site.scratch.path().join("gwg.yaml");
    let config = config.to_str().unwrap();
    let before = site.tree().touched();
    let out = works(&site, &["send", PATH, "--commit", &commit, "--config", config]);
    assert!(out.contains("202 Accepted"), "{out}");
    site.tree().wait_for(&commit, before);
    let out = works(&site, &["send", PATH, "--event", "ping", "--config", config]);
    assert!(out.contains("200 OK") && out.contains("ping"), "{out}");
    let (code, _, err) = run(&site, &["send", "/sitte", "--config", config]);
    assert!(code == Some(66) && err.contains("did you mean /site?"), "{err}");
    let (code, _, err) = run(&site, &["send", PATH, "--config", "/nonexistent.yaml"]);
    assert!(code == Some(78) && err.contains("signed with the secret"), "{err}");
}

#[test]
fn what_is_known_survives_a_killed_supervisor_and_its_socket_is_replaced() {
    let mut site = Site::new();
    let since = status(&site)["repos"][0]["deployed_since"].clone();
    assert!(since.is_string(), "{since}");
    // The history is written by a thread of its own.
    wait::until("the history is on the disk", || {
        fs::read_to_string(site.scratch.path().join("state/history.jsonl")).ok().filter(|text| text.contains("current")).map(drop)
    });
    site.gateway.process().signal(Signal::SIGKILL);
    wait::until("a stale socket is left", || UnixStream::connect(socket(&site)).is_err().then_some(()));
    assert!(socket(&site).exists());
    site.gateway.restart();
    let repo = wait::until("the repository was proved current", || {
        let repo = status(&site)["repos"][0].clone();
        (repo["state"] == "current" && repo["update"]["cause"] == "reconcile").then_some(repo)
    });
    assert_eq!(repo["deployed_since"], since);
    assert!(works(&site, &["log"]).contains("cloned at"), "what was before is forgotten");
}

#[test]
fn a_second_gateway_in_one_runtime_directory_is_refused_and_the_first_lives_on() {
    let site = Site::new();
    let mut second = gateway::command(&site.scratch, None);
    second.env("STATE_DIRECTORY", site.scratch.directory("state-2"));
    let output = second.arg("--config").arg(site.scratch.path().join("gwg.yaml")).stdin(Stdio::null()).output().unwrap();
    let (code, _, err) = said(&output);
    assert_eq!(code, Some(1));
    assert!(err.contains("another gwg is in charge there") && err.contains("RUNTIME_DIRECTORY"), "{err}");
    assert_eq!(status(&site)["gateway"]["processes"][0]["pid"], site.gateway.process().pid());
}

#[test]
fn a_killed_worker_is_said_and_the_next_one_answers() {
    let site = Site::new();
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGKILL);
    site.gateway.child_other_than("gwg-worker", &[worker]);
    let restarts = wait::until("the next worker answers", || {
        let all = status(&site);
        let worker = all["gateway"]["processes"].as_array().unwrap().iter().find(|it| it["name"] == "gwg-worker").cloned()?;
        all["gateway"]["worker_answers"].as_bool().filter(|answers| *answers)?;
        worker["restarts"].as_u64()
    });
    assert_eq!(restarts, 1);
}

#[test]
fn a_worker_that_hangs_holds_nobody_up() {
    let site = Site::new();
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGSTOP);
    let all = status(&site);
    assert_eq!(all["gateway"]["worker_answers"], false);
    assert_eq!(all["repos"][0]["state"], "unknown");
    let (code, _, err) = run(&site, &["update", "--all"]);
    assert!(code == Some(75) && err.contains("gwg-worker"), "{err}");
    worker.signal(Signal::SIGCONT);
    wait::until("it answers again", || status(&site)["gateway"]["worker_answers"].as_bool().filter(|answers| *answers));
}

/// A gateway whose configuration names [`GROUP`].
fn with_group(act: bool) -> Site {
    let ground = Ground::new();
    let config = Config::new().repo(ground.repo()).set("control", serde_json::json!({ "group": GROUP, "act": act }));
    let site = ground.start(config);
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    site
}

fn run_as(site: &Site, user: u32, group: u32, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = gateway::command(&site.scratch, None);
    command.args(arguments).uid(user).gid(group).stdin(Stdio::null());
    said(&command.output().unwrap())
}

#[test]
fn members_of_the_group_look_and_act_only_where_the_configuration_says_so() {
    let (Some(()), Some(())) = (need::root(), need::executables_for_all()) else { return };
    let site = with_group(false);
    let mode = fs::metadata(socket(&site)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    let (code, out, err) = run_as(&site, INVOKER, GROUP, &["status"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(run_as(&site, INVOKER, GROUP, &["log"]).0, Some(0));
    for arguments in [&["update", "--all"][..], &["reload"]] {
        let (code, _, err) = run_as(&site, INVOKER, GROUP, arguments);
        assert!(code == Some(77) && err.contains("look and not act"), "{err}");
    }
    drop(site);
    let site = with_group(true);
    let (code, out, err) = run_as(&site, INVOKER, GROUP, &["update", "--wait", PATH]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_stranger_and_gwgs_own_users_are_refused_whatever_the_sockets_mode() {
    let (Some(()), Some(())) = (need::root(), need::executables_for_all()) else { return };
    let site = with_group(true);
    assert_eq!(run_as(&site, INVOKER, INVOKER, &["status"]).0, Some(77), "the socket's mode lets a stranger in");
    fs::set_permissions(socket(&site), Permissions::from_mode(0o666)).unwrap();
    for (user, group) in [(INVOKER, INVOKER), (UPDATER, UPDATER), (UPDATER, GROUP)] {
        let (code, out, err) = run_as(&site, user, group, &["status"]);
        assert_eq!((code, out.as_str()), (Some(77), ""), "{user} {group}: {err}");
    }
    site.gateway.log().wait(&["a stranger at the control socket", &format!("uid={UPDATER}")]);
}

#[test]
fn what_is_no_request_ends_its_sender_and_nothing_else() {
    let site = Site::new();
    let before = descriptors(&site.gateway);
    let mut fine = Vec::new();
    frame::encode(&Request::Status { repos: Vec::new() }, &mut fine).unwrap();
    let twice = [fine.clone(), fine.clone()].concat();
    let oversized = [0xff, 0xff, 0xff, 0x7f, 0, 0];
    for bytes in [&[0xff; 64][..], &oversized, &[1, 0, 0, 0, 99], &twice, b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = connect(&site);
        let _ = client.write_all(bytes);
        match frame::read::<Answer>(&mut client) {
            Ok(answer) => assert_eq!(answer, Answer::Refused(Refusal::Malformed), "{bytes:?}"),
            Err(error) => panic!("{bytes:?}: {error}"),
        }
        assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0, "it was heard on after {bytes:?}");
    }
    // Half a request: the rest never comes, and its deadline ends it.
    let mut half = connect(&site);
    half.write_all(&fine[..fine.len() - 1]).unwrap();
    assert_eq!(frame::read::<Answer>(&mut half).unwrap(), Answer::Refused(Refusal::Malformed));
    works(&site, &["status"]);
    wait::until("no descriptor is left behind", || (descriptors(&site.gateway) <= before).then_some(()));
}

/// How many descriptors the supervisor has. It can't be dumped, so only root may look: nobody else can judge
/// whether one is left behind.
fn descriptors(gateway: &Gateway) -> Option<usize> {
    need::root()?;
    Some(fs::read_dir(format!("/proc/{}/fd", gateway.process().pid())).unwrap().count())
}

#[test]
fn a_thousand_idle_clients_hold_up_neither_deliveries_nor_operators_for_long() {
    let site = Site::new();
    let before = descriptors(&site.gateway);
    let mut idle: Vec<UnixStream> = Vec::new();
    for _ in 0..1_000 {
        idle.push(connect(&site));
    }
    let commit = site.remote.publish(&[("page", "two")]);
    site.gateway.deploy(PATH, &commit);
    assert!(descriptors(&site.gateway) <= before.map(|count| count + 64), "clients are not bounded");
    wait::until("an operator is served while they are still connected", || (run(&site, &["status"]).0 == Some(0)).then_some(()));
    assert_eq!(idle.len(), 1_000);
}

#[test]
fn clients_that_ask_and_then_never_read_hold_nothing_up() {
    let site = Site::new();
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client = connect(&site);
        let mut bytes = Vec::new();
        frame::encode(&Request::Log { repos: Vec::new(), delivery: None, last: u32::MAX, follow: true }, &mut bytes).unwrap();
        client.write_all(&bytes).unwrap();
        stuck.push(client);
    }
    let commit = site.remote.publish(&[("page", "two")]);
    site.gateway.deploy(PATH, &commit);
    works(&site, &["status"]);
}

/// Ended when dropped.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn log_follows_what_happens() {
    let site = Site::new();
    let mut command: Command = gateway::command(&site.scratch, None);
    command.args(["log", "--follow", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Following(command.spawn().unwrap());
    let log = support::log::Log::default();
    log.collect(child.0.stdout.take().unwrap());
    log.wait(&["current"]);
    let commit = site.deploy(&[("page", "two")]);
    let line = log.wait(&["update", &commit, "current"]);
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["what"]["update"]["result"]["current"]["new"], commit.as_str(), "{line}");
}

fn with_another_repo(site: &Site) -> String {
    let site_again = Repo::new(&site.scratch, "/again", &site.daemon.url(site.remote.name()));
    site.gateway.config().clone().set("port", site.gateway.port()).repo(site_again).yaml()
}

#[test]
fn reload_brings_another_configuration_into_force_and_status_knows_it() {
    let site = Site::new();
    let since = status(&site)["repos"][0]["deployed_since"].clone();
    site.scratch.file("gwg.yaml", &with_another_repo(&site));
    let out = works(&site, &["reload"]);
    assert!(out.contains("in force"), "{out}");
    let repos = status(&site)["repos"].clone();
    let names: Vec<&str> = repos.as_array().unwrap().iter().map(|repo| repo["name"].as_str().unwrap()).collect();
    assert_eq!(names, [PATH, "/again"]);
    assert_eq!(repos[0]["deployed_since"], since, "what was known is forgotten");
    assert_eq!(run(&site, &["update", "--wait", "/again"]).0, Some(0));
}

#[test]
fn a_bad_configuration_is_refused_to_who_asked_and_the_old_one_stays() {
    let site = Site::new();
    site.scratch.file("gwg.yaml", "port: 0\nrepos: []\n");
    let (code, out, err) = run(&site, &["reload"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.contains("the old configuration stays in force") && err.contains("gwg.yaml") && err.contains("port"), "{err}");
    assert_eq!(status(&site)["repos"][0]["state"], "current");
}

#[test]
fn a_reload_changes_who_may_ask() {
    let (Some(()), Some(())) = (need::root(), need::executables_for_all()) else { return };
    let site = with_group(false);
    let config = site.gateway.config().clone().set("port", site.gateway.port());
    let other = GROUP + 1;
    site.scratch.file("gwg.yaml", &config.set("control", serde_json::json!({ "group": other, "act": true })).yaml());
    works(&site, &["reload"]);
    assert_eq!(run_as(&site, INVOKER, GROUP, &["status"]).0, Some(77));
    assert_eq!(run_as(&site, INVOKER, other, &["update", "--all"]).0, Some(0));
}

/// The connection of who asks for an update, and waits for it.
fn asks_and_waits(site: &Site, path: &str) -> UnixStream {
    let mut stream = connect(site);
    stream.set_read_timeout(Some(wait::LONG)).unwrap();
    let mut request = Vec::new();
    frame::encode(&Request::Update { repos: vec![path.to_owned()], wait: true }, &mut request).unwrap();
    stream.write_all(&request).unwrap();
    stream
}

#[test]
fn who_waits_for_an_update_hears_how_far_it_is() {
    let site = Site::new();
    site.remote.publish(&[("README", "second\n"), ("more", "more\n")]);
    let mut stream = asks_and_waits(&site, PATH);
    let mut heard = Vec::new();
    loop {
        match frame::read::<Answer>(&mut stream).unwrap() {
            Answer::Notice(notice) => heard.push(notice.what),
            Answer::Done => break,
            Answer::Marked(1) => {}
            other => panic!("{other:?}"),
        }
    }
    let fetch = heard.iter().find_map(|what| match what {
        Happens::Progress(Progress::Fetch { objects, of, .. }) => Some((*objects, *of)),
        _ => None,
    });
    let (objects, of) = fetch.unwrap_or_else(|| panic!("{heard:?}"));
    assert!(of > 0 && objects <= of, "{objects} of {of}");
    assert!(matches!(heard.last(), Some(Happens::Update(_))), "{heard:?}");
}

#[test]
fn who_waits_for_a_repository_that_a_reload_removes_is_told() {
    let ground = Ground::new();
    let config = Config::new().set("threads", 1).repo(ground.repo()).repo(ground.repo_at("/second"));
    let mut site = ground.start(config);
    for path in [PATH, "/second"] {
        site.gateway.wait_for_log(0, path, &["update ok"]);
    }
    // The one slot is taken, so that the other repository is marked and no more.
    site.deliver_held_up(PATH);
    let mut stream = asks_and_waits(&site, "/second");
    assert_eq!(frame::read::<Answer>(&mut stream).unwrap(), Answer::Marked(1));
    let config = site.gateway.config().clone().without_repo("/second");
    site.gateway.reload(config);
    let gone = Answer::Refused(Refusal::Unknown { name: "/second".to_owned(), nearest: None });
    assert_eq!(frame::read::<Answer>(&mut stream).unwrap(), gone);
    site.daemon.set(Mode::Serve);
}
