//! One who may write in a deployed tree and in its `.git` (P6), as the web application in it often may:
//! what is planted there must not make an update write, delete or run anything outside of it, nor wait for ever.
//!
//! What lies outside belongs to the updater's own user, so that no mode or owner protects it. Each attack is
//! tried against an update as a script with git makes it, or as libgit2 makes it by itself, on a tree of its own:
//! one that gets nothing there would prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use support::as_user::{STRANGER, as_user};
use support::config::Config;
use support::matrix::Matrix;
use support::scratch::{UPDATER, give_to};
use support::site::{Ground, Site};
use support::{need, remote, wait};

/// Where an attack is made. The attacker may write all of it when he plants; `outside` must stay as it is then.
struct Place {
    tree: PathBuf,
    trigger: PathBuf,
    outside: PathBuf,
}

struct Attack {
    name: &'static str,
    plant: fn(&Place) -> io::Result<()>,
    /// Who falls for it, and so proves that it is real.
    proof: Proof,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// A script with git.
    Git,
    /// libgit2 with its defaults, which gwg uses.
    Libgit2,
}

const fn attack(name: &'static str, plant: fn(&Place) -> io::Result<()>) -> Attack {
    Attack { name, plant, proof: Proof::Git }
}

const fn on_libgit2(name: &'static str, plant: fn(&Place) -> io::Result<()>) -> Attack {
    Attack { name, plant, proof: Proof::Libgit2 }
}

const ATTACKS: &[Attack] = &[
    on_libgit2("a directory is a link, and a file in it changes", |at| at.link("src")),
    on_libgit2("a directory is a link, and a file in it is deleted", |at| at.link("old")),
    attack("core.worktree", |at| at.configure(&format!("[core]\nworktree = {}", at.outside.display()))),
    attack(".git is a gitfile", |at| {
        at.move_out(".git")?;
        fs::write(at.tree.join(".git"), format!("gitdir: {}\n", at.outside.join(".git").display()))
    }),
    attack(".git is a link", |at| at.move_out_and_link(".git")),
    attack(".git/objects is a link", |at| at.move_out_and_link(".git/objects")),
    attack(".git/refs is a link", |at| at.move_out_and_link(".git/refs")),
    attack(".git/index is a link", |at| at.move_out_and_link(".git/index")),
    attack(".git/FETCH_HEAD is a link", |at| relink(&at.outside.join("victim"), &at.tree.join(".git/FETCH_HEAD"))),
    attack(".git/commondir", |at| {
        ["objects", "refs", "config"].iter().try_for_each(|name| at.move_out(&format!(".git/{name}")))?;
        fs::write(at.tree.join(".git/commondir"), format!("{}\n", at.outside.join(".git").display()))
    }),
    attack("a hook", |at| at.script(&at.tree.join(".git/hooks/reference-transaction"))),
    attack("core.hooksPath", |at| {
        at.script(&at.tree.join("hooks/reference-transaction"))?;
        at.configure(&format!("[core]\nhooksPath = {}", at.tree.join("hooks").display()))
    }),
    attack("core.fsmonitor", |at| at.configured_script("core", "fsmonitor")),
    attack("core.gitProxy", |at| at.configured_script("core", "gitProxy")),
    attack("a filter, by .git/info/attributes", |at| {
        at.configured_script("filter \"x\"", "smudge")?;
        fs::create_dir_all(at.tree.join(".git/info"))?;
        fs::write(at.tree.join(".git/info/attributes"), "* filter=x\n")
    }),
    attack("a configuration that is included", |at| {
        at.script(&at.tree.join("script"))?;
        fs::write(at.tree.join("included"), format!("[core]\nfsmonitor = {}\n", at.tree.join("script").display()))?;
        at.configure(&format!("[include]\npath = {}", at.tree.join("included").display()))
    }),
    attack("the trigger is a link", |at| relink(&at.outside.join("victim"), &at.trigger)),
    attack("the trigger is a link to what is not there", |at| relink(&at.outside.join("made"), &at.trigger)),
    attack("the trigger is a pipe that nobody reads", |at| pipe(&at.trigger)),
    attack(".git/config is a pipe that nobody writes", |at| pipe(&at.tree.join(".git/config"))),
    attack(".git/HEAD is a pipe that nobody writes", |at| pipe(&at.tree.join(".git/HEAD"))),
    attack(".git/index is a pipe that nobody writes", |at| pipe(&at.tree.join(".git/index"))),
];

