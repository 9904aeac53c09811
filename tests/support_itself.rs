//! The tests' own tools, tested: a harness that can't see would pass everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use support::ambush::{Ambush, Fate, Prey};
use support::delivery::Delivery;
use support::git_daemon::GitDaemon;
use support::https::Https;
use support::loopback::Mode;
use support::processes::Process;
use support::remote::{self, Remote};
use support::scratch::Scratch;
use support::sshd::Sshd;
use support::tree::Tree;
use support::{keys, need, wait};

/// Real git clones `url`, with the environment added; gives its messages where it fails.
fn clone(scratch: &Scratch, url: &str, environment: &[(&str, &str)]) -> Result<Tree, String> {
    let directory = scratch.path().join("clone");
    let mut command = remote::command(scratch.path());
    command.args(["clone", "--quiet", url]).arg(&directory).envs(environment.iter().copied());
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(Tree { directory, trigger: scratch.path().join("trigger") })
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn git_clones_from_the_git_daemon() {
    let scratch = Scratch::new();
    let remotes = scratch.directory("remotes");
    let remote = Remote::new(&remotes, "site");
    let daemon = GitDaemon::start(&remotes);
    let tree = clone(&scratch, &daemon.url("site.git"), &[]).unwrap();
    assert_eq!(tree.head(), Some(remote.head()));
    tree.assert_healthy();
    assert_eq!(daemon.server().seen(), 1);

    daemon.set(Mode::HangUp);
    std::fs::remove_dir_all(&tree.directory).unwrap();
    assert!(clone(&scratch, &daemon.url("site.git"), &[]).is_err());
}

#[test]
fn git_clones_from_sshd_with_the_key_and_the_host_key_only() {
    let scratch = Scratch::new();
    let Some(sshd) = Sshd::start(&scratch.directory("sshd")) else { return };
    let remote = Remote::new(&scratch.directory("remotes"), "site");
    let key = keys::generate(scratch.path(), "key", &["-t", "ed25519"], "");
    let known = scratch.file("known_hosts", &(sshd.known_hosts_line() + "\n"));
    let ssh = format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=none -o UserKnownHostsFile={}",
        key.file.display(),
        known.display()
    );
    let environment = [("GIT_SSH_COMMAND", ssh.as_str())];
    let url = sshd.url(remote.bare());
    let refused = clone(&scratch, &url, &environment).unwrap_err();
    assert!(refused.contains("Permission denied"), "{refused}\n{}", sshd.log());

    sshd.authorize(&key.public);
    let tree = clone(&scratch, &url, &environment).unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));
    assert_eq!(tree.head(), Some(remote.head()));
    std::fs::remove_dir_all(&tree.directory).unwrap();

    scratch.file("known_hosts", &(sshd.hashed_known_hosts_line() + "\n"));
    clone(&scratch, &url, &environment).unwrap();
    std::fs::remove_dir_all(&tree.directory).unwrap();

    sshd.change_host_key();
    let refused = clone(&scratch, &url, &environment).unwrap_err();
    assert!(refused.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{refused}");
}

#[test]
fn git_clones_from_the_https_server_with_its_authority_only() {
    let scratch = Scratch::new();
    let remotes = scratch.directory("remotes");
    let remote = Remote::new(&remotes, "site");
    let Some(https) = Https::start(&remotes) else { return };
    let url = https.url("site.git");
    assert!(clone(&scratch, &url, &[]).is_err(), "a certificate of nobody's was believed");
    let ca = scratch.file("ca.pem", https.ca());
    let tree = clone(&scratch, &url, &[("GIT_SSL_CAINFO", ca.to_str().unwrap())]).unwrap();
    assert_eq!(tree.head(), Some(remote.head()));
    tree.assert_healthy();
}

#[test]
fn signatures_are_github_s() {
    // The vector of GitHub's documentation.
    let delivery = Delivery::event("/", "push", &serde_json::json!({})).body("Hello, World!").sign("It's a Secret to Everybody");
    let request = String::from_utf8(delivery.request()).unwrap();
    assert!(
        request.contains("X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n"),
        "{request}"
    );
}

