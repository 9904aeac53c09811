//! The whole room: from a file on disk to what is said about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::brief::LabelKind;
use crate::brief::listener::Proof;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

mod errors;
mod examples;
mod hooks;
mod large;
mod owned;

/// A directory with a key, and a place for a configuration.
struct Bench {
    directory: TempDir,
    env: Environment,
}

impl Bench {
    /// For an ordinary user, also where root runs the tests: so no user need exist.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let me = nix::unistd::geteuid().as_raw();
        let mut env = Environment::new(if me == 0 { 1000 } else { me }, []);
        env.directories = vec![directory.path().to_owned()];
        env.system_known_hosts = directory.path().join("ssh_known_hosts");
        env.home = |_| None;
        let bench = Self { directory, env };
        bench.write("key", &keys::container(b"ssh-ed25519"), 0o600);
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file; `@` in it stands for the directory.
    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text.replace('@', self.directory.path().to_str().unwrap())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn load(&self, name: &str, text: &str) -> Result<Config, ConfigError> {
        load(Some(&self.write(name, text, 0o600)), &self.env)
    }

    fn error(&self, name: &str, text: &str) -> String {
        self.load(name, text).err().unwrap_or_else(|| panic!("accepted:\n{text}")).to_string()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.variables.push((name.to_owned(), value.to_owned()));
    }
}

/// The smallest configuration. URLs have their `@` doubled by nobody: this one has none.
const SMALL: &str = "repos:
  - url: https://github.com/ns/one.git
    path: /one
    directory: @/one
    secret: 0123456789abcdef
";

#[test]
fn every_default_is_as_documented() {
    let bench = Bench::new();
    let config = bench.load("c.yaml", SMALL).unwrap();
    assert_eq!(config.listen, "[::]:5555".parse().unwrap());
    assert_eq!(config.schedule, worker::Schedule { threads: 5, retry_count: 10, retry_delay_ms: 1_000, reconcile_s: 21_600 });
    assert_eq!((config.initialise, config.accounts.is_none(), config.keys.len()), (true, true, 0));
    assert_eq!(config.confinement, Confinement::BestEffort, "without root");
    assert_eq!(config.gc, Gc::Auto);
    let logging = config.logging;
    assert_eq!((logging.format, logging.level, logging.timestamp), (LogFormat::Text, LogLevel::Info, true));
    assert!(matches!(logging.output, LogOutput::Stdout));
    assert_eq!(config.warnings, Vec::<String>::new());
    let repo = &config.repos[0];
    assert_eq!((repo.label.kind, repo.label.name.as_str(), repo.remote.as_str()), (LabelKind::Branch, "master", "origin"));
    assert_eq!((&repo.trigger, &repo.key, &repo.ca, repo.at_start, repo.known_hosts.len()), (&None, &None, &None, true, 0));
    assert_eq!(repo.limits, updater::Limits { pack: 10 << 30, object: 1 << 30, files: 1_000_000, tree: 100 << 30, deadline_ms: 600_000 });
    let Proof::Signed { secrets, sha1 } = &repo.proof else { panic!("unsigned") };
    assert_eq!((secrets.len(), secrets[0].expose(), *sha1), (1, &b"0123456789abcdef"[..], false));
}

#[test]
fn a_repository_has_limits_of_its_own_then_the_variables_then_the_files() {
    let mut bench = Bench::new();
    bench.set("GWG_LIMITS_DEADLINE", "3s");
    bench.set("GWG_LIMITS_TREE", "1GB");
    let two = SMALL.replace("one", "two").replace("repos:\n", "");
    let text = format!("limits: {{pack: 1MiB, deadline: 90, files: 7}}\n{SMALL}    limits: {{files: 5, object: 65536}}\n{two}");
    let config = bench.load("c.yaml", &text).unwrap();
    let global = updater::Limits { pack: 1 << 20, files: 7, tree: 1_000_000_000, deadline_ms: 3_000, ..Default::default() };
    assert_eq!(config.repos[0].limits, updater::Limits { files: 5, object: 65536, ..global });
    assert_eq!(config.repos[1].limits, global);
}

const YAML: &str = r#"
listen: 127.0.0.1
port: 8080
retry_count: 3
retry_delay: 2
reconcile: 90m
threads: 7
initialise: false
logging: {format: json, output: "@/log", level: debug, timestamp: false}
repos:
  - {url: "ssh://git&host:2222/one", path: /one/, directory: "@/one", label: v1, labelType: tag, remote: up, trigger: "@/t",
     secret: [0123456789abcdef, fedcba9876543210], sshPrivKey: "@/key", knownHosts: "@/hosts", signature: sha1}
  - {url: "https://host/two", path: /two, directory: "@/two", branch: main, unsigned: true, sshPrivKey: , sshPassPhrase: "", caFile: "@/ca"}
