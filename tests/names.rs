//! A remote by its name: in a network of the test's own with a name server of its own, the updater finds it, behind all
//! its layers. The part that runs there is a process of its own: its network and its `/etc/resolv.conf` are other ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::Ipv4Addr;
use std::process::Command;
use support::config::{Config, Repo};
use support::gateway::Gateway;
use support::https::Https;
use support::remote::Remote;
use support::scratch::Scratch;
use support::sshd::Sshd;
use support::{dns, keys, need};

/// Where the name leads: nobody listens at the first.
const ADDRESSES: &[Ipv4Addr] = &[Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::LOCALHOST];

/// Runs a part in a network with nothing but loopback in it.
fn elsewhere(part: &str) {
    let Some(()) = need::root() else { return };
    let Some(_) = need::program("ip", "iproute2") else { return };
    let scratch = Scratch::new();
    let resolver = scratch.file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n");
    let names = scratch.file("nsswitch.conf", "hosts: files dns\n");
    let script = format!(
        "ip link set lo up && mount --bind {} /etc/resolv.conf && mount --bind {} /etc/nsswitch.conf && exec \"$@\"",
        resolver.display(),
        names.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "sh", "-ec", &script, "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", part, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env("GWG_TEST_ELSEWHERE", "1").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    // What a part skips is this test's to say.
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("{line}");
    }
}

fn is_elsewhere() -> bool {
    std::env::var_os("GWG_TEST_ELSEWHERE").is_some()
}

#[test]
fn a_remote_is_found_by_its_name_over_ssh_and_https() {
    elsewhere("a_name_leads_to_a_remote");
}

#[ignore = "a part of the test above, in a network of its own"]
#[test]
fn a_name_leads_to_a_remote() {
    if !is_elsewhere() {
        return;
    }
    let asked = dns::start(ADDRESSES);
    let scratch = Scratch::new();
    let remotes = scratch.directory("remotes");
    let remote = Remote::new(&remotes, "site");
    let (Some(sshd), Some(https)) = (Sshd::start(&scratch.directory("sshd")), Https::start(&remotes)) else { return };
    sshd.authorize(&keys::generate(scratch.path(), "key", &["-t", "ed25519"], "").public);
    let ca = scratch.file("ca.pem", https.ca());
    let named = |text: String, name: &str| text.replace("127.0.0.1", name);
    let lines = ["git.gwg.test", "long.gwg.test"].map(|name| named(sshd.known_hosts_line(), name) + "\n");
    let known = scratch.file("known_hosts", &lines.concat());
    let ssh = |path: &str, name: &str| {
        let repo = Repo::new(&scratch, path, &named(sshd.url(remote.bare()), name));
        repo.set("sshPrivKey", scratch.path().join("key").to_str().unwrap()).set("knownHosts", known.to_str().unwrap())
    };
    let by_https = Repo::new(&scratch, "/https", &named(https.url("site.git"), "Git.GWG.test")).set("caFile", ca.to_str().unwrap());
    let config = Config::new().repo(ssh("/ssh", "git.gwg.test")).repo(ssh("/long", "long.gwg.test")).repo(by_https);
    let gateway = Gateway::start(&scratch, config);
    for path in ["/ssh", "/long", "/https"] {
        gateway.tree(path).wait_for(&remote.head(), None);
    }
    let commit = remote.publish(&[("README", "second\n")]);
    for path in ["/ssh", "/long", "/https"] {
        let (udp, tcp) = (asked.udp(), asked.tcp());
        gateway.deploy(path, &commit);
        let (udp, tcp) = (asked.udp() - udp, asked.tcp() - tcp);
        // Of each family once, however often libgit2 connects.
        assert_eq!((udp, tcp), (2, if path == "/long" { 2 } else { 0 }), "{path}");
    }
}

#[test]
fn a_name_that_nobody_knows_is_said_and_tried_again() {
    elsewhere("a_name_leads_nowhere");
}

#[ignore = "a part of the test above, in a network of its own"]
#[test]
fn a_name_leads_nowhere() {
    if !is_elsewhere() {
        return;
    }
    let scratch = Scratch::new();
    let config = Config::new().repo(Repo::new(&scratch, "/site", "https://git.gwg.example/site.git"));
    let gateway = Gateway::start(&scratch, config);
    // No name server yet; then one that does not know the name.
    gateway.wait_for_log(0, "/site", &["update failed", "step=fetch", "reason=net"]);
    gateway.log().wait(&["failed to resolve address for git.gwg.example: Temporary failure in name resolution"]);
    let _asked = dns::start(ADDRESSES);
    gateway.log().wait(&["failed to resolve address for git.gwg.example: Name or service not known"]);
}