impl Place {
    /// A directory of the tree becomes a link to the outside.
    fn link(&self, name: &str) -> io::Result<()> {
        fs::rename(self.tree.join(name), self.tree.join("aside"))?;
        symlink(&self.outside, self.tree.join(name))
    }

    /// Something of the tree moves out, under the same name.
    fn move_out(&self, name: &str) -> io::Result<()> {
        let to = self.outside.join(name);
        fs::create_dir_all(to.parent().unwrap())?;
        fs::rename(self.tree.join(name), to)
    }

    fn move_out_and_link(&self, name: &str) -> io::Result<()> {
        self.move_out(name)?;
        symlink(self.outside.join(name), self.tree.join(name))
    }

    fn configure(&self, text: &str) -> io::Result<()> {
        let file = self.tree.join(".git/config");
        let now = fs::read_to_string(&file)?;
        fs::write(file, format!("{now}{text}\n"))
    }

    /// A program that makes a file outside.
    fn script(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, format!("#!/bin/sh\necho ran > {}\n", self.outside.join("ran").display()))?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    }

    fn configured_script(&self, section: &str, key: &str) -> io::Result<()> {
        let script = self.tree.join("script");
        self.script(&script)?;
        self.configure(&format!("[{section}]\n{key} = {}", script.display()))
    }
}

fn relink(to: &Path, at: &Path) -> io::Result<()> {
    let _ = fs::remove_file(at);
    symlink(to, at)
}

fn pipe(at: &Path) -> io::Result<()> {
    let _ = fs::remove_file(at);
    Ok(mkfifo(at, Mode::from_bits_truncate(0o666))?)
}

/// What there is of a path: kind, owner, time of the last change, and a file's content.
type Seen = BTreeMap<PathBuf, (u32, u32, SystemTime, Vec<u8>)>;

/// All below a directory.
fn seen(directory: &Path) -> Seen {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.insert(path.clone(), (about.mode(), about.uid(), about.modified().unwrap(), content));
        if about.is_dir() {
            all.extend(seen(&path));
        }
    }
    all
}

/// Gives all of it to everybody, but what gwg keeps for itself in `.git`.
fn open_to_all(path: &Path) {
    let about = fs::symlink_metadata(path).unwrap();
    if about.is_symlink() || path.ends_with(".git/gwg") {
        return;
    }
    fs::set_permissions(path, Permissions::from_mode(about.mode() | if about.is_dir() { 0o777 } else { 0o666 })).unwrap();
    if about.is_dir() {
        fs::read_dir(path).unwrap().flatten().for_each(|entry| open_to_all(&entry.path()));
    }
}

/// The first commit, and what the next one does to it.
fn publish_first(ground: &Ground) {
    ground.remote.publish(&[("README", "first\n"), ("src/main.c", "first\n"), ("old/victim", "first\n")]);
}

fn publish_second(ground: &Site) -> String {
    ground.remote.git(&["rm", "--quiet", "-r", "old"]);
    ground.remote.publish(&[("README", "second\n"), ("src/main.c", "second\n")])
}

/// A place outside, and the attack planted by `user`. Gives what is there before the update.
fn set_up(place: &Place, attack: &Attack, user: u32) -> Seen {
    fs::create_dir_all(&place.outside).unwrap();
    for name in ["victim", "main.c"] {
        fs::write(place.outside.join(name), "precious\n").unwrap();
        give_to(&place.outside.join(name), UPDATER);
    }
    give_to(&place.outside, UPDATER);
    for path in [&place.tree, &place.outside, &place.trigger] {
        open_to_all(path);
    }
    as_user(user, || (attack.plant)(place)).unwrap_or_else(|error| panic!("{} can't be planted: {error}", attack.name));
    seen(&place.outside)
}

/// What an update got the attacker: something outside has changed.
fn judged(place: &Place, before: &Seen) -> io::Result<()> {
    if &seen(&place.outside) == before { Err(io::Error::other("nothing")) } else { Ok(()) }
}

