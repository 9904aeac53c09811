//! `gwg check`: good configurations are shown, bad ones refused with the place and the remedy, before
//! anything runs. Also `--version` and `--help`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use support::config::{Config, Repo};
use support::gateway::{self, run};
use support::scratch::{INVOKER, Scratch};
use support::{keys, need, scratch};

/// sysexits.h: EX_CONFIG
const BAD_CONFIG: i32 = 78;

const URL: &str = "https://example.com/site.git";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn check(scratch: &Scratch, name: &str, text: &str) -> (Option<i32>, String) {
    let file = scratch.file(name, text);
    let output = run(scratch, &["check", "--config", file.to_str().unwrap()]);
    (output.status.code(), said(&output))
}

/// On a port that is allowed: `check` opens none.
fn config(repo: Repo) -> Config {
    Config::new().set("port", 5555).repo(repo)
}

/// Checks that the configuration is refused and the message has all the words, the file's name too.
fn assert_refused(scratch: &Scratch, what: &str, text: &str, words: &[&str]) {
    let (code, message) = check(scratch, "bad.yaml", text);
    assert_eq!(code, Some(BAD_CONFIG), "{what}: {message}");
    for word in words.iter().chain(&["bad.yaml"]) {
        assert!(message.contains(word), "{what}: {word:?} is not in: {message}");
    }
}

#[test]
fn a_good_configuration_is_shown() {
    let scratch = Scratch::new();
    let (code, shown) = check(&scratch, "good.yaml", &config(Repo::new(&scratch, "/site", URL)).yaml());
    assert_eq!(code, Some(0), "{shown}");
    for word in ["/site", URL, "master", "5555"] {
        assert!(shown.contains(word), "{word:?} is not in: {shown}");
    }
    assert!(!shown.contains(support::config::SECRET), "the secret is shown: {shown}");
}

#[test]
fn toml_and_json_say_the_same() {
    let scratch = Scratch::new();
    let repo = Repo::new(&scratch, "/site", URL);
    let directory = repo.text("directory").unwrap();
    let accounts = if need::is_root() { "user = 64001\nworker_user = 64002\nlistener_user = 64003\n" } else { "" };
    let toml = format!(
        "{accounts}port = 5555\n[[repos]]\nurl = \"{URL}\"\npath = \"/site\"\ndirectory = \"{directory}\"\nsecret = \"long enough a secret\"\n"
    );
    let mut json =
        json!({"port": 5555, "repos": [{"url": URL, "path": "/site", "directory": directory, "secret": "long enough a secret"}]});
    if need::is_root() {
        for (key, user) in [("user", 64001), ("worker_user", 64002), ("listener_user", 64003)] {
            json[key] = Value::from(user);
        }
    }
    let (code, of_toml) = check(&scratch, "a.toml", &toml);
    assert_eq!(code, Some(0), "{of_toml}");
    let (code, of_json) = check(&scratch, "a.json", &json.to_string());
    assert_eq!(code, Some(0), "{of_json}");
    assert_eq!(of_toml.replace("a.toml", "FILE"), of_json.replace("a.json", "FILE"));
}

#[test]
fn keys_that_are_wrong_are_named_with_their_place() {
    let scratch = Scratch::new();
    let good = || Repo::new(&scratch, "/site", URL);
    let misspelt = config(good().set("lable", "main")).yaml();
    let line = misspelt.lines().position(|line| line.contains("lable")).unwrap() + 1;
    let (_, message) = check(&scratch, "bad.yaml", &misspelt);
    assert!(message.contains(&format!(":{line}")) || message.contains(&format!("line {line}")), "no line {line} in: {message}");
    for (what, text, words) in [
        ("a misspelt key of a repository", misspelt, &["lable", "label", "repos[0]"][..]),
        ("a misspelt global key", config(good()).set("prot", 80).yaml(), &["prot", "port"]),
        ("no url", config(good().without("url")).yaml(), &["url", "repos[0]"]),
        ("no path", config(good().without("path")).yaml(), &["path", "repos[0]"]),
        ("no directory", config(good().without("directory")).yaml(), &["directory", "repos[0]"]),
        ("port 0", config(good()).set("port", 0).yaml(), &["port"]),
        ("port 65536", config(good()).set("port", 65_536).yaml(), &["port"]),
        ("a port that is a word", config(good()).set("port", "http").yaml(), &["port"]),
        ("a relative directory", config(good().set("directory", "site")).yaml(), &["directory", "relative"]),
        ("a path without a slash", config(good().set("path", "site")).yaml(), &["path", "/site"]),
        ("no secret", config(good().without("secret")).yaml(), &["secret", "unsigned"]),
        ("an empty secret", config(good().set("secret", "")).yaml(), &["secret"]),
        (
            "a key file that is not there",
            config(good().set("url", "ssh://git@example.com/a.git").set("sshPrivKey", "/nonexistent/key")).yaml(),
            &["sshPrivKey", "/nonexistent/key"],
        ),
        (
            "a secret file that is not there",
            config(good().without("secret").set("secretFile", "/nonexistent/s")).yaml(),
            &["secretFile", "/nonexistent/s"],
        ),
        ("plain http", config(good().set("url", "http://example.com/a.git")).yaml(), &["url", "http"]),
        ("a label that git would not take", config(good().set("label", "a..b")).yaml(), &["label", "a..b"]),
        ("no YAML", "port: [\n".to_owned(), &[]),
        ("an empty file", String::new(), &[]),
    ] {
        assert_refused(&scratch, what, &text, words);
    }
}

