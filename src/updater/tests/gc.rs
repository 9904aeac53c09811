//! The object store is made smaller, and nothing is lost; the real git is the judge.

use super::world::{World, git, sh};
use crate::updater::gc::{is_due, run};
use crate::updater::tree::{Tree, open_root};
use crate::wire::order::Shrunk;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// The real one: packs bear the time at which they were written.
fn today() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400
}

impl World {
    /// So many pushes, each deployed.
    fn is_pushed_to(&self, times: usize) {
        for number in 0..times {
            self.write("a", &format!("{number}\n"));
            self.write(&format!("dir/{number}"), "more\n");
            let tip = self.commit(&number.to_string());
            self.updates_to(tip);
        }
    }

    /// Makes it smaller on some day; gives the story.
    #[track_caller]
    fn gc(&self, today: u64) -> String {
        let root = open_root(&self.brief).unwrap();
        match run(root, &self.brief, today) {
            Ok(Shrunk { before, after }) => format!("{} packs, {} loose objects → {} packs", before.packs, before.loose, after.packs),
            Err(stop) => panic!("{stop}"),
        }
    }

    fn gc_stops(&self) -> String {
        let before = self.listing();
        let stop = run(open_root(&self.brief).unwrap(), &self.brief, today()).unwrap_err().to_string();
        assert_eq!(self.listing(), before, "{stop}");
        stop
    }

    fn listing(&self) -> String {
        sh(&self.tree(), "find .git/objects -type f | sort")
    }

    fn packs(&self) -> usize {
        std::fs::read_dir(self.tree().join(".git/objects/pack"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "pack"))
            .count()
    }

    fn objects(&self) -> String {
        sh(&self.tree(), "git rev-list --objects --all HEAD | sort")
    }

