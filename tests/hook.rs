//! Hooks, end to end: who they are, what they see, when they run, and that nothing of them is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use support::config::Config;
use support::gateway::Gateway;
use support::hook::{Notes, wait_for_end};
use support::loopback::Mode;
use support::processes::Process;
use support::scratch::{self, HOOK, INVOKER, UPDATER};
use support::site::{Ground, PATH, Site};
use support::{need, wait};

/// A running gateway whose one repository has this hook.
fn site(script: &str) -> (Site, Notes) {
    site_with(script, &json!({}), Config::new())
}

fn site_with(script: &str, keys: &serde_json::Value, config: Config) -> (Site, Notes) {
    let ground = Ground::new();
    let notes = Notes::new(&ground.scratch);
    let mut hook = notes.hook(script);
    for (key, value) in keys.as_object().unwrap() {
        hook[key] = value.clone();
    }
    let repo = ground.repo().set("hook", hook);
    (ground.start(config.repo(repo)), notes)
}

/// What the command itself printed, from the log.
fn said(gateway: &Gateway) -> BTreeSet<String> {
    let lines = gateway.log().matching(&["gwg-hook[", &format!("repo={PATH}")]);
    let text = |line: &String| line.split_once("]: ").unwrap().1.rsplit_once(" repo=").unwrap().0.to_owned();
    lines.iter().map(text).collect()
}

#[test]
fn its_environment_is_exactly_what_is_documented() {
    let ground = Ground::new();
    let mut hook = Notes::new(&ground.scratch).hook("");
    hook["command"] = json!(["/usr/bin/env"]);
    hook["env"] = json!({"COLOUR": "blue green"});
    let repo = ground.repo().set("hook", hook).set("label", "master");
    let tree = repo.tree().directory;
    let site = ground.start_with(repo);
    wait_for_end(&site.gateway, 0, "exit 0");
    let new = site.remote.head();
    let wanted = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        "COLOUR=blue green".into(),
        format!("GWG_REPO={PATH}"),
        "GWG_REF=refs/heads/master".into(),
        format!("GWG_DIRECTORY={}", tree.display()),
        "GWG_OLD=".into(),
        format!("GWG_NEW={new}"),
        "GWG_ATTEMPT=1".into(),
    ];
    let mut found = said(&site.gateway);
    let home: Vec<String> = found.iter().filter(|line| line.starts_with("HOME=/")).cloned().collect();
    assert_eq!(home.len(), 1, "{found:?}");
    found.remove(&home[0]);
    assert_eq!(found, wanted.into_iter().collect());

    let mark = site.gateway.log().mark();
    let next = site.deploy(&[("README", "second\n")]);
    wait_for_end(&site.gateway, mark, "exit 0");
    let found = said(&site.gateway);
    assert!(found.contains(&format!("GWG_OLD={new}")) && found.contains(&format!("GWG_NEW={next}")), "{found:?}");
}

/// What a hook can tell of itself.
const LOOK: &str = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status > $NOTES/status
    ls /proc/self/fd > $NOTES/fds; readlink /proc/self/fd/0 > $NOTES/stdin; pwd > $NOTES/pwd; ulimit -c > $NOTES/core
    umask > $NOTES/umask; cut -d' ' -f5 /proc/self/stat > $NOTES/group; echo $$ > $NOTES/pid; echo heard > /dev/stderr";

