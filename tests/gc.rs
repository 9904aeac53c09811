//! Object stores stay small: the whole gateway, with readers and pushes meanwhile; and the confined updater that does
//! it, killed at each point. The real git is the judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use gwg::brief::updater::{Brief, Purpose};
use gwg::wire::frame;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use support::ambush::{Ambush, Prey};
use support::config::Config;
use support::git_daemon::GitDaemon;
use support::processes::Process;
use support::scratch::Scratch;
use support::site::{Ground, PATH, Site};
use support::tree::Tree;
use support::updater::{Updater, brief, order};
use support::{need, wait};

const STORE: &[&str] = &["object store made smaller"];

#[test]
fn it_stays_small_while_pushes_come_and_others_read() {
    let site = Site::new();
    let tree = site.tree();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(&done);
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                tree.git(&["rev-list", "--objects", "--all"]);
            }
        });
        let mut most = 0;
        for number in 0..54 {
            update(&site, &format!("{number}\n"));
            most = most.max(packs(&tree));
        }
        assert!(most >= 50, "only {most} packs");
        let tried = tree.directory.join(".git/gwg/gc-tried");
        let made_smaller = || !site.gateway.log().matching(STORE).is_empty();
        wait::until_true("it is through, or ended", || made_smaller() || (tried.exists() && updaters(&site).is_empty()));
        // Where this machine is slow, a push has ended it.
        if !made_smaller() {
            sh(&tree.directory, "touch -d '2 hours ago' .git/gwg/gc-tried");
            update(&site, "an hour later\n");
        }
        site.gateway.wait_for_log(0, PATH, STORE);
        drop(end);
        reader.join().unwrap();
    });
    assert!(packs(&tree) < 10, "{} packs", packs(&tree));
    is_whole(&tree.directory);
    site.deploy(&[("README", "after it\n")]);
    assert_eq!(site.gateway.log().matching(&["object store", "WARN"]), Vec::<String>::new());
    assert_eq!(site.gateway.log().matching(&["violation"]), Vec::<String>::new());
}

#[test]
fn it_is_as_the_configuration_says_from_one_moment_to_the_next() {
    let ground = Ground::new();
    let off = Config::new().repo(ground.repo()).set("gc", serde_json::json!({ "objects": "off" }));
    let mut site = ground.start(off);
    site.deploy(&[("README", "second\n")]);
    be_long_ago(&site.tree());
    site.deploy(&[("README", "third\n")]);
    // What is not started can't be waited for: it would be there before the next update is.
    site.deploy(&[("README", "fourth\n")]);
    assert_eq!(site.gateway.log().matching(STORE), Vec::<String>::new());
    site.gateway.reload(site.gateway.config().clone().set("gc", serde_json::json!({ "objects": "auto" })));
    // Its health is asked for when the store has been made smaller, and not in the midst of it.
    site.gateway.deliver(PATH, &site.remote.publish(&[("README", "fifth\n")]));
    site.gateway.wait_for_log(0, PATH, STORE);
    site.tree().assert_healthy();
    is_whole(&site.tree().directory);
}

#[test]
fn a_push_does_not_wait_for_it() {
    let site = Site::new();
    let tree = site.tree();
    // What can't be packed smaller takes a while.
    let noise = site.remote.work().join("noise");
    for _ in 0..4 {
        let bytes: Vec<u8> = (0..1 << 18).flat_map(|_| rand_word()).collect();
        fs::write(&noise, bytes).unwrap();
        site.deploy(&[("README", "more\n")]);
    }
    be_long_ago(&tree);
    let mark = site.gateway.log().mark();
    let seen = updaters(&site);
    site.gateway.deliver(PATH, &site.remote.publish(&[("README", "due\n")]));
    let upkeep = wait::until("the store is being made smaller", || {
        let done = site.gateway.log().matching(&["update ok"]).len();
        let at_it = tree.directory.join(".git/gwg/gc").exists();
        let running = updaters(&site).into_iter().find(|process| !seen.contains(process));
        running.filter(|_| at_it && done > 0)
    });
    upkeep.signal(Signal::SIGSTOP);
    site.deploy(&[("README", "does not wait\n")]);
    assert!(!upkeep.alive(), "it runs beside an update");
    let failed: Vec<_> = site.gateway.log().matching(&["update failed"]);
    assert!(failed.is_empty(), "{failed:?}");
    assert!(site.gateway.log().mark() > mark);
    assert!(!tree.directory.join(".git/gwg/gc").exists(), "the next update has cleared up");
    is_whole(&tree.directory);
}

#[test]
fn f2_killed_at_each_of_its_calls_it_leaves_a_whole_store() {
    let Some(()) = need::root() else { return };
    let world = World::new();
    let calls = world.killed_at(usize::MAX);
    assert!(calls.len() > 20, "{calls:?}");
    for nth in 1..=calls.len() {
        let killed = world.killed_at(nth);
        assert!(killed.len() >= nth.min(calls.len() - 5), "it ended before call {nth}: {killed:?}");
    }
}

