//! The real gwg-updater, started as the supervisor starts it: its messages, its death at any moment.
//! As root it runs under a throw-away uid.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use gwg::audit::{Failure, Reason, Step};
use gwg::brief::updater::Brief;
use gwg::brief::{Label, LabelKind};
use gwg::confine::spawn::{Account, Given, Limits, command};
use gwg::confine::{Confinement, descriptors};
use gwg::ids::{CommitId, RepoId};
use gwg::wire::frame;
use gwg::wire::order::{FromUpdater, Order, Outcome, Report};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A number that no user of the machine has.
const NOBODY: u32 = 64_987;

/// What an updater reports at its end; the steps before it come in their order.
fn report(worker: &mut UnixStream) -> std::io::Result<Report> {
    let mut last = Step::Start;
    loop {
        match frame::read(worker)? {
            FromUpdater::Step(step) => assert!(step > std::mem::replace(&mut last, step), "{step:?} after {last:?}"),
            FromUpdater::Report(report) => return Ok(report),
        }
    }
}

/// A remote repository, served on loopback, and a place for a work tree that the updater's user owns.
struct World {
    home: TempDir,
    brief: Brief,
}

/// An updater that has been given its brief, and the worker's end of its link.
struct Running {
    child: Child,
    worker: UnixStream,
    log: File,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = serve_git(home.path());
        fs::create_dir(home.path().join("trees")).unwrap();
        sh(home.path(), "chmod 755 .; git init -q -b main remote");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(home.path().join("trees"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let brief = Brief {
            repo: RepoId::new(1),
            url: format!("git://127.0.0.1:{port}/remote"),
            label: Label { kind: LabelKind::Branch, name: "main".into() },
            remote: "origin".into(),
            directory: home.path().join("trees/tree"),
            trigger: Some(home.path().join("trees/trigger")),
            known_hosts: [].into(),
            ca: None,
            connect_ms: 5_000,
            silence_ms: 5_000,
        };
        Self { home, brief }
    }

    fn commit(&self, script: &str) -> CommitId {
        let script = format!("cd remote; {script}; git add -A; git commit -q --allow-empty -m x; git rev-parse HEAD");
        CommitId::from_hex(&sh(self.home.path(), &script)).unwrap()
    }

    fn start(&self) -> Running {
        descriptors::reserve().unwrap();
        let (mut supervisor, theirs) = UnixStream::pair().unwrap();
        let (worker, peer) = UnixStream::pair().unwrap();
        let (log, write) = io::pipe().unwrap();
        let program = OwnedFd::from(File::open(env!("CARGO_BIN_EXE_gwg-updater")).unwrap());
        let account = nix::unistd::geteuid().is_root().then_some(Account { uid: NOBODY, gid: NOBODY });
        let given = Given {
            program: &program,
            role: gwg::confine::Role::Updater,
            descriptors: vec![(theirs.into(), descriptors::SUPERVISOR), (peer.into(), descriptors::PEER)],
            log: write.into(),
            account,
            limits: Limits { descriptors: 256, file_size: None, processes: None },
            umask: 0o022,
            confinement: Confinement::Require,
        };
        let child = command(given).unwrap().spawn().unwrap();
        frame::write(&mut supervisor, &self.brief).unwrap();
        Running { child, worker, log: File::from(OwnedFd::from(log)) }
    }

    fn start_with_order(&self) -> Running {
        let mut running = self.start();
        frame::write(&mut running.worker, &Order { key: None, known: false, triggered: None, announced: None }).unwrap();
        running
    }

    #[track_caller]
    fn fails(&self, step: Step, reason: Reason, saying: &str) {
        let mut running = self.start_with_order();
        let report = report(&mut running.worker).unwrap();
        let log = running.said();
        assert_eq!(report.outcome, Outcome::Failed(Failure { step, reason }), "{log}");
        assert!(log.contains(saying) && log.matches('\n').count() == 1, "{log}");
        running.child.wait().unwrap();
    }

    #[track_caller]
    fn updates_to(&self, commit: CommitId) {
        let mut running = self.start_with_order();
        let report = report(&mut running.worker);
        let status = running.child.wait().unwrap();
        let log = running.said();
        let report = report.unwrap_or_else(|error| panic!("{error}: {status}: {log}"));
        assert!(status.success(), "{status}: {log}");
        assert!(matches!(report.outcome, Outcome::Current { new, triggered: true, .. } if new == commit), "{report:?}: {log}");
        let tree = &self.brief.directory;
        assert_eq!(sh(tree, "git rev-parse HEAD"), commit.to_string());
        assert_eq!(sh(tree, "git status --porcelain"), "");
        assert_eq!(sh(tree, "git fsck --full 2>&1 | grep -v ^dangling || true"), "");
        assert_eq!(sh(tree, "find .git -name '*.lock' -o -name '*_git2_*' -o -name running"), "");
    }
}

impl Running {
    fn said(&mut self) -> String {
        let mut text = String::new();
        self.log.read_to_string(&mut text).unwrap();
        text
    }

