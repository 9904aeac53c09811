//! Which work trees were ever configured: what `gwg prune` looks for. Runs in the supervisor.
//!
//! Kept in a file of the state directory, a JSON object a line, the last one for a directory counts. The
//! names of removed repositories stand nowhere else: the worker knows only digests of directories.

use crate::brief::Label;
use crate::brief::updater;
use crate::ids::RepoId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "trees.jsonl";

/// A work tree, and what was deployed there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The path of its webhook.
    pub name: String,
    pub url: String,
    pub label: Label,
    pub remote: String,
    pub trigger: Option<PathBuf>,
}

/// One line: without a tree, it is gone.
#[derive(Serialize, Deserialize)]
struct Line {
    directory: PathBuf,
    tree: Option<Tree>,
}

/// All that were ever configured and not pruned.
pub struct Trees {
    path: PathBuf,
    /// By the bytes of their paths: those of the configuration are written in one way.
    known: BTreeMap<OsString, Tree>,
}

impl Trees {
    /// Reads the file. What is no line of it is left out: what it was about is not pruned.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(NAME);
        let mut known = BTreeMap::new();
        let mut lines = 0;
        match File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    lines += 1;
                    match serde_json::from_slice(&line?) {
                        Ok(Line { directory, tree: Some(tree) }) => drop(known.insert(directory.into(), tree)),
                        Ok(Line { directory, tree: None }) => drop(known.remove(directory.as_os_str())),
                        Err(_) => {}
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let trees = Self { path, known };
        if lines > 2 * trees.known.len() + 100 {
            trees.write_anew()?;
        }
        Ok(trees)
    }

    /// A configuration is in force.
    ///
    /// # Errors
    /// Those of writing: what is new is not remembered after a restart.
    pub fn configure<'a>(&mut self, repos: impl Iterator<Item = (&'a str, &'a updater::Brief)>) -> io::Result<()> {
        let mut lines = Vec::new();
        for (name, brief) in repos {
            if self.known.get(brief.directory.as_os_str()).is_some_and(|tree| tree.is_of(brief, name)) {
                continue;
            }
            let updater::Brief { url, label, remote, trigger, directory, .. } = brief;
            let tree =
                Tree { name: name.to_owned(), url: url.clone(), label: label.clone(), remote: remote.clone(), trigger: trigger.clone() };
            add(&mut lines, directory.clone(), Some(&tree));
            self.known.insert(directory.clone().into(), tree);
        }
        self.append(&lines)
    }

    /// Those that are not among these.
    pub fn but(&self, configured: &BTreeSet<&Path>) -> Vec<(PathBuf, Tree)> {
        let others = self.known.iter().filter(|(directory, _)| !configured.contains(Path::new(directory)));
        others.map(|(directory, tree)| (directory.into(), tree.clone())).collect()
    }

    /// It is gone from the disk.
    ///
    /// # Errors
    /// Those of writing.
    pub fn forget(&mut self, directory: &Path) -> io::Result<()> {
        self.known.remove(directory.as_os_str());
        let mut line = Vec::new();
        add(&mut line, directory.to_owned(), None);
        self.append(&line)
    }

    fn append(&self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut file = File::options().append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(&self.path)?;
        file.write_all(lines)
    }

    fn write_anew(&self) -> io::Result<()> {
        let mut lines = Vec::new();
        self.known.iter().for_each(|(directory, tree)| add(&mut lines, directory.into(), Some(tree)));
        let beside = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&lines)?;
        fs::rename(beside, &self.path)
    }
}

impl Tree {
    fn is_of(&self, brief: &updater::Brief, name: &str) -> bool {
        let Self { name: known, url, label, remote, trigger } = self;
        known == name && *url == brief.url && *label == brief.label && *remote == brief.remote && *trigger == brief.trigger
    }

    /// What an updater is told of it.
    pub fn brief(self, directory: PathBuf, purpose: updater::Purpose) -> updater::Brief {
        let Self { name: _, url, label, remote, trigger } = self;
        updater::Brief {
            // For messages: it has none any more.
            repo: RepoId::new(u32::MAX),
            url,
            label,
            remote,
            directory,
            trigger,
            known_hosts: [].into(),
            ca: None,
            connect_ms: 0,
            silence_ms: 0,
            limits: updater::Limits::default(),
            purpose,
        }
    }
}

fn add(lines: &mut Vec<u8>, directory: PathBuf, tree: Option<&Tree>) {
    // A path that is no UTF-8 can't be written down, and its tree is not pruned.
    if let Ok(line) = serde_json::to_vec(&Line { directory, tree: tree.cloned() }) {
        lines.extend(line);
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::brief::LabelKind;

    fn tree(name: &str) -> Tree {
        let label = Label { kind: LabelKind::Branch, name: "main".into() };
        Tree { name: name.into(), url: "u".into(), label, remote: "origin".into(), trigger: None }
    }

    fn brief(directory: &str) -> updater::Brief {
        tree("/x").brief(directory.into(), updater::Purpose::Update)
    }

    #[test]
    fn what_was_configured_is_known_after_a_restart_until_it_is_pruned() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (brief("/srv/one"), brief("/srv/two"));
        let mut trees = Trees::open(state.path()).unwrap();
        trees.configure([("/1", &one), ("/2", &two)].into_iter()).unwrap();
        trees.configure([("/renamed", &one)].into_iter()).unwrap();
        let mut trees = Trees::open(state.path()).unwrap();
        assert_eq!(trees.but(&BTreeSet::from([Path::new("/srv/two")])), [("/srv/one".into(), tree("/renamed"))]);
        trees.forget(Path::new("/srv/one")).unwrap();
        let trees = Trees::open(state.path()).unwrap();
        assert_eq!(trees.but(&BTreeSet::new()), [("/srv/two".into(), tree("/2"))]);
    }

    #[test]
    fn a_file_that_was_torn_or_grew_is_read_all_the_same() {
        let state = tempfile::tempdir().unwrap();
        let one = brief("/srv/one");
        let mut trees = Trees::open(state.path()).unwrap();
        for name in 0..300 {
            trees.configure([(name.to_string().as_str(), &one)].into_iter()).unwrap();
        }
        fs::write(state.path().join(NAME), [fs::read(state.path().join(NAME)).unwrap(), b"{\"direc".to_vec()].concat()).unwrap();
        let trees = Trees::open(state.path()).unwrap();
        assert_eq!(trees.but(&BTreeSet::new()), [("/srv/one".into(), tree("299"))]);
        assert_eq!(fs::read_to_string(state.path().join(NAME)).unwrap().lines().count(), 1, "written anew");
    }
}
