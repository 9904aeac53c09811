//! F15: the ways in which editors and tools save a file. Each brings the new configuration into force by
//! itself. `GWG_TEST_ROUNDS=50` does each fifty times and says how long the slowest took.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Seek, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::config::Repo;
use support::delivery::Delivery;
use support::need;
use support::site::{PATH, Site};
use support::wait;

/// Rounds of each way where the environment says nothing.
const ROUNDS: usize = 3;

fn rounds() -> usize {
    std::env::var("GWG_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("GWG_TEST_ROUNDS is a number"))
}

/// A running gateway whose configuration is saved again and again.
struct Saving {
    site: Site,
    file: PathBuf,
    round: usize,
    slowest: Duration,
}

impl Saving {
    fn new() -> Self {
        let site = Site::new();
        let file = site.gateway.file();
        // A save in the moment of the start is another test's.
        Self { site, file, round: 0, slowest: Duration::ZERO }
    }

    /// The next configuration: another one in each round.
    fn next(&mut self) -> String {
        self.round += 1;
        let repo = Repo::new(&self.site.scratch, &self.path(), &self.site.daemon.url(self.site.remote.name()));
        self.site.gateway.config().clone().repo(repo).yaml()
    }

    /// The path that only the newest configuration has.
    fn path(&self) -> String {
        format!("/round-{}", self.round)
    }

    /// A path beside the configuration.
    fn beside(&self, name: &str) -> PathBuf {
        self.file.with_file_name(name)
    }

    fn status(&self, path: &str) -> u16 {
        Delivery::event(path, "ping", &serde_json::json!({})).method("GET").send(self.site.gateway.port()).status
    }

    /// Waits until what was just saved is in force.
    fn wait(&mut self) {
        let (start, path) = (Instant::now(), self.path());
        wait::until_true(&format!("{path} is in force"), || self.status(&path) == 405);
        self.slowest = self.slowest.max(start.elapsed());
    }
}

/// Saves in this way, as often as asked for.
fn each_time(way: &str, save: impl Fn(&Saving, &str)) {
    let mut saving = Saving::new();
    for _ in 0..rounds() {
        let text = saving.next();
        save(&saving, &text);
        saving.wait();
    }
    let refused = saving.site.gateway.log().matching(&["config refused"]);
    assert_eq!(refused, [""; 0], "half a file was read");
    eprintln!("F15 {way}: {} of {}, the slowest in {:?}", saving.round, rounds(), saving.slowest);
}

/// For nobody else to read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn f15_in_place() {
    each_time("in place", |saving, text| {
        let mut file = OpenOptions::new().write(true).open(&saving.file).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let end = file.stream_position().unwrap();
        file.set_len(end).unwrap();
    });
}

#[test]
fn f15_truncate_then_write() {
    each_time("truncate, then write", |saving, text| {
        let mut file = File::create(&saving.file).unwrap();
        for piece in text.as_bytes().chunks(200) {
            sleep(Duration::from_millis(10));
            file.write_all(piece).unwrap();
        }
    });
}

#[test]
fn f15_rename_over() {
    each_time("rename over", |saving, text| {
        let new = saving.beside("gwg.yaml.new");
        write(&new, text);
        fs::rename(new, &saving.file).unwrap();
    });
}

/// vim, `backupcopy=auto`: looks whether it may write here, moves the old file away, writes a new one.
#[test]
fn f15_as_vim_does() {
    each_time("vim", |saving, text| {
        let (probe, backup) = (saving.beside("4913"), saving.beside("gwg.yaml~"));
        write(&probe, "");
        fs::remove_file(probe).unwrap();
        fs::rename(&saving.file, &backup).unwrap();
        write(&saving.file, text);
        File::open(&saving.file).unwrap().sync_all().unwrap();
        fs::remove_file(backup).unwrap();
    });
}

/// emacs: a lock that is a dangling symlink, the old file kept as a copy, the new one written in place.
#[test]
fn f15_as_emacs_does() {
    each_time("emacs", |saving, text| {
        let (lock, backup) = (saving.beside(".#gwg.yaml"), saving.beside("gwg.yaml~"));
        symlink("somebody@somewhere.1:2", &lock).unwrap();
        let _ = fs::remove_file(&backup);
        fs::rename(&saving.file, &backup).unwrap();
        write(&saving.file, text);
        fs::remove_file(lock).unwrap();
    });
}

#[test]
fn f15_sed_in_place() {
    let Some(sed) = need::program("sed", "sed") else { return };
    let mut saving = Saving::new();
    let text = saving.next();
    write(&saving.file, &text);
    saving.wait();
    for _ in 0..rounds() {
        let old = saving.round;
        saving.next();
        let script = format!("s/round-{old}/round-{}/g", saving.round);
        assert!(Command::new(&sed).args(["-i", &script]).arg(&saving.file).status().unwrap().success());
        saving.wait();
    }
}

#[test]
fn f15_symlink_swap() {
    each_time("symlink swap", |saving, text| {
        let target = saving.beside(&format!("{}.yaml", saving.round));
        write(&target, text);
        let link = saving.beside("link");
        symlink(&target, &link).unwrap();
        fs::rename(link, &saving.file).unwrap();
    });
}

