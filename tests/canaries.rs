//! Secrets where they belong: marks are planted as webhook secrets, ssh keys and passphrases, and
//! looked for in the memory of every process, in what was freed of it too, in environments,
//! arguments, descriptors, logs, state and cores, in every form that a secret takes on its way.
//!
//! Each search has something beside it that it must find. With `GWG_TEST_BIN=DIRECTORY` the executables there are searched:
//! what a compiler leaves in memory differs with how it optimises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use hmac::digest::common::hazmat::SerializableState;
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use support::config::{Config, Repo};
use support::delivery::Delivery;
use support::gateway::Gateway;
use support::keys::{self, Key};
use support::loopback::Mode;
use support::memory::{Needle, Search};
use support::need;
use support::processes::Process;
use support::remote::Remote;
use support::scratch::Scratch;
use support::site::Ground;
use support::sshd::Sshd;
use support::wait;

/// One webhook secret; which repository it is of, and how the configuration gives it.
const SECRETS: &[&str] =
    &["canary-of-a-list-one-7f3a", "canary-of-a-list-two-91bc", "canary-that-is-inline-55d0", "canary-from-a-file-c04e28"];
const INLINE_PHRASE: &str = "canary passphrase, inline 83e1";
const FILE_PHRASE: &str = "canary passphrase of a file b7f9";

const PLAIN: &str = "/plain";
const LOCKED: &str = "/locked";
const HELD: &str = "/held";

/// A gateway with three repositories over ssh. Two have been deployed by signed deliveries; the
/// update of the third is connected to its remote, which holds it up.
struct House {
    gateway: Gateway,
    sshd: Sshd,
    remote: Remote,
    scratch: Scratch,
    /// One of each repository, in the order of their paths above.
    keys: Vec<Planted>,
}

/// A key: its file's text, and what it is when it is decoded.
struct Planted {
    text: String,
    raw: Vec<u8>,
    phrase: Option<&'static str>,
}

impl House {
    fn new() -> Option<Self> {
        let scratch = Scratch::new();
        let sshd = Sshd::start(&scratch.directory("sshd"))?;
        let remote = Remote::new(&scratch.directory("remotes"), "site");
        let planted = scratch.directory("planted");
        let known = scratch.file("known_hosts", &(sshd.known_hosts_line() + "\n"));
        let keys = [
            (PLAIN, &["-t", "ed25519"][..], None),
            (LOCKED, &["-t", "ed25519"], Some(INLINE_PHRASE)),
            (HELD, &["-t", "rsa", "-b", "2048", "-m", "PEM"], Some(FILE_PHRASE)),
        ];
        let keys = keys.map(|(path, options, phrase)| {
            let key = keys::generate(&planted, path.trim_matches('/'), options, "");
            sshd.authorize(&key.public);
            Planted::new(&key, options, phrase)
        });
        let secret_file = plant(&planted, "secret", SECRETS[3]);
        let phrase_file = plant(&planted, "phrase", FILE_PHRASE);
        let repo = |path: &str| {
            let key = planted.join(path.trim_matches('/'));
            let repo = Repo::new(&scratch, path, &sshd.url(remote.bare())).without("secret");
            repo.set("sshPrivKey", key.to_str().unwrap()).set("knownHosts", known.to_str().unwrap())
        };
        let config = Config::new()
            .repo(repo(PLAIN).set("secret", SECRETS[..2].to_vec()))
            .repo(repo(LOCKED).set("secret", SECRETS[2]).set("sshPassPhrase", INLINE_PHRASE))
            .repo(repo(HELD).set("secretFile", secret_file).set("sshPassPhraseFile", phrase_file));
        let gateway = Gateway::start(&scratch, config);
        let house = Self { gateway, sshd, remote, scratch, keys: keys.into() };
        for path in [PLAIN, LOCKED, HELD] {
            house.gateway.tree(path).wait_for(&house.remote.head(), None);
        }
        for (number, path) in [PLAIN, PLAIN, LOCKED].into_iter().enumerate() {
            let commit = house.remote.publish(&[("README", &format!("{number}\n"))]);
            let before = house.gateway.tree(path).touched();
            house.deliver(path, SECRETS[number], &commit);
            house.gateway.tree(path).wait_for(&commit, before);
        }
        house.hold_up();
        Some(house)
    }

