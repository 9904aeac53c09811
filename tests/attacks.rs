//! What a process can get once an attacker owns it: each attack without confinement, with all of it, and with
//! each layer left out in turn. See `src/owned/`; what comes of it is `docs/attacks.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::attacks::matrix::{ALL, LAYERS, Matrix, NONE, ROLES};
use support::attacks::{self, Attack};
use support::need;
use support::scratch::Scratch;

/// Attacks that succeed with a layer left out, or with none; and why that is so.
struct Exception {
    /// What is left out; [`ALL`] for nothing.
    without: &'static str,
    role: &'static str,
    attacks: &'static [&'static str],
    why: &'static str,
}

/// The published exceptions, as the README has them. There are no others.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        without: ALL,
        role: "updater",
        attacks: &["ask-for-path"],
        why: "Landlock hides no path from `stat`; the modes of directories do",
    },
    Exception {
        without: "limits",
        role: "listener",
        attacks: &["exhaust-memory", "exhaust-shared-memory"],
        why: "nothing else counts memory",
    },
    Exception {
        without: "limits",
        role: "updater",
        attacks: &["exhaust-descriptors", "exhaust-memory", "exhaust-shared-memory"],
        why: "nothing else counts memory, or the files that it may open",
    },
    Exception {
        without: "landlock",
        role: "updater",
        attacks: &[
            "climb-out",
            "list-other-tree",
            "make-beside-new-trigger",
            "make-beside-trigger",
            "make-directory",
            "name-beside-new-trigger",
            "name-beside-trigger",
            "read-beside-trigger",
            "read-other-key",
            "read-other-tree",
            "read-through-link",
            "read-through-symlink",
            "rename-in",
            "rename-out",
            "rename-over",
            "symlink",
            "unlink",
            "unlink-beside-trigger",
            "write-beside-new-trigger",
            "write-beside-trigger",
            "write-other-tree",
            "write-shared-memory",
            "write-tmp",
        ],
        why: "it shares its user with the other trees, and its work is to open files",
    },
    Exception {
        without: "seccomp",
        role: "listener",
        attacks: &[
            "dumpable",
            "fixed-addresses",
            "fork",
            "fork-many",
            "new-user-namespace",
            "outlive",
            "perf",
            "read-keyring",
            "run-written-memory",
            "writable-code",
        ],
        why: "what a process does with itself needs no right",
    },
    Exception {
        without: "seccomp",
        role: "listener",
        attacks: &["limit-twin", "renice-twin"],
        why: "processes of one user may, in spite of Landlock",
    },
    Exception {
        without: "seccomp",
        role: "listener",
        attacks: &["path-socket", "vsock"],
        why: "no namespace holds them, nor Landlock before version 9 (the second: no Landlock)",
    },
    Exception {
        without: "seccomp",
        role: "listener",
        attacks: &["copy-socket", "shut-down-socket"],
        why: "the listening socket is its own as much as the supervisor's",
    },
    Exception {
        without: "seccomp",
        role: "updater",
        attacks: &[
            "dumpable",
            "fixed-addresses",
            "fork",
            "fork-many",
            "memory-file",
            "new-user-namespace",
            "outlive",
            "perf",
            "read-keyring",
            "run-written-memory",
            "writable-code",
        ],
        why: "what a process does with itself needs no right",
    },
    Exception {
        without: "seccomp",
        role: "updater",
        attacks: &["limit-twin", "renice-twin"],
        why: "processes of one user may, in spite of Landlock",
    },
    Exception {
        without: "seccomp",
        role: "updater",
        attacks: &["chmod", "chmod-descriptor", "set-attribute", "touch"],
        why: "its user owns the other trees, and Landlock knows no modes, times and attributes",
    },
    Exception {
        without: "seccomp",
        role: "updater",
        attacks: &["move-remote", "remote-port-elsewhere", "udp"],
        why: "Landlock knows ports, not addresses, and UDP since version 10",
    },
    Exception {
        without: "seccomp",
        role: "updater",
        attacks: &["mptcp", "netlink", "path-socket", "tcp-fast-open", "vsock"],
        why: "Landlock knows `connect` and TCP; sockets in the file system since version 9",
    },
];

