//! Updates over `git://`: what ends up on disk, judged by the real git, and when the trigger is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::signal::Signal;
use notify::event::{AccessKind, AccessMode, CreateKind};
use notify::{EventKind, RecursiveMode, Watcher};
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use support::config::Config;
use support::delivery::{Delivery, ZERO, push_payload};
use support::loopback::Mode;
use support::remote::Remote;
use support::site::{Ground, PATH, Site};
use support::{need, scratch, wait};

#[test]
fn a_missing_tree_is_cloned_at_start_as_git_would_clone_it() {
    let site = Site::new();
    let tree = site.tree();
    assert_eq!(tree.git(&["symbolic-ref", "HEAD"]), "refs/heads/master");
    assert_eq!(tree.git(&["rev-parse", "refs/remotes/origin/master"]), site.remote.head());
    assert_eq!(tree.git(&["remote"]), "origin");
    assert_eq!(tree.read("README").as_deref(), Some("first\n"));
    site.gateway.wait_for_log(0, PATH, &["update ok", "cause=reconcile", &site.remote.head()[..10]]);
}

#[test]
fn without_initialise_the_first_push_clones() {
    let ground = Ground::new();
    let config = Config::new().set("initialise", false).repo(ground.repo());
    let site = ground.start(config);
    assert_eq!(site.daemon.server().seen(), 0);
    assert!(!site.tree().directory.join(".git").exists());
    site.gateway.deploy(PATH, &site.remote.head());
    site.gateway.wait_for_log(0, PATH, &["update ok", "cause=delivery"]);
    assert_eq!(site.gateway.updates(PATH), 1, "it was cloned before it was asked for");
}

