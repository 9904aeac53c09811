//! The real gwg-updater, started as the supervisor starts it: its messages, its death at any moment.
//! As root it runs under a throw-away uid.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use gwg::audit::{Failure, Reason, Step};
use gwg::brief::updater::Brief;
use gwg::ids::CommitId;
use gwg::wire::order::{Outcome, Report};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::git_daemon::GitDaemon;
use support::scratch::{Scratch, UPDATER};
use support::updater::{Updater, brief, order};

/// A remote repository, served on loopback, and a place for a work tree that the updater's user owns.
struct World {
    home: Scratch,
    brief: Brief,
    _server: GitDaemon,
}

impl World {
    fn new() -> Self {
        let home = Scratch::new();
        let server = GitDaemon::start(home.path());
        let trees = home.updaters_directory("trees");
        sh(home.path(), "git init -q -b main remote");
        let brief = Brief { trigger: Some(trees.join("trigger")), ..brief(server.url("remote/.git"), trees.join("tree"), "main") };
        Self { home, brief, _server: server }
    }

    fn commit(&self, script: &str) -> CommitId {
        let script = format!("cd remote; {script}; git add -A; git commit -q --allow-empty -m x; git rev-parse HEAD");
        CommitId::from_hex(&sh(self.home.path(), &script)).unwrap()
    }

    fn start_with_order(&self) -> Updater {
        Updater::start_with(&self.brief, &order(false))
    }

    #[track_caller]
    fn fails(&self, step: Step, reason: Reason, saying: &str) {
        let end = self.start_with_order().end();
        let (report, log) = (end.report.unwrap(), end.said);
        assert_eq!(report.outcome, Outcome::Failed(Failure { step, reason }), "{log}");
        assert!(log.contains(saying) && log.matches('\n').count() == 1, "{log}");
    }

    #[track_caller]
    fn updates_to(&self, commit: CommitId) {
        let end = self.start_with_order().end();
        let (status, log) = (end.status, end.said);
        let report: Report = end.report.unwrap_or_else(|| panic!("{status}: {log}"));
        assert!(status.success(), "{status}: {log}");
        assert!(matches!(report.outcome, Outcome::Current { new, triggered: true, .. } if new == commit), "{report:?}: {log}");
        let tree = &self.brief.directory;
        assert_eq!(sh(tree, "git rev-parse HEAD"), commit.to_string());
        assert_eq!(sh(tree, "git status --porcelain"), "");
        assert_eq!(sh(tree, "git fsck --full 2>&1 | grep -v ^dangling || true"), "");
        assert_eq!(sh(tree, "find .git -name '*.lock' -o -name '*_git2_*' -o -name running"), "");
    }
}

/// Says whether it was still running.
fn kill_after(mut updater: Updater, time: Duration) -> bool {
    std::thread::sleep(time);
    let in_time = updater.child.try_wait().unwrap().is_none();
    updater.child.kill().unwrap();
    updater.child.wait().unwrap();
    in_time
}

#[test]
fn it_takes_brief_and_order_and_gives_one_report() {
    let world = World::new();
    world.updates_to(world.commit("echo 1 > a"));
    assert!(world.brief.trigger.as_ref().unwrap().exists());
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(world.brief.directory.join("a")).unwrap().uid(), UPDATER);
    }
}

#[test]
fn a_kill_at_any_moment_is_healed_by_the_next_run() {
    const KILLS: u32 = 24;
    let world = World::new();
    world.updates_to(world.commit("for i in $(seq 200); do mkdir -p d$((i % 20)); echo $i > d$((i % 20))/f$i; done"));
    let change = "for f in d*/*; do echo x >> $f; done; rm -f d*/f$N; rm -rf new$((N - 2)); mkdir -p new$N; echo n > new$N/f";
    // How long a whole run takes here decides when to kill.
    world.commit(&format!("N=1000; {change}"));
    let begun = Instant::now();
    world.start_with_order().child.wait().unwrap();
    let whole = begun.elapsed();
    let mut in_time = 0;
    for number in 0..KILLS {
        let commit = world.commit(&format!("N={number}; {change}"));
        in_time += u32::from(kill_after(world.start_with_order(), whole * number / KILLS));
        // What comes next need not be what the killed one was at.
        let commit = if number % 2 == 0 { commit } else { world.commit("git reset -q --hard HEAD^^; echo other > other") };
        world.updates_to(commit);
    }
    assert!(in_time >= KILLS / 4, "only {in_time} of {KILLS} kills came before the end");
}

#[test]
fn a_first_clone_that_was_killed_is_completed_by_the_next_run() {
    for number in 0..12 {
        let world = World::new();
        let commit = world.commit("for i in $(seq 200); do echo $i > f$i; done");
        kill_after(world.start_with_order(), Duration::from_millis(number * 4));
        world.updates_to(commit);
    }
}

#[test]
fn a_directory_that_it_may_not_write_is_named_with_its_own_uid() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let mut world = World::new();
    let commit = world.commit("echo 1 > a");
    let closed = world.home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let open = std::mem::replace(&mut world.brief.directory, closed.join("tree"));
    world.fails(Step::Open, Reason::Directory, "Permission denied");
    world.brief.directory = open;
    world.updates_to(commit);
    if nix::unistd::geteuid().is_root() {
        chown(&world.brief.directory, Some(0), None).unwrap();
        world.fails(Step::Open, Reason::Directory, "belongs to uid 0, and updates run as uid 64001: chown it");
    }
}

#[test]
fn rubbish_from_the_worker_ends_it_without_a_report() {
    let world = World::new();
    world.commit("echo 1 > a");
    let mut running = Updater::start(&world.brief);
    running.worker.write_all(&[255; 16]).unwrap();
    assert!(!running.child.wait().unwrap().success());
    assert!(running.report().is_err());
    let log = running.said();
    assert!(log.starts_with("the worker's order did not come:") && log.matches('\n').count() == 1, "{log:?}");
    // Opened, or made, before an order can bring a key; and not begun.
    assert_eq!(fs::read_dir(&world.brief.directory).unwrap().count(), 0);
}

#[test]
fn by_hand_it_says_its_versions_and_nothing_else() {
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_gwg-updater")).args(arguments).stdin(Stdio::null()).output().unwrap();
    let output = run(&["--version"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(concat!("gwg-updater ", env!("CARGO_PKG_VERSION"), " (libgit2 1.")), "{text}");
    let output = run(&[]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("run `gwg` instead"));
}

#[track_caller]
fn sh(directory: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.current_dir(directory).args(["-ec", script]).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    // As root the judge looks at trees of another user.
    command.env("GIT_CONFIG_COUNT", "2").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    // What the tests commit need not outlive a power cut.
    command.env("GIT_CONFIG_KEY_1", "core.fsync").env("GIT_CONFIG_VALUE_1", "none");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.com");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