    fn deliver(&self, path: &str, secret: &str, commit: &str) {
        let url = self.gateway.config().repo_at(path).text("url").unwrap();
        let answer = Delivery::push(path, url, "refs/heads/master", commit).sign(secret).send(self.gateway.port());
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// From now on the remote takes connections and says nothing; one update is connected to it.
    fn hold_up(&self) {
        let seen = self.sshd.server().seen();
        self.sshd.server().set(Mode::Hold);
        self.deliver(HELD, SECRETS[3], &self.remote.publish(&[("README", "held up\n")]));
        self.sshd.server().wait_for_more_than(seen);
    }

    /// Every form of every secret.
    fn search(&self) -> Search {
        let secrets = SECRETS.iter().enumerate().flat_map(|(number, secret)| forms_of_secret(number, secret));
        let paths = [PLAIN, LOCKED, HELD];
        Search::new(secrets.chain(paths.iter().zip(&self.keys).flat_map(|(path, key)| key.forms(path))).collect())
    }

    /// The running updaters, with the path of the repository that each works on.
    fn updaters(&self) -> Vec<(Process, &'static str)> {
        let running = self.gateway.process().children().into_iter().filter(|child| child.name() == "gwg-updater" && child.alive());
        let path = |child: Process| {
            let opened = child.descriptors();
            [PLAIN, LOCKED, HELD].into_iter().find(|path| opened.iter().any(|(_, target)| target.contains(&format!("/trees{path}"))))
        };
        running.map(|child| (child, path(child).expect("an updater that is held up has opened its work tree"))).collect()
    }
}

impl Planted {
    /// `key` is not encrypted yet.
    fn new(key: &Key, options: &[&str], phrase: Option<&'static str>) -> Self {
        let raw = decoded(&fs::read_to_string(&key.file).unwrap());
        if let Some(phrase) = phrase {
            let format = if options.contains(&"PEM") { &["-m", "PEM"][..] } else { &[] };
            let mut lock = std::process::Command::new("ssh-keygen");
            lock.args(["-q", "-p", "-P", "", "-N", phrase]).args(format).arg("-f").arg(&key.file);
            assert!(lock.output().unwrap().status.success());
        }
        Self { text: fs::read_to_string(&key.file).unwrap(), raw, phrase }
    }

