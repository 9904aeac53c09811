//! Meaning of `repos`: each repository on its own, then all of them together.

mod credentials;

use super::directories::{self, Canonical};
use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes};
use super::files::Files;
use super::hook;
use super::keys::Keys;
use super::known_hosts::HostFiles;
use super::raw::RawRepo;
use super::{Hooks, Repo, label, limits, url};
use crate::brief::updater::Limits;
use crate::brief::{Key, Label, LabelKind};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// The checker of repositories: remembers what they may share.
pub struct Repos<'a> {
    files: Files,
    canonical: Canonical,
    keys: Keys,
    hosts: HostFiles<'a>,
    certificates: HashMap<PathBuf, Result<Arc<str>, Fault>>,
    hooks: hook::Ground<'a>,
    initialise: bool,
    limits: Limits,
}

/// One repository that is being checked: its place in the file, for messages.
struct Place<'n> {
    index: usize,
    notes: &'n mut Notes,
}

impl Place<'_> {
    fn key(&self, key: &str) -> KeyPath {
        KeyPath::repo(self.index, key)
    }

    fn take<T>(&mut self, key: &str, checked: Result<T, Fault>) -> Option<T> {
        checked.map_err(|fault| self.notes.wrong(self.key(key), fault)).ok()
    }

    fn wrong(&mut self, key: &str, what: &str, remedy: &str) {
        let path = self.key(key);
        self.notes.wrong(path, Fault::new(what, remedy));
    }

    fn warn(&mut self, key: &str, text: &str) {
        let path = self.key(key);
        self.notes.warn(&path, text);
    }
}

impl<'a> Repos<'a> {
    /// A checker that reads through `files`; `updater` is the user whose known hosts count.
    /// `limits` are those of a repository that has none of its own.
    pub fn new(files: Files, env: &'a Environment, updater: u32, hooks: hook::Ground<'a>, initialise: bool, limits: Limits) -> Self {
        Self {
            hooks,
            files,
            canonical: Canonical::default(),
            keys: Keys::default(),
            hosts: HostFiles::new(env, updater),
            certificates: HashMap::new(),
            initialise,
            limits,
        }
    }

    /// Those repositories that are right, and their keys.
    pub fn check_all(&mut self, written: Vec<RawRepo>, notes: &mut Notes) -> (Vec<Repo>, Vec<Key>) {
        let mut paths = Vec::new();
        let mut trees = Vec::new();
        let mut repos = Vec::with_capacity(written.len());
        for (index, raw) in written.into_iter().enumerate() {
            if let Some(repo) = self.check(raw, &mut Place { index, notes }) {
                paths.push((repo.path.clone(), index));
                trees.push((index, repo.directory.clone()));
                repos.push(repo);
            }
        }
        note_same_paths(paths, notes);
        note_clashing_trees(&trees, notes);
        notes.warnings.append(&mut self.hosts.warnings);
        notes.sources.extend(std::mem::take(&mut self.files.sources));
        (repos, std::mem::take(&mut self.keys).list)
    }

    /// The files that the configuration names and gwg reads.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.files.names()
    }

    fn check(&mut self, mut raw: RawRepo, at: &mut Place) -> Option<Repo> {
        let remote_url = required("url", given(raw.url.take()), at).and_then(|text| Some((at.take("url", url::check(&text))?, text)));
        let path = required("path", given(raw.path.take()), at).and_then(|text| at.take("path", request_path(&text)));
        let directory = required("directory", given(raw.directory.take()), at).and_then(|text| at.take("directory", self.work_tree(&text)));
        let label = label_of(&mut raw, at);
        let remote = at.take("remote", label::check_remote(given(raw.remote.take()).as_deref().unwrap_or("origin")));
        let proof = self.proof(&mut raw, at);
        let transport = remote_url.as_ref().map(|(remote, _)| remote.transport);
        let key = self.key(&mut raw, transport, at);
        let ca = self.ca(&mut raw, transport, at);
        let known_hosts = self.known_hosts(&mut raw, remote_url.as_ref().map(|(remote, _)| remote), at);

        let limits = match raw.limits.take() {
            Some(raw) => limits::check(raw, &self.limits, &at.key("limits"), at.notes),
            None => Some(self.limits),
        };

        let ((remote_url, url), directory) = (remote_url?, directory?);
        let trigger = match given(raw.trigger.take()) {
            Some(text) => Some(at.take("trigger", self.trigger(&text, &directory))?),
            None => None,
        };
        let hooks = match raw.hook.take() {
            Some(raw) => self.hooks.check(raw, &at.key("hook"), &directory, at.notes)?,
            None => Hooks::default(),
        };
        let (key, key_file) = key?.map_or((None, None), |(key, file)| (Some(key), Some(file)));
        let at_start = self.initialise || directory.join(".git").is_dir();
        let (path, label, remote, proof, known_hosts, ca, limits) = (path?, label?, remote?, proof?, known_hosts?, ca?, limits?);
        Some(Repo {
            path,
            url,
            remote_name: remote_url.name,
            directory,
            label,
            remote,
            trigger,
            proof,
            key,
            key_file,
            known_hosts,
            ca,
            hooks,
            limits,
            at_start,
        })
    }

    fn work_tree(&mut self, written: &str) -> Result<PathBuf, Fault> {
        let plain = directories::work_tree(written)?;
        let real = self.canonical.of(&plain);
        if real.as_os_str() == plain.as_os_str() {
            return Ok(real);
        }
        // Through a symlink it has become another place, and that may be refused.
        directories::work_tree(&real.to_string_lossy())
            .map_err(|fault| Fault::new(format!("{} leads there: {}", plain.display(), fault.what), fault.remedy))
    }

    fn trigger(&mut self, written: &str, directory: &std::path::Path) -> Result<PathBuf, Fault> {
        let plain = directories::trigger(written, directory)?;
        let real = match (plain.parent(), plain.file_name()) {
            (Some(parent), Some(name)) => self.canonical.parent(parent).join(name),
            (None, _) | (_, None) => plain.clone(),
        };
        if real.as_os_str() == plain.as_os_str() {
            return Ok(real);
        }
        directories::trigger(&real.to_string_lossy(), directory)
    }
}

