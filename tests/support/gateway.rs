//! A running gwg: the real executable with a configuration of the test's, watched from outside.
//!
//! As root its children get numeric users that nobody has; otherwise all runs as whoever runs the
//! tests. So each test that uses this says something about both worlds.

use super::config::{Config, SECRET};
use super::delivery::{self, Answer, Delivery};
use super::log::Log;
use super::processes::Process;
use super::scratch::{self, Scratch};
use super::tree::Tree;
use super::wait;
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The executable.
pub const GWG: &str = env!("CARGO_BIN_EXE_gwg");

/// A running gateway; killed when dropped. Its log is printed where the test fails.
pub struct Gateway {
    scratch: Scratch,
    config: Config,
    user: Option<u32>,
    child: Child,
    port: u16,
    log: Log,
}

impl Gateway {
    /// Starts it and waits until it answers.
    pub fn start(scratch: &Scratch, config: Config) -> Self {
        Self::start_as(scratch, config, None)
    }

    /// The same, invoked by another user (as root only).
    pub fn start_as(scratch: &Scratch, config: Config, user: Option<u32>) -> Self {
        let log = Log::default();
        for _ in 0..10 {
            let port = free_port();
            let config = config.clone().set("port", port);
            delivery::forget(port);
            let child = spawn(scratch, &config, user, &log);
            let mut gateway = Self { scratch: scratch.clone(), config, user, child, port, log: log.clone() };
            if gateway.answers() {
                return gateway;
            }
            // Another test may have been faster.
            assert!(!gateway.log.matching(&["in use"]).is_empty(), "gwg ended at start:\n{}", gateway.log.lines().join("\n"));
        }
        panic!("found no free port");
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Ends it if it still runs, and starts it again on the same port with the same directories.
    pub fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(&self.scratch, &self.config, self.user, &self.log);
        assert!(self.answers(), "gwg ended at its second start");
    }

    /// Writes another configuration, on the same port unless it says another, asks for it with SIGHUP, and
    /// waits until it is in force. Gives the line of the log that says so.
    pub fn reload(&mut self, config: Config) -> String {
        let mark = self.log.mark();
        self.write(config);
        self.process().signal(Signal::SIGHUP);
        self.log.wait_after(mark, &["config loaded"])
    }

    /// Writes another configuration into the file.
    pub fn write(&mut self, config: Config) {
        self.scratch.file("gwg.yaml", &config.yaml());
        if let Some(port) = config.number("port") {
            self.port = port;
        }
        self.config = config;
    }

    /// The file that its configuration is in.
    pub fn file(&self) -> PathBuf {
        self.scratch.path().join("gwg.yaml")
    }

    /// Ends it and starts it again under a rain of signals, which ends when it is ready.
    pub fn restart_under(&mut self, signal: Signal) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mark = self.log.mark();
        self.child = spawn(&self.scratch, &self.config, self.user, &self.log);
        // Until its first lines have run a signal ends any process.
        wait::until_true("gwg has begun", || self.process().minds(signal));
        wait::until_true("gwg is ready", || {
            self.process().signal(signal);
            self.log.lines().into_iter().skip(mark).any(|line| line.contains(" ready"))
        });
    }

    /// Waits until a request is answered; false where gwg ended instead. Connecting alone would not
    /// tell: the supervisor's socket takes connections before there is a listener.
    fn answers(&mut self) -> bool {
        let (port, owned) = (self.port, program(&self.scratch) != Path::new(GWG));
        wait::until("gwg answers or ends", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // An owned listener does not know HTTP.
            if owned {
                return self.log.lines().iter().any(|line| line.contains("ready listen=")).then_some(true);
            }
            let probe = Delivery::event("/", "ping", &serde_json::json!({})).method("GET");
            probe.try_send(port).is_ok().then_some(true)
        })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The supervisor.
    pub fn process(&self) -> Process {
        Process::of(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Waits for a child of this name that is none of `others`.
    pub fn child_other_than(&self, name: &str, others: &[Process]) -> Process {
        let supervisor = self.process();
        wait::until(&format!("there is a new {name}"), || {
            supervisor.children().into_iter().find(|child| child.name() == name && child.alive() && !others.contains(child))
        })
    }

    /// Waits for a child of this name.
    pub fn child(&self, name: &str) -> Process {
        self.child_other_than(name, &[])
    }

    /// Sends a signal and waits for the end.
    pub fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.process().signal(signal);
        (self.wait(), start.elapsed())
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        wait::until("gwg ends", || self.child.try_wait().unwrap())
    }

    /// Waits for a line of the log about the repository at `path` with all of the words.
    pub fn wait_for_log(&self, mark: usize, path: &str, words: &[&str]) -> String {
        let repo = format!("repo={path}");
        let words: Vec<&str> = words.iter().copied().chain([repo.as_str()]).collect();
        self.log.wait_after(mark, &words)
    }

    /// How many updates of the repository at `path` ended well.
    pub fn updates(&self, path: &str) -> usize {
        self.log.matching(&["update ok", &format!("repo={path} ")]).len()
    }

    /// A signed push of that commit to what the repository at `path` follows.
    pub fn push(&self, path: &str, commit: &str) -> Delivery {
        let repo = self.config.repo_at(path);
        Delivery::push(path, repo.text("url").unwrap(), &repo.ref_name(), commit).sign(SECRET)
    }

    /// Sends [`push`](Self::push), which must be accepted.
    pub fn deliver(&self, path: &str, commit: &str) -> Answer {
        let answer = self.push(path, commit).send(self.port);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer
    }

    /// The work tree of the repository at `path`.
    pub fn tree(&self, path: &str) -> Tree {
        self.config.repo_at(path).tree()
    }

    /// Delivers the commit and waits until it is deployed and healthy.
    pub fn deploy(&self, path: &str, commit: &str) {
        let tree = self.tree(path);
        let before = tree.touched();
        self.deliver(path, commit);
        tree.wait_for(commit, before);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what gwg wrote:\n{}\n---", self.log.lines().join("\n"));
        }
    }
}