"#;
const TOML: &str = r#"
listen = "127.0.0.1"
port = 8080
retry_count = 3
retry_delay = 2
reconcile = "90m"
threads = 7
initialise = false
[logging]
format = "json"
output = "@/log"
level = "debug"
timestamp = false
[[repos]]
url = "ssh://git&host:2222/one"
path = "/one/"
directory = "@/one"
label = "v1"
labelType = "tag"
remote = "up"
trigger = "@/t"
secret = ["0123456789abcdef", "fedcba9876543210"]
sshPrivKey = "@/key"
knownHosts = "@/hosts"
signature = "sha1"
[[repos]]
url = "https://host/two"
path = "/two"
directory = "@/two"
branch = "main"
unsigned = true
sshPrivKey = ""
sshPassPhrase = ""
caFile = "@/ca"
"#;
const JSON: &str = r#"{
"listen": "127.0.0.1", "port": 8080, "retry_count": 3, "retry_delay": 2, "reconcile": "90m", "threads": 7, "initialise": false,
"logging": {"format": "json", "output": "@/log", "level": "debug", "timestamp": false},
"repos": [
 {"url": "ssh://git&host:2222/one", "path": "/one/", "directory": "@/one", "label": "v1", "labelType": "tag", "remote": "up", "trigger": "@/t",
  "secret": ["0123456789abcdef", "fedcba9876543210"], "sshPrivKey": "@/key", "knownHosts": "@/hosts", "signature": "sha1"},
 {"url": "https://host/two", "path": "/two", "directory": "@/two", "branch": "main", "unsigned": true, "sshPrivKey": null, "sshPassPhrase": null,
  "caFile": "@/ca"}]}"#;

#[test]
fn every_format_gives_the_same_configuration() {
    let bench = Bench::new();
    bench.write("hosts", "host ssh-ed25519 AAAA\nother ssh-ed25519 BBBB\n", 0o644);
    bench.write("ca", "-----BEGIN CERTIFICATE-----\n", 0o644);
    let real = bench.directory.path().canonicalize().unwrap();
    for (name, text) in [("c.yaml", YAML), ("c.yml", YAML), ("c.toml", TOML), ("c.json", JSON)] {
        // In these texts & stands for the @ of a URL.
        let text = text.replace('@', bench.directory.path().to_str().unwrap()).replace('&', "@");
        fs::write(bench.at(name), text).unwrap();
        fs::set_permissions(bench.at(name), fs::Permissions::from_mode(0o600)).unwrap();
        let config = load(Some(&bench.at(name)), &bench.env).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap(), "{name}");
        assert_eq!(config.schedule, worker::Schedule { threads: 7, retry_count: 3, retry_delay_ms: 2_000, reconcile_s: 5_400 }, "{name}");
        assert_eq!(
            (config.logging.format, config.logging.level, config.logging.timestamp),
            (LogFormat::Json, LogLevel::Debug, false),
            "{name}"
        );
        assert!(matches!(&config.logging.output, LogOutput::File(log) if log.path == bench.at("log")), "{name}");
        let [one, two] = &config.repos[..] else { panic!("{name}: {}", config.repos.len()) };
        assert_eq!(
            (one.path.as_str(), &one.directory, one.label.to_string().as_str(), one.remote.as_str()),
            ("/one", &real.join("one"), "tag v1", "up")
        );
        assert_eq!((one.trigger.as_ref(), one.key_file.as_ref(), one.at_start), (Some(&real.join("t")), Some(&bench.at("key")), false));
        assert!(matches!(&one.proof, Proof::Signed { secrets, sha1: true } if secrets.len() == 2), "{name}");
        assert_eq!((one.known_hosts[0].text.as_str(), one.known_hosts.len()), ("host ssh-ed25519 AAAA", 2), "{name}");
        assert_eq!(
            (two.label.to_string().as_str(), two.key, two.ca.as_deref()),
            ("branch main", None, Some("-----BEGIN CERTIFICATE-----\n")),
            "{name}"
        );
        assert!(matches!(two.proof, Proof::Unsigned), "{name}");
        assert_eq!(config.keys.len(), 1, "{name}");
    }
}