/// A directory of symlinks through `..data`, which is swapped.
#[test]
fn f15_as_kubernetes_does() {
    each_time("Kubernetes", |saving, text| {
        let base = saving.file.parent().unwrap();
        let data = format!("..{}", saving.round);
        fs::create_dir(base.join(&data)).unwrap();
        write(&base.join(&data).join("gwg.yaml"), text);
        symlink(&data, base.join("..data_tmp")).unwrap();
        fs::rename(base.join("..data_tmp"), base.join("..data")).unwrap();
        if saving.round == 1 {
            symlink("..data/gwg.yaml", base.join("link")).unwrap();
            fs::rename(base.join("link"), &saving.file).unwrap();
        } else {
            fs::remove_dir_all(base.join(format!("..{}", saving.round - 1))).unwrap();
        }
    });
}

#[test]
fn f15_delete_then_create() {
    each_time("delete, then create", |saving, text| {
        fs::remove_file(&saving.file).unwrap();
        sleep(Duration::from_millis(100));
        write(&saving.file, text);
    });
}

/// What others may write is refused; a chmod alone makes it right.
#[test]
fn f15_chmod() {
    let mut saving = Saving::new();
    for _ in 0..rounds() {
        let text = saving.next();
        let mark = saving.site.gateway.log().mark();
        let new = saving.beside("new");
        write(&new, &text);
        fs::set_permissions(&new, Permissions::from_mode(0o666)).unwrap();
        fs::rename(&new, &saving.file).unwrap();
        saving.site.gateway.log().wait_after(mark, &["config refused", "others than its owner can write the file"]);
        assert_eq!(saving.status(&saving.path()), 404);
        fs::set_permissions(&saving.file, Permissions::from_mode(0o600)).unwrap();
        saving.wait();
    }
    eprintln!("F15 chmod: the slowest in {:?}", saving.slowest);
}

/// Unmounts when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn over(target: &Path, what: &Path) -> Option<Self> {
        let mounted = Command::new("mount").arg("--bind").args([what, target]).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(target.to_owned())),
            Ok(_) | Err(_) => need::missing("the right to mount"),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn f15_bind_mount() {
    let Some(()) = need::root() else { return };
    let mut saving = Saving::new();
    for _ in 0..rounds() {
        let text = saving.next();
        let new = saving.beside(&format!("{}.yaml", saving.round));
        write(&new, &text);
        let Some(_mounted) = Mounted::over(&saving.file, &new) else { return };
        saving.wait();
        // What is mounted is written, at its other name.
        let text = saving.next();
        fs::write(&new, text).unwrap();
        saving.wait();
    }
    eprintln!("F15 bind mount: the slowest in {:?}", saving.slowest);
}

#[test]
fn f15_gone_for_a_while() {
    let away = Duration::from_secs(if rounds() > ROUNDS { 5 } else { 2 });
    let mut saving = Saving::new();
    let mark = saving.site.gateway.log().mark();
    fs::rename(&saving.file, saving.beside("away")).unwrap();
    saving.site.gateway.log().wait_after(mark, &["config refused", "can't be read"]);
    sleep(away);
    let warnings = saving.site.gateway.log().lines().into_iter().skip(mark).filter(|line| line.contains("can't be read"));
    assert_eq!(warnings.count(), 1, "one warning, and no storm");
    // What was in force still is.
    saving.site.deploy(&[("README", "meanwhile\n")]);
    assert_eq!(saving.status(PATH), 405);
    let text = saving.next();
    write(&saving.file, &text);
    saving.wait();
}

/// Noise in the directory starts nothing.
#[test]
fn what_happens_beside_the_configuration_is_not_read() {
    let saving = Saving::new();
    let mark = saving.site.gateway.log().mark();
    for number in 0..50 {
        write(&saving.beside(&format!("noise-{number}")), "noise");
        fs::read(&saving.file).unwrap();
    }
    sleep(Duration::from_secs(1));
    let lines: Vec<_> = saving.site.gateway.log().lines().into_iter().skip(mark).filter(|line| line.contains("config")).collect();
    assert_eq!(lines, [""; 0]);
}

/// A file that the configuration names is a part of it.
#[test]
fn a_secret_file_is_watched_like_the_configuration() {
    let ground = support::site::Ground::new();
    let secret = ground.scratch.file("secret", "the first secret of all\n");
    let repo = ground.repo().without("secret").set("secretFile", secret.to_str().unwrap());
    let site = ground.start_with(repo);
    let push = |secret: &str| {
        let delivery = Delivery::push(PATH, &site.daemon.url(site.remote.name()), "refs/heads/master", &site.remote.head());
        delivery.sign(secret).send(site.gateway.port()).status
    };
    assert_eq!(push("the first secret of all"), 202);
    write(&secret, "the second secret of all\n");
    wait::until_true("the new secret is in force", || push("the second secret of all") == 202);
    assert_eq!(push("the first secret of all"), 401);
    let line = site.gateway.log().wait(&["config loaded", "cause=file"]);
    assert!(line.contains("changed=1") && line.contains("added=0"), "{line}");
}
