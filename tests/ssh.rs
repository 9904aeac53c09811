//! Updates over ssh, against the real OpenSSH server: kinds of keys, and whom gwg believes to be the remote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::config::{Config, Repo};
use support::gateway::{self, Gateway};
use support::keys;
use support::remote::Remote;
use support::scratch::Scratch;
use support::sshd::Sshd;
use support::wait;

const PATH: &str = "/site";

/// A remote behind sshd, and a key that it lets in.
struct Ground {
    sshd: Sshd,
    remote: Remote,
    scratch: Scratch,
}

impl Ground {
    fn new() -> Option<Self> {
        let scratch = Scratch::new();
        let sshd = Sshd::start(&scratch.directory("sshd"))?;
        let remote = Remote::new(&scratch.directory("remotes"), "site");
        sshd.authorize(&keys::generate(scratch.path(), "key", &["-t", "ed25519"], "").public);
        Some(Self { sshd, remote, scratch })
    }

    /// The repository with that key; `known_hosts` is the text of a file of the test's.
    fn repo(&self, known_hosts: &str) -> Repo {
        let known = self.scratch.file("known_hosts", known_hosts);
        let repo = Repo::new(&self.scratch, PATH, &self.sshd.url(self.remote.bare()));
        repo.set("sshPrivKey", self.scratch.path().join("key").to_str().unwrap()).set("knownHosts", known.to_str().unwrap())
    }

    fn start(&self, repo: Repo) -> Gateway {
        Gateway::start(&self.scratch, Config::new().repo(repo))
    }
}

#[test]
fn every_kind_of_key_works_in_every_form() {
    let Some(ground) = Ground::new() else { return };
    let known = ground.scratch.file("known_hosts", &(ground.sshd.known_hosts_line() + "\n"));
    let mut config = Config::new();
    let kinds: &[(&str, &[&str], &str)] = &[
        ("ed25519", &["-t", "ed25519"], ""),
        ("ed25519-locked", &["-t", "ed25519"], "a pass phrase"),
        ("ecdsa-256", &["-t", "ecdsa", "-b", "256"], ""),
        ("ecdsa-521-locked", &["-t", "ecdsa", "-b", "521"], "a pass phrase"),
        ("ecdsa-256-pem", &["-t", "ecdsa", "-b", "256", "-m", "PEM"], ""),
        ("rsa-2048", &["-t", "rsa", "-b", "2048"], ""),
        ("rsa-3072-locked", &["-t", "rsa", "-b", "3072"], "a pass phrase"),
        ("rsa-3072-pem", &["-t", "rsa", "-b", "3072", "-m", "PEM"], ""),
        ("rsa-2048-pem-locked", &["-t", "rsa", "-b", "2048", "-m", "PEM"], "a pass phrase"),
        ("rsa-2048-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"], ""),
        ("rsa-2048-pkcs8-locked", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"], "a pass phrase"),
    ];
    for (name, options, passphrase) in kinds {
        let key = keys::generate(ground.scratch.path(), name, options, passphrase);
        ground.sshd.authorize(&key.public);
        let mut repo = Repo::new(&ground.scratch, &format!("/{name}"), &ground.sshd.url(ground.remote.bare()));
        repo = repo.set("sshPrivKey", key.file.to_str().unwrap()).set("knownHosts", known.to_str().unwrap());
        if !passphrase.is_empty() {
            repo = repo.set("sshPassPhrase", *passphrase);
        }
        config = config.repo(repo);
    }
    let gateway = Gateway::start(&ground.scratch, config);
    for (name, ..) in kinds {
        gateway.tree(&format!("/{name}")).wait_for(&ground.remote.head(), None);
    }
    let log = ground.sshd.log();
    assert!(log.matches("Accepted publickey").count() >= kinds.len(), "sshd let in whom?\n{log}");
}

#[test]
fn a_push_is_deployed_over_ssh() {
    let Some(ground) = Ground::new() else { return };
    let gateway = ground.start(ground.repo(&(ground.sshd.known_hosts_line() + "\n")));
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
    gateway.deploy(PATH, &ground.remote.publish(&[("README", "second\n")]));
}

