//! F19: descriptors are exhausted, in the listener and in the supervisor. Nobody spins, signed deliveries are
//! served, and what could not be done is done when there is room again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::ambush::{Ambush, Prey};
use support::processes::Process;
use support::site::{PATH, Site};
use support::{gateway, need, wait};

/// Connections that never say anything.
const CROWD: usize = 60;
/// Who begins so many telling calls in [`WHILE`] with nothing to do spins; who tries again now and then begins a few dozen.
const SPINS: usize = 1000;
/// How long to look.
const WHILE: Duration = Duration::from_secs(3);

/// How many descriptors a process may have from now on. Said by its own user, who may; not every root may.
fn allow(process: Process, count: u32) {
    let user = process.status("Uid").unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--pid", &process.pid().to_string(), &format!("--nofile={count}:")]).uid(user).gid(user);
    assert!(command.status().unwrap().success());
}

/// The limit with which a process can open so many more.
fn room_for(process: Process, more: usize) -> u32 {
    let open: Vec<u32> = process.descriptors().into_iter().map(|(number, _)| number).collect();
    (0..).filter(|number| !open.contains(number)).nth(more).unwrap()
}

/// Root sees other users' descriptors and may limit them; the program does it.
fn needs() -> Option<()> {
    need::root()?;
    need::program("prlimit", "util-linux").map(|_| ())
}

fn assert_rests(process: Process) {
    let ambush = Ambush::lay(Prey::Running(process), SPINS);
    let fate = ambush.fate(WHILE);
    assert!(fate.is_none(), "it spins: {:?}", fate.map(|fate| fate.calls[SPINS - 20..].to_vec()));
    // What traces it ends with it.
    drop(ambush);
}

/// Holds idle connections open, and comes again for each one that is closed.
fn crowd(port: u16, stop: Arc<AtomicBool>, turned_away: Arc<AtomicUsize>) {
    let connect = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut idle: Vec<TcpStream> = (0..CROWD).map(|_| connect()).collect();
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut idle {
            let end = stream.read(&mut [0; 512]);
            if end.is_ok() || end.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
                turned_away.fetch_add(1, Ordering::Relaxed);
                *stream = connect();
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn f19_a_listener_short_of_descriptors_serves_signed_deliveries_before_idle_strangers() {
    let Some(()) = needs() else { return };
    let site = Site::new();
    let (listener, port) = (site.gateway.child("gwg-listener"), site.gateway.port());
    allow(listener, room_for(listener, 16));
    let (stop, turned_away) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let strangers = thread::spawn({
        let (stop, turned_away) = (stop.clone(), turned_away.clone());
        move || crowd(port, stop, turned_away)
    });
    wait::until_true("there are more than it can have", || turned_away.load(Ordering::Relaxed) > CROWD);
    let commit = site.remote.publish(&[("README", "second\n")]);
    let push = site.gateway.push(PATH, &commit);
    let accepted = (0..200).filter(|_| push.try_send(port).is_ok_and(|answer| answer.status == 202)).count();
    assert!(accepted >= 198, "{accepted} of 200");
    stop.store(true, Ordering::Relaxed);
    strangers.join().unwrap();
    assert_eq!(site.gateway.child("gwg-listener"), listener, "it died of it");
    site.tree().wait_for(&commit, None);
}

#[test]
fn f19_a_listener_without_any_descriptor_left_waits_and_then_answers_all_who_waited() {
    let Some(()) = needs() else { return };
    let site = Site::new();
    let listener = site.gateway.child("gwg-listener");
    allow(listener, room_for(listener, 0));
    let push = site.gateway.push(PATH, &site.remote.publish(&[("README", "second\n")]));
    let mut waiting: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, site.gateway.port())).unwrap()).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(&push.request()).unwrap());
    // The listener is traced from here to its end.
    assert_rests(listener);
    assert_eq!(site.gateway.updates(PATH), 1, "somebody was heard: there was a descriptor");
    allow(listener, 1000);
    for mut stream in waiting {
        stream.set_read_timeout(Some(wait::LONG)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
}

#[test]
fn f19_a_supervisor_without_any_descriptor_left_waits_says_so_and_goes_on() {
    let Some(()) = needs() else { return };
    let site = Site::new();
    let supervisor = site.gateway.process();
    let mark = site.gateway.log().mark();
    allow(supervisor, room_for(supervisor, 0));
    // What it can't accept stands before its doors meanwhile.
    let operators: Vec<UnixStream> = (0..5).map(|_| UnixStream::connect(site.scratch.path().join("run/control.sock")).unwrap()).collect();
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deliver(PATH, &commit);
    site.gateway.log().wait_after(mark, &["could not be started", "role=gwg-updater", "Too many open files"]);
    assert_rests(supervisor);
    assert_ne!(site.tree().head().as_ref(), Some(&commit));
    drop(operators);
    allow(supervisor, 1000);
    site.tree().wait_for(&commit, None);
    site.deploy(&[("README", "third\n")]);
    assert!(gateway::run(&site.scratch, &["status"]).status.success());
}
