//! The attacks that a process can try once an attacker owns it. See `src/owned/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use support::need;
use support::owned;
use support::scratch::{self, LISTENER, Scratch, UPDATER, WORKER};

#[test]
fn an_owned_process_is_refused_what_it_gets_without_layers() {
    let Some(()) = need::root() else { return };
    let scratch = Scratch::new();
    let house = owned::house(&scratch, &["gwg-listener", "gwg-updater"]);
    let config = scratch.file("config.yaml", "planted");
    let tree = scratch.updaters_directory("tree");
    // An updater refuses another user's tree.
    let owner = |without: &str| if without.is_empty() { UPDATER } else { 0 };
    let world = format!("config={}\turl=git://127.0.0.1:9/x\ttree={}", config.display(), tree.display());
    for (without, expected) in [("", "killed\tSIGSYS\nrefused\tEACCES\n"), ("--without=all", "succeeded\tplanted\nsucceeded\tplanted\n")] {
        scratch::give_to(&tree, owner(without));
        let mut command = Command::new(house.join("gwg-owned"));
        command.args(["run", &format!("--users={UPDATER},{WORKER},{LISTENER}"), without]);
        let mut stand_in = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = format!("listener\tread-config\t{world}\nupdater\tread-config\t{world}\n");
        stand_in.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&stand_in.wait_with_output().unwrap().stdout), expected, "{without}");
    }
}