/// A work tree of the confined updater with a store that is worth the trouble, and a copy of it.
struct World {
    home: Scratch,
    brief: Brief,
    objects: String,
    _server: GitDaemon,
}

impl World {
    fn new() -> Self {
        let home = Scratch::new();
        let server = GitDaemon::start(home.path());
        let trees = home.updaters_directory("trees");
        sh(home.path(), "git init -q -b main remote");
        let brief = brief(server.url("remote/.git"), trees.join("tree"), "main");
        let mut world = Self { home, brief, objects: String::new(), _server: server };
        for number in 0..5 {
            let amend = if number == 3 { "--amend" } else { "" };
            let script = format!("echo {number} > {number}; echo {number} > a; git add -A; git commit -q {amend} -m {number}");
            sh(&world.home.path().join("remote"), &script);
            world.updates();
        }
        world.objects = world.all_objects();
        sh(&trees, "cp -a tree ../template");
        world
    }

    fn updates(&self) {
        let end = Updater::start_with(&self.brief, &order(true)).end();
        assert!(end.status.success() && end.said.is_empty(), "{}", end.said);
    }

    /// The calls up to the one before which it is killed. Then all is as it was, and the next goes through.
    fn killed_at(&self, nth: usize) -> Vec<&'static str> {
        sh(self.home.path(), "rm -r trees/tree; cp -a template trees/tree");
        let brief = Brief { purpose: Purpose::Gc, ..self.brief.clone() };
        let (mut updater, mut supervisor) = Updater::born(&brief);
        let ambush = Ambush::lay(Prey::Running(Process::of(updater.child.id().try_into().unwrap()).unwrap()), nth);
        frame::write(&mut supervisor, &brief).unwrap();
        let fate = ambush.fate(wait::LONG).expect("it ends");
        ambush.end();
        let said = updater.said();
        // Who traced it has buried it.
        let _no_child = updater.child.wait();
        assert!(fate.killed.is_some() || said.is_empty(), "{said}");
        let at = format!("killed at call {nth}, {:?}", fate.calls.last());

        is_whole(&self.brief.directory);
        assert_eq!(self.all_objects(), self.objects, "{at}");
        self.updates();
        assert!(!self.brief.directory.join(".git/gwg/gc").exists(), "{at}");
        let mut again = Updater::start(&brief);
        let said = again.said();
        assert!(again.child.wait().unwrap().success() && said.is_empty(), "{at}: {said}");
        is_whole(&self.brief.directory);
        assert_eq!(self.all_objects(), self.objects, "{at}");
        let files = fs::read_dir(self.brief.directory.join(".git/objects/pack")).unwrap().count();
        // The large pack, the others, what nothing refers to; and half of a pack that goes a day later.
        assert!(files <= 7, "{at}: {said}");
        fate.calls
    }

    /// Also those that nothing refers to.
    fn all_objects(&self) -> String {
        sh(&self.brief.directory, "git cat-file --batch-all-objects --batch-check")
    }
}

/// Ends a reader, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_whole(tree: &Path) {
    let fsck = sh(tree, "git fsck --full --strict 2>&1");
    assert!(fsck.lines().all(|line| line.starts_with("dangling")), "{fsck}");
    assert_eq!(sh(tree, "git status --porcelain"), "");
}

fn packs(tree: &Tree) -> usize {
    let entries = fs::read_dir(tree.directory.join(".git/objects/pack")).unwrap().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pack")).count()
}

/// A push that comes to its end. Whether all is whole is not asked: the store may be made smaller at that moment, and
/// `git fsck` does not look again for what has moved.
fn update(site: &Site, content: &str) {
    let before = site.gateway.updates(PATH);
    site.gateway.deliver(PATH, &site.remote.publish(&[("README", content)]));
    wait::until_true("the update has ended", || site.gateway.updates(PATH) > before);
}

/// A week has gone by since a store was made smaller.
fn be_long_ago(tree: &Tree) {
    let mark: PathBuf = tree.directory.join(".git/gwg/gc-done");
    wait::until_true("the first update has noted the time", || mark.exists());
    sh(&tree.directory, "touch -d '8 days ago' .git/gwg/gc-done");
}

fn updaters(site: &Site) -> Vec<Process> {
    site.gateway.process().children().into_iter().filter(|child| child.name() == "gwg-updater").collect()
}

fn rand_word() -> [u8; 8] {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish().to_ne_bytes()
}

#[track_caller]
fn sh(directory: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.current_dir(directory).args(["-ec", script]).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent");
    for (number, (key, value)) in [("safe.directory", "*"), ("user.name", "t"), ("user.email", "t@example.com")].iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    let output = command.env("GIT_CONFIG_COUNT", "3").output().unwrap();
    assert!(output.status.success(), "{script}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
