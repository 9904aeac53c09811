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
        attacks: &["move-remote", "remote-port-elsewhere", "udp"],
        why: "its work is to resolve names and to connect",
    },
    Open {
        mac: "selinux",
        role: "both",
        attacks: &[
            "become-root",
            "doom-twin",
            "dumpable",
            "exhaust-descriptors",
            "fixed-addresses",
            "fork",
            "outlive",
            "raise-limits",
            "regain-capability",
            "rewrite-own-code",
        ],
        why: "what every domain may with itself and its like; root's number and capabilities are worth nothing in it; seccomp, users, limits",
    },
    Open { mac: "selinux", role: "both", attacks: &["new-user-namespace"], why: "Linux 6.1 does not ask about them; seccomp" },
    Open {
        mac: "selinux",
        role: "listener",
        attacks: &["copy-socket", "shut-down-socket"],
        why: "the listening socket is its own as much as the supervisor's; seccomp",
    },
    Open {
        mac: "selinux",
        role: "updater",
        attacks: &[
            "ask-for-path",
            "chmod",
            "chmod-descriptor",
            "climb-out",
            "list-other-tree",
            "make-beside-new-trigger",
            "make-beside-trigger",
            "make-directory",
            "name-beside-new-trigger",
            "name-beside-trigger",
            "read-other-tree",
            "read-through-link",
            "read-through-symlink",
            "rename-in",
            "rename-over",
            "symlink",
            "touch",
            "truncate",
            "unlink",
            "write-beside-new-trigger",
            "write-beside-trigger",
            "write-other-tree",
        ],
        why: "a type is for all work trees, another for all triggers; Landlock knows which one is whose",
    },
    Open { mac: "selinux", role: "updater", attacks: &["udp"], why: "names must be resolved" },
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

const HEAD: &str = "| alone | owned | gets through | why; what stops it |\n|---|---|---|---|\n";

fn row(open: &Open) -> String {
    let role = if open.role == "both" { "listener, updater" } else { open.role };
    format!("| {} | {role} | {} | {} |", open.mac, open.attacks.join(", "), open.why)
}

#[test]
fn the_guide_names_whatever_gets_through_with_its_reason() {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hardening-guide.md")).unwrap();
    let table = guide.split_once(HEAD).expect("the table of what gets through").1;
    let published: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let rows: Vec<_> = OPEN.iter().map(row).collect();
    assert_eq!(published, rows, "the guide's table should be:\n{}\n", rows.join("\n"));
}
