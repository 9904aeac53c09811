//! gwg under a service manager, which the test plays: what gwg tells it (sd_notify(3)), and sockets
//! that it passes to gwg (sd_listen_fds(3)).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::cmsg_space;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::config::{Config, Repo};
use support::gateway::{GWG, command};
use support::log::Log;
use support::processes::Process;
use support::scratch::Scratch;
use support::site::{Ground, PATH};
use support::{delivery, need, wait};

/// The one whom gwg tells.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    scratch: Scratch,
}

/// A gwg that it started; killed when dropped.
struct Service {
    child: Child,
    log: Log,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what gwg wrote:\n{}\n---", self.log.lines().join("\n"));
        }
    }
}

impl Manager {
    fn new(scratch: &Scratch) -> Self {
        let path = scratch.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, path, scratch: scratch.clone() }
    }

    /// Starts gwg, with a listening socket where there is one to pass.
    fn start(&self, config: &Config, variables: &[(&str, &str)], socket: Option<(&str, &TcpListener)>) -> Service {
        let file = self.scratch.file("gwg.yaml", &config.yaml());
        let mut of_gwg = command(&self.scratch, None);
        of_gwg.arg("--config").arg(file);
        // Only after its fork does a process know its pid, which LISTEN_PID must say.
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", GWG]).args(of_gwg.get_args()).env_clear();
        command.envs(of_gwg.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("NOTIFY_SOCKET", &self.path).envs(variables.iter().copied());
        if let Some((name, socket)) = socket {
            command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
            pass(&mut command, socket.as_raw_fd());
        }
        let mut child =
            command.current_dir(self.scratch.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        log.collect(child.stdout.take().unwrap());
        log.collect(child.stderr.take().unwrap());
        Service { child, log }
    }

    /// The next message that has these words, and the socket that came with it.
    fn hear(&self, words: &str) -> (String, Option<TcpListener>) {
        loop {
            let mut buffer = [0; 4096];
            let mut space = cmsg_space!([RawFd; 1]);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
                .unwrap_or_else(|error| panic!("gwg did not say {words}: {error}"));
            let length = message.bytes;
            let rights = message.cmsgs().unwrap().find_map(|control| match control {
                ControlMessageOwned::ScmRights(numbers) => numbers.first().copied(),
                _ => None,
            });
            // SAFETY: the kernel has just made this descriptor, and nothing else has seen it.
            #[allow(unsafe_code)]
            let socket = rights.map(|number| TcpListener::from(unsafe { OwnedFd::from_raw_fd(number) }));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(words) {
                return (text, socket);
            }
        }
    }
}

/// As descriptor 3, where sd_listen_fds(3) has the first.
fn pass(command: &mut Command, number: RawFd) {
    let before_exec = move || {
        // SAFETY: takes two numbers; what stood at 3 in the forked child is only closed at exec anyway.
        #[allow(unsafe_code)]
        match unsafe { nix::libc::dup2(number, 3) } {
            3 if number == 3 => Err(std::io::Error::other("descriptor 3 was taken: it would be closed at exec")),
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing on its way to success.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(before_exec)
    };
}

fn config(repo: Repo, port: u16) -> Config {
    Config::new().set("port", port).repo(repo)
}

/// Port and socket, at a number above 3.
fn listener() -> (TcpListener, u16) {
    let low = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = low.local_addr().unwrap().port();
    (low.try_clone().unwrap(), port)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn ready_means_that_it_serves_and_stopping_is_said() {
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    let port = free_port();
    let mut service = manager.start(&config(ground.repo(), port), &[], None);
    let (said, _) = manager.hear("READY=1");
    assert!(said.contains("STATUS=serving 1 repository"), "{said}");
    assert_eq!(delivery::Delivery::event("/", "ping", &serde_json::json!({})).send(port).status, 404);
    Process::of(service.child.id().cast_signed()).unwrap().signal(Signal::SIGTERM);
    manager.hear("STOPPING=1");
    assert!(wait::until("gwg ends", || service.child.try_wait().unwrap()).success());
}

#[test]
fn without_a_repository_it_runs_and_says_what_to_do_next() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let service = manager.start(&Config::new().set("port", free_port()), &[], None);
    let (said, _) = manager.hear("READY=1");
    assert!(said.contains("no repository is configured"), "{said}");
    service.log.wait(&["no repository is configured", "url, path, directory and secret"]);
}

#[test]
fn the_watchdog_hears_of_it_as_long_as_it_lives() {
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    let service = manager.start(&config(ground.repo(), free_port()), &[("WATCHDOG_USEC", "400000")], None);
    manager.hear("READY=1");
    (0..3).for_each(|_| drop(manager.hear("WATCHDOG=1")));
    // What hangs says nothing: what is left in the socket are ticks from before.
    let process = Process::of(service.child.id().cast_signed()).unwrap();
    process.signal(Signal::SIGSTOP);
    manager.socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut buffer = [0; 4096];
    let left = std::iter::from_fn(|| manager.socket.recv(&mut buffer).ok()).take(20).count();
    assert!(left < 20, "a stopped process went on telling");
}

#[test]
fn a_socket_units_socket_is_listened_on_and_nothing_else_is_bound() {
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    let (socket, port) = listener();
    let configured = free_port();
    let service = manager.start(&config(ground.repo(), configured), &[], Some(("gwg.socket", &socket)));
    manager.hear("READY=1");
    service.log.wait(&["a socket unit says where to listen", &configured.to_string()]);
    service.log.wait(&["ready", &format!("listen=127.0.0.1:{port}")]);
    assert_eq!(delivery::Delivery::event("/", "ping", &serde_json::json!({})).send(port).status, 404);
    assert!(std::net::TcpStream::connect(("127.0.0.1", configured)).is_err());
    ground.repo().tree().wait_for(&ground.remote.head(), None);
}

#[test]
fn who_connects_during_a_restart_waits_and_is_answered() {
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    let config = config(ground.repo(), free_port());
    let first = manager.start(&config, &[], None);
    let (words, kept) = manager.hear("FDSTORE=1");
    let kept = kept.expect("a socket to keep");
    let name = words.split("FDNAME=").nth(1).unwrap().trim();
    manager.hear("READY=1");
    let port = kept.local_addr().unwrap().port();
    drop(first);
    let delivered = {
        let push = delivery::Delivery::push(PATH, ground.repo().text("url").unwrap(), "refs/heads/master", &ground.remote.head());
        let push = push.sign(support::config::SECRET);
        std::thread::spawn(move || push.send(port))
    };
    // It is connected, and nobody is there to take it.
    wait::until_true("the delivery waits", || waiting(port) > 0);
    let _second = manager.start(&config, &[], Some((name, &kept)));
    assert_eq!(delivered.join().unwrap().status, 202);
}

/// How many connections wait to be accepted, as the kernel has it: proc(5), net/tcp.
fn waiting(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = format!(":{port:04X} 00000000:0000 0A ");
    let line = table.lines().find(|line| line.contains(&listening)).expect("the socket listens");
    let queues = line.split_whitespace().nth(4).unwrap();
    u64::from_str_radix(queues.split(':').nth(1).unwrap(), 16).unwrap()
}

#[test]
fn a_service_manager_that_is_not_there_is_named() {
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    std::fs::remove_file(&manager.path).unwrap();
    let mut service = manager.start(&config(ground.repo(), free_port()), &[], None);
    assert_eq!(wait::until("gwg ends", || service.child.try_wait().unwrap()).code(), Some(1));
    service.log.wait(&["NOTIFY_SOCKET=", "notify"]);
}

#[test]
fn no_child_learns_of_the_service_manager() {
    let Some(()) = need::root() else { return };
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    let service = manager.start(&config(ground.repo(), free_port()), &[], None);
    manager.hear("READY=1");
    for child in Process::of(service.child.id().cast_signed()).unwrap().children() {
        let environment = std::fs::read(child.path("environ")).unwrap();
        assert!(environment.is_empty(), "{}: {}", child.name(), String::from_utf8_lossy(&environment));
    }
}

#[test]
fn an_upgrade_in_place_is_told_as_a_reload_and_keeps_a_socket_units_socket() {
    let ground = Ground::new();
    let manager = Manager::new(&ground.scratch);
    let (socket, port) = listener();
    let service = manager.start(&config(ground.repo(), free_port()), &[("WATCHDOG_USEC", "400000")], Some(("gwg.socket", &socket)));
    manager.hear("READY=1");
    let process = Process::of(service.child.id().cast_signed()).unwrap();
    for _ in 0..2 {
        let mark = service.log.mark();
        process.signal(Signal::SIGUSR2);
        let (said, _) = manager.hear("RELOADING=1");
        assert!(said.contains("MONOTONIC_USEC="), "{said}");
        manager.hear("READY=1");
        manager.hear("WATCHDOG=1");
        service.log.wait_after(mark, &["upgraded in place", &format!("pid={}", process.pid())]);
        service.log.wait_after(mark, &["ready", &format!("listen=127.0.0.1:{port}")]);
        assert_eq!(delivery::Delivery::event("/", "ping", &serde_json::json!({})).send(port).status, 404);
    }
}