    fn has(&self, object: &str) -> bool {
        let path = self.tree();
        Command::new("git")
            .arg("-C")
            .arg(path)
            .args(["cat-file", "-e", object])
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    fn git_directory(&self) -> PathBuf {
        self.tree().join(".git")
    }
}

#[test]
fn many_pushes_leave_few_packs_and_the_same_objects() {
    let mut world = World::new();
    world.is_pushed_to(1);
    world.order.known = true;
    world.is_pushed_to(49);
    assert!(!world.update().gc_due, "{} packs", world.packs());
    world.is_pushed_to(1);
    assert!(world.update().gc_due, "{} packs", world.packs());
    let (packs, objects) = (world.packs(), world.objects());
    assert!(packs > 50);

    let said = world.gc(today());

    assert!(said.starts_with(&format!("{packs} packs, 0 loose objects")), "{said}");
    assert!(world.packs() <= 2, "{said}");
    assert_eq!(world.objects(), objects);
    world.is_healthy_at(world.tip("HEAD"));
    assert!(!world.update().gc_due);
    // Settled: the same packs, byte for byte, and a file's inode tells that they were not written again.
    let settled = sh(&world.tree(), "ls -i .git/objects/pack");
    world.gc(today());
    assert_eq!(sh(&world.tree(), "ls -i .git/objects/pack"), settled);
    world.is_pushed_to(2);
}

#[test]
fn what_nothing_refers_to_is_kept_for_two_weeks_and_then_goes() {
    let world = World::new();
    world.is_pushed_to(2);
    let old = world.tip("HEAD").to_string();
    world.git_remote(&["reset", "-q", "--hard", "HEAD~1"]);
    world.write("other", "x\n");
    let tip = world.commit("rewritten");
    world.updates_to(tip);
    sh(&world.tree(), "echo lonely | git hash-object -w --stdin > ../loose");
    let loose = std::fs::read_to_string(world.home.path().join("loose")).unwrap().trim().to_owned();

    for day in [today(), today(), today() + 7, today() + 14] {
        world.gc(day);
        assert!(world.has(&old) && world.has(&loose), "day {day}");
        world.is_healthy_at(tip);
        assert!(world.packs() <= 3);
    }
    world.gc(today() + 15);
    assert!(!world.has(&old) && !world.has(&loose));
    world.is_healthy_at(tip);
    world.updates_to(tip);
}

#[test]
fn a_commit_that_is_deployed_again_is_not_removed() {
    let world = World::new();
    world.is_pushed_to(2);
    let old = world.tip("HEAD");
    world.git_remote(&["branch", "old"]);
    world.git_remote(&["reset", "-q", "--hard", "HEAD~1"]);
    world.updates_to(world.tip("HEAD"));
    world.gc(today());
    world.git_remote(&["reset", "-q", "--hard", "old"]);
    world.updates_to(old);
    world.gc(today() + 100);
    world.is_healthy_at(old);
}

#[test]
fn whatever_a_person_keeps_is_kept() {
    let world = World::new();
    world.is_pushed_to(3);
    let script = "git -c core.logallrefupdates=true commit -q --allow-empty -m mine; git rev-parse HEAD > .git/mine
        git -c core.logallrefupdates=true reset -q --hard HEAD~1
        git tag -a -m note noted; git stash list; echo staged > staged; git add staged; git pack-refs --all
        git commit-tree -m orig HEAD^{tree} > .git/ORIG_HEAD";
    sh(&world.tree(), script);
    let read = |name: &str| std::fs::read_to_string(world.git_directory().join(name)).unwrap().trim().to_owned();
    let kept = [read("mine"), read("ORIG_HEAD"), sh(&world.tree(), "git rev-parse :staged"), sh(&world.tree(), "git rev-parse noted")];
    for day in [today(), today() + 100, today() + 200] {
        world.gc(day);
        assert!(kept.iter().all(|object| world.has(object)), "{kept:?}");
    }
    sh(&world.tree(), "git fsck --full --strict; git diff --cached --quiet HEAD -- a");
}

#[test]
fn a_pack_that_is_marked_stays() {
    let world = World::new();
    world.is_pushed_to(3);
    sh(&world.tree(), "cd .git/objects/pack; for pack in *.pack; do touch ${pack%.pack}.keep; done");
    let before = world.listing();
    world.gc(today());
    assert_eq!(world.listing(), before);
}

#[test]
fn a_store_that_others_keep_or_that_is_damaged_is_left_alone() {
    let world = World::new();
    world.is_pushed_to(3);
    let cases = [
        ("touch .git/shallow", "rm .git/shallow", "shallow"),
        ("mkdir .git/worktrees", "rmdir .git/worktrees", "linked work trees"),
        ("touch .git/gc.pid", "rm .git/gc.pid", "git gc runs"),
        ("git multi-pack-index write", "rm .git/objects/pack/multi-pack-index", "multi-pack-index"),
        ("touch .git/objects/pack/pack-x.promisor", "rm .git/objects/pack/pack-x.promisor", "partial clone"),
        ("echo / > .git/objects/info/alternates", "rm .git/objects/info/alternates", "parts of another repository"),
        ("touch .git/gwg/running", "rm .git/gwg/running", "was killed"),
        ("echo garbage > .git/refs/heads/x", "rm .git/refs/heads/x", "can't be read"),
        ("touch .git/refs/heads/x.lock", "rm .git/refs/heads/x.lock", "being written"),
        ("echo 1111111111111111111111111111111111111111 > .git/refs/heads/x", "rm .git/refs/heads/x", "is missing"),
        ("echo garbage > .git/packed-refs", "rm .git/packed-refs", "packed-refs"),
        ("cp .git/index x; printf garbage > .git/index", "mv x .git/index", "index"),
    ];
    for (before, after, says) in cases {
        sh(&world.tree(), before);
        let stop = world.gc_stops();
        assert!(stop.contains(says), "{before}: {stop}");
        sh(&world.tree(), after);
    }
    assert!(world.gc(today()).contains("→ 1 packs") || world.packs() == 2);
}

#[test]
fn what_a_killed_one_left_is_cleared_and_it_is_not_tried_at_once() {
    let world = World::new();
    world.is_pushed_to(51);
    assert!(world.update().gc_due);
    // As it is when it was killed: its mark, and half a pack.
    sh(&world.tree(), "touch .git/gwg/gc-tried; mkdir -p .git/gwg/gc/pack; touch .git/gwg/gc/pack/pack_git2_x");
    assert!(!world.update().gc_due);
    assert!(!world.git_directory().join("gwg/gc").exists());
    sh(&world.tree(), "touch -d '2 hours ago' .git/gwg/gc-tried");
    assert!(world.update().gc_due);
    world.gc(today());
    assert!(!world.git_directory().join("gwg/gc-tried").exists());
    assert!(!world.update().gc_due);
    // After a week two packs are enough.
    world.is_pushed_to(1);
    assert!(world.packs() > 1);
    sh(&world.tree(), "touch -d '8 days ago' .git/gwg/gc-done");
    assert!(world.update().gc_due);
}

#[test]
fn halves_of_packs_go_when_nobody_can_be_at_them_any_more() {
    let world = World::new();
    world.is_pushed_to(3);
    let pack = world.git_directory().join("objects/pack");
    for name in ["pack-0123.pack", "pack-4567.idx"] {
        std::fs::write(pack.join(name), "half").unwrap();
    }
    world.gc(today());
    assert!(pack.join("pack-0123.pack").exists() && pack.join("pack-4567.idx").exists());
}

#[test]
fn readers_never_miss_an_object() {
    let world = World::new();
    world.is_pushed_to(10);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (tree, done) = (world.tree(), &done);
        let reader = scope.spawn(move || {
            let mut times = 0;
            while !done.load(Ordering::Relaxed) || times < 3 {
                git(&tree, &["rev-list", "--objects", "--all"]);
                git(&tree, &["log", "-p", "--all", "--format="]);
                times += 1;
            }
            times
        });
        for round in 0..10 {
            world.is_pushed_to(3);
            // What was rewritten lies in the large pack, which therefore is written anew each time.
            world.git_remote(&["commit", "-q", "--amend", "-m", &format!("round {round}")]);
            world.updates_to(world.tip("HEAD"));
            world.gc(today());
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() >= 3);
    });
    world.is_healthy_at(world.tip("HEAD"));
}

#[test]
fn it_does_not_run_beside_an_update() {
    let world = World::new();
    world.is_pushed_to(2);
    let root = open_root(&world.brief).unwrap();
    let tree = Tree::open(root, &world.brief, true).unwrap();
    assert!(is_due(&tree).is_ok());
    assert!(world.gc_stops().contains("another updater works here"));
}