/// An update as others make it. `Ok` where it did not come back.
fn naive_update(place: &Place, proof: Proof) -> io::Result<()> {
    let trigger = place.trigger.to_str().unwrap();
    let steps: &[&[&str]] = match proof {
        Proof::Libgit2 => &[&["git", "fetch", "--quiet", "origin"]],
        Proof::Git => &[
            &["git", "fetch", "--quiet", "origin"],
            &["git", "reset", "--quiet", "--hard", "origin/master"],
            &["sh", "-c", "echo >> \"$0\"", trigger],
        ],
    };
    for step in steps {
        let git = remote::command(&place.tree);
        let mut command = Command::new("timeout");
        command.env_clear().envs(git.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if command.arg("2").args(*step).current_dir(&place.tree).output()?.status.code() == Some(124) {
            return Ok(());
        }
    }
    if proof == Proof::Libgit2 {
        reset_by_libgit2(place);
    }
    Err(io::Error::other("nothing"))
}

fn reset_by_libgit2(place: &Place) {
    let repo = git2::Repository::open(&place.tree).unwrap();
    // It fails half-way where a directory is swapped under it: what counts is what it has written.
    let _ = repo.reset(&repo.revparse_single("origin/master").unwrap(), git2::ResetType::Hard, None);
}

#[test]
fn p6_what_is_planted_in_a_tree_leads_an_update_nowhere() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    publish_first(&ground);
    let path = |number: usize| format!("/tree-{number}");
    let repos = (0..ATTACKS.len()).map(|number| {
        let own = ground.scratch.updaters_directory(&format!("triggers-{number}"));
        ground.repo_at(&path(number)).set("trigger", own.join("trigger").to_str().unwrap())
    });
    let config = repos.fold(Config::new().set("retry_count", 1).repo(ground.repo_at("/clean")), Config::repo);
    let site = ground.start(config);
    let gateway = &site.gateway;
    let mut planted = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let tree = gateway.tree(&path(number));
        gateway.wait_for_log(0, &path(number), &["update ok"]);
        let place = Place { tree: tree.directory, trigger: tree.trigger, outside: site.scratch.directory(&format!("outside-{number}")) };
        open_to_all(place.trigger.parent().unwrap());
        let before = set_up(&place, attack, STRANGER);
        planted.push((place, before));
    }
    let scripted: Vec<_> = ATTACKS.iter().enumerate().map(|(number, attack)| scripted(&site, number, attack)).collect();

    let mark = gateway.log().mark();
    let second = publish_second(&site);
    (0..ATTACKS.len()).for_each(|number| drop(gateway.deliver(&path(number), &second)));
    gateway.deploy("/clean", &second);
    let mut matrix = Matrix::default();
    for (number, (attack, (place, before))) in ATTACKS.iter().zip(planted).enumerate() {
        ended(&site, mark, &path(number));
        matrix.tried(attack.name, "gwg", judged(&place, &before));
    }
    for (attack, (place, before)) in ATTACKS.iter().zip(scripted) {
        let came_back = naive_update(&place, attack.proof);
        matrix.tried(attack.name, "others", judged(&place, &before).or(came_back));
    }
    matrix.print();
    assert_eq!(matrix.failed("others"), Vec::<&str>::new(), "what gets nothing from others proves nothing");
    assert_eq!(matrix.succeeded("gwg"), Vec::<&str>::new());
}

/// A clone that a script keeps, with the attack planted in it by its owner.
fn scripted(site: &Site, number: usize, attack: &Attack) -> (Place, Seen) {
    let home = site.scratch.directory(&format!("scripted-{number}"));
    remote::git(&home, &["clone", "--quiet", site.remote.bare().to_str().unwrap(), "tree"]);
    let url = site.daemon.url(site.remote.name());
    remote::git(&home.join("tree"), &["remote", "set-url", "origin", &url]);
    let place = Place { tree: home.join("tree"), trigger: home.join("trigger"), outside: home.join("outside") };
    File::create(&place.trigger).unwrap();
    let before = set_up(&place, attack, 0);
    (place, before)
}