fn assert_is_confined(notes: &Notes, tree: &std::path::Path, uid: u32) {
    let status: Vec<String> = notes.lines("status").iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let has = |line: String| assert!(status.contains(&line), "{line} is not in {status:?}");
    has(format!("Uid: {uid} {uid} {uid} {uid}"));
    has(format!("Gid: {uid} {uid} {uid} {uid}"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        has(format!("{set}: 0000000000000000"));
    }
    has("NoNewPrivs: 1".into());
    has("Seccomp: 2".into());
    // The fourth is the directory that ls itself reads.
    assert_eq!(notes.lines("fds"), ["0", "1", "2", "3"]);
    assert_eq!(notes.lines("stdin"), ["/dev/null"]);
    assert_eq!(notes.lines("pwd"), [tree.to_str().unwrap()]);
    assert_eq!(notes.lines("core"), ["0"]);
    assert_eq!(notes.lines("umask"), ["0022"]);
    // The first process of its namespace is its parent.
    assert_eq!(notes.lines("pid"), ["2"]);
}

#[test]
fn it_has_its_own_user_and_no_privilege_descriptor_or_sight_of_others() {
    let Some(()) = need::root() else { return };
    let (site, notes) = site(LOOK);
    wait_for_end(&site.gateway, 0, "exit 0");
    assert_is_confined(&notes, &site.tree().directory, HOOK);
    assert!(notes.lines("status").contains(&"Groups:\t ".to_owned()), "{:?}", notes.lines("status"));
    assert!(said(&site.gateway).contains("heard"), "/dev/stderr can't be opened");
    site.gateway.wait_for_log(0, PATH, &["hook started", "pids=own", &format!("uid={HOOK}"), "on=success", "attempt=1"]);
}

#[test]
fn invoked_by_an_ordinary_user_hooks_work_too() {
    let Some(()) = need::root() else { return };
    let Some(()) = need::executables_for_all() else { return };
    let ground = Ground::new();
    let notes = Notes::of(&ground.scratch, INVOKER);
    let mut hook = notes.hook(LOOK);
    hook.as_object_mut().unwrap().remove("user");
    let repo = ground.repo().set("hook", hook);
    for name in ["trees", "triggers"] {
        scratch::give_to(&ground.scratch.directory(name), INVOKER);
    }
    let config = Config::new().without("user").without("worker_user").without("listener_user");
    let gateway = Gateway::start_as(&ground.scratch, config.set("confinement", "require").repo(repo), Some(INVOKER));
    wait_for_end(&gateway, 0, "exit 0");
    assert_is_confined(&notes, &gateway.tree(PATH).directory, INVOKER);
    gateway.wait_for_log(0, PATH, &["hook started", "pids=own"]);
}

#[test]
fn it_can_signal_nothing_but_what_it_started() {
    let Some(()) = need::root() else { return };
    // Of the same user, started by somebody else.
    let mut other = Command::new("/bin/sleep").arg("1000").uid(HOOK).gid(HOOK).spawn().unwrap();
    let process = Process::of(i32::try_from(other.id()).unwrap()).unwrap();
    let script = format!("kill -9 {}; kill -9 -1; kill -TERM 0; echo still here > $NOTES/end", process.pid());
    let (site, _notes) = site(&script);
    // The process group's signal meets the shell itself, and not gwg-hook.
    wait_for_end(&site.gateway, 0, "signal 15");
    assert!(process.alive(), "a process of the same user was killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn where_it_may_write_can_be_bounded() {
    let ground = Ground::new();
    let notes = Notes::new(&ground.scratch);
    let elsewhere = ground.scratch.directory("elsewhere");
    scratch::give_to(&elsewhere, HOOK);
    let mut hook = notes.hook(&format!(
        "echo > $NOTES/a; echo > /dev/null; cat README > $NOTES/readme; mv $NOTES/a $NOTES/b
         (echo > {0}/a) || echo no >> $NOTES/refused; mkdir {0}/d || echo no >> $NOTES/refused",
        elsewhere.display()
    ));
    hook["write"] = json!([ground.scratch.directory("notes")]);
    let repo = ground.repo().set("hook", hook);
    let site = ground.start_with(repo);
    wait_for_end(&site.gateway, 0, "exit 0");
    assert_eq!((notes.lines("b").len(), notes.lines("readme").is_empty(), notes.lines("refused").len()), (1, false, 2));
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
}

#[test]
fn a_failed_hook_is_tried_again_and_given_up_until_the_next_commit() {
    let config = Config::new().set("retry_count", 2).set("retry_delay", "10ms");
    let (site, notes) = site_with("echo $GWG_NEW $GWG_ATTEMPT >> $NOTES/runs; exit 3", &json!({}), config);
    let first = site.remote.head();
    site.gateway.wait_for_log(0, PATH, &["hook failed; it is tried again", "attempt=1"]);
    site.gateway.wait_for_log(0, PATH, &["ERROR", "hook failed; its tries are used up", "attempt=2"]);
    wait_for_end(&site.gateway, 0, "exit 3");
    let second = site.deploy(&[("README", "second\n")]);
    let runs = notes.wait("runs", 4);
    assert_eq!(runs, [format!("{first} 1"), format!("{first} 2"), format!("{second} 1"), format!("{second} 2")]);
}

#[test]
fn the_hook_of_a_failure_runs_once_when_the_tries_are_used_up() {
    let config = Config::new().set("retry_count", 2).set("retry_delay", "10ms");
    let ground = Ground::new();
    let notes = Notes::new(&ground.scratch);
    let mut failure = notes.hook("echo \"old=$GWG_OLD new=$GWG_NEW attempt=$GWG_ATTEMPT\" >> $NOTES/failures");
    failure["on"] = "failure".into();
    let repo = ground.repo().set("hook", json!([notes.hook("echo >> $NOTES/successes"), failure]));
    let site = ground.start(config.repo(repo));
    let first = site.remote.head();
    notes.wait("successes", 1);
    site.daemon.set(Mode::HangUp);
    site.gateway.deliver(PATH, &site.remote.publish(&[("README", "second\n")]));
    assert_eq!(notes.wait("failures", 1), [format!("old={first} new= attempt=2")]);
    site.gateway.wait_for_log(0, PATH, &["hook ended", "on=failure"]);
    site.daemon.set(Mode::Serve);
    // A delivery begins a new streak.
    site.deploy(&[("README", "third\n")]);
    notes.wait("successes", 2);
    assert_eq!(notes.lines("failures").len(), 1);
}

#[test]
fn a_repository_waits_for_its_hook_and_others_do_not() {
    let ground = Ground::new();
    let notes = Notes::new(&ground.scratch);
    let script = "echo $GWG_NEW >> $NOTES/runs; while [ ! -e $NOTES/go ]; do sleep 0.05; done";
    let (one, other) = (ground.repo().set("hook", notes.hook(script)), ground.repo_at("/other"));
    let site = ground.start(Config::new().set("threads", 1).repo(one).repo(other));
    let first = site.remote.head();
    notes.wait("runs", 1);
    let second = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deliver(PATH, &second);
    site.gateway.deploy("/other", &second);
    assert_eq!(site.tree().head(), Some(first.clone()), "an update while the hook runs");
    notes.leave("go");
    assert_eq!(notes.wait("runs", 2), [first, second.clone()]);
    assert_eq!(site.tree().head(), Some(second));
}

#[test]
fn what_it_prints_makes_no_line_of_the_log() {
    let script = r"printf 'one\n2030-01-01 ERROR update failed repo=/forged\n\033[31mred\r\\x\n'; echo two >&2; printf 'no end'";
    let (site, _notes) = site(script);
    wait_for_end(&site.gateway, 0, "exit 0");
    let said = said(&site.gateway);
    for line in ["one", "2030-01-01 ERROR update failed repo=/forged", r"\\x1b[31mred\\x0d\\\\x", "two", "no end"] {
        let line = line.replace("\\\\", "\\");
        assert!(said.contains(&line), "{line} is not in {said:?}");
    }
    for line in site.gateway.log().matching(&["/forged"]) {
        assert!(line.contains("INFO") && line.contains("gwg-hook["), "a forged line: {line}");
    }
}

#[test]
fn f29_one_that_hangs_is_killed_at_its_deadline_with_all_that_it_started() {
    // Daemons by every way there is, none of which hears SIGTERM.
    let script = "trap '' TERM HUP; exec >/dev/null 2>&1
        sleep $MARK & setsid sleep $MARK & (setsid sh -c 'sleep $MARK & sleep $MARK' &) &
        (trap '' TERM; sleep $MARK) & sleep $MARK";
    let (site, notes) = site_with(script, &json!({"timeout": "3s"}), Config::new());
    let marked = notes.wait_for_marked(6);
    wait_for_end(&site.gateway, 0, "deadline");
    assert_eq!(notes.marked().len(), 0, "of {} processes", marked.len());
    // And it is tried again, as one that failed.
    site.gateway.wait_for_log(0, PATH, &["hook failed; it is tried again"]);
}

#[test]
fn f29_what_a_command_leaves_behind_ends_with_it() {
    let (site, notes) = site("(setsid sleep $MARK &) & sleep 0.2; exec >&- 2>&-; exit 0");
    wait_for_end(&site.gateway, 0, "exit 0");
    assert_eq!(notes.marked().len(), 0);
}

#[test]
fn f29_a_hundred_megabytes_of_output_are_counted_and_not_kept() {
    let (site, _notes) = site("yes 0123456789abcdef | head -c 100000000");
    wait_for_end(&site.gateway, 0, "exit 0");
    let lines = site.gateway.log().matching(&["gwg-hook["]);
    assert!(lines.iter().map(String::len).sum::<usize>() < 200_000, "{} lines", lines.len());
    let last = lines.last().unwrap();
    assert!(last.contains("more lines,") && last.contains("are not shown"), "{last}");
    // 17 bytes a line, of which the last is the newline.
    let dropped: usize = last.split("more lines, ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((90_000_000..94_200_000).contains(&dropped), "{last}");
}

#[test]
fn f29_a_hook_that_deletes_the_tree_costs_the_next_update_nothing_but_time() {
    let keys = if need::is_root() { json!({"user": UPDATER, "env": {}}) } else { json!({"env": {}}) };
    let script = "rm -rf \"$GWG_DIRECTORY\"/* \"$GWG_DIRECTORY\"/.git; rmdir \"$GWG_DIRECTORY\" || true";
    let (site, _notes) = site_with(script, &keys, Config::new());
    wait_for_end(&site.gateway, 0, "exit 0");
    assert_eq!(site.tree().head(), None);
    let mark = site.gateway.log().mark();
    site.gateway.deliver(PATH, &site.remote.publish(&[("README", "second\n")]));
    site.gateway.wait_for_log(mark, PATH, &["update ok"]);
    wait_for_end(&site.gateway, mark, "exit 0");
}

#[test]
fn f29_a_fork_bomb_meets_its_limit_and_ends_at_the_deadline() {
    let Some(()) = need::root() else { return };
    let script = "bomb() { sleep $MARK & bomb & bomb; }; bomb";
    let (site, notes) = site_with(script, &json!({"timeout": "2s"}), Config::new());
    wait_for_end(&site.gateway, 0, "");
    assert_eq!(notes.marked().len(), 0);
    let left =
        Process::all().into_iter().filter(|process| process.alive() && process.status("Uid").is_some_and(|ids| ids.contains("64004")));
    let names: Vec<String> = left.map(Process::name).filter(|name| name == "sh" || name == "sleep").collect();
    // Other tests' hooks run as that user too, a few processes each.
    assert!(names.len() < 50, "{} are left", names.len());
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn a_program_that_is_gone_is_a_failed_hook_and_says_so() {
    let ground = Ground::new();
    let program = ground.scratch.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let mut hook = Notes::new(&ground.scratch).hook("");
    hook["command"] = json!([program]);
    let repo = ground.repo().set("hook", hook);
    let site = ground.start_with(repo);
    wait_for_end(&site.gateway, 0, "exit 0");
    std::fs::remove_file(&program).unwrap();
    let mark = site.gateway.log().mark();
    site.deploy(&[("README", "second\n")]);
    wait_for_end(&site.gateway, mark, "not started");
    site.gateway.wait_for_log(mark, PATH, &["gwg-hook[", "can't be started"]);
}

/// The repository whose hook runs is removed, or has another: the running one ends as it began.
#[test]
fn a_reload_lets_a_running_hook_finish_and_the_next_is_the_new_one() {
    let ground = Ground::new();
    let notes = Notes::new(&ground.scratch);
    let old = notes.hook("echo begin >> $NOTES/old; while [ ! -e $NOTES/go ]; do sleep 0.05; done; echo end >> $NOTES/old");
    let (repo, other) = (ground.repo(), ground.repo_at("/other"));
    let mut site = ground.start(Config::new().repo(repo.clone().set("hook", old)).repo(other.clone()));
    notes.wait("old", 1);
    let new = repo.clone().set("hook", notes.hook("echo $GWG_NEW >> $NOTES/new"));
    let port = site.gateway.port();
    let config = || Config::new().set("port", port);
    let mark = site.gateway.log().mark();
    site.gateway.reload(config().repo(new.clone()).repo(other.clone()));
    notes.leave("go");
    assert_eq!(notes.wait("old", 2), ["begin", "end"]);
    wait_for_end(&site.gateway, mark, "exit 0");
    let commit = site.deploy(&[("README", "second\n")]);
    assert_eq!(notes.wait("new", 1), [commit]);
    assert_eq!(notes.lines("old").len(), 2);

    let last = notes.hook("echo begin >> $NOTES/last; while [ ! -e $NOTES/gone ]; do sleep 0.05; done; echo end >> $NOTES/last");
    site.gateway.reload(config().repo(repo.clone().set("hook", last)).repo(other.clone()));
    site.deploy(&[("README", "third\n")]);
    notes.wait("last", 1);
    let mark = site.gateway.log().mark();
    site.gateway.reload(config().repo(other));
    notes.leave("gone");
    assert_eq!(notes.wait("last", 2), ["begin", "end"]);
    wait_for_end(&site.gateway, mark, "exit 0");
    // The worker bears it.
    site.gateway.deploy("/other", &site.remote.publish(&[("README", "fourth\n")]));
    assert!(site.gateway.log().matching(&["confinement violation"]).is_empty());
}

/// The first run waits to be killed; later ones end well.
const WAITS_ONCE: &str = "echo $GWG_NEW $GWG_ATTEMPT >> $NOTES/runs; if [ $(wc -l < $NOTES/runs) = 1 ]; then sleep $MARK; fi";

#[test]
fn a_hook_whose_worker_dies_is_ended_and_runs_again_for_the_same_commit() {
    let (site, notes) = site(WAITS_ONCE);
    let running = notes.wait_for_marked(1);
    site.gateway.child("gwg-worker").kill();
    let commit = site.remote.head();
    assert_eq!(notes.wait("runs", 2), [format!("{commit} 1"), format!("{commit} 1")]);
    running.iter().for_each(|process| process.wait_until_gone());
    wait_for_end(&site.gateway, 0, "exit 0");
}

#[test]
fn a_hook_ends_with_the_supervisor_and_runs_again_at_the_next_start() {
    let (mut site, notes) = site(WAITS_ONCE);
    let running = notes.wait_for_marked(1);
    site.gateway.process().signal(Signal::SIGKILL);
    wait::within(Duration::from_secs(1), "the hook is gone", || running.iter().all(|process| !process.alive()).then_some(()));
    site.gateway.restart();
    let commit = site.remote.head();
    assert_eq!(notes.wait("runs", 2), [format!("{commit} 1"), format!("{commit} 1")]);
    wait_for_end(&site.gateway, 0, "exit 0");
    // Done is done: after one more start the next to run is the next commit's.
    let mark = site.gateway.log().mark();
    site.gateway.restart();
    site.gateway.wait_for_log(mark, PATH, &["update ok, nothing new"]);
    let next = site.deploy(&[("README", "second\n")]);
    assert_eq!(notes.wait("runs", 3)[2], format!("{next} 1"));
}

#[test]
fn a_short_hook_may_finish_before_the_end_and_a_long_one_does_not_hold_it_up() {
    let (mut site, notes) = site("echo begin >> $NOTES/runs; sleep 1; echo end >> $NOTES/runs");
    notes.wait("runs", 1);
    assert_eq!(site.gateway.stop(Signal::SIGTERM).0.code(), Some(0));
    assert_eq!(notes.lines("runs"), ["begin", "end"]);

    let (mut site, notes) = self::site(WAITS_ONCE);
    let running = notes.wait_for_marked(1);
    let (status, took) = site.gateway.stop(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_millis(6500), "took {took:?}");
    assert!(running.iter().all(|process| !process.alive()), "it outlived gwg");
    site.gateway.restart();
    notes.wait("runs", 2);
}