#[test]
fn a_variable_beats_the_file_and_the_file_the_default() {
    let mut bench = Bench::new();
    let text = format!("port: 1000\nlogging: {{level: error}}\n{SMALL}");
    assert_eq!(bench.load("c.yaml", &text).unwrap().listen.port(), 1000);
    for (name, value) in [
        ("GWG_LISTEN", "::1"),
        ("GWG_PORT", "2000"),
        ("GWG_RETRY_COUNT", "2"),
        ("GWG_RETRY_DELAY", "500ms"),
        ("GWG_RECONCILE", "0"),
        ("GWG_THREADS", "9"),
        ("GWG_INITIALISE", "false"),
        ("GWG_LOGGING_LEVEL", "trace"),
        ("GWG_LOGGING_FORMAT", "json"),
        ("GWG_LOGGING_TIMESTAMP", "false"),
        ("GWG_LOGGING_OUTPUT", "stdout"),
        ("GWG_PROT", "3000"),
    ] {
        bench.set(name, value);
    }
    let config = bench.load("c.yaml", &text).unwrap();
    assert_eq!(config.listen, "[::1]:2000".parse().unwrap());
    assert_eq!(config.schedule, worker::Schedule { threads: 9, retry_count: 2, retry_delay_ms: 500, reconcile_s: 0 });
    assert_eq!((config.logging.level, config.logging.format, config.logging.timestamp), (LogLevel::Trace, LogFormat::Json, false));
    assert!(!config.initialise);
    assert_eq!(config.warnings, ["GWG_PROT (environment) overrides no key: did you mean GWG_PORT?"]);
}

#[test]
fn a_wrong_variable_is_named_and_not_the_file() {
    for (name, value, what) in [
        ("GWG_PORT", "0", "out of range"),
        ("GWG_PORT", "x", "whole number"),
        ("GWG_INITIALISE", "yes", "neither true"),
        ("GWG_RECONCILE", "soon", "no time"),
    ] {
        let mut bench = Bench::new();
        bench.set(name, value);
        let error = bench.error("c.yaml", SMALL);
        assert!(error.starts_with(&format!("{name} (environment): ")) && error.contains(what), "{error}");
    }
}

#[test]
fn files_are_looked_for_in_order() {
    let bench = Bench::new();
    let error = load(None, &bench.env).err().unwrap().to_string();
    assert!(error.contains("--config") && error.contains(bench.directory.path().to_str().unwrap()), "{error}");
    bench.write("config.json", &JSON.replace("ssh://git&host:2222/one", "https://host/one"), 0o600);
    bench.write("config.yaml", SMALL, 0o600);
    let config = load(None, &bench.env).unwrap();
    assert_eq!(config.file, bench.at("config.yaml"));
    assert!(config.warnings[0].contains("config.json is not read"), "{:?}", config.warnings);
}

#[test]
fn what_is_allowed_and_odd_is_a_warning() {
    let bench = Bench::new();
    for (from, to, warning) in [
        ("0123456789abcdef", "short", "repos[0].secret: the secret is shorter than 16 bytes"),
        ("    path", "    labelType: brunch\n    path", "repos[0].labelType: \"brunch\" is neither branch nor tag: branch is used"),
        ("repos:", "logging: {format: xml}\nrepos:", "logging.format: \"xml\" is neither text nor json: json is used"),
        ("    secret: 0123456789abcdef", "    unsigned: true", "repos[0].unsigned: whoever can reach the path"),
        ("repos:", "user: nobody-at-all\nrepos:", "user: gwg is not root, so every process runs as"),
    ] {
        let config = bench.load("c.yaml", &SMALL.replace(from, to)).unwrap();
        assert!(config.warnings.len() == 1 && config.warnings[0].contains(warning), "{warning}: {:?}", config.warnings);
    }
    bench.write("c.yaml", SMALL, 0o644);
    let config = load(Some(&bench.at("c.yaml")), &bench.env).unwrap();
    assert!(config.warnings[0].contains("can be read by everybody"), "{:?}", config.warnings);
}

#[test]
fn secrets_and_passphrases_may_stand_in_files() {
    let bench = Bench::new();
    bench.write("secret", "0123456789abcdef\n", 0o600);
    let config = bench.load("c.yaml", &SMALL.replace("secret: 0123456789abcdef", "secretFile: @/secret")).unwrap();
    assert!(matches!(&config.repos[0].proof, Proof::Signed { secrets, sha1: false } if secrets[0].expose() == b"0123456789abcdef"));
}

#[test]
fn check_makes_no_log_file() {
    let mut bench = Bench::new();
    bench.env.dry = true;
    let text = format!("logging: {{output: \"@/log\"}}\n{SMALL}");
    assert!(matches!(bench.load("c.yaml", &text).unwrap().logging.output, LogOutput::File(_)));
    assert!(!bench.at("log").exists());
    let error = bench.error("c.yaml", &text.replace("@/log", "@/missing/log"));
    assert!(error.contains("logging.output"), "{error}");
    bench.env.dry = false;
    bench.load("c.yaml", &text).unwrap();
    assert_eq!(fs::metadata(bench.at("log")).unwrap().permissions().mode() & 0o777, 0o640);
    std::os::unix::fs::symlink("log", bench.at("link")).unwrap();
    assert!(bench.error("c.yaml", &text.replace("@/log", "@/link")).contains("can't be opened"));
}

