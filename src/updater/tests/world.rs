//! A remote, a work tree, a server between them, and the real git to ask.

use crate::audit::{Failure, Reason, Step};
use crate::brief::Key;
use crate::brief::updater::{Brief, Limits, Purpose};
use crate::brief::{Label, LabelKind};
use crate::confine::reach::Reach;
use crate::ids::{CommitId, RepoId};
use crate::updater::update::{Tell, update};
use crate::wire::order::{Order, Outcome, Report};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// libgit2's settings belong to the process, so one test at a time uses libgit2.
static LIBGIT2: Mutex<()> = Mutex::new(());

/// A remote repository (`remote`), served on loopback, and a place for a work tree (`tree`).
pub struct World {
    pub home: TempDir,
    pub brief: Brief,
    pub order: Order,
    said: RefCell<Vec<String>>,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// A remote with one commit on `main`: `a`, `dir/b` and an executable `run`.
    pub fn new() -> Self {
        let world = Self::empty();
        world.write("a", "one\n");
        world.write("dir/b", "two\n");
        world.write("run", "#!/bin/sh\n");
        world.sh_remote("chmod +x run");
        world.commit("first");
        world
    }

    /// A remote without a commit.
    pub fn empty() -> Self {
        let alone = LIBGIT2.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::Builder::new().prefix("gwg-updater-").tempdir().unwrap();
        let port = serve_git(home.path());
        let brief = Brief {
            repo: RepoId::new(1),
            url: format!("git://127.0.0.1:{port}/remote"),
            label: Label { kind: LabelKind::Branch, name: "main".into() },
            remote: "origin".into(),
            directory: home.path().join("tree"),
            trigger: None,
            known_hosts: [].into(),
            ca: None,
            connect_ms: 5_000,
            silence_ms: 5_000,
            limits: Limits::default(),
            purpose: Purpose::Update,
        };
        let order = Order { key: None, known: false, triggered: None, announced: None };
        let world = Self { home, brief, order, said: RefCell::default(), _alone: alone };
        std::fs::create_dir(world.remote()).unwrap();
        world.git_remote(&["init", "-q", "-b", "main"]);
        world
    }

    pub fn remote(&self) -> PathBuf {
        self.home.path().join("remote")
    }

    pub fn tree(&self) -> PathBuf {
        self.brief.directory.clone()
    }

    /// Writes a file of the remote.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.remote().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits all of the remote's files; gives the commit.
    pub fn commit(&self, message: &str) -> CommitId {
        self.git_remote(&["add", "-A"]);
        self.git_remote(&["commit", "-q", "--allow-empty", "-m", message]);
        self.tip("HEAD")
    }

    pub fn tip(&self, name: &str) -> CommitId {
        CommitId::from_hex(&self.git_remote(&["rev-parse", &format!("{name}^{{commit}}")])).unwrap()
    }

    pub fn git_remote(&self, arguments: &[&str]) -> String {
        git(&self.remote(), arguments)
    }

    pub fn git_tree(&self, arguments: &[&str]) -> String {
        git(&self.tree(), arguments)
    }

    pub fn sh_remote(&self, script: &str) {
        sh(&self.remote(), script);
    }

    pub fn sh_tree(&self, script: &str) {
        sh(&self.tree(), script);
    }

    pub fn label(&mut self, kind: LabelKind, name: &str) {
        self.brief.label = Label { kind, name: name.into() };
    }

    /// Runs one update.
    pub fn update(&self) -> Report {
        self.said.borrow_mut().clear();
        let say = |line: &str| self.said.borrow_mut().push(line.to_owned());
        // These tests share one process, which must stay open: `tests/` runs the confined executable.
        let stay_open = |_: &Reach<'_>| Ok::<_, Infallible>(None);
        let tell = Tell { say: &say, step: &|_| {}, progress: &|_| {}, host_key: &|_| {} };
        let Order { key, known, triggered, announced } = &self.order;
        let order = || Ok(Order { key: key.as_ref().map(Key::copy), known: *known, triggered: *triggered, announced: *announced });
        match update(&self.brief, &tell, stay_open, order) {
            Ok(report) => report,
            Err(never) => match never {},
        }
    }

    /// What the last update said.
    pub fn said(&self) -> String {
        self.said.borrow().join("\n")
    }

    /// Runs an update that must succeed; judges the tree with git; gives the report.
    #[track_caller]
    pub fn updates_to(&self, commit: CommitId) -> Report {
        let report = self.update();
        match report.outcome {
            Outcome::Current { new, .. } => assert_eq!(new, commit),
            Outcome::Failed(failure) => panic!("{failure:?}: {}", self.said()),
        }
        self.is_healthy_at(commit);
        report
    }

    /// Runs an update that must fail so.
    #[track_caller]
    pub fn fails(&self, step: Step, reason: Reason, saying: &str) {
        let report = self.update();
        assert_eq!(report.outcome, Outcome::Failed(Failure { step, reason }), "{}", self.said());
        assert!(self.said().contains(saying), "{:?} does not say {saying:?}", self.said());
    }

    /// The real git finds the tree at the commit, clean and whole.
    #[track_caller]
    pub fn is_healthy_at(&self, commit: CommitId) {
        assert_eq!(self.git_tree(&["rev-parse", "HEAD"]), commit.to_string());
        assert_eq!(self.git_tree(&["status", "--porcelain", "--untracked-files=no"]), "");
        let fsck = self.git_tree(&["fsck", "--full", "--strict"]);
        assert!(fsck.lines().all(|line| line.starts_with("dangling") || line.starts_with("notice: HEAD")), "{fsck}");
        assert_eq!(sh(&self.tree(), "find .git -name '*.lock' -o -name 'pack_git2_*' -o -name running"), "");
        if self.brief.label.kind == LabelKind::Branch {
            assert_eq!(self.git_tree(&["symbolic-ref", "HEAD"]), self.brief.label.full_name());
        }
    }
}

/// Says that a test is skipped; where no skip is allowed, the test fails.
pub fn skip(test: &str, why: &str) {
    assert_ne!(std::env::var("GWG_TEST_REQUIRE").as_deref(), Ok("all"), "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}

/// Runs git on a repository, away from this machine's configuration.
#[track_caller]
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    output(command("git", directory).args(["-c", "protocol.allow=always"]).args(arguments))
}

#[track_caller]
pub fn sh(directory: &Path, script: &str) -> String {
    output(command("sh", directory).args(["-ec", script]))
}

fn command(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.current_dir(directory).env_clear().env("PATH", path).env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
    // What the tests commit need not outlive a power cut.
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "core.fsync").env("GIT_CONFIG_VALUE_0", "none");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.com");
    }
    command
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}{}", String::from_utf8_lossy(&output.stdout));
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

fn serve_one(mut stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::from_str_radix(&String::from_utf8_lossy(&length), 16).unwrap_or(4);
    let mut request = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut request)?;
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.trim_start_matches("git-upload-pack /").split('\0').next().unwrap_or_default();
    let (from, to) = (OwnedFd::from(stream.try_clone()?), OwnedFd::from(stream));
    let mut server = command("git", root).args(["upload-pack", path]).stdin(from).stdout(to).stderr(Stdio::null()).spawn()?;
    server.wait()?;
    Ok(())
}