    /// Its file line by line and decoded, its secret number, its passphrase.
    fn forms(&self, path: &str) -> Vec<Needle> {
        // The first line is the same in all keys of a kind, the last may be short.
        let lines = self.text.lines().filter(|line| line.len() > 32 && !line.contains("-----") && !line.contains(": "));
        let mut forms: Vec<_> = lines.skip(1).map(|line| Needle::new(format!("{path} key: text"), line)).collect();
        let file = decoded_all(&self.text);
        forms.push(Needle::new(format!("{path} key: file, decoded"), &file[file.len() - 96..file.len() - 48]));
        forms.push(Needle::new(format!("{path} key: the secret number"), self.raw.as_slice()));
        forms.extend(self.phrase.map(|phrase| Needle::new(format!("{path} passphrase"), phrase)));
        forms
    }
}

fn plant(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A webhook secret as it is, as the two pads of HMAC (RFC 2104), and as what is left of it there:
/// the states of the hash after each pad, with which everything can be signed.
fn forms_of_secret(number: usize, secret: &str) -> Vec<Needle> {
    let pad = |with: u8| secret.bytes().chain(std::iter::repeat(0)).take(64).map(|byte| byte ^ with).collect::<Vec<u8>>();
    let state = |pad: &[u8]| Sha256::new_with_prefix(pad).serialize()[..32].to_vec();
    let (inner, outer) = (pad(0x36), pad(0x5c));
    vec![
        Needle::new(format!("secret {number}"), secret),
        Needle::new(format!("secret {number} as inner pad"), &inner[..secret.len()]),
        Needle::new(format!("secret {number} as outer pad"), &outer[..secret.len()]),
        Needle::new(format!("secret {number} as hash state"), state(&inner)),
        Needle::new(format!("secret {number} as hash state"), state(&outer)),
    ]
}

/// 32 bytes of the secret number of a key that is not encrypted: an ed25519 seed (it stands before
/// the public half and the comment), or the middle of an RSA key's private exponent.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = decoded_all(text);
    if text.contains("BEGIN RSA") {
        return bytes[400..432].to_vec();
    }
    let kind = b"ssh-ed25519";
    let last = bytes.windows(kind.len()).rposition(|window| window == kind).unwrap();
    // The kind, the public half, then seed and public half: each text after four bytes of length.
    let seed = last + kind.len() + 4 + 32 + 4;
    bytes[seed..seed + 32].to_vec()
}

fn decoded_all(text: &str) -> Vec<u8> {
    use base64::Engine;
    let lines = text.lines().filter(|line| !line.contains("-----") && !line.contains(": "));
    base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// What a process may have and must have, in the words of the needles.
fn belongs(process: Process, works_on: Option<&str>) -> BTreeSet<String> {
    let keys = |paths: &[&str]| {
        let texts = paths.iter().map(|path| format!("{path} key: text"));
        let phrases = paths.iter().filter(|path| **path != PLAIN).map(|path| format!("{path} passphrase"));
        texts.chain(phrases).collect()
    };
    match (process.name().as_str(), works_on) {
        ("gwg", None) => BTreeSet::new(),
        // Not the secrets themselves: what is left of them when the keys of HMAC are made.
        ("gwg-listener", None) => (0..SECRETS.len()).map(|number| format!("secret {number} as hash state")).collect(),
        ("gwg-worker", None) => keys(&[PLAIN, LOCKED, HELD]),
        ("gwg-updater", Some(path)) => keys(&[path]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_secret_is_in_the_memory_of_those_who_need_it_and_nowhere_else() {
    let Some(()) = need::root() else { return };
    let Some(house) = House::new() else { return };
    let search = house.search();
    assert_eq!(house.updaters().len(), 1);
    assert_all_have_their_own(&house, &search, "at first");

    let (listener, worker) = (house.gateway.child("gwg-listener"), house.gateway.child("gwg-worker"));
    let seen = house.sshd.server().seen();
    listener.kill();
    worker.kill();
    house.gateway.child_other_than("gwg-listener", &[listener]);
    // A new worker compares all, and all are held up.
    wait::until_true("three updates are held up", || house.sshd.server().seen() >= seen + 3);
    house
        .gateway
        .log()
        .wait_after(0, &["process confined", &house.gateway.child_other_than("gwg-listener", &[listener]).pid().to_string()]);
    assert_eq!(house.updaters().len(), 3);
    assert_all_have_their_own(&house, &search, "after a restart");
}

fn assert_all_have_their_own(house: &House, search: &Search, when: &str) {
    let gateway = &house.gateway;
    let updaters = house.updaters().into_iter().map(|(process, path)| (process, Some(path)));
    let others = [gateway.process(), gateway.child("gwg-listener"), gateway.child("gwg-worker")];
    for (process, works_on) in others.into_iter().map(|process| (process, None)).chain(updaters) {
        let name = format!("{} {} {when}", process.name(), works_on.unwrap_or_default());
        let found = search.memory(process);
        let what: BTreeSet<String> = found.iter().map(|(what, _)| (*what).to_owned()).collect();
        assert_eq!(what, belongs(process, works_on), "{name}: {found:?}");
        for file in ["environ", "cmdline"] {
            assert_eq!(search.bytes(&fs::read(process.path(file)).unwrap()), Vec::<&str>::new(), "{name}: {file}");
        }
        // The sealed files with the briefs: the supervisor's alone, once they are read, and never mapped.
        let sealed = process.descriptors().iter().filter(|(_, target)| target.contains("memfd:")).count();
        assert_eq!(sealed, if process == gateway.process() { 2 } else { 0 }, "{name}");
        assert!(!fs::read_to_string(process.path("maps")).unwrap().contains("memfd:"), "{name}");
    }
}

/// What is no secret, and yet none of a process's business.
#[test]
fn listener_and_worker_know_no_place_that_they_have_no_use_for() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    let repo = ground.repo_at("/a-path-for-the-listener");
    let tree = ground.scratch.updaters_directory("trees").join("a-tree-for-the-updater");
    let site = ground.start_with(repo.set("directory", tree.to_str().unwrap()));
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deploy("/a-path-for-the-listener", &commit);

    let search = Search::new(vec![Needle::new("path", "/a-path-for-the-listener"), Needle::new("tree", "a-tree-for-the-updater")]);
    let known = |process| search.memory(process).into_iter().map(|(what, _)| what).collect::<BTreeSet<_>>();
    assert_eq!(known(site.gateway.child("gwg-listener")), BTreeSet::from(["path"]));
    assert_eq!(known(site.gateway.child("gwg-worker")), BTreeSet::new());
    assert_eq!(known(site.gateway.process()), BTreeSet::from(["path", "tree"]));
}

#[test]
fn no_secret_is_in_a_log_a_state_file_or_a_tree() {
    let Some(house) = House::new() else { return };
    let search = house.search();
    // Whatever is said of failed updates and bad signatures is in the log, too.
    house.sshd.server().set(Mode::HangUp);
    house.gateway.log().wait(&["update failed"]);
    let answer = house.gateway.push(PLAIN, &house.remote.head()).send(house.gateway.port());
    assert_eq!(answer.status, 401);
    house.gateway.log().wait(&["delivery rejected"]);

    assert_eq!(search.bytes(house.gateway.log().lines().join("\n").as_bytes()), Vec::<&str>::new(), "the log");
    let mut planted = 0;
    let mut searched = BTreeSet::new();
    each_file(house.scratch.path(), &mut |path| {
        let found = search.bytes(&fs::read(path).unwrap()).len();
        if path.starts_with(house.scratch.path().join("planted")) || path.ends_with("gwg.yaml") {
            planted += found;
            return;
        }
        assert_eq!(found, 0, "{}", path.display());
        searched.insert(path.file_name().unwrap().to_owned());
    });
    assert_eq!(planted, SECRETS.len() + 3 + 2, "what was planted is not seen");
    assert!(["state.redb", "FETCH_HEAD", "README"].iter().all(|name| searched.contains(OsStr::new(name))), "{searched:?}");
}

fn each_file(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => each_file(&entry.path(), visit),
            kind if kind.is_file() => visit(&entry.path()),
            _ => {}
        }
    }
}

/// YAML is above.
#[test]
fn the_supervisor_keeps_nothing_of_a_configuration_in_toml_or_json() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    let search = Search::new(SECRETS.iter().enumerate().flat_map(|(number, secret)| forms_of_secret(number, secret)).collect());
    for kind in ["toml", "json"] {
        let gateway = Gateway::start(&ground.scratch, Config::new().format(kind).repo(ground.repo().set("secret", SECRETS.to_vec())));
        assert_eq!(search.memory(gateway.process()), Vec::new(), "{kind}");
        let listener = gateway.child("gwg-listener");
        let found: BTreeSet<String> = search.memory(listener).into_iter().map(|(what, _)| what.to_owned()).collect();
        assert_eq!(found, belongs(listener, None), "{kind}");
    }
}

#[test]
fn no_crash_of_a_child_leaves_a_core() {
    let Some(()) = need::root() else { return };
    let Some(()) = need::core_dumps() else { return };
    let site = Ground::held_up();
    let supervisor = site.gateway.process();
    for name in ["gwg-updater", "gwg-listener", "gwg-worker"] {
        // A panic, and a call that the filter does not allow. (A SIGSEGV that is sent is not one that happened:
        // Rust's handler lets it go.)
        for signal in [Signal::SIGABRT, Signal::SIGSYS] {
            let child = site.gateway.child(name);
            // While the supervisor does not look, the kernel keeps the child's status.
            supervisor.signal(Signal::SIGSTOP);
            child.signal(signal);
            let status = wait::until("the child has crashed", || child.unheard_end());
            supervisor.signal(Signal::SIGCONT);
            assert_eq!(status, signal as i32, "{name}: 128 more would be a core dump");
            site.gateway.child_other_than(name, &[child]);
        }
    }
    site.daemon.set(Mode::Serve);
}
