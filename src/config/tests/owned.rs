//! As root: users, and what a configuration may ask for that somebody else can write.

use super::*;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// A user that exists nowhere; its number serves.
const STRANGER: u32 = 64_321;

/// Taking on rights changes the groups of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A bench for root, with numbers for users; `None`, said aloud, without root.
fn root(test: &str) -> Option<(Bench, MutexGuard<'static, ()>)> {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var("GWG_TEST_REQUIRE").as_deref() != Ok("all"), "{test} needs root");
        eprintln!("SKIPPED {test}: needs root");
        return None;
    }
    let mut bench = Bench::new();
    bench.env.uid = 0;
    for (name, value) in [("GWG_USER", "64001"), ("GWG_WORKER_USER", "64002"), ("GWG_LISTENER_USER", "64003")] {
        bench.set(name, value);
    }
    // The way to it must be open to the stranger.
    fs::set_permissions(bench.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some((bench, ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

fn own(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
}

const WITH_KEY: &str = "repos:
  - url: ssh://git&github.com/ns/one.git
    path: /one
    directory: @/one
    secret: 0123456789abcdef
    sshPrivKey: @/key
";

/// Loads a configuration that belongs to `owner`.
fn load_owned(bench: &Bench, owner: u32, text: &str) -> Result<Config, ConfigError> {
    let text = text.replace('@', bench.directory.path().to_str().unwrap()).replace('&', "@");
    let path = bench.at("c.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    own(&path, owner);
    load(Some(&path), &bench.env)
}

#[test]
fn a_configuration_of_roots_reads_what_root_can_read() {
    let Some((bench, _alone)) = root("a_configuration_of_roots") else { return };
    let config = load_owned(&bench, 0, WITH_KEY).unwrap_or_else(|error| panic!("{error}"));
    let accounts = config.accounts.unwrap();
    assert_eq!((accounts.updater.uid, accounts.updater.gid), (64_001, 64_001));
    assert_eq!((accounts.worker.uid, accounts.listener.uid), (64_002, 64_003));
}

#[test]
fn a_strangers_configuration_reads_no_more_than_the_stranger() {
    let Some((bench, _alone)) = root("a_strangers_configuration") else { return };
    bench.write("secret", "0123456789abcdef\n", 0o600);
    for (text, key) in [
        (WITH_KEY.to_owned(), "repos[0].sshPrivKey"),
        (WITH_KEY.replace("secret: 0123456789abcdef", "secretFile: @/secret"), "repos[0].secretFile"),
        (WITH_KEY.replace("    path", "    knownHosts: @/secret\n    path"), "repos[0].knownHosts"),
        (format!("logging: {{output: \"@/log\"}}\n{WITH_KEY}"), "logging.output"),
    ] {
        let error = load_owned(&bench, STRANGER, &text).err().unwrap().to_string();
        assert!(error.contains(key) && error.contains("Permission denied"), "{key}: {error}");
    }
    assert!(!bench.at("log").exists());
    own(&bench.at("key"), STRANGER);
    assert!(load_owned(&bench, STRANGER, WITH_KEY).is_ok());
    // The rights are given back: root's own files open again.
    assert!(fs::read(bench.at("secret")).is_ok());
    fs::write(bench.at("made-by-root"), "").unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(bench.at("made-by-root")).unwrap()), 0);
}

#[test]
fn a_symlink_of_the_strangers_leads_nowhere_new() {
    let Some((bench, _alone)) = root("a_symlink_of_the_strangers") else { return };
    let theirs = bench.at("theirs");
    fs::create_dir(&theirs).unwrap();
    own(&theirs, STRANGER);
    symlink(bench.at("key"), theirs.join("key")).unwrap();
    let error = load_owned(&bench, STRANGER, &WITH_KEY.replace("@/key", "@/theirs/key")).err().unwrap().to_string();
    assert!(error.contains("Permission denied"), "{error}");
}

#[test]
fn a_directory_or_symlink_above_counts_as_much_as_the_file() {
    let Some((bench, _alone)) = root("a_directory_or_symlink_above") else { return };
    let load_at = |path: &Path| load(Some(path), &bench.env).err().map(|error| error.to_string());
    let text = WITH_KEY.replace('@', bench.directory.path().to_str().unwrap()).replace('&', "@");
    let theirs = bench.at("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("c.yaml"), &text).unwrap();
    fs::set_permissions(theirs.join("c.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(load_at(&theirs.join("c.yaml")), None);
    own(&theirs, STRANGER);
    assert!(load_at(&theirs.join("c.yaml")).unwrap().contains("Permission denied"));

    // root's file through the stranger's symlink, and through a symlink in the stranger's directory
    fs::write(bench.at("c.yaml"), &text).unwrap();
    fs::set_permissions(bench.at("c.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink(bench.at("c.yaml"), theirs.join("link.yaml")).unwrap();
    assert!(load_at(&theirs.join("link.yaml")).unwrap().contains("Permission denied"));
    symlink("theirs/link.yaml", bench.at("chain.yaml")).unwrap();
    assert!(load_at(&bench.at("chain.yaml")).unwrap().contains("Permission denied"));
    assert!(load_at(&bench.at("theirs/../c.yaml")).unwrap().contains("Permission denied"));

    own(&theirs, 0);
    for (mode, what) in [(0o777, "everybody can write the directory"), (0o1777, "")] {
        fs::set_permissions(&theirs, fs::Permissions::from_mode(mode)).unwrap();
        let error = load_at(&theirs.join("c.yaml")).unwrap_or_default();
        assert!(if what.is_empty() { error.is_empty() } else { error.contains(what) }, "{mode:o}: {error}");
    }
    chown(&theirs, Some(0), Some(STRANGER)).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o775)).unwrap();
    assert!(load_at(&theirs.join("c.yaml")).unwrap().contains("a whole group can write"));

    own(&theirs, STRANGER);
    own(&theirs.join("c.yaml"), STRANGER + 1);
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(load_at(&theirs.join("c.yaml")).unwrap().contains("can write the file or a directory above it"));
}

#[test]
fn a_strangers_configuration_names_no_user_but_the_stranger() {
    let Some((mut bench, _alone)) = root("names_no_user") else { return };
    bench.env.variables.retain(|(name, _)| name != "GWG_USER");
    own(&bench.at("key"), STRANGER);
    let named = |uid: u32| format!("user: {uid}\n{WITH_KEY}");
    assert!(load_owned(&bench, STRANGER, &named(STRANGER)).is_ok());
    let error = load_owned(&bench, STRANGER, &named(STRANGER + 1)).err().unwrap().to_string();
    assert!(error.contains(":1: user: ") && error.contains("it may name no other user"), "{error}");
    assert!(load_owned(&bench, 0, &named(STRANGER + 1)).is_ok());
}

#[test]
fn users_are_three_exist_and_are_not_root() {
    let Some((mut bench, _alone)) = root("users_are_three") else { return };
    for (name, value, what) in [
        ("GWG_USER", "no-such-user", "make it with: useradd --system --no-create-home --shell /usr/sbin/nologin no-such-user"),
        ("GWG_USER", "root", "is root"),
        ("GWG_USER", "0", "is root"),
        ("GWG_USER", "4294967295", "is root"),
        ("GWG_USER", "64002", "the same user as"),
        ("GWG_LISTENER_USER", "64001", "the same user as user"),
        ("GWG_LISTENER_USER", "a; rm -rf /", "name a user of this system"),
    ] {
        let before = bench.env.variables.clone();
        bench.env.variables.retain(|(known, _)| known != name);
        bench.set(name, value);
        let error = load_owned(&bench, 0, WITH_KEY).err().unwrap_or_else(|| panic!("{name}={value}")).to_string();
        assert!(error.contains(what), "{name}={value}: {error}");
        bench.env.variables = before;
    }
    // By name: nobody exists everywhere, and its group is its own.
    bench.env.variables.retain(|(known, _)| known != "GWG_USER");
    let text = format!("user: nobody\n{WITH_KEY}");
    let accounts = load_owned(&bench, 0, &text).unwrap_or_else(|error| panic!("{error}")).accounts.unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!((accounts.updater.uid, accounts.updater.gid), (nobody.uid.as_raw(), nobody.gid.as_raw()));
}

#[test]
fn the_updaters_known_hosts_are_read_as_the_updater() {
    let Some((mut bench, _alone)) = root("the_updaters_known_hosts") else { return };
    // A fixed place: a home is found by a plain function.
    const HOME: &str = "/tmp/gwg-test-home-of-64001";
    let _ = fs::remove_dir_all(HOME);
    fs::create_dir_all(Path::new(HOME).join(".ssh")).unwrap();
    fs::write(bench.at("private"), "github.com ssh-ed25519 canary\n").unwrap();
    fs::set_permissions(bench.at("private"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink(bench.at("private"), Path::new(HOME).join(".ssh/known_hosts")).unwrap();
    bench.env.home = |_| Some(HOME.into());
    let config = load_owned(&bench, 0, WITH_KEY).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.repos[0].known_hosts.iter().all(|file| !file.text.contains("canary")));
    assert!(config.warnings.iter().any(|warning| warning.contains("known_hosts is not used")), "{:?}", config.warnings);
    fs::set_permissions(bench.at("private"), fs::Permissions::from_mode(0o644)).unwrap();
    let config = load_owned(&bench, 0, WITH_KEY).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.repos[0].known_hosts[0].text.contains("canary"));
    fs::remove_dir_all(HOME).unwrap();
}

#[test]
fn a_hook_has_a_user_that_is_neither_root_nor_one_of_the_children() {
    let Some((bench, _alone)) = root("a_hook_has_a_user") else { return };
    let of = |keys: &str| format!("{WITH_KEY}    hook: {{command: [/bin/true]{keys}}}\n");
    for (keys, what) in [
        ("", "this is missing, and gwg runs as root"),
        (", user: no-such-user", "useradd --system"),
        (", user: 0", "is root"),
        (", user: 64002", "holds keys or secrets"),
        (", user: 64003", "holds keys or secrets"),
    ] {
        let error = load_owned(&bench, 0, &of(keys)).err().unwrap_or_else(|| panic!("accepted: {keys}")).to_string();
        assert!(error.contains("repos[0].hook.user") && error.contains(what), "{keys}: {error}");
    }
    let config = load_owned(&bench, 0, &of(", user: 64321")).unwrap_or_else(|error| panic!("{error}"));
    let account = config.repos[0].hooks.success.as_ref().unwrap().account.clone().unwrap();
    assert_eq!((account.uid, account.gid), (STRANGER, STRANGER));
}

#[test]
fn a_strangers_configuration_names_no_hook() {
    let Some((bench, _alone)) = root("names_no_hook") else { return };
    own(&bench.at("key"), STRANGER);
    // Not even one of the stranger's own.
    let text = format!("{WITH_KEY}    hook: {{command: [/bin/true], user: {STRANGER}}}\n");
    let error = load_owned(&bench, STRANGER, &text).err().unwrap().to_string();
    assert!(error.contains(":7: repos[0].hook: ") && error.contains("it may name no hook"), "{error}");
    assert!(load_owned(&bench, 0, &text).is_ok());
    // A directory above it that is the stranger's counts as much.
    own(bench.directory.path(), STRANGER);
    assert!(load_owned(&bench, 0, &text).err().unwrap().to_string().contains("it may name no hook"));
    own(bench.directory.path(), 0);
}

#[test]
fn a_program_is_one_that_the_hook_s_user_can_run() {
    let Some((bench, _alone)) = root("a_program_is_one") else { return };
    let text = |program: &str| format!("{WITH_KEY}    hook: {{command: [@/{program}], user: {STRANGER}}}\n");
    bench.write("private", "#!/bin/sh\n", 0o700);
    let error = load_owned(&bench, 0, &text("private")).err().unwrap().to_string();
    assert!(error.contains("repos[0].hook.command") && error.contains("may not run"), "{error}");
    own(&bench.at("private"), STRANGER);
    assert_eq!(load_owned(&bench, 0, &text("private")).unwrap_or_else(|error| panic!("{error}")).warnings, Vec::<String>::new());
    bench.write("another", "#!/bin/sh\n", 0o755);
    own(&bench.at("another"), STRANGER + 1);
    let warnings = load_owned(&bench, 0, &text("another")).unwrap_or_else(|error| panic!("{error}")).warnings;
    assert!(warnings.iter().any(|warning| warning.contains("can write the program, and so run code as")), "{warnings:?}");
}