#[test]
fn repositories_that_are_in_each_other_s_way_are_refused() {
    let scratch = Scratch::new();
    let one = || Repo::new(&scratch, "/one", URL);
    let two = || Repo::new(&scratch, "/two", URL);
    let directory = one().text("directory").unwrap().to_owned();
    for (what, second, key) in [
        ("one path", two().set("path", "/one"), "path"),
        ("one path but for the slash", two().set("path", "/one/"), "path"),
        ("one directory", two().set("directory", directory.as_str()), "directory"),
        ("one directory in the other", two().set("directory", format!("{directory}/below")), "directory"),
        ("one directory around the other", two().set("directory", scratch.path().to_str().unwrap()), "directory"),
    ] {
        assert_refused(&scratch, what, &config(one()).repo(second).yaml(), &[&format!("repos[1].{key}"), "repos[0]"]);
    }
}

#[test]
fn a_key_that_does_not_open_is_refused() {
    let Some(_) = need::ssh_keygen() else { return };
    let scratch = Scratch::new();
    for (name, options) in [
        ("openssh", &["-t", "ed25519"][..]),
        ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
    ] {
        let key = keys::generate(scratch.path(), name, options, "right phrase");
        let repo = || Repo::new(&scratch, "/site", "ssh://git@example.com/a.git").set("sshPrivKey", key.file.to_str().unwrap());
        assert_refused(&scratch, name, &config(repo().set("sshPassPhrase", "wrong phrase")).yaml(), &["sshPassPhrase"]);
        assert_refused(&scratch, name, &config(repo()).yaml(), &["sshPassPhrase"]);
        let (code, message) = check(&scratch, "good.yaml", &config(repo().set("sshPassPhrase", "right phrase")).yaml());
        assert_eq!(code, Some(0), "{name}: {message}");
        assert!(!message.contains("right phrase"), "the passphrase is shown: {message}");
    }
    let none = scratch.file("none", "this is no key\n");
    let repo = Repo::new(&scratch, "/site", "ssh://git@example.com/a.git").set("sshPrivKey", none.to_str().unwrap());
    assert_refused(&scratch, "no key", &config(repo).yaml(), &["sshPrivKey"]);
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.file("open.yaml", &config(Repo::new(&scratch, "/site", URL)).yaml());
    for mode in [0o620, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let output = run(&scratch, &["check", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(BAD_CONFIG), "{mode:o}: {}", said(&output));
        assert!(said(&output).contains("chmod"), "{mode:o}: no remedy: {}", said(&output));
    }
}

#[test]
fn a_user_that_is_not_there_is_refused_with_the_command_to_create_it() {
    let Some(()) = need::root() else { return };
    let scratch = Scratch::new();
    for key in ["user", "worker_user", "listener_user"] {
        let text = config(Repo::new(&scratch, "/site", URL)).set(key, "gwg-test-nobody").yaml();
        assert_refused(&scratch, key, &text, &[key, "useradd", "gwg-test-nobody"]);
    }
    for (what, text) in [
        ("root", config(Repo::new(&scratch, "/site", URL)).set("listener_user", 0).yaml()),
        ("one user for two", config(Repo::new(&scratch, "/site", URL)).set("listener_user", 64002).yaml()),
    ] {
        assert_refused(&scratch, what, &text, &["listener_user"]);
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let scratch = Scratch::new();
    let good = || Repo::new(&scratch, "/site", URL);
    for (what, text, word) in [
        ("a short secret", config(good().set("secret", "short")).yaml(), "secret"),
        ("a label type of one's own", config(good().set("labelType", "brunch")).yaml(), "labelType"),
        ("a log format of one's own", config(good()).set("logging", json!({"format": "xml"})).yaml(), "logging.format"),
    ] {
        let (code, message) = check(&scratch, "odd.yaml", &text);
        assert_eq!(code, Some(0), "{what}: {message}");
        let warning = message.lines().find(|line| line.to_lowercase().contains("warning") && line.contains(word));
        assert!(warning.is_some(), "{what}: no warning in: {message}");
    }
}

#[test]
fn a_bad_configuration_or_none_does_not_start() {
    let scratch = Scratch::new();
    let file = scratch.file("bad.yaml", &config(Repo::new(&scratch, "/site", URL).without("url")).yaml());
    for arguments in [&["--config", file.to_str().unwrap()][..], &["--config", "/nonexistent/gwg.yaml"]] {
        let output = run(&scratch, arguments);
        assert_eq!(output.status.code(), Some(BAD_CONFIG), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(arguments[1]), "{}", said(&output));
    }
}

/// The current directory is for an ordinary user; root would run what anyone left in `/tmp`.
#[test]
fn the_current_directory_is_searched_for_ordinary_users_only() {
    if Path::new("/etc/gwg").exists() {
        need::missing::<()>("a machine without /etc/gwg");
        return;
    }
    let scratch = Scratch::new();
    let ours = config(Repo::new(&scratch, "/site", URL)).without("user").without("worker_user").without("listener_user");
    let file = scratch.file("config.yaml", &ours.yaml());
    let output = run(&scratch, &["check"]);
    if !need::is_root() {
        assert!(output.status.success() && said(&output).contains(URL), "{}", said(&output));
        return;
    }
    assert_eq!(output.status.code(), Some(BAD_CONFIG), "{}", said(&output));
    assert!(said(&output).contains("/etc/gwg"), "where was it looked for? {}", said(&output));
    if need::executables_for_all().is_some() {
        scratch::give_to(&file, INVOKER);
        let output = gateway::command(&scratch, Some(INVOKER)).arg("check").output().unwrap();
        assert!(output.status.success() && said(&output).contains(URL), "{}", said(&output));
    }
}

#[test]
fn the_environment_overrides_global_keys() {
    let scratch = Scratch::new();
    let file = scratch.file("good.yaml", &config(Repo::new(&scratch, "/site", URL)).yaml());
    let check = |port: &str| {
        let mut command = gateway::command(&scratch, None);
        command.env("GWG_PORT", port).args(["check", "--config"]).arg(&file).output().unwrap()
    };
    let good = check("6543");
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    assert!(said(&good).contains("6543") && !said(&good).contains("5555"), "{}", said(&good));
    let bad = check("0");
    assert_eq!(bad.status.code(), Some(BAD_CONFIG), "{}", said(&bad));
    assert!(said(&bad).contains("GWG_PORT"), "{}", said(&bad));
}

#[test]
fn version_and_help_are_told() {
    let scratch = Scratch::new();
    let version = run(&scratch, &["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")), "{}", said(&version));
    let help = run(&scratch, &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["check", "demo", "--config"] {
        assert!(said(&help).contains(word), "{word} is not in: {}", said(&help));
    }
    let unknown = run(&scratch, &["--no-such-flag"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
}

/// The capabilities by which root reads any file: capabilities(7).
const NO_RIGHT_TO_READ_ALL: &str = "--bounding-set=-dac_override,-dac_read_search";

#[test]
fn root_without_the_right_to_read_any_file_still_reads_what_another_user_has_closed() {
    let Some(()) = need::root() else { return };
    let Some(setpriv) = need::program("setpriv", "util-linux") else { return };
    let scratch = Scratch::new();
    let directory = scratch.directory("closed");
    let secret = directory.join("secret");
    fs::write(&secret, "long enough a secret").unwrap();
    let repo = Repo::new(&scratch, "/site", URL).without("secret").set("secretFile", secret.to_str().unwrap());
    let file = directory.join("gwg.yaml");
    fs::write(&file, config(repo).without("worker_user").without("listener_user").without("audit").yaml()).unwrap();
    for (path, mode) in [(&file, 0o600), (&secret, 0o600), (&directory, 0o700)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        scratch::give_to_updater(path);
    }
    let check = || {
        let gwg = gateway::command(&scratch, None);
        let mut command = std::process::Command::new(&setpriv);
        command.args([NO_RIGHT_TO_READ_ALL, gateway::GWG, "check", "--config"]).arg(&file).env_clear();
        command.envs(gwg.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("GWG_WORKER_USER", scratch::WORKER.to_string()).env("GWG_LISTENER_USER", scratch::LISTENER.to_string());
        let output = command.output().unwrap();
        (output.status.code(), said(&output))
    };
    let (code, shown) = check();
    assert_eq!(code, Some(0), "{shown}");
    // It is read as its owner, and not with a right that was left: what nobody may read stays closed.
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    let (code, shown) = check();
    assert_eq!(code, Some(BAD_CONFIG), "{shown}");
    assert!(shown.contains("Permission denied"), "{shown}");
}