#[test]
fn a_push_brings_every_kind_of_change() {
    let site = Site::new();
    site.deploy(&[("bin/run", "#!/bin/sh\n"), ("deep/er/file", "1\n"), ("was/a/directory", "2\n"), ("was_a_file", "3\n")]);
    site.remote.git(&["rm", "--quiet", "-r", "deep", "was", "was_a_file"]);
    site.remote.git(&["update-index", "--chmod=+x", "bin/run"]);
    site.remote.git(&["checkout", "--", "bin/run"]);
    let work = site.remote.work();
    symlink("README", work.join("link")).unwrap();
    let commit = site.deploy(&[("was", "a file now\n"), ("was_a_file/is", "a directory now\n"), ("README", "second\n")]);

    let directory = site.tree().directory;
    assert_eq!(fs::metadata(directory.join("bin/run")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(fs::read_link(directory.join("link")).unwrap().to_str(), Some("README"));
    assert!(!directory.join("deep").exists(), "a removed directory stayed");
    assert!(directory.join("was").is_file() && directory.join("was_a_file").is_dir());
    site.gateway.wait_for_log(0, PATH, &["update ok", "cause=delivery", &commit[..10]]);
    assert_eq!(site.gateway.log().matching(&["damaged"]), Vec::<String>::new());
}

#[test]
fn rewritten_history_is_followed() {
    let site = Site::new();
    let first = site.remote.head();
    site.deploy(&[("README", "second\n"), ("only/in/second", "x\n")]);
    site.remote.git(&["reset", "--quiet", "--hard", &first]);
    let mark = site.gateway.log().mark();
    let rewritten = site.deploy(&[("README", "another second\n")]);
    assert!(!site.tree().directory.join("only").exists());
    site.gateway.wait_for_log(mark, PATH, &["update ok", "forced=true", &rewritten[..10]]);
}

#[test]
fn tags_are_followed_also_where_they_move() {
    let ground = Ground::new();
    ground.remote.git(&["tag", "live"]);
    ground.remote.push_tag("live");
    // A branch of the same name must not be taken for the tag.
    let tagged = ground.remote.head();
    ground.remote.commit(&[("README", "on the branch\n")]);
    ground.remote.push("live");
    let repo = ground.repo().set("label", "live").set("labelType", "tag");
    let site = ground.start_with(repo);
    site.tree().wait_for(&tagged, None);
    assert_eq!(site.tree().git(&["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD", "HEAD is to be detached");

    for (options, content) in
        [(&["tag", "--force", "live"][..], "moved\n"), (&["tag", "--force", "--annotate", "--message=v", "live"], "annotated\n")]
    {
        let commit = site.remote.commit(&[("README", content)]);
        site.remote.git(options);
        site.remote.push_tag("live");
        site.gateway.deploy(PATH, &commit);
        assert_eq!(site.tree().read("README").as_deref(), Some(content));
    }
}

#[test]
fn pushes_during_an_update_lead_to_exactly_one_more() {
    let site = Site::new();
    let before = site.gateway.updates(PATH);
    let mut last = site.deliver_held_up(PATH);
    for number in 1..6 {
        last = site.remote.publish(&[("README", &format!("{number}\n"))]);
        site.gateway.deliver(PATH, &last);
    }
    let updaters = site.gateway.process().children().into_iter().filter(|child| child.name() == "gwg-updater").count();
    assert_eq!(updaters, 1, "updates of one repository overlap");
    site.daemon.set(Mode::Serve);
    wait::until_true("both updates have ended", || site.gateway.updates(PATH) >= before + 2);
    assert_eq!(site.tree().head(), Some(last.clone()));
    site.tree().assert_healthy();

    // Whatever would still be waiting goes before this one.
    site.deploy(&[("README", "end\n")]);
    // It is told of after its trigger is touched.
    wait::until_true("the last one has ended", || site.gateway.updates(PATH) >= before + 3);
    assert_eq!(site.gateway.updates(PATH), before + 3);
}

#[test]
fn two_repositories_are_updated_at_once() {
    let ground = Ground::new();
    let config = Config::new().repo(ground.repo_at("/one")).repo(ground.repo_at("/two"));
    ground.daemon.set(Mode::Hold);
    let site = ground.start(config);
    site.daemon.server().wait_for_more_than(1);
    site.daemon.set(Mode::Serve);
    for path in ["/one", "/two"] {
        site.gateway.tree(path).wait_for(&site.remote.head(), None);
    }
}

#[test]
fn threads_bounds_the_updates_that_run_at_once() {
    let ground = Ground::new();
    let config = Config::new().set("threads", 1).repo(ground.repo_at("/one")).repo(ground.repo_at("/two"));
    ground.daemon.set(Mode::Hold);
    let site = ground.start(config);
    site.daemon.server().wait_for_more_than(0);
    // Deliveries are answered while all slots are taken; the second update would connect by now.
    for _ in 0..20 {
        site.gateway.deliver("/two", &site.remote.head());
        site.gateway.deliver("/one", &site.remote.head());
    }
    assert_eq!(site.daemon.server().seen(), 1);
    site.daemon.set(Mode::Serve);
    for path in ["/one", "/two"] {
        site.gateway.tree(path).wait_for(&site.remote.head(), None);
    }
}

#[test]
fn a_restart_keeps_what_was_done() {
    let mut site = Site::new();
    let touched = site.tree().touched();
    assert_eq!(site.gateway.stop(Signal::SIGTERM).0.code(), Some(0));
    let mark = site.gateway.log().mark();
    site.gateway.restart();
    site.gateway.wait_for_log(mark, PATH, &["update ok", "cause=reconcile"]);
    assert_eq!(site.tree().touched(), touched, "the trigger was touched again for the same commit");
    site.tree().assert_healthy();

    // What came while it was away is found without a delivery.
    assert_eq!(site.gateway.stop(Signal::SIGTERM).0.code(), Some(0));
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.restart();
    site.tree().wait_for(&commit, touched);
}

#[test]
fn a_trigger_that_could_not_be_touched_is_touched_later_for_the_same_commit() {
    let ground = Ground::new();
    let triggers = ground.scratch.path().join("not_yet");
    let repo = ground.repo().set("trigger", triggers.join("site").to_str().unwrap());
    let mut site = ground.start_with(repo);
    site.gateway.wait_for_log(0, PATH, &["update failed", "reason=directory"]);
    assert_eq!(site.tree().touched(), None);
    site.gateway.stop(Signal::SIGTERM);
    site.scratch.updaters_directory("not_yet");
    site.gateway.restart();
    site.tree().wait_for(&site.remote.head(), None);
}

/// As the guide to the configuration has it: the first is made, without being opened; then it is opened and closed.
#[test]
fn who_watches_the_trigger_hears_of_each_update() {
    let ground = Ground::new();
    let trigger = ground.repo().tree().trigger;
    let (sender, events) = std::sync::mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender).unwrap();
    watcher.watch(trigger.parent().unwrap(), RecursiveMode::NonRecursive).unwrap();
    let heard = || events.try_iter().flatten().filter(|event| event.paths.contains(&trigger)).map(|event| event.kind).collect::<Vec<_>>();
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));

    let config = Config::new().repo(ground.repo());
    let site = ground.start(config);
    site.tree().wait_for(&site.remote.head(), None);
    wait::until_true("it is made", || heard().contains(&EventKind::Create(CreateKind::File)));
    assert_eq!((fs::read(&trigger).unwrap(), fs::metadata(&trigger).unwrap().mode() & 0o7777), (Vec::new(), 0o644));
    site.deploy(&[("README", "second\n")]);
    wait::until_true("it is closed after writing", || heard().contains(&closed));
}

#[test]
fn a_trigger_that_is_a_symlink_is_not_followed() {
    let ground = Ground::new();
    let repo = ground.repo();
    let precious = ground.scratch.updaters_directory("outside").join("precious");
    fs::write(&precious, "precious").unwrap();
    scratch::give_to_updater(&precious);
    let before = fs::metadata(&precious).unwrap().modified().unwrap();
    symlink(&precious, &repo.tree().trigger).unwrap();
    let site = ground.start_with(repo);
    site.gateway.wait_for_log(0, PATH, &["update failed"]);
    assert_eq!(fs::metadata(&precious).unwrap().modified().unwrap(), before);
}

#[test]
fn f30_a_trigger_that_is_no_file_is_said_and_stays_what_it_is() {
    let ground = Ground::new();
    let kinds = ["directory", "fifo", "socket", "dangling", "missing"];
    let repos = kinds.map(|kind| ground.repo_at(&format!("/{kind}")));
    let [directory, fifo, socket, dangling, _] = repos.each_ref().map(|repo| repo.tree().trigger);
    fs::create_dir(&directory).unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    symlink("nowhere", &dangling).unwrap();
    let missing = ground.scratch.path().join("missing/trigger");
    let [one, two, three, four, five] = repos;
    let config = Config::new().repo(one).repo(two).repo(three).repo(four).repo(five.set("trigger", missing.to_str().unwrap()));
    let site = ground.start(config);
    for kind in kinds {
        let path = format!("/{kind}");
        site.gateway.wait_for_log(0, &path, &["update failed", "step=trigger", "reason=directory"]);
        // The tree is current all the same.
        assert_eq!(site.gateway.tree(&path).head(), Some(site.remote.head()), "{kind}");
    }
    let kind = |path: &Path| fs::symlink_metadata(path).unwrap().file_type();
    assert!(kind(&directory).is_dir() && kind(&fifo).is_fifo() && kind(&socket).is_socket() && kind(&dangling).is_symlink());
    assert!(!missing.parent().unwrap().exists() && !dangling.with_file_name("nowhere").exists());
}

#[test]
fn f30_a_trigger_on_another_file_system_is_touched() {
    let ground = Ground::new();
    let Ok(other) = tempfile::Builder::new().prefix("gwg-test-").tempdir_in("/dev/shm") else {
        let _: Option<()> = need::missing("/dev/shm, another file system");
        return;
    };
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(ground.scratch.path()).unwrap().dev() {
        let _: Option<()> = need::missing("/dev/shm on another file system than the work trees");
        return;
    }
    scratch::give_to_updater(other.path());
    let repo = ground.repo().set("trigger", other.path().join("trigger").to_str().unwrap());
    let site = ground.start_with(repo);
    site.tree().wait_for(&site.remote.head(), None);
    site.deploy(&[("README", "second\n")]);
}

#[test]
fn a_remote_that_is_down_is_tried_again_until_it_is_up() {
    let site = Site::new();
    site.daemon.set(Mode::HangUp);
    let commit = site.remote.publish(&[("README", "second\n")]);
    let touched = site.tree().touched();
    site.gateway.deliver(PATH, &commit);
    site.gateway.wait_for_log(0, PATH, &["update failed", "step=fetch", "reason=net"]);
    site.tree().assert_healthy();
    site.daemon.set(Mode::Serve);
    site.tree().wait_for(&commit, touched);
    site.gateway.wait_for_log(0, PATH, &["update ok", &commit[..10]]);
}

#[test]
fn used_up_tries_end_in_one_clear_error_and_the_next_push_is_served() {
    let ground = Ground::new();
    let config = Config::new().set("retry_count", 2).repo(ground.repo());
    ground.daemon.set(Mode::HangUp);
    let site = ground.start(config);
    site.gateway.wait_for_log(0, PATH, &["update failed", "attempt=2"]);
    let errors = site.gateway.log().matching(&["ERROR", PATH]);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    site.daemon.set(Mode::Serve);
    site.gateway.deploy(PATH, &site.remote.head());
}

#[test]
fn a_branch_that_is_not_there_is_said_and_followed_when_it_comes() {
    let ground = Ground::new();
    let repo = ground.repo().set("label", "release");
    let site = ground.start_with(repo);
    site.gateway.wait_for_log(0, PATH, &["update failed", "reason=no_label"]);
    site.remote.push("release");
    site.gateway.deploy(PATH, &site.remote.head());
}

#[test]
fn a_deleted_branch_leaves_the_tree_as_it_was() {
    let ground = Ground::new();
    ground.remote.push("release");
    let repo = ground.repo().set("label", "release");
    let site = ground.start_with(repo);
    let (commit, url) = (site.remote.head(), site.daemon.url(site.remote.name()));
    site.tree().wait_for(&commit, None);
    site.remote.delete("refs/heads/release");
    let payload = push_payload(&url, "refs/heads/release", &commit, ZERO);
    let answer = Delivery::event(PATH, "push", &payload).sign(support::config::SECRET).send(site.gateway.port());
    assert_eq!(answer.status, 200, "{answer:?}");

    // A push whose branch is gone by the time of the fetch.
    site.gateway.deliver(PATH, &commit);
    site.gateway.wait_for_log(0, PATH, &["update failed", "reason=no_label"]);
    assert_eq!(site.tree().head(), Some(commit));
    assert_eq!(site.tree().read("README").as_deref(), Some("first\n"));
}

#[test]
fn a_directory_that_cannot_be_written_is_said_and_served_once_it_can() {
    let ground = Ground::new();
    let repo = ground.repo();
    let parent = repo.tree().directory.parent().unwrap().to_owned();
    lock(&parent);
    let site = ground.start_with(repo);
    site.gateway.wait_for_log(0, PATH, &["update failed", "reason=directory"]);
    fs::set_permissions(&parent, Permissions::from_mode(0o755)).unwrap();
    scratch::give_to_updater(&parent);
    site.gateway.deploy(PATH, &site.remote.head());
}

/// Takes from the updater the right to write there.
fn lock(directory: &std::path::Path) {
    scratch::give_to(directory, 0);
    fs::set_permissions(directory, Permissions::from_mode(0o555)).unwrap();
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let ground = Ground::new();
    let repo = ground.repo();
    let directory = repo.tree().directory;
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("thesis.txt"), "years of work").unwrap();
    fs::write(directory.join("README"), "mine").unwrap();
    for path in [directory.clone(), directory.join("thesis.txt"), directory.join("README")] {
        scratch::give_to_updater(&path);
    }
    let site = ground.start_with(repo);
    site.gateway.wait_for_log(0, PATH, &["update failed", "reason=foreign_directory"]);
    assert_eq!(fs::read_to_string(directory.join("README")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "something was added");
}

#[test]
fn dirt_in_the_tree_is_reset_and_untracked_files_stay() {
    let site = Site::new();
    let directory = site.tree().directory;
    fs::write(directory.join("README"), "edited by hand\n").unwrap();
    fs::remove_file(directory.join("src/main.c")).unwrap();
    fs::create_dir(directory.join("src/main.c")).unwrap();
    fs::write(directory.join("cache"), "untracked").unwrap();
    let commit = site.remote.publish(&[("other", "x\n")]);
    let before = site.tree().touched();
    site.gateway.deliver(PATH, &commit);
    wait::until_true("the tree is at the commit", || site.tree().head() == Some(commit.clone()) && site.tree().touched() != before);
    assert_eq!(site.tree().git(&["status", "--porcelain"]), "?? cache");
    assert_eq!(site.tree().read("cache").as_deref(), Some("untracked"));
    assert_eq!(site.tree().read("README").as_deref(), Some("first\n"));
}

/// Whoever may write in the tree plants symlinks that lead out of it.
#[test]
fn planted_symlinks_lead_no_write_and_no_deletion_out_of_the_tree() {
    let site = Site::new();
    site.deploy(&[("gone/later", "x\n"), ("conf/a", "1\n"), ("conf/b", "2\n")]);
    let outside = site.scratch.updaters_directory("outside");
    for name in ["later", "a", "b", "README"] {
        fs::write(outside.join(name), "precious").unwrap();
        scratch::give_to_updater(&outside.join(name));
    }
    let directory = site.tree().directory;
    for name in ["gone", "conf"] {
        fs::remove_dir_all(directory.join(name)).unwrap();
        symlink(&outside, directory.join(name)).unwrap();
    }
    fs::remove_file(directory.join("README")).unwrap();
    symlink(outside.join("README"), directory.join("README")).unwrap();

    site.remote.git(&["rm", "--quiet", "-r", "gone"]);
    let before = site.tree().touched();
    let commit = site.remote.publish(&[("conf/a", "changed\n"), ("conf/c", "new\n"), ("README", "second\n")]);
    site.gateway.deliver(PATH, &commit);
    wait::until_true("the trigger was touched", || site.tree().touched() != before);
    // Where the commit has nothing any more, the link is an untracked file, and stays, as with git.
    assert_eq!(site.tree().git(&["status", "--porcelain"]), "?? gone");
    fs::remove_file(directory.join("gone")).unwrap();
    site.tree().wait_for(&commit, before);
    for name in ["later", "a", "b", "README"] {
        assert_eq!(fs::read_to_string(outside.join(name)).ok().as_deref(), Some("precious"), "outside/{name}");
    }
    assert!(!outside.join("c").exists(), "written outside of the tree");
    assert_eq!(site.tree().read("conf/a").as_deref(), Some("changed\n"));
}

/// Whoever may write in `.git` points it elsewhere: only the configuration says what is fetched and written.
#[test]
fn a_planted_git_configuration_is_not_followed() {
    let site = Site::new();
    let outside = site.scratch.updaters_directory("outside");
    let evil = Remote::new(&site.scratch.directory("remotes"), "evil");
    let evil_commit = evil.publish(&[("README", "evil\n")]);
    let config = site.tree().directory.join(".git/config");
    let url = site.daemon.url(site.remote.name());
    let text = fs::read_to_string(&config).unwrap();
    let planted = format!(
        "{text}[core]\n\tworktree = {}\n[remote \"origin\"]\n\turl = {}\n[url \"{}\"]\n\tinsteadOf = {url}\n",
        outside.display(),
        site.daemon.url(evil.name()),
        site.daemon.url(evil.name()),
    );
    fs::write(&config, planted).unwrap();
    let commit = site.remote.publish(&[("README", "second\n")]);
    let before = site.tree().touched();
    site.gateway.deliver(PATH, &commit);
    wait::until_true("the trigger was touched", || site.tree().touched() != before);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "written outside of the tree");
    assert_eq!(site.tree().read("README").as_deref(), Some("second\n"));
    let head = site.tree().git(&["--work-tree=.", "rev-parse", "HEAD"]);
    assert_eq!(head, commit);
    assert_ne!(head, evil_commit);
}

#[test]
fn the_remote_has_the_configured_name() {
    let ground = Ground::new();
    let repo = ground.repo().set("remote", "upstream");
    let site = ground.start_with(repo);
    site.tree().wait_for(&site.remote.head(), None);
    assert_eq!(site.tree().git(&["remote"]), "upstream");
    assert_eq!(site.tree().git(&["rev-parse", "refs/remotes/upstream/master"]), site.remote.head());
}
