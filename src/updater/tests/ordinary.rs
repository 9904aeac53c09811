//! The ordinary day: clone, update, labels of every kind, the trigger.

use super::world::{World, git, sh};
use crate::audit::{Reason, Step};
use crate::brief::LabelKind;
use crate::ids::CommitId;
use crate::wire::order::Outcome;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

#[test]
fn a_missing_directory_is_cloned_then_updated_then_left_alone() {
    let mut world = World::new();
    let first = world.tip("main");
    let report = world.updates_to(first);
    assert_eq!(report.old, None);
    assert!(report.bytes > 0);
    assert_eq!(world.git_tree(&["rev-parse", "origin/main"]), first.to_string());
    assert_eq!(world.git_tree(&["rev-parse", "main@{upstream}"]), first.to_string());

    world.write("a", "changed\n");
    world.sh_remote("git rm -q dir/b; chmod -x run; mkdir c; echo 3 > c/d; ln -s a link");
    let second = world.commit("second");
    world.order.known = true;
    let report = world.updates_to(second);
    assert_eq!(report.old, Some(first));
    assert_eq!(report.outcome, Outcome::Current { new: second, forced: false, triggered: false, announced_seen: true });
    assert!(!world.tree().join("dir").exists());

    let before = sh(&world.tree(), "find . -path ./.git -prune -o -printf '%p %m %T@ %l\\n' | sort");
    let report = world.updates_to(second);
    assert_eq!(report.old, Some(second));
    assert_eq!(sh(&world.tree(), "find . -path ./.git -prune -o -printf '%p %m %T@ %l\\n' | sort"), before);
}

#[test]
fn rewritten_history_wins() {
    let world = World::new();
    world.write("x", "x");
    let old = world.commit("second");
    world.updates_to(old);
    world.git_remote(&["reset", "-q", "--hard", "HEAD^"]);
    world.write("y", "y");
    let new = world.commit("other");
    let report = world.updates_to(new);
    assert_eq!(report.outcome, Outcome::Current { new, forced: true, triggered: false, announced_seen: true });
    assert!(!world.tree().join("x").exists());
}

#[test]
fn the_label_may_change_also_where_one_name_is_a_directory_of_the_other() {
    let mut world = World::new();
    world.updates_to(world.tip("main"));
    world.git_remote(&["branch", "-q", "-m", "dev"]);
    world.write("n", "n");
    let dev = world.commit("dev");
    world.label(LabelKind::Branch, "dev");
    world.updates_to(dev);
    world.git_remote(&["branch", "-q", "-m", "dev/one"]);
    world.write("n", "m");
    let one = world.commit("one");
    world.label(LabelKind::Branch, "dev/one");
    world.updates_to(one);
    world.git_remote(&["branch", "-q", "-m", "tmp"]);
    world.git_remote(&["branch", "-q", "-m", "dev"]);
    world.label(LabelKind::Branch, "dev");
    world.updates_to(one);
}

#[test]
fn the_remotes_name_is_the_configured_one() {
    let mut world = World::new();
    world.brief.remote = "up\"stream".into();
    world.updates_to(world.tip("main"));
    // Recognised as a clone of the remote, though nobody says that it is known.
    world.updates_to(world.tip("main"));
    assert_eq!(world.git_tree(&["remote"]), "up\"stream");
    assert_eq!(world.git_tree(&["remote", "get-url", "up\"stream"]), world.brief.url);
}