    fn kill_after(mut self, time: Duration) -> bool {
        std::thread::sleep(time);
        let in_time = self.child.try_wait().unwrap().is_none();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        in_time
    }
}

#[test]
fn it_takes_brief_and_order_and_gives_one_report() {
    let world = World::new();
    world.updates_to(world.commit("echo 1 > a"));
    assert!(world.brief.trigger.as_ref().unwrap().exists());
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(world.brief.directory.join("a")).unwrap().uid(), NOBODY);
    }
}

#[test]
fn a_kill_at_any_moment_is_healed_by_the_next_run() {
    const KILLS: u32 = 24;
    let world = World::new();
    world.updates_to(world.commit("for i in $(seq 200); do mkdir -p d$((i % 20)); echo $i > d$((i % 20))/f$i; done"));
    let change = "for f in d*/*; do echo x >> $f; done; rm -f d*/f$N; rm -rf new$((N - 2)); mkdir -p new$N; echo n > new$N/f";
    // How long a whole run takes here decides when to kill.
    world.commit(&format!("N=1000; {change}"));
    let begun = Instant::now();
    world.start_with_order().child.wait().unwrap();
    let whole = begun.elapsed();
    let mut in_time = 0;
    for number in 0..KILLS {
        let commit = world.commit(&format!("N={number}; {change}"));
        in_time += u32::from(world.start_with_order().kill_after(whole * number / KILLS));
        // What comes next need not be what the killed one was at.
        let commit = if number % 2 == 0 { commit } else { world.commit("git reset -q --hard HEAD^^; echo other > other") };
        world.updates_to(commit);
    }
    assert!(in_time >= KILLS / 4, "only {in_time} of {KILLS} kills came before the end");
}

#[test]
fn a_first_clone_that_was_killed_is_completed_by_the_next_run() {
    for number in 0..12 {
        let world = World::new();
        let commit = world.commit("for i in $(seq 200); do echo $i > f$i; done");
        world.start_with_order().kill_after(Duration::from_millis(number * 4));
        world.updates_to(commit);
    }
}

#[test]
fn a_directory_that_it_may_not_write_is_named_with_its_own_uid() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let mut world = World::new();
    let commit = world.commit("echo 1 > a");
    let closed = world.home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let open = std::mem::replace(&mut world.brief.directory, closed.join("tree"));
    world.fails(Step::Open, Reason::Directory, "Permission denied");
    world.brief.directory = open;
    world.updates_to(commit);
    if nix::unistd::geteuid().is_root() {
        chown(&world.brief.directory, Some(0), None).unwrap();
        world.fails(Step::Open, Reason::Directory, "belongs to uid 0, and updates run as uid 64987: chown it");
    }
}

#[test]
fn rubbish_from_the_worker_ends_it_without_a_report() {
    let world = World::new();
    world.commit("echo 1 > a");
    let mut running = world.start();
    running.worker.write_all(&[255; 16]).unwrap();
    assert!(!running.child.wait().unwrap().success());
    assert!(report(&mut running.worker).is_err());
    let log = running.said();
    assert!(log.starts_with("the worker's order did not come:") && log.matches('\n').count() == 1, "{log:?}");
    assert!(!world.brief.directory.exists());
}

#[test]
fn by_hand_it_says_its_versions_and_nothing_else() {
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_gwg-updater")).args(arguments).stdin(Stdio::null()).output().unwrap();
    let output = run(&["--version"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(concat!("gwg-updater ", env!("CARGO_PKG_VERSION"), " (libgit2 1.")), "{text}");
    let output = run(&[]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("run `gwg` instead"));
}

#[track_caller]
fn sh(directory: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.current_dir(directory).args(["-ec", script]).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    // As root the judge looks at trees of another user.
    command.env("GIT_CONFIG_COUNT", "2").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    // What the tests commit need not outlive a power cut.
    command.env("GIT_CONFIG_KEY_1", "core.fsync").env("GIT_CONFIG_VALUE_1", "none");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.com");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A `git://` server on loopback: reads one request, hands the connection to `git upload-pack`.
fn serve_git(root: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let root = root.to_path_buf();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _client_gone = serve_one(stream, &root);
        }
    });
    port
}

fn serve_one(mut stream: TcpStream, root: &Path) -> io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u64::from_str_radix(&String::from_utf8_lossy(&length), 16).unwrap_or(4);
    io::copy(&mut (&mut stream).take(length - 4), &mut io::sink())?;
    let (from, to) = (OwnedFd::from(stream.try_clone()?), OwnedFd::from(stream));
    let mut server = Command::new("git");
    server.args(["upload-pack", "remote"]).current_dir(root).stdin(from).stdout(to).stderr(Stdio::null());
    server.spawn()?.wait().map(drop)
}