#[test]
fn an_unhealthy_tree_is_seen() {
    let scratch = Scratch::new();
    let remote = Remote::new(&scratch.directory("remotes"), "site");
    let tree = clone(&scratch, remote.bare().to_str().unwrap(), &[]).unwrap();
    let unhealthy = |tree: &Tree| std::panic::catch_unwind(|| tree.assert_healthy()).is_err();
    assert!(!unhealthy(&tree));

    std::fs::write(tree.directory.join("README"), "edited\n").unwrap();
    assert!(unhealthy(&tree), "an edited file");
    tree.git(&["checkout", "--", "."]);
    std::fs::write(tree.directory.join(".git/index.lock"), "").unwrap();
    assert!(unhealthy(&tree), "a lock");
}

#[test]
fn children_are_found_by_name() {
    let us = support::processes::Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let found = us.children().into_iter().find(|process| process.name() == "sleep").unwrap();
    assert_eq!(u32::try_from(found.pid()).unwrap(), child.id());
    found.kill();
    assert!(!found.alive());
    child.wait().unwrap();
    assert_eq!(need::is_root(), us.status("Uid").unwrap().starts_with('0'));
}

/// A shell that waits for a line before it does anything.
fn waiting_shell(directory: &std::path::Path, script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("read line; {script}")]).current_dir(directory);
    command.stdin(Stdio::piped()).spawn().unwrap()
}

/// Lays an ambush for a shell that waits, and lets it go on: what came of that.
fn waylay(shell: &mut Child, prey: fn(Process) -> Prey, nth: usize) -> Fate {
    let ambush = Ambush::lay(prey(Process::of(shell.id().try_into().unwrap()).unwrap()), nth);
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let fate = ambush.fate(wait::LONG).unwrap();
    ambush.end();
    fate
}

#[test]
fn an_ambush_ends_a_process_before_the_call_that_was_asked_for() {
    for (nth, expected) in [(1, ["", ""]), (2, ["empty", ""]), (3, ["one\n", ""]), (4, ["one\n", "empty"]), (5, ["one\n", "two\n"])] {
        let scratch = tempfile::tempdir().unwrap();
        let mut shell = waiting_shell(scratch.path(), "echo one >a; echo two >b");
        let fate = waylay(&mut shell, Prey::Running, nth);
        assert_eq!(shell.wait().unwrap().signal(), Some(9));
        let calls = ["openat", "write", "openat", "write", "exit_group"];
        assert_eq!((fate.calls.as_slice(), fate.killed.is_some()), (&calls[..nth], true));
        let found = ["a", "b"].map(|name| match std::fs::read_to_string(scratch.path().join(name)) {
            Ok(text) if text.is_empty() => "empty".to_owned(),
            found => found.unwrap_or_default(),
        });
        assert_eq!(found, expected, "killed at {nth}");
    }
}

#[test]
fn an_ambush_meets_a_child_from_its_fork_on_and_spares_its_parent() {
    let scratch = tempfile::tempdir().unwrap();
    let mut shell = waiting_shell(scratch.path(), "touch a; echo $? >b");
    assert_eq!(waylay(&mut shell, Prey::NextChildOf, 1).calls, ["execve"]);
    assert!(shell.wait().unwrap().success());
    assert!(!scratch.path().join("a").exists());
    assert_eq!(std::fs::read_to_string(scratch.path().join("b")).unwrap(), "137\n");
}

#[test]
fn an_ambush_that_nobody_walks_into_hears_all_calls_and_of_the_end() {
    let scratch = tempfile::tempdir().unwrap();
    let mut shell = waiting_shell(scratch.path(), "echo one >a");
    let fate = waylay(&mut shell, Prey::Running, 9);
    assert_eq!((fate.calls.as_slice(), fate.killed), (&["openat", "write", "exit_group"][..], None));
    let _reaped_by_the_ambush = shell.wait();
}
