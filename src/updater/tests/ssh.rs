//! Over ssh, against a real OpenSSH server: keys of every kind, host keys of every standing.

use super::world::{World, sh, skip};
use crate::audit::{Reason, Step};
use crate::brief::Key;
use crate::brief::Secret;
use crate::brief::updater::KnownHosts;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An OpenSSH server on loopback, with its own host keys and authorised keys.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _no_zombie = self.child.wait();
    }
}

/// A world whose remote is reached over ssh, its host known and its key `id` (ed25519) accepted.
/// `None` where this machine has no OpenSSH server; then the test says that it is skipped.
fn over_ssh(test: &str) -> Option<(World, Server)> {
    if let Some(lack) = lack() {
        skip(test, lack);
        return None;
    }
    let mut world = World::new();
    let ssh = world.home.path().join("ssh");
    fs::create_dir(&ssh).unwrap();
    sh(
        &ssh,
        "for t in ed25519 rsa ecdsa; do ssh-keygen -q -t $t -N '' -f host_$t; done; ssh-keygen -q -t ed25519 -N '' -f id; cp id.pub authorized",
    );
    let server = start(&world, "");
    let user = sh(&ssh, "id -un");
    world.brief.url = format!("ssh://{user}@127.0.0.1:{}{}", server.port, world.remote().display());
    know(&mut world, &server, "ed25519");
    use_key(&mut world, "id", None);
    Some((world, server))
}

/// Why there can be no login over ssh here.
fn lack() -> Option<&'static str> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    let may_log_in = user.is_some_and(|user| !user.shell.ends_with("nologin") && !user.shell.ends_with("false"));
    if !may_log_in {
        Some("this user has no login shell")
    } else if !fs::exists("/usr/sbin/sshd").unwrap() {
        Some("needs /usr/sbin/sshd (apt-get install openssh-server)")
    } else {
        None
    }
}

fn start(world: &World, extra: &str) -> Server {
    let ssh = world.home.path().join("ssh");
    if nix::unistd::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").unwrap(); // sshd wants it for its privilege separation
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = ssh.display();
    let host_keys = ["ed25519", "rsa", "ecdsa"].map(|kind| format!("HostKey {dir}/host_{kind}\n")).concat();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\n{host_keys}AuthorizedKeysFile {dir}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n{extra}"
    );
    fs::write(ssh.join("config"), config).unwrap();
    let log = fs::File::create(ssh.join("log")).unwrap();
    let child =
        Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(ssh.join("config")).stderr(log).stdin(Stdio::null()).spawn().unwrap();
    let server = Server { child, port };
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return server;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("sshd does not listen: {}", fs::read_to_string(ssh.join("log")).unwrap());
}

