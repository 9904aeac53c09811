//! Where a case runs: a remote, a work tree, files outside of it, and the real confined updater. The
//! files outside belong to the updater's user, so that only gwg's own care keeps them as they are.

use crate::support::git_daemon::GitDaemon;
use crate::support::manifest;
use crate::support::pack::{self, Script, Scripted};
use crate::support::remote::{command, git};
use crate::support::scratch::{Scratch, give_to_updater};
use crate::support::updater::{End, Updater, brief, order};
use gwg::audit::Reason;
use gwg::brief::updater::{Brief, Limits};
use gwg::brief::{Label, LabelKind};
use gwg::wire::order::Outcome;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Small, so that what passes them is cheap to make.
pub const LIMITS: Limits = Limits { pack: 4 << 20, object: 1 << 20, files: 2_000, tree: 16 << 20, deadline_ms: 600_000 };

/// What each script can use: raw trees and commits, as git itself would not make them.
const HELPERS: &str = r#"
raw() { printf '%b' "$(echo $1 | sed 's/../\\x&/g')"; }
blob() { git hash-object -w --stdin; }
entry() { printf "$1 %b\0" "$2"; raw $3; }
tree() { git hash-object -t tree -w --literally --stdin; }
point() { git update-ref refs/heads/main $(git commit-tree -m evil -p first $1); }
"#;

/// What the remote begins as.
const FIRST: &str = "git init -q -b main; mkdir -p dir/sub gone; for f in a dir/b dir/sub/c gone/d; do echo one > $f; done
git add -A; git commit -qm first; git tag first
echo two > a; echo two > dir/b; git rm -qr gone; mkdir later; echo l > later/f; git add -A; git commit -qm honest; git tag honest
echo three > a; git add -A; git commit -qm second; git tag second; git reset -q --hard first";

/// A place for one case.
pub struct Bed {
    scratch: Scratch,
    remote: PathBuf,
    daemon: GitDaemon,
    scripted: Option<Scripted>,
    /// What the updater is told.
    pub brief: Brief,
}

impl Bed {
    /// An honest remote whose first commit is deployed; its next ones are the tags `honest` and `second`.
    pub fn new() -> Self {
        let bed = Self::at(Scratch::new());
        for name in ["a", "b", "config", "later"] {
            fs::write(bed.outside().join(name), "precious\n").unwrap();
        }
        fs::write(bed.outside().join("payload"), format!("#!/bin/sh\ntouch {}/ran\n", bed.outside().display())).unwrap();
        bed.own(&bed.outside());
        bed.push(FIRST);
        let tip = bed.tip();
        let end = bed.update(false);
        assert_eq!(deployed(&end), Some(tip), "{}", end.said);
        bed
    }

    /// Another one that stands as this stood when it was made: cheaper than [`Bed::new`].
    pub fn copy(&self) -> Self {
        let scratch = Scratch::new();
        for name in ["remote", "trees", "outside"] {
            run(scratch.path(), &format!("cp -a {}/{name} .", self.scratch.path().display()));
        }
        Self::at(scratch)
    }

    fn at(scratch: Scratch) -> Self {
        let remote = scratch.directory("remote");
        let trees = scratch.updaters_directory("trees");
        scratch.updaters_directory("outside");
        let daemon = GitDaemon::start(scratch.path());
        let brief = Brief { limits: LIMITS, ..brief(daemon.url("remote/.git"), trees.join("tree"), "main") };
        Self { scratch, remote, daemon, scripted: None, brief }
    }

    /// The work tree.
    pub fn tree(&self) -> &Path {
        &self.brief.directory
    }

    /// Files that are none of gwg's business.
    pub fn outside(&self) -> PathBuf {
        self.scratch.path().join("outside")
    }

    /// Does something in the remote.
    pub fn push(&self, script: &str) {
        run(&self.remote, &format!("{HELPERS}\n{script}"));
    }

    /// Does something in the work tree, as someone who may write there.
    pub fn plant(&self, script: &str) {
        run(self.tree(), script);
        self.own(self.tree());
    }

    /// Lets a hand-made server take the remote's place.
    pub fn serve(&mut self, script: Script) {
        let server = Scripted::start(script);
        self.brief.url = server.url();
        self.scripted = Some(server);
    }

    /// Follows a tag.
    pub fn follow_tag(&mut self, name: &str) {
        self.brief.label = Label { kind: LabelKind::Tag, name: name.into() };
    }

    /// The honest remote is back, with a new commit on the branch: it must be deployed, and nothing half
    /// done is left. `judged`: the real git finds nothing to complain of.
    pub fn heals(&mut self, what: &str, judged: bool) {
        self.brief.url = self.daemon.url("remote/.git");
        self.brief.label = Label { kind: LabelKind::Branch, name: "main".into() };
        self.push("git update-ref refs/heads/main second");
        let tip = self.tip();
        let end = self.update(true);
        let outcome = end.report.map(|report| report.outcome);
        assert!(matches!(outcome, Some(Outcome::Current { new, .. }) if new.to_string() == tip), "{what}: {outcome:?} {}", end.said);
        self.assert_nothing_left(what);
        if judged {
            self.assert_healthy(what, &tip);
            assert_eq!(git(self.tree(), &["fsck", "--connectivity-only", "--no-dangling"]), "", "{what}");
        }
    }

