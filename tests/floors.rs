//! The least versions of what parses the network's bytes: fixes that no advisory database lists for
//! these crates. And that the executables are linked with those vendored copies, never with a
//! distribution's older ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;
use support::need;

/// Crate, least version, why.
const FLOORS: &[(&str, [u64; 3], &str)] = &[
    ("libgit2-sys", [0, 18, 8], "vendors libgit2 1.9.7"),
    ("libssh2-sys", [0, 3, 4], "vendors a libssh2 with CVE-2026-55200 mended"),
    ("hyper", [1, 11, 0], "requests are told apart as RFC 9112 wants"),
];

/// `1.9.7`, `0.18.8+1.9.7` → its three numbers.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '+', '-']).map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

fn locked(lock: &str, package: &str) -> Vec<[u64; 3]> {
    let wanted = format!("name = \"{package}\"");
    let packages = lock.split("[[package]]").filter(|block| block.lines().any(|line| line == wanted));
    let version = |block: &str| block.lines().find_map(|line| line.strip_prefix("version = ").map(|text| numbers(text.trim_matches('"'))));
    packages.filter_map(version).collect()
}

#[test]
fn what_parses_the_networks_bytes_is_new_enough() {
    let lock = include_str!("../Cargo.lock");
    for (package, floor, why) in FLOORS {
        let found = locked(lock, package);
        assert!(!found.is_empty(), "{package} is not in Cargo.lock: this test sees nothing");
        assert!(found.iter().all(|version| version >= floor), "{package} {found:?} is below {floor:?}: {why}");
    }
}

#[test]
fn gwg_says_what_it_is_linked_with() {
    let told = Command::new(env!("CARGO_BIN_EXE_gwg")).arg("--version").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let after = |name: &str| told.split(&format!("{name} ")).nth(1).unwrap_or_else(|| panic!("no {name} in {told}"));
    let said = |name: &str| numbers(after(name).split([',', ')']).next().unwrap());
    for (package, name) in [("hyper", "hyper"), ("libssh2-sys", "libssh2-sys")] {
        assert_eq!(locked(include_str!("../Cargo.lock"), package), [said(name)], "{told}");
    }
    // The library itself says it too: see the last test.
    assert!(said("libgit2") >= [1, 9, 7] && said("OpenSSL") >= [3, 0, 0], "{told}");
}

#[test]
fn an_older_version_is_seen() {
    assert_eq!(locked("[[package]]\nname = \"hyper\"\nversion = \"1.10.2\"\n", "hyper"), [[1, 10, 2]]);
    assert!(numbers("0.18.7+1.9.6") < numbers("0.18.8+1.9.7"));
}

#[test]
fn the_vendored_copies_are_linked() {
    let updater = env!("CARGO_BIN_EXE_gwg-updater");
    let told = Command::new(updater).arg("--version").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let version = told.split("libgit2 ").nth(1).expect("libgit2's version").split(')').next().unwrap();
    assert!(numbers(version) >= [1, 9, 7], "{told}");
    let Some(ldd) = need::program("ldd", "libc-bin") else { return };
    let linked = Command::new(ldd).arg(updater).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    assert!(linked.contains("libc.so"), "ldd shows nothing: {linked}");
    for library in ["libgit2", "libssh2", "libssl", "libcrypto"] {
        assert!(!linked.contains(library), "{library} of the distribution is linked: {linked}");
    }
}