/// Waits until an update of the repository has ended, well or badly.
fn ended(site: &Site, mark: usize, path: &str) -> String {
    let about = format!("repo={path} ");
    let says_end =
        |line: &String| line.contains(&about) && ["update ok", "update failed", "announced commit"].iter().any(|word| line.contains(word));
    wait::until(&format!("an update of {path} ends"), || site.gateway.log().lines().into_iter().skip(mark).find(says_end))
}

/// A lock that is never let go costs the tree that it is in, and no other.
#[test]
fn p6_a_lock_held_for_ever_holds_up_its_own_tree_only() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    let config = Config::new().set("threads", 1).repo(ground.repo_at("/locked")).repo(ground.repo_at("/clean"));
    let site = ground.start(config);
    for path in ["/locked", "/clean"] {
        site.gateway.wait_for_log(0, path, &["update ok"]);
    }
    let git = site.gateway.tree("/locked").directory.join(".git");
    open_to_all(&git);
    let _held = as_user(STRANGER, || {
        assert!(File::open(git.join("gwg/lock")).is_err(), "gwg's own lock can be held");
        fs::rename(git.join("gwg"), git.join("aside")).unwrap();
        fs::create_dir(git.join("gwg")).unwrap();
        let lock = File::create(git.join("gwg/lock")).unwrap();
        for path in [git.join("gwg"), git.join("gwg/lock")] {
            fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        lock.lock().unwrap();
        lock
    });
    let mark = site.gateway.log().mark();
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deliver("/locked", &commit);
    site.gateway.deploy("/clean", &commit);
    assert!(ended(&site, mark, "/locked").contains("update failed"));

    // What the log asks for, and the next retry heals.
    site.gateway.log().wait(&["belongs to uid", ".git/gwg"]);
    fs::remove_dir_all(git.join("gwg")).unwrap();
    fs::remove_dir_all(git.join("aside")).unwrap();
    site.gateway.wait_for_log(mark, "/locked", &["update ok"]);
    assert_eq!(site.gateway.tree("/locked").head(), Some(commit));
}

/// A directory that is a link at one moment and none at the next, all the time.
#[test]
fn p6_no_moment_is_right_for_swapping_a_directory_for_a_link() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    publish_first(&ground);
    let repo = ground.repo();
    let site = ground.start_with(repo);
    let tree = site.tree();
    tree.wait_for(&site.remote.head(), None);
    let place = Place { tree: tree.directory.clone(), trigger: tree.trigger.clone(), outside: site.scratch.directory("outside") };
    let swapped = attack("swap", |at| symlink(&at.outside, at.tree.join("swap")));
    let before = set_up(&place, &swapped, STRANGER);
    swapping(&place, STRANGER, || {
        for number in 0..12 {
            let mark = site.gateway.log().mark();
            site.gateway.deliver(support::site::PATH, &site.remote.publish(&[("src/main.c", &format!("{number}\n"))]));
            ended(&site, mark, support::site::PATH);
        }
    });
    assert!(judged(&place, &before).is_err(), "something was written outside");
    // The attacker gone, all is well again.
    fs::remove_file(place.tree.join("swap")).or_else(|_| fs::remove_dir_all(place.tree.join("swap"))).unwrap();
    let commit = site.remote.publish(&[("src/main.c", "the end\n")]);
    let touched = tree.touched();
    site.gateway.deliver(support::site::PATH, &commit);
    tree.wait_for(&commit, touched);

    // What is swapped so leads libgit2 out.
    let (place, before) = scripted(&site, 0, &swapped);
    swapping(&place, 0, || {
        wait::until_true("libgit2 writes outside", || {
            let _ = fs::write(place.tree.join("src/main.c"), "changed\n");
            reset_by_libgit2(&place);
            judged(&place, &before).is_ok()
        });
    });
}

/// Exchanges `src` and `swap` as fast as can be while `act` runs.
fn swapping(place: &Place, user: u32, act: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_user(user, || {
                let tree = File::open(&place.tree).unwrap();
                while !over.load(Ordering::Relaxed) {
                    let _ = renameat2(&tree, "src", &tree, "swap", RenameFlags::RENAME_EXCHANGE);
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        });
        act();
        over.store(true, Ordering::Relaxed);
    });
}