/// What may succeed.
fn excepted(role: &str, without: &str) -> BTreeSet<&'static str> {
    let apply = |exception: &&Exception| exception.role == role && (exception.without == ALL || exception.without == without);
    EXCEPTIONS.iter().filter(apply).flat_map(|exception| exception.attacks).copied().collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says so past the harness, which swallows what passing tests print.
fn say(text: &str) {
    let mut error = std::io::stderr();
    writeln!(error, "{text}").unwrap();
}

/// What the kernel offers, in gwg's words.
fn offers() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gwg")).args(["check", "--host"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The version of Landlock. What is published holds where signals and abstract sockets are in its reach.
fn landlock() -> Option<u32> {
    let text = offers();
    let version = text.split_once("landlock    version ").and_then(|(_, rest)| rest.split(|letter: char| !letter.is_ascii_digit()).next());
    match version.and_then(|version| version.parse().ok()) {
        Some(version @ 6..) => Some(version),
        other => need::missing(&format!("Landlock of version 6 or newer (Linux 6.12), which is here {other:?}")),
    }
}

/// Attacks that are no attacks here, since they fail without any confinement. Said aloud.
fn unreal(matrix: &Matrix, attacks: &[Attack]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for role in ROLES {
        let mine = attacks.iter().filter(|attack| attack.is_for(role) && !matrix.outcome(role, &attack.name, NONE).succeeded);
        for attack in mine {
            let outcome = matrix.outcome(role, &attack.name, NONE);
            say(&format!("not real on this machine: {role} {}, without confinement {} {}", attack.name, outcome.word, outcome.detail));
            found.insert((role.to_owned(), attack.name.clone()));
        }
    }
    found
}

/// Of those that are real, these succeeded, and no others.
fn assert_excepted(matrix: &Matrix, unreal: &BTreeSet<(String, String)>, role: &str, without: &str) {
    let is_real = |attack: &&str| !unreal.contains(&(role.to_owned(), (*attack).to_owned()));
    let got: BTreeSet<_> = matrix.successes(role, without).into_iter().filter(is_real).collect();
    let excepted: BTreeSet<_> = excepted(role, without).into_iter().filter(is_real).collect();
    let name = if without == ALL { "all layers".into() } else { format!("all layers but {without}") };
    assert_eq!(got, excepted, "{role} with {name}: left, what an attacker got; right, what is published");
}

#[test]
fn p4_p5_an_owned_process_gets_nothing_and_each_layer_alone_may_fail() {
    let Some(()) = need::root() else { return };
    let Some(version) = landlock() else { return };
    let house = Scratch::new();
    let Some(directory) = attacks::house(&house) else { return };
    let attacks = attacks::list(&directory);
    let columns: Vec<_> = [NONE, ALL].into_iter().chain(LAYERS).collect();
    let matrix = Matrix::of(&directory, &attacks, &columns);

    let mut unreal = unreal(&matrix, &attacks);
    if !unreal.is_empty() {
        let _said: Option<()> = need::missing(&format!("a kernel on which {} more attacks are real", unreal.len()));
    }
    if version >= 9 {
        say("path-socket is not compared with what is published: this kernel's Landlock holds it too");
        unreal.extend(ROLES.map(|role| (role.to_owned(), "path-socket".to_owned())));
    }
    if version >= 10 {
        say("udp is not compared with what is published: this kernel's Landlock holds it too");
        unreal.extend(ROLES.map(|role| (role.to_owned(), "udp".to_owned())));
    }
    if !offers().contains("seals       yes") {
        let _said: Option<()> =
            need::missing("a kernel that seals memory (Linux 6.10): without it an updater is not held to its remote's address");
        unreal.insert(("updater".to_owned(), "move-remote".to_owned()));
    }
    for role in ROLES {
        for without in [ALL].into_iter().chain(LAYERS) {
            assert_excepted(&matrix, &unreal, role, without);
        }
    }
    assert_page(&matrix, &attacks, &unreal);
}

