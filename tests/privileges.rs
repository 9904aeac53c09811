//! What each running child is and holds, as the kernel tells it: users, capabilities, descriptors
//! and limits. Whose secrets are in whose memory: `canaries.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use support::config::{Config, SECRET};
use support::gateway::Gateway;
use support::loopback::Mode;
use support::need;
use support::processes::Process;
use support::scratch::{self, INVOKER, LISTENER, UPDATER, WORKER};
use support::site::{Ground, PATH};

const CHILDREN: &[(&str, u32)] = &[("gwg-listener", LISTENER), ("gwg-worker", WORKER), ("gwg-updater", UPDATER)];

/// What holds with and without root.
fn assert_confined(child: Process) {
    let name = child.name();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(child.status(set).as_deref(), Some("0000000000000000"), "{name} {set}");
    }
    assert_eq!(child.status("NoNewPrivs").as_deref(), Some("1"), "{name}");
    // The kernel gives the files of a process that may not be dumped to root.
    assert_eq!(fs::metadata(child.path("environ")).unwrap().uid(), 0, "{name} may be dumped");
    let limits = fs::read_to_string(child.path("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{name}: {core}");
    let arguments = String::from_utf8_lossy(&fs::read(child.path("cmdline")).unwrap()).into_owned();
    assert!(!arguments.contains(SECRET) && !arguments.contains("/"), "{name} has arguments that tell something: {arguments:?}");
}

#[test]
fn each_child_has_a_user_of_its_own_and_no_privilege() {
    let Some(()) = need::root() else { return };
    let site = Ground::held_up();
    for (name, user) in CHILDREN {
        let child = site.gateway.child(name);
        for key in ["Uid", "Gid"] {
            let ids = child.status(key).unwrap();
            assert!(ids.split_whitespace().all(|id| id == user.to_string()), "{name} {key}: {ids}");
        }
        assert_eq!(child.status("Groups").as_deref(), Some(""), "{name}");
        assert_eq!(child.status("CapBnd").as_deref(), Some("0000000000000000"), "{name}");
        assert_confined(child);
        assert_eq!(fs::read(child.path("environ")).unwrap(), b"", "{name} has an environment");
    }
    site.daemon.set(Mode::Serve);
}

#[test]
fn an_ordinary_user_gets_the_same_but_the_users() {
    if need::is_root() {
        return;
    }
    let site = Ground::held_up();
    let us = nix::unistd::getuid().to_string();
    for (name, _) in CHILDREN {
        let child = site.gateway.child(name);
        assert!(child.status("Uid").unwrap().split_whitespace().all(|id| id == us), "{name}");
        assert_confined(child);
    }
    site.daemon.set(Mode::Serve);
}

/// The other world, seen from root.
#[test]
fn invoked_by_an_ordinary_user_it_works_too() {
    let Some(()) = need::root() else { return };
    let Some(()) = need::executables_for_all() else { return };
    let ground = Ground::new();
    for name in ["trees", "triggers"] {
        scratch::give_to(&ground.scratch.directory(name), INVOKER);
    }
    let repo = ground.repo();
    for name in ["trees", "triggers"] {
        scratch::give_to(&ground.scratch.directory(name), INVOKER);
    }
    let config = Config::new().without("user").without("worker_user").without("listener_user").repo(repo);
    let gateway = Gateway::start_as(&ground.scratch, config, Some(INVOKER));
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
    for name in ["gwg-listener", "gwg-worker"] {
        let child = gateway.child(name);
        assert!(child.status("Uid").unwrap().split_whitespace().all(|id| id == INVOKER.to_string()), "{name}");
        assert_confined(child);
    }
    // It holds what all children were told, and they are of its own user.
    assert_eq!(fs::metadata(gateway.process().path("environ")).unwrap().uid(), 0, "gwg may be dumped");
    gateway.deploy(PATH, &ground.remote.publish(&[("README", "second\n")]));
}

#[test]
fn each_child_holds_only_its_own_descriptors() {
    let Some(()) = need::root() else { return };
    let site = Ground::held_up();
    let scratch = site.scratch.path().to_str().unwrap().to_owned();
    for (name, _) in CHILDREN {
        let found = site.gateway.child(name).descriptors();
        assert_eq!(found[0], (0, "/dev/null".into()), "{name}");
        assert!(found[1].1.starts_with("pipe:") && found[1].1 == found[2].1, "{name}: {found:?}");
        for (number, target) in &found {
            let allowed = match *name {
                "gwg-listener" => is_plumbing(target),
                "gwg-worker" => is_plumbing(target) || target.starts_with(&format!("{scratch}/state")),
                _ => {
                    is_plumbing(target)
                        || target.starts_with(&format!("{scratch}/trees"))
                        || target.starts_with(&format!("{scratch}/triggers"))
                }
            };
            assert!(allowed, "{name} holds {number}: {target}");
        }
    }
    site.daemon.set(Mode::Serve);
}

/// Sockets, pipes, sealed briefs and what an event loop needs.
fn is_plumbing(target: &str) -> bool {
    let kinds = ["socket:", "pipe:", "anon_inode:", "/memfd:"];
    target == "/dev/null" || kinds.iter().any(|kind| target.starts_with(kind))
}