#[test]
fn tags_of_both_kinds_and_moved_ones_are_detached_heads() {
    let mut world = World::new();
    let first = world.tip("main");
    world.git_remote(&["branch", "v1"]); // a branch of the same name must not matter
    world.git_remote(&["tag", "v1"]);
    world.label(LabelKind::Tag, "v1");
    world.updates_to(first);
    assert_eq!(world.git_tree(&["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    world.write("a", "2");
    let second = world.commit("second");
    world.updates_to(first);
    world.git_remote(&["tag", "-f", "-a", "-m", "annotated", "v1"]);
    let tag = CommitId::from_hex(&world.git_remote(&["rev-parse", "refs/tags/v1"])).unwrap();
    assert_ne!(tag, second);
    // Forges announce the tag object for a tag.
    world.order.announced = Some(tag);
    let report = world.updates_to(second);
    assert_eq!(report.outcome, Outcome::Current { new: second, forced: false, triggered: false, announced_seen: true });
    world.git_remote(&["tag", "-f", "v1", &first.to_string()]);
    world.order.announced = None;
    world.updates_to(first);
}

#[test]
fn a_tag_of_no_commit_is_refused() {
    let mut world = World::new();
    world.git_remote(&["tag", "blob", "HEAD:a"]);
    world.label(LabelKind::Tag, "blob");
    world.fails(Step::Verify, Reason::Other, "no commit");
}

#[test]
fn a_deleted_label_leaves_the_tree_as_it_is() {
    let mut world = World::new();
    let first = world.tip("main");
    world.updates_to(first);
    world.git_remote(&["branch", "-q", "-m", "other"]);
    world.order.known = true;
    world.fails(Step::Fetch, Reason::NoLabel, "the remote has no branch main");
    world.is_healthy_at(first);
    // A tag of that name is no branch.
    world.git_remote(&["tag", "main"]);
    world.fails(Step::Fetch, Reason::NoLabel, "the remote has no branch main");
}

#[test]
fn an_empty_remote_has_no_label_and_is_cloned_when_it_has() {
    let world = World::empty();
    world.fails(Step::Fetch, Reason::NoLabel, "no branch main");
    world.write("a", "1");
    world.updates_to(world.commit("first"));
}

#[test]
fn a_remote_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let mut world = World::new();
    let good = std::mem::replace(&mut world.brief.url, "git://127.0.0.1:1/remote".into());
    world.fails(Step::Fetch, Reason::Network, "failed to connect");
    world.brief.url = good;
    world.updates_to(world.tip("main"));
}

#[test]
fn the_announced_commit_is_seen_when_it_is_in_the_tip() {
    let mut world = World::new();
    let first = world.tip("main");
    world.write("a", "2");
    let second = world.commit("second");
    for (announced, seen) in [(Some(first), true), (Some(second), true), (None, true), (CommitId::from_hex(&"ab".repeat(20)), false)] {
        world.order.announced = announced;
        let report = world.updates_to(second);
        let Outcome::Current { announced_seen, .. } = report.outcome else { panic!() };
        assert_eq!(announced_seen, seen, "{announced:?}");
    }
}

#[test]
fn the_trigger_is_touched_once_for_each_commit() {
    let mut world = World::new();
    let trigger = world.home.path().join("trigger");
    world.brief.trigger = Some(trigger.clone());
    let first = world.tip("main");
    let touched = |world: &World, commit| match world.updates_to(commit).outcome {
        Outcome::Current { triggered, .. } => triggered,
        Outcome::Failed(_) => panic!(),
    };
    assert!(touched(&world, first));
    let old = SystemTime::now() - Duration::from_secs(1000);
    File::options().write(true).open(&trigger).unwrap().set_modified(old).unwrap();
    // The tree is current, but nobody knows of a trigger: it is touched again.
    assert!(touched(&world, first));
    assert!(fs::metadata(&trigger).unwrap().modified().unwrap() > old);
    world.order.triggered = Some(first);
    assert!(!touched(&world, first));
    world.write("a", "2");
    assert!(touched(&world, world.commit("second")));
}

#[test]
fn a_trigger_that_cant_be_touched_fails_after_the_update() {
    let mut world = World::new();
    let first = world.tip("main");
    world.brief.trigger = Some(world.home.path().join("missing/t"));
    world.fails(Step::Trigger, Reason::Directory, "missing/t: its directory is missing");
    world.is_healthy_at(first);
    let outside = world.home.path().join("outside");
    std::os::unix::fs::symlink(&outside, world.home.path().join("t")).unwrap();
    world.brief.trigger = Some(world.home.path().join("t"));
    world.fails(Step::Trigger, Reason::Directory, "symlink");
    assert!(!outside.exists());
    sh(world.home.path(), "rm t; mkfifo t");
    world.fails(Step::Trigger, Reason::Directory, "regular file");
    // Inside of the tree, in a directory that the clone brings.
    world.brief.trigger = Some(world.tree().join("dir/restart.txt"));
    world.updates_to(first);
    assert!(world.tree().join("dir/restart.txt").exists());
}

#[test]
fn names_modes_and_kinds_are_as_git_has_them() {
    let world = World::empty();
    world.sh_remote(
        "printf x > \"$(printf 'latin\\351')\"; printf y > 'sp ace\"quote'; mkdir -p d/e; printf z > d/e/-f; printf e > empty; : > empty
         printf 'a\\r\\nb\\n' > crlf; ln -s /etc/passwd absolute; ln -s nowhere broken; ln -s d/e dirlink; printf r > run; chmod 755 run",
    );
    let first = world.commit("first");
    world.updates_to(first);
    let list = "find . -path ./.git -prune -o \\( -type f -o -type l \\) -printf '%p %y %m %s %l\\n' | sort";
    assert_eq!(sh(&world.tree(), list), sh(&world.remote(), list));
    world.sh_remote("rm -r d; printf file > d; rm empty; mkdir -p empty/deep; printf f > empty/deep/f; rm dirlink; printf n > dirlink; chmod 644 run; rm broken; mkdir broken; printf q > broken/q");
    world.updates_to(world.commit("second"));
    assert_eq!(sh(&world.tree(), list), sh(&world.remote(), list));
    world.git_remote(&["checkout", "-q", "-B", "main", &first.to_string()]);
    world.updates_to(first);
    assert_eq!(sh(&world.tree(), list), sh(&world.remote(), list));
}

#[test]
fn two_thousand_files_and_ten_that_change() {
    let world = World::empty();
    for number in 0..2_000 {
        world.write(&format!("d{}/f{number}", number % 50), &format!("{number}\n"));
    }
    world.updates_to(world.commit("first"));
    for number in 0..10 {
        world.write(&format!("d{number}/f{number}"), "changed\n");
    }
    world.updates_to(world.commit("second"));
}

#[test]
fn submodules_are_left_alone() {
    let world = World::new();
    let other = world.home.path().join("other");
    fs::create_dir(&other).unwrap();
    git(&other, &["init", "-q", "-b", "main"]);
    git(&other, &["commit", "-q", "--allow-empty", "-m", "other"]);
    world.git_remote(&["submodule", "--quiet", "add", "../other", "sub"]);
    let first = world.commit("with a submodule");
    world.updates_to(first);
    assert_eq!(fs::read_dir(world.tree().join("sub")).unwrap().count(), 0);
    world.updates_to(first);
}

#[test]
fn an_existing_clone_of_the_remote_is_adopted() {
    let world = World::new();
    let first = world.tip("main");
    git(world.home.path(), &["clone", "-q", &world.brief.url, "tree"]);
    world.sh_tree("git config user.name someone; git checkout -q -b mine; echo mine > a; git commit -qam mine; git merge -q main");
    world.updates_to(first);
    assert!(fs::read_to_string(world.tree().join(".git/config.before-gwg")).unwrap().contains("someone"));
    assert!(!fs::read_to_string(world.tree().join(".git/config")).unwrap().contains("someone"));
    assert_eq!(world.git_tree(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/main");
}

#[test]
fn a_shallow_clone_is_adopted() {
    let world = World::new();
    world.write("a", "2");
    let second = world.commit("second");
    git(world.home.path(), &["clone", "-q", "--depth", "1", &world.brief.url, "tree"]);
    world.updates_to(second);
    world.write("a", "3");
    world.updates_to(world.commit("third"));
}