#[test]
fn a_passphrase_may_stand_in_a_file() {
    let Some(ground) = Ground::new() else { return };
    let key = keys::generate(ground.scratch.path(), "locked", &["-t", "ed25519"], "of a file");
    ground.sshd.authorize(&key.public);
    let file = ground.scratch.file("passphrase", "of a file\n");
    let repo = ground.repo(&(ground.sshd.known_hosts_line() + "\n"));
    let repo = repo.set("sshPrivKey", key.file.to_str().unwrap()).set("sshPassPhraseFile", file.to_str().unwrap());
    let gateway = ground.start(repo);
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
}

#[test]
fn an_unknown_host_is_refused_with_the_line_to_add_and_believed_with_it() {
    let Some(ground) = Ground::new() else { return };
    let gateway = ground.start(ground.repo(""));
    gateway.wait_for_log(0, PATH, &["update failed", "reason=host_key"]);
    let expected = ground.sshd.known_hosts_line();
    let said = gateway.log().wait(&[&expected]);
    assert_eq!(gateway.tree(PATH).head(), None);
    let log = ground.sshd.log();
    assert!(!log.contains("Accepted") && !log.contains("publickey"), "a key was shown to a stranger:\n{log}");

    // The administrator adds what the log says, to the letter.
    let start = said.rfind(&ground.sshd.host()).unwrap();
    let line: Vec<&str> = said[start..].split_whitespace().take(3).collect();
    ground.scratch.file("known_hosts", &(line.join(" ") + "\n"));
    assert!(gateway::run(&ground.scratch, &["reload"]).status.success());
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
}

#[test]
fn a_changed_host_key_is_refused_and_the_tree_kept() {
    let Some(ground) = Ground::new() else { return };
    let gateway = ground.start(ground.repo(&(ground.sshd.known_hosts_line() + "\n")));
    let first = ground.remote.head();
    gateway.tree(PATH).wait_for(&first, None);
    ground.sshd.change_host_key();
    let (commit, before) = (ground.remote.publish(&[("README", "second\n")]), ground.sshd.log().len());
    gateway.deliver(PATH, &commit);
    gateway.wait_for_log(0, PATH, &["update failed", "reason=host_key"]);
    gateway.log().wait(&[&ground.sshd.known_hosts_line()]);
    assert_eq!(gateway.tree(PATH).head(), Some(first));
    let log = ground.sshd.log();
    assert!(!log[before..].contains("publickey"), "a key was shown to an impostor:\n{log}");
}

#[test]
fn hashed_known_hosts_and_lines_for_others_are_read() {
    let Some(ground) = Ground::new() else { return };
    let other = "example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let text = format!("# ours\n{other}\nthis line is none\n{}\n", ground.sshd.hashed_known_hosts_line());
    let gateway = ground.start(ground.repo(&text));
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
}

#[test]
fn a_revoked_host_key_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let line = ground.sshd.known_hosts_line();
    let gateway = ground.start(ground.repo(&format!("{line}\n@revoked {line}\n")));
    gateway.wait_for_log(0, PATH, &["update failed", "reason=host_key"]);
    assert_eq!(gateway.tree(PATH).head(), None);
}

#[test]
fn a_key_that_is_refused_is_tried_again_until_it_is_let_in() {
    let Some(ground) = Ground::new() else { return };
    let key = keys::generate(ground.scratch.path(), "new", &["-t", "ed25519"], "");
    let repo = ground.repo(&(ground.sshd.known_hosts_line() + "\n")).set("sshPrivKey", key.file.to_str().unwrap());
    let gateway = ground.start(repo);
    gateway.wait_for_log(0, PATH, &["update failed", "reason=auth"]);
    ground.sshd.authorize(&key.public);
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
}

#[test]
fn a_repository_that_is_not_there_is_said() {
    let Some(ground) = Ground::new() else { return };
    let url = ground.sshd.url(&ground.scratch.path().join("remotes/nowhere.git"));
    let gateway = ground.start(ground.repo(&(ground.sshd.known_hosts_line() + "\n")).set("url", url));
    gateway.wait_for_log(0, PATH, &["update failed", "step=fetch", "reason=no_repository"]);
    wait::until_true("sshd saw the key", || ground.sshd.log().contains("Accepted publickey"));
}