/// A blank value counts as none: samples of older versions have blank keys.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn required(key: &str, value: Option<String>, at: &mut Place) -> Option<String> {
    if value.is_none() {
        at.wrong(key, "this is missing", "every repository needs url, path and directory");
    }
    value
}

/// The path of requests, without trailing slashes; the root stays `/`.
fn request_path(written: &str) -> Result<String, Fault> {
    if !written.starts_with('/') {
        return Err(Fault::new(
            "the path does not begin with a slash",
            format!("write /{}", written.trim_start_matches(|letter: char| !letter.is_alphanumeric())),
        ));
    }
    let fine = |letter: char| letter.is_ascii_graphic() && !"?#\\".contains(letter);
    if !written.chars().all(fine) {
        return Err(Fault::new("the path holds a letter that no request path holds as it is", "write other letters as %XX, and no ? or #"));
    }
    let path = written.trim_end_matches('/');
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err(Fault::new("the path holds //, /./ or /../, which proxies rewrite", "write it plainly"));
    }
    Ok(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

fn label_of(raw: &mut RawRepo, at: &mut Place) -> Option<Label> {
    let kind = match raw.label_type.take().unwrap_or_default().trim() {
        "" | "branch" => LabelKind::Branch,
        "tag" => LabelKind::Tag,
        other => {
            at.warn("labelType", &format!("{other:?} is neither branch nor tag: branch is used"));
            LabelKind::Branch
        }
    };
    match (given(raw.label.take()), given(raw.branch.take()), kind) {
        (Some(label), Some(branch), _) if label != branch => {
            at.wrong("branch", "there is a label as well, and another one", "keep label: branch is its older name");
            None
        }
        (None, Some(_), LabelKind::Tag) => {
            at.wrong("branch", "labelType says tag", "write label instead of branch");
            None
        }
        (Some(label), _, kind) => at.take("label", label::check(kind, &label)),
        (None, Some(branch), LabelKind::Branch) => at.take("branch", label::check(kind, &branch)),
        (None, None, LabelKind::Branch) => at.take("label", label::check(kind, "master")),
        (None, None, LabelKind::Tag) => {
            at.wrong("label", "this is missing", "name the tag: only a branch has a default, master");
            None
        }
    }
}

fn note_same_paths(mut paths: Vec<(String, usize)>, notes: &mut Notes) {
    paths.sort();
    for pair in paths.windows(2) {
        if let [(one, earlier), (two, later)] = pair
            && one == two
        {
            let fault = Fault::new(format!("repos[{earlier}] has the same path, {one}"), "give each repository a path of its own");
            notes.wrong(KeyPath::repo(*later, "path"), fault);
        }
    }
}

fn note_clashing_trees(trees: &[(usize, PathBuf)], notes: &mut Notes) {
    for clash in directories::clashes(trees) {
        let what = match clash.same {
            true => format!("repos[{}] has the same directory", clash.earlier),
            false => format!("it and the directory of repos[{}] lie one inside the other", clash.earlier),
        };
        notes.wrong(KeyPath::repo(clash.later, "directory"), Fault::new(what, "give each repository a directory of its own"));
    }
}