    /// The remote's commit.
    pub fn tip(&self) -> String {
        git(&self.remote, &["rev-parse", "refs/heads/main^{commit}"])
    }

    /// Runs one update.
    pub fn update(&self, known: bool) -> End {
        Updater::run(&self.brief, &order(known))
    }

    /// Everything but the work tree.
    pub fn manifest(&self) -> std::collections::BTreeMap<PathBuf, manifest::Stand> {
        manifest::take(self.scratch.path(), self.tree())
    }

    /// The files outside.
    pub fn precious(&self) -> std::collections::BTreeMap<PathBuf, manifest::Stand> {
        manifest::take(&self.outside(), self.tree())
    }

    /// The work tree without `.git`.
    pub fn files(&self) -> std::collections::BTreeMap<PathBuf, manifest::Stand> {
        manifest::take(self.tree(), &self.tree().join(".git"))
    }

    /// The real git finds nothing to complain of.
    pub fn assert_healthy(&self, what: &str, commit: &str) {
        assert_eq!(git(self.tree(), &["rev-parse", "HEAD"]), commit, "{what}");
        assert_eq!(git(self.tree(), &["status", "--porcelain", "--untracked-files=no", "--ignore-submodules"]), "", "{what}: git status");
        self.assert_nothing_left(what);
    }

    /// Each file and link is, to the byte, what the remote's commit has.
    pub fn assert_content(&self, what: &str, commit: &str) {
        let listed = command(&self.remote).args(["ls-tree", "-r", "-z", commit]).output().unwrap().stdout;
        let mut found = 0;
        for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let tab = entry.iter().position(|byte| *byte == b'\t').unwrap();
            let (about, path) =
                (String::from_utf8_lossy(&entry[..tab]).into_owned(), self.tree().join(OsStr::from_bytes(&entry[tab + 1..])));
            let [mode, kind, name] = about.split(' ').collect::<Vec<_>>()[..] else { panic!("{about}") };
            let content = match (mode, kind) {
                (_, "commit") => continue,
                ("120000", _) => fs::read_link(&path).unwrap().into_os_string().into_vec(),
                _ => fs::read(&path).unwrap(),
            };
            assert_eq!(pack::hex(pack::id(pack::Kind::Blob, &content)), name, "{what}: {}", path.display());
            found += 1;
        }
        assert!(found > 0, "{what}: nothing to compare");
    }

    /// No lock, and no part of a pack.
    pub fn assert_nothing_left(&self, what: &str) {
        let left = run(self.tree(), "find .git -name '*.lock' -o -name '*_git2_*' -o -path '*/gwg/damaged' -o -name running");
        assert_eq!(left, "", "{what}: left behind");
    }

    /// What `git status` and `git fsck` find wrong; warnings are not counted.
    pub fn complaint(&self) -> String {
        let status = command(self.tree()).args(["status", "--porcelain", "--untracked-files=no"]).output().unwrap();
        let fsck = command(self.tree()).args(["fsck", "--full", "--no-dangling"]).output().unwrap();
        let fsck = if fsck.status.success() { Vec::new() } else { fsck.stderr };
        let status = if status.status.success() { status.stdout } else { status.stderr };
        String::from_utf8_lossy(&[status, fsck].concat()).into_owned()
    }

    /// Bytes of disk that the work tree and its `.git` take.
    pub fn disk(&self) -> u64 {
        used(self.tree())
    }

    fn own(&self, directory: &Path) {
        give_to_updater(directory);
        if crate::support::need::is_root() {
            let user = crate::support::scratch::UPDATER;
            run(directory, &format!("chown -hR {user}:{user} ."));
        }
    }
}

/// The commit that was deployed.
pub fn deployed(end: &End) -> Option<String> {
    match end.report.as_ref()?.outcome {
        Outcome::Current { new, .. } => Some(new.to_string()),
        Outcome::Failed(_) => None,
    }
}

/// Why an update was refused.
pub fn reason(end: &End) -> Option<Reason> {
    match end.report.as_ref()?.outcome {
        Outcome::Failed(failure) => Some(failure.reason),
        Outcome::Current { .. } => None,
    }
}

fn used(path: &Path) -> u64 {
    let stat = fs::symlink_metadata(path).unwrap();
    let below = if stat.is_dir() { fs::read_dir(path).unwrap().map(|entry| used(&entry.unwrap().path())).sum() } else { 0 };
    stat.blocks() * 512 + below
}

/// Runs bash, with the same git as [`command`].
fn run(directory: &Path, script: &str) -> String {
    let git = command(directory);
    let mut bash = std::process::Command::new("bash");
    bash.current_dir(directory).env_clear().envs(git.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = bash.args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