/// A running gwg whose configuration the test wrote itself, wherever; killed when dropped. As root the children's
/// users are given by variables of the environment.
pub struct Bare {
    child: Child,
    log: Log,
}

impl Bare {
    /// Starts it.
    pub fn start(scratch: &Scratch, file: &Path) -> Self {
        let log = Log::default();
        let mut command = with_config(command(scratch, None), file);
        // Never the machine's own syslog.
        command.env("GWG_AUDIT_SYSLOG", "false");
        if super::need::is_root() {
            let users = [("GWG_USER", scratch::UPDATER), ("GWG_WORKER_USER", scratch::WORKER), ("GWG_LISTENER_USER", scratch::LISTENER)];
            command.envs(users.map(|(name, user)| (name, user.to_string())));
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        log.collect(child.stdout.take().unwrap());
        log.collect(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// What it wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what gwg wrote:\n{}\n---", self.log.lines().join("\n"));
        }
    }
}

/// `gwg` with only what the test gives it: no configuration, state or home of the machine's.
pub fn command(scratch: &Scratch, user: Option<u32>) -> Command {
    let mut command = Command::new(program(scratch));
    command.env_clear().current_dir(scratch.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (variable, name) in [
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", "home/.config"),
        ("XDG_STATE_HOME", "home/.local/state"),
        ("XDG_RUNTIME_DIR", "home/run"),
        ("STATE_DIRECTORY", "state"),
        ("RUNTIME_DIRECTORY", "run"),
    ] {
        command.env(variable, own(scratch, name, user));
    }
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

/// The directory of executables of another build, a release build for one, that are to be tested in place of the tests' own.
const OTHERS: &str = "GWG_TEST_BIN";

/// The built executable; where the test has laid out others (`owned::house`), the one among those.
fn program(scratch: &Scratch) -> PathBuf {
    let own = scratch.path().join("bin/gwg");
    match std::env::var_os(OTHERS) {
        _ if own.exists() => own,
        Some(directory) => {
            let other = Path::new(&directory).join("gwg");
            assert!(other.is_absolute() && other.is_file(), "{OTHERS}: {} is no executable, with its whole path", other.display());
            other
        }
        None => GWG.into(),
    }
}

/// Runs `gwg` to its end.
pub fn run(scratch: &Scratch, arguments: &[&str]) -> Output {
    command(scratch, None).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn own(scratch: &Scratch, name: &str, user: Option<u32>) -> PathBuf {
    let path = scratch.directory(name);
    if let Some(user) = user {
        scratch::give_to(&path, user);
    }
    path
}

fn spawn(scratch: &Scratch, config: &Config, user: Option<u32>, log: &Log) -> Child {
    let file = scratch.file(&config.file_name(), &config.text());
    if let Some(user) = user {
        scratch::give_to(&file, user);
    }
    let mut child = with_config(command(scratch, user), &file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    log.collect(child.stdout.take().unwrap());
    log.collect(child.stderr.take().unwrap());
    child
}

fn with_config(mut command: Command, file: &Path) -> Command {
    command.arg("--config").arg(file).stdin(Stdio::null());
    command
}

/// A port below those that the kernel gives to outgoing connections, so that only another test can
/// take it before gwg does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (start + step) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
