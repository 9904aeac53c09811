//! What each executable contains: only the updater has libgit2, libssh2 and OpenSSL in it.
//!
//! Looks at the symbols of the unstripped test builds. That the updater shows them proves that the
//! test can see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::Command;
use support::need;

/// Where libgit2's, libssh2's and OpenSSL's own symbols begin.
const FOREIGN: &[&str] = &["git_", "libssh2_", "SSL_"];

/// How many defined symbols of the executable begin with each of these.
fn count(nm: &Path, executable: &str, prefixes: &[&str]) -> Vec<usize> {
    let output = Command::new(nm).arg("--defined-only").arg(executable).output().unwrap();
    assert!(output.status.success(), "nm: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let symbols: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(symbols.len() > 1000, "{executable} is stripped: {} symbols", symbols.len());
    prefixes.iter().map(|prefix| symbols.iter().filter(|symbol| symbol.starts_with(prefix)).count()).collect()
}

#[test]
fn only_the_updater_contains_libgit2_libssh2_and_openssl() {
    let Some(nm) = need::nm() else { return };
    for executable in
        [env!("CARGO_BIN_EXE_gwg"), env!("CARGO_BIN_EXE_gwg-listener"), env!("CARGO_BIN_EXE_gwg-worker"), env!("CARGO_BIN_EXE_gwg-hook")]
    {
        assert_eq!(count(&nm, executable, FOREIGN), [0; FOREIGN.len()], "{FOREIGN:?} in {executable}");
    }
    for (prefix, found) in FOREIGN.iter().zip(count(&nm, env!("CARGO_BIN_EXE_gwg-updater"), FOREIGN)) {
        assert!(found > 20, "{found} symbols {prefix}* in the updater: this test sees nothing");
    }
}

/// What libssh2 can do and git does not need is not there to be attacked.
#[test]
fn the_updater_contains_no_sftp_and_no_publickey_subsystem() {
    let Some(nm) = need::nm() else { return };
    let unused = ["libssh2_sftp_", "libssh2_publickey_"];
    assert_eq!(count(&nm, env!("CARGO_BIN_EXE_gwg-updater"), &unused), [0, 0], "{unused:?}");
}
