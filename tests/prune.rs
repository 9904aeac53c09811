//! `gwg prune`: the trees of repositories that are no longer configured, as an operator has them deleted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::thread;
use support::account;
use support::config::{Config, Repo};
use support::gateway;
use support::site::{Ground, Site};
use support::wait;

fn prune(site: &Site, arguments: &[&str]) -> String {
    let output = gateway::run(&site.scratch, &[&["prune"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn again(site: &Site, path: &str) -> Repo {
    Repo::new(&site.scratch, path, &site.daemon.url(site.remote.name()))
}

/// Four repositories, of which `/second`, `/changed` and `/outer` are removed again.
fn removed() -> Site {
    let ground = Ground::new();
    let outer = ground.repo_at("/outer");
    let config = Config::new().repo(ground.repo()).repo(ground.repo_at("/second")).repo(ground.repo_at("/changed")).repo(outer);
    let mut site = ground.start(config);
    for path in ["/second", "/changed", "/outer"] {
        site.gateway.tree(path).wait_for(&site.remote.head(), None);
        wait::until_true("its update has ended", || site.gateway.updates(path) > 0);
    }
    let config = ["/second", "/changed", "/outer"].iter().fold(site.gateway.config().clone(), |config, path| config.without_repo(path));
    site.gateway.reload(config);
    site
}

#[test]
fn a_removed_repository_is_listed_and_deleted_where_nobody_changed_it() {
    let ground = Ground::new();
    let config = account::config(&ground.scratch).repo(ground.repo()).repo(ground.repo_at("/second")).repo(ground.repo_at("/changed"));
    let mut site = ground.start(config);
    let (second, changed) = (site.gateway.tree("/second"), site.gateway.tree("/changed"));
    for tree in [&second, &changed] {
        tree.wait_for(&site.remote.head(), None);
    }
    // The event that an update has ended comes after its last file.
    wait::until_true("both are deployed", || site.gateway.updates("/second") > 0 && site.gateway.updates("/changed") > 0);
    assert!(prune(&site, &[]).contains("is configured"), "nothing is removed yet");
    let config = site.gateway.config().clone().without_repo("/second").without_repo("/changed");
    site.gateway.reload(config);
    // What was configured is known after a restart, too.
    let mark = site.gateway.log().mark();
    site.gateway.restart();
    site.gateway.log().wait_after(mark, &["ready listen="]);
    fs::write(changed.directory.join("mine"), "mine").unwrap();

    let listed = prune(&site, &[]);
    let line = |text: &str, path: &Path| text.lines().find(|line| line.starts_with(&path.display().to_string())).unwrap().to_owned();
    assert!(line(&listed, &second.directory).ends_with("as gwg left it"), "{listed}");
    assert!(line(&listed, &changed.directory).contains("kept: there are files that the commit does not have"), "{listed}");
    assert!(listed.contains("`gwg prune --delete` deletes 1 of 2"), "{listed}");
    assert!(second.directory.join("README").exists(), "it was only listed");

    let mark = site.gateway.log().mark();
    let deleted = prune(&site, &["--delete"]);
    let gone = second.directory.exists();
    assert!(!gone || fs::read_dir(&second.directory).unwrap().next().is_none(), "{deleted}");
    assert!(line(&deleted, &second.directory).contains(if gone { "emptied" } else { "deleted" }), "{deleted}");
    assert!(changed.directory.join("mine").exists() && changed.directory.join("README").exists(), "{deleted}");
    site.gateway.wait_for_log(mark, "/second", &["no longer configured is pruned"]);
    site.gateway.wait_for_log(mark, "/changed", &["no longer configured is kept", "reason=untracked"]);
    let audited = |result: &str| {
        let records = fs::read_to_string(account::file(&site.scratch)).unwrap();
        records.lines().any(|line| line.contains("\"tree.pruned\"") && line.contains(&format!("\"{result}\"")))
    };
    wait::until_true("both are in the audit file", || audited(if gone { "emptied" } else { "deleted" }) && audited("kept"));
    assert!(!prune(&site, &[]).contains(&second.directory.display().to_string()), "it is forgotten");
    // What is configured was never in danger.
    site.tree().assert_healthy();
    site.deploy(&[("README", "second\n")]);

    // Configured again, it is cloned again.
    let before = second.touched();
    let config = site.gateway.config().clone().repo(again(&site, "/second"));
    site.gateway.reload(config);
    second.wait_for(&site.remote.head(), before);
}

#[test]
fn nothing_that_is_contains_or_lies_in_what_is_configured_is_pruned() {
    let mut site = removed();
    let head = site.remote.head();
    // The tree of a removed repository is a part of a new one's now.
    let outer = Repo::new(&site.scratch, "/outer", "").tree();
    let inside = outer.directory.join("inside");
    let repo = again(&site, "/inside").set("directory", inside.display().to_string());
    let config = site.gateway.config().clone().repo(repo);
    site.gateway.reload(config);
    site.gateway.tree("/inside").wait_for(&head, None);
    let text = prune(&site, &["--delete"]);
    assert!(text.contains("kept: it is, contains or lies in a directory that is configured"), "{text}");
    assert!(outer.directory.join("README").exists());
    site.gateway.tree("/inside").assert_healthy();
    for gone in ["second", "changed"] {
        assert!(text.lines().any(|line| line.contains(gone) && (line.ends_with("deleted") || line.contains("emptied"))), "{text}");
    }
}

#[test]
fn a_stop_in_the_middle_of_a_prune_accuses_nobody() {
    let mut site = removed();
    let worker = site.gateway.child("gwg-worker");
    // So that it answers when it has been told to end.
    worker.signal(Signal::SIGSTOP);
    thread::scope(|scope| {
        let mark = site.gateway.log().mark();
        scope.spawn(|| gateway::run(&site.scratch, &["prune"]));
        site.gateway.log().wait_after(mark, &["an operator asks"]);
        let another_runs = || String::from_utf8_lossy(&gateway::run(&site.scratch, &["prune"]).stderr).contains("another prune runs");
        wait::until_true("the worker is asked", another_runs);
        site.gateway.process().signal(Signal::SIGTERM);
        site.gateway.log().wait(&["stopping"]);
        worker.signal(Signal::SIGCONT);
    });
    assert!(site.gateway.wait().success());
    let violations = site.gateway.log().matching(&["violation"]);
    assert!(violations.is_empty(), "{violations:?}");
}
