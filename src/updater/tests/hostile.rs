//! A `.git` made by someone who may write in the tree, and directories that are not gwg's.

use super::world::{World, git, sh};
use crate::audit::{Reason, Step};
use std::fs;

#[test]
fn a_directory_that_holds_anything_else_is_refused() {
    let mut world = World::new();
    fs::create_dir(world.tree()).unwrap();
    fs::write(world.tree().join("precious"), "data").unwrap();
    world.fails(Step::Open, Reason::ForeignDirectory, "\"precious\"");
    assert_eq!(sh(&world.tree(), "ls -A"), "precious");
    // Where gwg has deployed to it before, its lost `.git` is made anew.
    world.order.known = true;
    world.updates_to(world.tip("main"));
    assert_eq!(fs::read(world.tree().join("precious")).unwrap(), b"data");
}

#[test]
fn a_clone_of_another_remote_is_refused() {
    let world = World::new();
    fs::create_dir(world.home.path().join("other")).unwrap();
    git(&world.home.path().join("other"), &["init", "-q"]);
    git(world.home.path(), &["clone", "-q", "other", "tree"]);
    world.fails(Step::Open, Reason::ForeignDirectory, "no clone of");
    sh(world.home.path(), "rm -rf tree; mkdir tree; cd tree; git init -q");
    world.fails(Step::Open, Reason::ForeignDirectory, "no clone of");
}

#[test]
fn a_url_that_was_wrong_at_first_may_be_corrected() {
    let mut world = World::new();
    let right = world.brief.url.clone();
    world.brief.url.push_str("-not");
    assert!(matches!(world.update().outcome, crate::wire::order::Outcome::Failed(failure) if failure.step == Step::Fetch));
    world.brief.url = right;
    world.updates_to(world.tip("main"));
    // Deployed to, it is a clone of this remote and no other.
    world.brief.url.push_str("-not");
    world.fails(Step::Open, Reason::ForeignDirectory, "no clone of");
}

#[test]
fn an_empty_directory_and_one_with_a_half_made_repository_are_filled() {
    let world = World::new();
    fs::create_dir_all(world.tree().join(".git.gwg-new/objects")).unwrap();
    world.updates_to(world.tip("main"));
    assert!(!world.tree().join(".git.gwg-new").exists());
}

