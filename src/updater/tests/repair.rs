//! What a killed predecessor, a bad disk or a clumsy hand left: the next update heals it.

use super::world::{World, sh};
use crate::audit::{Reason, Step};
use std::fs;

fn cloned() -> World {
    let mut world = World::new();
    world.updates_to(world.tip("main"));
    world.order.known = true;
    world
}

#[test]
fn locks_of_a_killed_predecessor_are_removed() {
    let world = cloned();
    world.sh_tree("touch -d '1 minute ago' .git/gwg/running; cd .git; touch index.lock HEAD.lock config.lock packed-refs.lock shallow.lock refs/heads/main.lock refs/remotes/origin/main.lock");
    world.write("a", "2");
    world.updates_to(world.commit("second"));
}

#[test]
fn locks_of_others_are_respected() {
    let world = cloned();
    // No predecessor died.
    world.sh_tree("touch .git/index.lock");
    world.fails(Step::Open, Reason::Locked, ".git/index.lock is another program's lock");
    world.sh_tree("rm .git/index.lock; touch .git/refs/heads/x.lock");
    world.fails(Step::Open, Reason::Locked, "refs/heads/x.lock");
    // One died, but the lock is older.
    world.sh_tree("touch .git/gwg/running; touch -d '1 hour ago' .git/refs/heads/x.lock");
    world.fails(Step::Open, Reason::Locked, "refs/heads/x.lock");
    world.sh_tree("rm .git/refs/heads/x.lock");
    world.updates_to(world.tip("main"));
}

#[test]
fn one_updater_at_a_time() {
    let world = cloned();
    let lock = fs::File::open(world.tree().join(".git/gwg/lock")).unwrap();
    lock.lock().unwrap();
    world.fails(Step::Open, Reason::Locked, "another updater works here");
    drop(lock);
    world.updates_to(world.tip("main"));
}

#[test]
fn half_written_packs_are_swept() {
    let world = cloned();
    world.sh_tree("echo x > .git/objects/pack/pack_git2_abcdef; echo x > .git/objects/pack/tmp_pack_of_git");
    world.updates_to(world.tip("main"));
    assert_eq!(sh(&world.tree(), "ls .git/objects/pack | grep -c tmp_pack_of_git"), "1");
}

#[test]
fn a_lost_or_damaged_part_of_the_repository_is_made_anew() {
    for damage in [
        "rm -r .git",
        "rm .git/HEAD",
        ": > .git/HEAD",
        "rm -r .git/refs",
        "rm .git/config",
        "echo '[broken' > .git/config",
        ": > .git/index",
        "printf garbage > .git/index",
        "printf X | dd of=.git/index bs=1 seek=40 conv=notrunc status=none",
        "rm .git/index",
        "rm -r .git/objects",
        ": > .git/refs/heads/main",
        ": > .git/refs/remotes/origin/main",
        "echo 0123456789012345678901234567890123456789 > .git/refs/remotes/origin/main",
        "echo 0123456789012345678901234567890123456789 > .git/refs/heads/main",
        "for f in .git/objects/pack/*.pack; do chmod u+w $f; truncate -s 20 $f; done",
        "for f in .git/objects/pack/*.idx; do chmod u+w $f; : > $f; done",
        "rm .git/objects/pack/*.pack",
        "for f in .git/objects/pack/*.pack; do chmod u+w $f; printf XXXX | dd of=$f bs=1 seek=60 conv=notrunc status=none; done",
    ] {
        let world = cloned();
        world.sh_tree(damage);
        world.sh_tree("echo untracked > u");
        eprintln!("{damage}");
        world.updates_to(world.tip("main"));
        world.write("a", "2");
        world.sh_remote("git rm -q dir/b");
        world.updates_to(world.commit("second"));
        assert!(!world.tree().join("dir").exists(), "{damage}");
        assert!(world.tree().join("u").exists());
        assert!(!world.tree().join(".git/gwg/damaged").exists());
    }
}

#[test]
fn damage_that_comes_with_a_new_commit_is_healed_in_one_run() {
    let world = cloned();
    world.sh_tree("for f in .git/objects/pack/*.pack; do chmod u+w $f; printf XXXX | dd of=$f bs=1 seek=60 conv=notrunc status=none; done");
    world.write("b", "2");
    world.sh_remote("git rm -q dir/b");
    world.updates_to(world.commit("second"));
    assert!(!world.tree().join("dir").exists());
}