fn host_key(world: &World, kind: &str) -> String {
    let line = fs::read_to_string(world.home.path().join(format!("ssh/host_{kind}.pub"))).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn know(world: &mut World, server: &Server, kind: &str) {
    let line = format!("[127.0.0.1]:{} {}\n", server.port, host_key(world, kind));
    set_known_hosts(world, line);
}

fn set_known_hosts(world: &mut World, text: String) {
    world.brief.known_hosts = [KnownHosts { source: "/etc/gwg/known_hosts".into(), text }].into();
}

fn use_key(world: &mut World, name: &str, passphrase: Option<&str>) {
    let pem = fs::read(world.home.path().join("ssh").join(name)).unwrap();
    world.order.key = Some(Key { pem: Secret::new(pem), passphrase: passphrase.map(|text| Secret::new(text.into())) });
}

#[test]
fn clone_and_update() {
    let Some((world, _server)) = over_ssh("clone_and_update") else { return };
    world.updates_to(world.tip("main"));
    world.write("a", "2");
    world.updates_to(world.commit("second"));
}

#[test]
fn keys_of_every_kind() {
    let Some((mut world, _server)) = over_ssh("keys_of_every_kind") else { return };
    let kinds = [
        ("-t ed25519", None),
        ("-t ed25519", Some("pass phrase")),
        ("-t ecdsa -b 256", None),
        ("-t ecdsa -b 521", Some("phrase")),
        ("-t rsa -b 2048", None),
        ("-t rsa -b 2048", Some("phrase")),
        ("-t rsa -b 2048 -m PEM", None),
        ("-t rsa -b 2048 -m PEM", Some("phrase")),
        ("-t rsa -b 2048 -m PKCS8", Some("phrase")),
        ("-t ecdsa -b 256 -m PEM", None),
    ];
    let tip = world.tip("main");
    for (number, (kind, passphrase)) in kinds.into_iter().enumerate() {
        let ssh = world.home.path().join("ssh");
        let name = format!("k{number}");
        sh(&ssh, &format!("ssh-keygen -q {kind} -N '{}' -f {name}; cat {name}.pub >> authorized", passphrase.unwrap_or_default()));
        use_key(&mut world, &name, passphrase);
        eprintln!("{kind} {passphrase:?}");
        world.updates_to(tip);
    }
}

#[test]
fn a_key_that_is_refused_and_none_at_all() {
    let Some((mut world, _server)) = over_ssh("a_key_that_is_refused_and_none_at_all") else { return };
    sh(&world.home.path().join("ssh"), "ssh-keygen -q -t ed25519 -N '' -f other");
    use_key(&mut world, "other", None);
    world.fails(Step::Fetch, Reason::Auth, "refuses the ssh key for user");
    world.order.key = None;
    world.fails(Step::Fetch, Reason::Auth, "sshPrivKey");
    world.order.key = Some(Key { pem: Secret::new(b"garbage".to_vec()), passphrase: None });
    world.fails(Step::Fetch, Reason::Auth, "");
}

#[test]
fn unknown_changed_and_revoked_host_keys_are_refused() {
    let Some((mut world, server)) = over_ssh("unknown_changed_and_revoked_host_keys_are_refused") else { return };
    let (name, good) = (format!("[127.0.0.1]:{}", server.port), host_key(&world, "ed25519"));
    set_known_hosts(&mut world, String::new());
    world.fails(Step::Fetch, Reason::HostKey, "is unknown; if SHA256:");
    // The line that the message gives is the one that helps.
    let said = world.said();
    let (_, line) = said.split_once("`gwg reload`: ").unwrap();
    set_known_hosts(&mut world, line.into());
    world.updates_to(world.tip("main"));

    sh(&world.home.path().join("ssh"), "ssh-keygen -q -t ed25519 -N '' -f changed");
    let other = fs::read_to_string(world.home.path().join("ssh/changed.pub")).unwrap();
    set_known_hosts(&mut world, format!("# comment\n{name} {other}"));
    world.fails(Step::Fetch, Reason::HostKey, "is not the one in /etc/gwg/known_hosts line 2");
    set_known_hosts(&mut world, format!("{name} {good}\n@revoked * {good}\n"));
    world.fails(Step::Fetch, Reason::HostKey, "is revoked by /etc/gwg/known_hosts line 2");
    let log = fs::read_to_string(world.home.path().join("ssh/log")).unwrap();
    assert_eq!(log.matches("Accepted publickey").count(), 1, "the key was offered to an unknown host: {log}");
}

#[test]
fn the_host_may_be_known_by_any_kind_of_key_in_any_form() {
    let Some((mut world, server)) = over_ssh("the_host_may_be_known_by_any_kind_of_key_in_any_form") else { return };
    let tip = world.tip("main");
    for kind in ["rsa", "ecdsa", "ed25519"] {
        know(&mut world, &server, kind);
        world.updates_to(tip);
    }
    let key = host_key(&world, "rsa");
    for hosts in ["*".to_owned(), format!("[127.0.0.*]:{}", server.port), "127.0.0.1".to_owned()] {
        set_known_hosts(&mut world, format!("garbage\r\n{hosts} {key}\r\n"));
        world.updates_to(tip);
    }
    let plain = format!("[127.0.0.1]:{} {key}\n", server.port);
    fs::write(world.home.path().join("ssh/kh"), plain).unwrap();
    sh(&world.home.path().join("ssh"), "ssh-keygen -q -H -f kh 2>/dev/null");
    let hashed = fs::read_to_string(world.home.path().join("ssh/kh")).unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");
    set_known_hosts(&mut world, hashed);
    world.updates_to(tip);
}

#[test]
fn a_repository_that_is_not_there() {
    let Some((mut world, _server)) = over_ssh("a_repository_that_is_not_there") else { return };
    world.brief.url.push_str("-not");
    world.fails(Step::Fetch, Reason::NoRepository, "does not appear to be a git repository");
}

#[test]
fn a_path_that_is_a_command_runs_nothing_on_the_server() {
    let Some((mut world, _server)) = over_ssh("a_path_that_is_a_command_runs_nothing_on_the_server") else { return };
    let (honest, ran) = (world.brief.url.clone(), world.home.path().join("ran"));
    let touch = format!("touch${{IFS}}{}", ran.display());
    for path in [format!("';{touch};'"), format!("';{touch}#"), format!("$({touch})"), format!("`{touch}`"), format!("|{touch}|")] {
        world.brief.url = format!("{honest}{path}");
        world.fails(Step::Fetch, Reason::NoRepository, "does not appear to be a git repository");
        assert!(!ran.exists(), "{path} was run");
    }
}

/// A server that greets as one of ssh, reads until the client has offered its algorithms, and says
/// `answer`. Gives the world and what the client offered.
fn over_greeting(answer: &'static [u8]) -> (World, std::thread::JoinHandle<Vec<u8>>) {
    let mut world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    world.brief.url = format!("ssh://git@127.0.0.1:{}/r", listener.local_addr().unwrap().port());
    set_known_hosts(&mut world, "* ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n".into());
    let offered = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-greeting\r\n").unwrap();
        let (mut offered, mut piece) = (Vec::new(), [0; 4096]);
        // The offer is one packet; it ends with the languages, which nobody has: enough is half of it.
        while !offered.windows(9).any(|word| word == b"hmac-sha2") {
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "the client left before it offered anything");
            offered.extend_from_slice(&piece[..length]);
        }
        let _it_may_have_left = stream.write_all(answer);
        let _it_may_have_left = stream.read(&mut piece);
        offered
    });
    (world, offered)
}

#[test]
fn a_packet_that_says_to_be_larger_than_any_ends_the_update() {
    for length in [b"\xff\xff\xff\xff\x04", b"\x7f\xff\xff\xff\x04", b"\x00\x00\x00\x00\x00", b"\x00\x10\x00\x00\x04"] {
        let (world, offered) = over_greeting(length);
        world.fails(Step::Fetch, Reason::Network, "");
        offered.join().unwrap();
    }
}

#[test]
fn the_strict_key_exchange_is_offered() {
    let (world, offered) = over_greeting(b"");
    world.fails(Step::Fetch, Reason::Network, "");
    let offered = String::from_utf8_lossy(&offered.join().unwrap()).into_owned();
    assert!(offered.contains("kex-strict-c-v00@openssh.com"), "{offered}");
}

#[test]
fn a_remote_that_says_nothing_is_given_up() {
    let Some((mut world, server)) = over_ssh("a_remote_that_says_nothing_is_given_up") else { return };
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    world.brief.url = world.brief.url.replace(&format!(":{}", server.port), &format!(":{port}"));
    world.brief.silence_ms = 500;
    let begun = std::time::Instant::now();
    world.fails(Step::Fetch, Reason::Network, "");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