#[test]
fn a_work_tree_that_is_a_symlink_is_refused() {
    let world = World::new();
    fs::create_dir(world.home.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", world.tree()).unwrap();
    let report = world.update();
    assert!(matches!(report.outcome, crate::wire::order::Outcome::Failed(failure) if failure.step == Step::Open));
    assert_eq!(sh(world.home.path(), "ls -A real"), "");
}

/// Refused, whether gwg knows the tree or not.
#[track_caller]
fn refused(script: &str, saying: &str) {
    let mut world = World::new();
    world.updates_to(world.tip("main"));
    world.sh_tree(script);
    for known in [false, true] {
        world.order.known = known;
        world.fails(Step::Open, Reason::ForeignDirectory, saying);
    }
}

#[test]
fn gitfiles_and_links_to_a_repository_are_refused() {
    refused("mv .git ../g; echo 'gitdir: ../g' > .git", "gitfile");
    refused("mv .git ../g; ln -s ../g .git", ".git is a symlink");
}

#[test]
fn links_and_pipes_inside_of_it_are_refused() {
    refused("mv .git/objects ../o; ln -s ../../o .git/objects", "objects is a symlink");
    refused("mv .git/refs/heads ../h; ln -s ../../../h .git/refs/heads", "refs/heads is a symlink");
    refused("mv .git/HEAD ../h; ln -s ../../h .git/HEAD", "HEAD is a symlink");
    refused("rm .git/config; mkfifo .git/config", "neither a file nor a directory");
    refused("rm -r .git/gwg; ln -s ../.. .git/gwg", "gwg is a symlink");
}

#[test]
fn alternates_and_a_common_directory_are_refused() {
    refused("echo /tmp > .git/objects/info/alternates", "alternates");
    refused("echo http://h/ > .git/objects/info/http-alternates", "alternates");
    refused("echo ../.. > .git/commondir", "commondir");
}

#[test]
fn what_the_configuration_says_is_not_done() {
    let mut world = World::new();
    world.updates_to(world.tip("main"));
    sh(
        world.home.path(),
        "mkdir elsewhere; echo kept > elsewhere/a; cp -r remote evil; cd evil; echo evil > a; git -c user.name=e -c user.email=e commit -qam evil",
    );
    let elsewhere = world.home.path().join("elsewhere");
    let url = world.brief.url.clone();
    world.sh_tree(
        &format!(
            "git config core.worktree {elsewhere}; git config core.hooksPath {elsewhere}; git config core.fsmonitor 'touch {home}/ran'
         git config core.autocrlf true; git config core.sshCommand 'touch {home}/ran'; git config http.proxy http://127.0.0.1:1
         git config url.{evil}.insteadOf {url}; git config remote.origin.proxy x; git config filter.x.smudge 'touch {home}/ran'
         git config include.path {home}/included; git config extensions.worktreeConfig true
         printf '#!/bin/sh\\ntouch {home}/ran\\n' | tee .git/hooks/post-checkout .git/hooks/reference-transaction > /dev/null || true",
            elsewhere = elsewhere.display(),
            home = world.home.path().display(),
            evil = world.home.path().join("evil").display(),
        )
        .replace("printf '#!", "mkdir -p .git/hooks; printf '#!"),
    );
    world.write("a", "right\n");
    let tip = world.commit("next");
    world.order.known = true;
    world.updates_to(tip);
    assert_eq!(fs::read(world.tree().join("a")).unwrap(), b"right\n");
    assert_eq!(fs::read(elsewhere.join("a")).unwrap(), b"kept\n");
    assert!(!world.home.path().join("ran").exists());
    let config = fs::read_to_string(world.tree().join(".git/config")).unwrap();
    for gone in ["worktree", "insteadOf", "include", "fsmonitor", "proxy"] {
        assert!(!config.contains(gone), "{config}");
    }
}

#[test]
fn a_repository_format_that_libgit2_lacks_is_refused() {
    let world = World::new();
    sh(world.home.path(), &format!("git init -q --object-format=sha256 tree; cd tree; git remote add origin {}", world.brief.url));
    world.fails(Step::Open, Reason::ForeignDirectory, "objectformat");
}

#[test]
fn a_tree_with_forbidden_names_is_refused_and_nothing_is_removed_for_it() {
    let blob = "b=$(echo evil | git hash-object -w --stdin)";
    // Raw trees: git itself would not write most of these.
    let tree = |name: &str| {
        format!("{blob}; printf '100644 {name}\\0%b' \"$(echo $b | sed 's/../\\\\x&/g')\" | git hash-object -t tree -w --literally --stdin")
    };
    for name in [".git", ".GIT", ".", "..", "a/b", "git~1", "../outside"] {
        let mut world = World::new();
        let first = world.tip("main");
        world.updates_to(first);
        world.order.known = true;
        let id = sh(&world.remote(), &tree(name));
        world.sh_remote(&format!("git update-ref refs/heads/main $(git commit-tree -m evil -p HEAD {id})"));
        let report = world.update();
        assert!(matches!(report.outcome, crate::wire::order::Outcome::Failed(_)), "{name}");
        assert!(!world.said().contains("fetched anew"), "{name}: {}", world.said());
        world.git_tree(&["rev-parse", "HEAD"]);
        assert!(!world.home.path().join("outside").exists());
        world.git_remote(&["update-ref", "refs/heads/main", &first.to_string()]);
        world.updates_to(first);
    }
}

#[test]
fn a_tree_that_holds_a_link_and_a_directory_of_one_name_is_refused() {
    let world = World::new();
    let target = world.home.path().join("target");
    fs::create_dir(&target).unwrap();
    let script = format!(
        "raw() {{ echo $1 | sed 's/../\\\\x&/g'; }}; b=$(echo evil | git hash-object -w --stdin); l=$(printf {} | git hash-object -w --stdin)
         t=$(printf \"100644 f\\0$(raw $b)\" | git hash-object -t tree -w --literally --stdin)
         r=$(printf \"120000 a\\0$(raw $l)40000 a\\0$(raw $t)\" | git hash-object -t tree -w --literally --stdin)
         git update-ref refs/heads/main $(git commit-tree -m evil -p HEAD $r)",
        target.display()
    );
    sh(&world.remote(), &format!("exec bash -ec '{}'", script.replace('\'', "'\\''")));
    world.fails(Step::Verify, Reason::Other, "which it must not");
    assert_eq!(fs::read_dir(target).unwrap().count(), 0);
}
