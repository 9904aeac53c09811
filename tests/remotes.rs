//! P7: remotes that stall, drip, never end or lead elsewhere, against a running gateway. Each update
//! ends at its deadline or at a limit, its slot is free again, an honest repository is served meanwhile,
//! and when the remote turns honest its work tree is deployed.
//!
//! An unknown and a changed host key are `tests/ssh.rs`'s: `an_unknown_host_is_refused_…` and
//! `a_changed_host_key_is_refused_and_the_tree_kept`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use serde_json::json;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;
use support::config::{Config, Repo};
use support::loopback::Loopback;
use support::pack::{Id, Kind, Pack, advertisement, hex, line, read_line};
use support::site::{Ground, Site};
use support::{git_daemon, keys};

/// Milliseconds; ± 1 s is what is promised.
const DEADLINE_MS: u64 = 2_000;

/// What a server does with a connection.
type Evil = fn(&mut TcpStream) -> io::Result<()>;

/// How the update must end.
#[derive(Clone, Copy)]
enum End {
    Deadline,
    Limit,
    /// At once, for this reason.
    Refused(&'static str),
}

struct Case {
    name: &'static str,
    scheme: &'static str,
    evil: Evil,
    end: End,
}

const fn case(name: &'static str, scheme: &'static str, evil: Evil, end: End) -> Case {
    Case { name, scheme, evil, end }
}

const CASES: &[Case] = &[
    case("git-silent", "git", hold, End::Deadline),
    case("git-after-refs", "git", |stream| said(stream, b""), End::Deadline),
    case("git-in-pack-header", "git", |stream| said(stream, b"0008NAK\nPACK\0\0"), End::Deadline),
    case("git-inside-pack", "git", |stream| said(stream, &[b"0008NAK\n", &pack().1.bytes()[..40]].concat()), End::Deadline),
    case("git-after-pack", "git", |stream| said(stream, &[b"0008NAK\n".as_slice(), &pack().1.bytes()].concat()), End::Deadline),
    case("git-drips", "git", |stream| drip(stream, &refs("")), End::Deadline),
    case("git-endless-refs", "git", endless_refs, End::Deadline),
    case("git-endless-pack", "git", endless_pack, End::Limit),
    case("git-endless-progress", "git", endless_progress, End::Limit),
    case("git-hangs-up", "git", |_| Ok(()), End::Refused("net")),
    case("http-silent", "http", hold, End::Deadline),
    case(
        "http-drips",
        "http",
        |stream| drip(stream, b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"),
        End::Deadline,
    ),
    case("http-endless-header", "http", endless_header, End::Deadline),
    case("http-elsewhere", "http", redirect, End::Refused("net")),
    case("https-silent", "https", hold, End::Deadline),
    case("https-rubbish", "https", |stream| stream.write_all(b"HTTP/1.1 400 no\r\n\r\n"), End::Refused("net")),
    case("ssh-silent", "ssh", hold, End::Deadline),
    case("ssh-drips", "ssh", |stream| drip(stream, b"SSH-2.0-OpenSSH_9.2p1 evil evil evil evil"), End::Deadline),
    case("ssh-after-banner", "ssh", |stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").and_then(|()| hold(stream)), End::Deadline),
];

/// Reads and answers nothing, until the other side has enough.
fn hold(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        sleep(Duration::from_millis(300));
    }
    hold(stream)
}

fn pack() -> (Id, Pack) {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, b"honest\n");
    let root = pack.tree(&[("100644", b"a", file)]);
    let tip = pack.commit(root);
    (tip, pack)
}

fn refs(capabilities: &str) -> Vec<u8> {
    let first = format!("{} refs/heads/master\0{capabilities}\n", hex(pack().0));
    [line(first.as_bytes()), b"0000".to_vec()].concat()
}

/// Says its refs and, when it is asked for objects, this; then nothing more.
fn said(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    asked(stream, "ofs-delta")?;
    stream.write_all(answer)?;
    hold(stream)
}

fn asked(stream: &mut TcpStream, capabilities: &str) -> io::Result<()> {
    read_line(stream)?;
    stream.write_all(&refs(capabilities))?;
    while read_line(stream)? != b"done\n" {}
    Ok(())
}

fn endless_refs(stream: &mut TcpStream) -> io::Result<()> {
    read_line(stream)?;
    let begin = advertisement(&[(&hex(pack().0), b"refs/heads/master")]);
    // Without the "0000" that ends it.
    stream.write_all(&begin[..begin.len() - 4])?;
    for number in 0_u64.. {
        stream.write_all(&line(format!("{} refs/heads/{number:0200}\n", hex(pack().0)).as_bytes()))?;
        if number % 100 == 0 {
            sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// One blob that is stored as it is, and never ends.
fn endless_pack(stream: &mut TcpStream) -> io::Result<()> {
    asked(stream, "ofs-delta")?;
    let mut pack = Pack::default();
    pack.raw(Kind::Blob, 1 << 40, &[], &[0x78, 0x01]);
    let bytes = pack.bytes();
    stream.write_all(b"0008NAK\n")?;
    stream.write_all(&bytes[..bytes.len() - 20])?;
    let block = [[0, 0xff, 0xff, 0, 0].as_slice(), &[7; 0xffff]].concat();
    loop {
        stream.write_all(&block)?;
    }
}

fn endless_progress(stream: &mut TcpStream) -> io::Result<()> {
    asked(stream, "side-band-64k ofs-delta")?;
    stream.write_all(b"0008NAK\n")?;
    let words = line(&[b"\x02\x1b[2J".as_slice(), &[b'.'; 60_000]].concat());
    loop {
        stream.write_all(&words)?;
    }
}

fn endless_header(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
    loop {
        stream.write_all(b"x: y\r\n")?;
        sleep(Duration::from_millis(1));
    }
}

/// To another host of this machine, at this very port.
fn redirect(stream: &mut TcpStream) -> io::Result<()> {
    let _request = stream.read(&mut [0; 4096])?;
    let port = stream.local_addr()?.port();
    let path = "/evil/info/refs?service=git-upload-pack";
    write!(stream, "HTTP/1.1 302 Found\r\nLocation: http://localhost:{port}{path}\r\nContent-Length: 0\r\n\r\n")
}

/// A server that is evil until it is told otherwise, and then the honest remote's.
struct Server {
    server: Loopback,
    evil: Arc<AtomicBool>,
}

impl Server {
    fn start(evil: Evil, root: &std::path::Path) -> Self {
        let flag = Arc::new(AtomicBool::new(true));
        let (ours, root) = (flag.clone(), root.to_owned());
        let server = Loopback::start(move |mut stream| {
            let _gone = if ours.load(Ordering::Relaxed) { evil(&mut stream) } else { git_daemon::serve(stream, &root) };
        });
        Self { server, evil: flag }
    }
}

fn repo(ground: &Ground, case: &Case, server: &Server) -> Repo {
    let port = server.server.port();
    let user = if case.scheme == "ssh" { "git@" } else { "" };
    let url = format!("{}://{user}127.0.0.1:{port}/{}", case.scheme, ground.remote.name());
    let repo = Repo::new(&ground.scratch, &format!("/{}", case.name), &url);
    // Without a retry before the test is over, but for a new delivery.
    let repo = repo.set("limits", json!({"deadline": DEADLINE_MS / 1_000, "pack": "1MiB", "object": "1MiB", "files": 1000}));
    match case.scheme {
        "ssh" => repo.set("sshPrivKey", ground.scratch.path().join("key").to_str().unwrap()),
        _ => repo,
    }
}

fn start(ground: Ground, servers: &[Server]) -> Site {
    keys::generate(ground.scratch.path(), "key", &["-t", "ed25519"], "");
    let honest = ground.repo();
    let config = Config::new().set("threads", 4).set("retry_count", 1).repo(honest);
    let config = CASES.iter().zip(servers).fold(config, |config, (case, server)| config.repo(repo(&ground, case, server)));
    ground.start(config)
}

/// The number behind a key of a line of the log.
fn number(line: &str, key: &str) -> u64 {
    let (_, rest) = line.rsplit_once(&format!(" {key}=")).unwrap_or_else(|| panic!("{line} has no {key}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn p7_a_remote_that_stalls_or_never_ends_costs_its_deadline_and_no_more() {
    let ground = Ground::new();
    let root = ground.scratch.path().join("remotes");
    let servers: Vec<_> = CASES.iter().map(|case| Server::start(case.evil, &root)).collect();
    let site = start(ground, &servers);

    // Between them, in the slots that they leave.
    site.tree().wait_for(&site.remote.head(), None);
    site.deploy(&[("README", "second\n")]);
    for case in CASES {
        let path = format!("/{}", case.name);
        let reason = match case.end {
            End::Deadline => "deadline",
            End::Limit => "limit",
            End::Refused(reason) => reason,
        };
        let line = site.gateway.wait_for_log(0, &path, &["update failed", &format!("reason={reason}")]);
        let ms = number(&line, "ms");
        match case.end {
            End::Deadline => assert!((DEADLINE_MS..=DEADLINE_MS + 1_000).contains(&ms), "{line}"),
            End::Limit | End::Refused(_) => assert!(ms < DEADLINE_MS, "{line}"),
        }
    }
    assert_eq!(servers[CASES.iter().position(|case| case.name == "http-elsewhere").unwrap()].server.seen(), 1, "the redirect was followed");
    assert!(site.gateway.log().lines().iter().all(|line| !line.chars().any(char::is_control)));

    let turned: Vec<_> = CASES.iter().zip(&servers).filter(|(case, _)| case.scheme == "git").collect();
    let commit = site.remote.publish(&[("README", "third\n")]);
    for (case, server) in turned {
        server.evil.store(false, Ordering::Relaxed);
        let path = format!("/{}", case.name);
        // An honest update may pass so short a deadline on a busy machine; the next does not.
        let deployed = (0..5).any(|_| {
            let mark = site.gateway.log().mark();
            site.gateway.deliver(&path, &commit);
            site.gateway.wait_for_log(mark, &path, &["cause=delivery", " ms="]).contains("update ok")
        });
        assert!(deployed, "{path}");
        assert_eq!(site.gateway.tree(&path).head().as_deref(), Some(commit.as_str()), "{path}");
        site.gateway.tree(&path).assert_healthy();
    }
}
