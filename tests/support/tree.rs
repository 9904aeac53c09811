//! A work tree that gwg keeps, judged by the real git.

use super::remote::git;
use super::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A work tree and its trigger.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The work tree.
    pub directory: PathBuf,
    /// The file that an update touches.
    pub trigger: PathBuf,
}

impl Tree {
    /// The commit that HEAD stands for; none where there is no repository or no commit.
    pub fn head(&self) -> Option<String> {
        let mut command = super::remote::command(&self.directory.join(".git").is_dir().then(|| self.directory.clone())?);
        let output = command.args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs git in the work tree.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.directory, arguments)
    }

    /// A file's content.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(name)).ok()
    }

    /// When the trigger was last touched; none where it is not there.
    pub fn touched(&self) -> Option<SystemTime> {
        fs::symlink_metadata(&self.trigger).ok()?.modified().ok()
    }

    /// Waits until the tree is at the commit and the trigger has been touched since `before`, then
    /// asks git whether all is well. Without a `before`, a trigger that is there already may be of an earlier
    /// update: then this one's end is waited for.
    pub fn wait_for(&self, commit: &str, before: Option<SystemTime>) {
        let unclear = before.is_none() && self.touched().is_some();
        wait::until_true(&format!("{} is at {commit} and the trigger touched", self.directory.display()), || {
            self.head().as_deref() == Some(commit) && self.touched() != before
        });
        if unclear {
            wait::until_true("the update has ended", || self.ailment().is_none());
        }
        self.assert_healthy();
    }

    /// Nothing to commit, nothing untracked, nothing broken, no lock and no half of a pack left.
    pub fn assert_healthy(&self) {
        assert_eq!(self.ailment(), None);
    }

    /// What is wrong with it, if anything is. May be asked while an update runs.
    pub fn ailment(&self) -> Option<String> {
        let said = |arguments: &[&str]| {
            let output = super::remote::command(&self.directory).args(arguments).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
        };
        let (_, status) = said(&["status", "--porcelain"]);
        if !status.is_empty() {
            return Some(format!("git status is not clean: {status}"));
        }
        let (whole, fsck) = said(&["fsck", "--strict", "--no-dangling", "--no-progress"]);
        if !whole || fsck.contains("missing") || fsck.contains("error") {
            return Some(format!("git fsck: {fsck}"));
        }
        let left = left_behind(&self.directory.join(".git"));
        (!left.is_empty()).then(|| format!("left behind: {left:?}"))
    }
}

/// Locks and parts of packs below a `.git`. The updater's own lock file may stay: what counts is
/// that nobody holds it.
fn left_behind(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_part = ["pack_git2_", "tmp_object_git2_"].iter().any(|prefix| name.starts_with(prefix));
        if path.is_dir() && !path.is_symlink() {
            found.extend(left_behind(&path));
        } else if is_part || (name.ends_with(".lock") && !name.starts_with("gwg")) {
            found.push(path);
        }
    }
    found
}