/// Without root all processes are one user's, and there are no users and capabilities to leave out: so
/// here only "nothing" and "everything".
#[test]
fn an_ordinary_user_s_owned_process_gets_no_more() {
    let Some(()) = need::no_root() else { return };
    let house = Scratch::new();
    let Some(directory) = attacks::house(&house) else { return };
    let attacks = attacks::list(&directory);
    let matrix = Matrix::of(&directory, &attacks, &[NONE, ALL]);
    let unreal = unreal(&matrix, &attacks);
    for role in ROLES {
        let all = attacks.iter().filter(|attack| attack.is_for(role)).count();
        let real = matrix.successes(role, NONE).len();
        say(&format!("as an ordinary user {real} of the {all} attacks of an owned {role} are real; no layer is left out alone"));
        assert!(real >= 45, "{role}: {real}");
        assert_excepted(&matrix, &unreal, role, ALL);
    }
}

const PAGE: &str = "docs/attacks.md";

/// The page has each line that this machine could try.
fn assert_page(matrix: &Matrix, attacks: &[Attack], unreal: &BTreeSet<(String, String)>) {
    let page = page(matrix, attacks);
    let file = root().join(PAGE);
    if std::env::var_os("GWG_TEST_RENEW").is_some() && unreal.is_empty() {
        fs::write(&file, &page).unwrap();
    }
    let names: BTreeSet<_> = unreal.iter().map(|(_, attack)| format!("| {attack} |")).collect();
    let real = |text: &str| text.lines().filter(|line| !names.iter().any(|name| line.starts_with(name))).collect::<Vec<_>>().join("\n");
    let published = fs::read_to_string(file).unwrap_or_default();
    assert!(real(&published) == real(&page), "{PAGE} is not what was tried. Renew it: GWG_TEST_RENEW=1 cargo test --test attacks\n{page}");
}

fn page(matrix: &Matrix, attacks: &[Attack]) -> String {
    let count = |role| attacks.iter().filter(|attack| attack.is_for(role)).count();
    let mut text = String::from(
        "# What an attacker gets who owns a process\n\n\
         Made by `tests/attacks.rs` out of what it tried: `GWG_TEST_RENEW=1 cargo test --test attacks` renews it.\n\n\
         The attacker is test builds of the listener and the updater: they start and are confined as the real ones, and \
         obey when their doors are closed (`src/owned/`). Each attack is tried in a process of its own, as root's gwg \
         starts it, and counts as **got** by what it did: bytes that were planted, a file, another process's health. \
         Column *none*: without any layer, which shows that the attack is real. Column *all*: with every layer; `killed` is \
         the filter of system calls, `refused` an errno. The others: with all layers but that one. *users* are user, \
         group and supplementary groups, *limits* are resource limits. No-new-privs can't be left out alone: Landlock and the \
         filter turn it on where it is off. `supervisor`, `twin` and `cousin` are other processes: root's, of the same role, \
         of the other role. What is **got** although a layer is left out, or none, has its reason in the README.\n",
    );
    for role in ROLES {
        text += &format!("\n## An owned {role}: {} attacks\n\n{}", count(role), matrix.table(role, attacks));
    }
    text
}

/// A row of the README's table.
fn row(exception: &Exception) -> String {
    let without = if exception.without == ALL { "nothing" } else { exception.without };
    format!("| {without} | {} | {} | {} |", exception.role, exception.attacks.join(", "), exception.why)
}

#[test]
fn the_readme_names_each_exception_with_its_reason() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table =
        readme.split_once("| left out | owned | attacks that succeed | why |\n|---|---|---|---|\n").expect("the table of exceptions").1;
    let published: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let rows: Vec<_> = EXCEPTIONS.iter().map(row).collect();
    assert_eq!(published, rows, "the README's table of exceptions should be:\n{}\n", rows.join("\n"));
}
