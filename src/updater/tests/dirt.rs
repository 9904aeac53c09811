//! Dirt in the work tree, planted or not: the reset wins, untracked files stay, nothing outside of
//! the tree is touched.

use super::world::{World, git, sh};
use std::fs;

/// Does `dirt` to a clone of the first commit, updates to a second one, and compares with what the
/// real `git reset --hard` makes of the same dirt.
#[track_caller]
fn as_git_would(dirt: &str) {
    as_git_would_after(dirt, "echo new > a; git rm -q gone; mkdir later; echo l > later/f; echo more >> dir/b");
}

#[track_caller]
fn as_git_would_after(dirt: &str, change: &str) {
    let world = World::new();
    world.write("gone", "gone");
    world.write("deep/er/f", "f");
    let first = world.commit("more");
    world.updates_to(first);
    git(world.home.path(), &["clone", "-q", &world.brief.url, "judge"]);
    let judge = world.home.path().join("judge");
    world.sh_tree(dirt);
    sh(&judge, dirt);
    for again in ["", change] {
        world.sh_remote(if again.is_empty() { ":" } else { again });
        let tip = world.commit("next");
        git(&judge, &["fetch", "-q"]);
        git(&judge, &["reset", "-q", "--hard", "origin/main"]);
        world.updates_to(tip);
        let list = "find . -path ./.git -prune -o -printf '%p %y %m %l\\n' | sort; git ls-files -s; git status --porcelain";
        assert_eq!(sh(&world.tree(), list), sh(&judge, list), "{dirt}");
    }
}

#[test]
fn edited_deleted_and_chmodded_files() {
    as_git_would("echo dirt >> a; rm dir/b; chmod -x run; chmod +x a; rm -r deep");
}

#[test]
fn untracked_files_stay_and_make_way() {
    as_git_would("echo u > untracked; mkdir u; echo u > u/u; echo in the way > later; rm a; mkdir a");
}

#[test]
fn a_directory_where_a_file_belongs_and_a_file_where_a_directory_belongs() {
    as_git_would("rm -r dir a; echo file > dir; mkdir -p a/b; echo x > a/b/c");
}

#[test]
fn what_is_staged_is_undone() {
    as_git_would(
        "echo s > staged; mkdir -p x/y; echo s > x/y/staged; git add staged x; git rm -q --cached a; git rm -q dir/b; git mv gone went",
    );
}

#[test]
fn a_change_of_the_same_size_in_the_same_second() {
    as_git_would("printf 'xne\\n' > a");
}

#[test]
fn a_merge_with_conflicts_that_was_left() {
    as_git_would(
        "export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t; git checkout -q -b side
         echo side > a; git commit -qam side; git checkout -q main; echo main > a; git commit -qam main; git merge -q side >/dev/null || true",
    );
}

#[test]
fn files_marked_as_unchanged_or_intended() {
    as_git_would("echo i > intended; git add -N intended");
}

#[test]
fn every_change_of_kind_over_every_kind_of_dirt() {
    let dirt =
        ["rm -rf x", "rm -rf x; echo f > x", "rm -rf x; mkdir x; echo f > x/other", "rm -rf x; ln -s nowhere x", "rm -rf x; mkfifo x"];
    let kinds = ["echo file > x", "ln -s a x", "mkdir x; echo f > x/f", "mkdir -p x/y; ln -s a x/y/l", ":"];
    for from in kinds {
        let world = World::new();
        world.sh_remote(from);
        let first = world.commit("from");
        for to in kinds {
            world.git_remote(&["reset", "-q", "--hard", &first.to_string()]);
            world.sh_remote(&format!("rm -rf x; {to}"));
            let tip = world.commit("to");
            for dirt in dirt {
                world.git_remote(&["update-ref", "refs/heads/main", &first.to_string()]);
                world.update();
                world.sh_tree(dirt);
                world.git_remote(&["update-ref", "refs/heads/main", &tip.to_string()]);
                world.update();
                let status = world.git_tree(&["status", "--porcelain", "--untracked-files=no", "--branch"]);
                assert_eq!(status, "## main...origin/main", "{from} / {to} / {dirt}: {}", world.said());
                assert_eq!(world.git_tree(&["rev-parse", "HEAD"]), tip.to_string());
                world.sh_tree("git clean -qfdx");
            }
        }
        world.updates_to(world.tip("main"));
    }
}

