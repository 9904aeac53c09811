//! What AppArmor or SELinux alone keep from an attacker who owns a listener or an updater: every other layer is
//! left out, so that the process is root with every capability, and its domain is all that holds it.
//!
//! Runs in a guest that enforces one of them (`tests/hosts/cases/owned`), and nowhere else: the environment
//! says where the owned executables are, and which of the two it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use support::attacks::matrix::{Matrix, NONE, ROLES};
use support::attacks::{self, Attack};

/// What gets through, and why.
struct Open {
    mac: &'static str,
    role: &'static str,
    attacks: &'static [&'static str],
    why: &'static str,
}

const OPEN: &[Open] = &[
    Open {
        mac: "apparmor",
        role: "both",
        attacks: &[
            "become-root",
            "dumpable",
            "exhaust-descriptors",
            "fixed-addresses",
            "fork",
            "memory-file",
            "outlive",
            "raise-limits",
            "read-keyring",
            "run-written-memory",
            "writable-code",
        ],
        why: "what a process does with itself is no object of AppArmor's; seccomp, users and limits",
    },
    Open {
        mac: "apparmor",
        role: "both",
        attacks: &["limit-twin", "renice-cousin", "renice-supervisor", "renice-twin"],
        why: "AppArmor is not asked about priorities, nor about limits within one domain; seccomp, users",
    },
    Open {
        mac: "apparmor",
        role: "both",
        attacks: &["abstract-socket", "io-uring", "new-user-namespace", "path-socket", "system-v-memory", "touch"],
        why: "AppArmor 3 on Linux 6.1 does not know them; seccomp, namespaces, users",
    },
    Open {
        mac: "apparmor",
        role: "both",
        attacks: &["listen", "mptcp", "tcp", "tcp-fast-open"],
        why: "AppArmor 3 knows families of sockets, and not who begins; namespaces and seccomp, Landlock",
    },
    Open {
        mac: "apparmor",
        role: "listener",
        attacks: &["copy-socket", "reconnect", "shut-down-socket"],
        why: "the listening socket is its own as much as the supervisor's; seccomp",
    },
    Open {
        mac: "apparmor",
        role: "updater",
        attacks: &[
            "ask-for-path",
            "chmod",
            "chmod-descriptor",
            "climb-out",
            "list-other-tree",
            "make-directory",
            "make-pipe-in-tree",
            "read-other-tree",
            "read-through-link",
            "read-through-symlink",
            "rename-in",
            "rename-over",
            "symlink",
            "truncate",
            "unlink",
            "watch",
            "write-other-tree",
        ],
        why: "the profile knows where work trees lie, and not which one is whose; Landlock",
    },
    Open {
        mac: "apparmor",
        role: "updater",
        attacks: &["remote-port-elsewhere", "udp"],
        why: "its work is to resolve names and to connect",
    },
];

/// In an emulated machine it takes longer than the attacker waits, or not; `fork` says the same.
const SLOW: [&str; 1] = ["fork-many"];

fn open(mac: &str, role: &str) -> BTreeSet<&'static str> {
    let those = OPEN.iter().filter(|open| (open.mac == mac || open.mac == "both") && (open.role == role || open.role == "both"));
    those.flat_map(|open| open.attacks).copied().collect()
}

fn got(matrix: &Matrix, attacks: &[Attack], role: &str) -> BTreeSet<String> {
    let mine = attacks.iter().filter(|attack| attack.is_for(role) && !SLOW.contains(&attack.name.as_str()));
    mine.filter(|attack| matrix.outcome(role, &attack.name, NONE).succeeded).map(|attack| attack.name.clone()).collect()
}

/// The beginning of what an attacker said: a directory's bytes, maybe.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '.' } else { letter }).take(24).collect()
}

#[ignore = "for a guest that enforces AppArmor or SELinux: tests/hosts/cases/owned"]
#[test]
fn an_owned_process_gets_no_more_than_its_domain_leaves_open() {
    let mac = std::env::var("GWG_GUEST_MAC").expect("GWG_GUEST_MAC: apparmor or selinux");
    let house = std::env::var("GWG_GUEST_HOUSE").expect("GWG_GUEST_HOUSE: where the owned executables are");
    let free = std::env::var("GWG_GUEST_FREE").expect("GWG_GUEST_FREE: the same executables, without a domain");
    let attacks = attacks::list(Path::new(&house));
    let without_any = Matrix::of(Path::new(&free), &attacks, &[NONE]);
    let confined = Matrix::of(Path::new(&house), &attacks, &[NONE]);
    let mut wrong = Vec::new();
    for role in ROLES {
        let real = got(&without_any, &attacks, role);
        let left = got(&confined, &attacks, role);
        println!(
            "an owned {role}: {} attacks are real here, {} of them get through {mac} alone",
            real.len(),
            left.intersection(&real).count()
        );
        for attack in attacks.iter().filter(|attack| attack.is_for(role) && real.contains(&attack.name)) {
            let outcome = confined.outcome(role, &attack.name, NONE);
            let verdict = if outcome.succeeded { "GOT" } else { "held" };
            println!("  {verdict:5} {:28} {:10} {:24} {}", attack.name, outcome.word, printable(&outcome.detail), attack.wants);
        }
        // What is not real here proves nothing.
        let left: BTreeSet<_> = left.iter().map(String::as_str).filter(|name| real.contains(*name)).collect();
        let published: BTreeSet<_> = open(&mac, role).into_iter().filter(|name| real.contains(*name)).collect();
        assert!(real.len() >= 60, "too few attacks are real here: this sees nothing");
        if left != published {
            wrong.push(format!("{role}: got {left:?}, published {published:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_gets_through_has_its_reason() {
    for open in OPEN {
        assert!(["apparmor", "selinux", "both"].contains(&open.mac) && ["listener", "updater", "both"].contains(&open.role));
        assert!(!open.attacks.is_empty() && !open.why.is_empty());
    }
}