#[test]
fn a_missing_tree_waits_for_its_first_push_where_initialise_is_off() {
    let bench = Bench::new();
    let text = format!("initialise: false\n{SMALL}");
    assert!(!bench.load("c.yaml", &text).unwrap().repos[0].at_start);
    fs::create_dir_all(bench.at("one/.git")).unwrap();
    assert!(bench.load("c.yaml", &text).unwrap().repos[0].at_start);
}

#[test]
fn splitting_gives_each_child_its_part_and_no_id_twice() {
    let bench = Bench::new();
    let text = format!("{SMALL}  - {{url: 'https://h/two', path: /two, directory: @/two, unsigned: true}}\n");
    let mut next = 7;
    let briefs = split(bench.load("c.yaml", &text).unwrap(), Before::NOTHING, &mut next);
    assert_eq!((next, briefs.listener.0.repos, briefs.worker.0.repos, briefs.worker.0.keys), (9, 2, 2, 0));
    let ids: Vec<u32> = briefs.names.keys().map(|id| id.number()).collect();
    assert_eq!(ids, [7, 8]);
    let listener = &briefs.listener.1[0];
    assert_eq!((listener.id.number(), listener.path.as_str(), listener.ref_name.as_str()), (7, "/one", "refs/heads/master"));
    assert_eq!(listener.remote.to_string(), "github.com/ns/one");
    let updater = &briefs.updaters[&listener.id];
    assert_eq!((updater.url.as_str(), updater.remote.as_str()), ("https://github.com/ns/one.git", "origin"));
    assert_eq!(briefs.worker.1.len(), 0);
    assert_ne!(briefs.worker.2[0].directory, briefs.worker.2[1].directory);
    assert!(briefs.worker.2.iter().all(|repo| repo.changed));
    assert_eq!(briefs.worker.0.ids, 9);
}

fn in_force(briefs: &Briefs) -> Before<'_> {
    Before { updaters: &briefs.updaters, names: &briefs.names }
}

#[test]
fn a_repository_keeps_its_id_as_long_as_its_directory_stays() {
    let bench = Bench::new();
    let repos = |lines: &[&str]| {
        let repos = lines.iter().map(|line| format!("  - {{{line}, unsigned: true}}\n"));
        bench.load("c.yaml", &format!("repos:\n{}", repos.collect::<String>())).unwrap()
    };
    let (one, two) = ("url: 'https://h/one', path: /one, directory: @/one", "url: 'https://h/two', path: /two, directory: @/two");
    let mut next = 0;
    let before = split(repos(&[one, two]), Before::NOTHING, &mut next);
    // Renamed; another URL; and a new one that stands before them.
    let renamed = "url: 'https://h/one', path: /uno, directory: @/one";
    let moved = "url: 'https://h/zwei', path: /two, directory: @/two";
    let new = "url: 'https://h/new', path: /new, directory: @/new";
    let after = split(repos(&[new, renamed, moved]), in_force(&before), &mut next);
    let of = |briefs: &Briefs| briefs.worker.2.iter().map(|repo| (repo.id.number(), repo.changed)).collect::<Vec<_>>();
    assert_eq!(of(&before), [(0, true), (1, true)]);
    assert_eq!(of(&after), [(2, true), (0, false), (1, true)]);
    assert_eq!((next, after.worker.0.ids), (3, 3));
    // Gone and back again, it is another one.
    let without = split(repos(&[two]), in_force(&after), &mut next);
    let back = split(repos(&[one, two]), in_force(&without), &mut next);
    assert_eq!(of(&back).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn what_repositories_share_is_in_memory_once_however_often_the_configuration_is_read() {
    let bench = Bench::new();
    bench.write("ca", "-----BEGIN CERTIFICATE-----\n", 0o644);
    let repo = |name: &str, ca: &str| {
        format!("  - {{url: 'https://h/{name}', path: /{name}, directory: @/{name}, unsigned: true, caFile: '@/{ca}'}}\n")
    };
    let mut next = 0;
    let mut text = format!("repos:\n{}", repo("one", "ca"));
    let before = split(bench.load("c.yaml", &text).unwrap(), Before::NOTHING, &mut next);
    text += &repo("two", "ca");
    let after = split(bench.load("c.yaml", &text).unwrap(), in_force(&before), &mut next);
    let [one, two] = after.updaters.values().collect::<Vec<_>>()[..] else { panic!("not two") };
    assert!(Arc::ptr_eq(one.ca.as_ref().unwrap(), two.ca.as_ref().unwrap()));
    // Another content is another.
    bench.write("ca", "another\n-----BEGIN CERTIFICATE-----\n", 0o644);
    let changed = split(bench.load("c.yaml", &text).unwrap(), in_force(&after), &mut next);
    assert!(changed.updaters.values().all(|brief| brief.ca != one.ca));
}