#[test]
fn what_was_removed_from_the_index_only_is_untracked_and_stays() {
    as_git_would_after("git rm -q --cached a gone", "git rm -q a gone");
}

/// Plants links to `outside` and updates: outside stays as it is, byte for byte and time for time.
#[track_caller]
fn nothing_outside_changes(plant: &str, change: &str) {
    let world = World::new();
    world.write("dir/c", "c");
    world.write("dir/sub/d", "d");
    world.updates_to(world.commit("more"));
    sh(world.home.path(), "mkdir -p outside/sub; for f in a b c sub/d new; do echo secret > outside/$f; done; chmod 600 outside/*[a-z]");
    let list = "find . -printf '%p %y %m %s %T@ %C@\\n' | sort; cat a b c sub/d new";
    let outside = world.home.path().join("outside");
    sh(&outside, "chmod 700 sub");
    let before = sh(&outside, list);
    world.sh_tree(plant);
    world.sh_remote(change);
    let tip = world.commit("next");
    world.updates_to(tip);
    assert_eq!(sh(&outside, list), before, "{plant} / {change}");
    world.updates_to(tip);
    assert_eq!(sh(&outside, list), before, "{plant} / {change}, again");
}

const DIRECTORY: &str = "rm -r dir; ln -s ../outside dir";
const SUBDIRECTORY: &str = "rm -r dir/sub; ln -s ../../outside/sub dir/sub";
const FILE: &str = "rm a; ln -s ../outside/a a";

#[test]
fn planted_links_are_not_written_through() {
    for plant in [DIRECTORY, SUBDIRECTORY, FILE] {
        nothing_outside_changes(plant, ":");
        nothing_outside_changes(plant, "for f in a dir/b dir/c dir/sub/d; do echo changed >> $f; done; echo n > dir/new");
    }
}

#[test]
fn planted_links_are_not_deleted_through() {
    for plant in [DIRECTORY, SUBDIRECTORY, FILE] {
        nothing_outside_changes(plant, "git rm -q dir/b dir/sub/d a");
        nothing_outside_changes(plant, "git rm -q -r dir a");
        nothing_outside_changes(plant, "git rm -q -r dir a; echo file > dir; mkdir a; echo f > a/b");
    }
}

#[test]
fn links_planted_where_a_new_directory_or_file_comes() {
    nothing_outside_changes("ln -s ../outside fresh; ln -s ../outside/new new", "mkdir fresh; echo n > fresh/new; echo n > new");
    nothing_outside_changes("ln -s ../outside fresh", "mkdir -p fresh/sub; echo n > fresh/sub/d; git add fresh");
}

#[test]
fn links_planted_below_staged_paths() {
    let staged = "mkdir -p s/sub; echo s > s/a; echo s > s/sub/d; git add s; rm -r s; ln -s ../outside s";
    nothing_outside_changes(staged, ":");
    nothing_outside_changes(staged, "echo changed > a");
}

#[test]
fn links_that_the_commit_has_are_put_in_place_and_not_followed() {
    nothing_outside_changes("rm a; ln -s ../outside/a a", "rm a; ln -s dir/b a; ln -s ../outside linked");
    nothing_outside_changes("ln -s ../outside linked", "ln -s nowhere linked");
}

#[test]
fn a_directory_in_the_way_that_holds_links_goes_and_what_they_point_at_stays() {
    nothing_outside_changes("rm a; mkdir a; ln -s ../../outside a/x; ln -s ../../outside/a a/y", "echo changed > a");
}

#[test]
fn planted_links_are_gone_afterwards() {
    let world = World::new();
    let first = world.tip("main");
    world.updates_to(first);
    world.sh_tree("rm -r dir; ln -s /tmp dir");
    world.updates_to(first);
    assert!(fs::symlink_metadata(world.tree().join("dir")).unwrap().is_dir());
}
