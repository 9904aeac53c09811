//! One configuration, three kinds of brief: each child gets what it needs and nothing else. Pure.

use super::{Briefs, Config, Hook, HookBrief, Hooks, Repo, directories};
use crate::brief::{self, listener, updater, worker};
use crate::ids::RepoId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

/// Milliseconds for a TCP connection to a remote to come up.
const CONNECT_MS: u32 = 15_000;
/// Milliseconds that a remote may stay silent.
const SILENCE_MS: u32 = 60_000;

/// What is in force.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// The updaters' briefs.
    pub updaters: &'a BTreeMap<RepoId, Arc<updater::Brief>>,
    /// What the log calls a repository.
    pub names: &'a BTreeMap<RepoId, Arc<str>>,
}

impl Before<'_> {
    /// Nothing is, at the start.
    pub const NOTHING: Self = Self { updaters: &BTreeMap::new(), names: &BTreeMap::new() };
}

/// Splits a configuration. Its secrets move: the listener's go to the listener's brief, the keys to
/// the worker's, none to an updater's.
///
/// A repository is the one that it was as long as its work tree is the same directory: it keeps its id, and with it
/// its mark and its running update, whatever its path, secret or URL become. `next_id` goes up by the number of new
/// ones: an id is never given twice. What has not changed is the very same, so that reloads leave memory as it is.
pub fn split(config: Config, before: Before<'_>, next_id: &mut u32) -> Briefs {
    let known: HashMap<&OsStr, RepoId> = before.updaters.iter().map(|(id, brief)| (brief.directory.as_os_str(), *id)).collect();
    let ids: Vec<RepoId> =
        config.repos.iter().map(|repo| known.get(repo.directory.as_os_str()).copied().unwrap_or_else(|| new(next_id))).collect();
    let count = u32::try_from(config.repos.len()).unwrap_or(u32::MAX);
    let keys = u32::try_from(config.keys.len()).unwrap_or(u32::MAX);
    let mut briefs = Briefs {
        listener: (
            listener::Head { repos: count, limits: listener::Limits::default(), proxies: config.proxies },
            Vec::with_capacity(config.repos.len()),
        ),
        worker: (
            worker::Head { keys, repos: count, ids: *next_id, schedule: config.schedule },
            config.keys,
            Vec::with_capacity(config.repos.len()),
        ),
        updaters: BTreeMap::new(),
        hooks: BTreeMap::new(),
        names: BTreeMap::new(),
    };
    let mut shared = Shared::of(before);
    for (id, mut repo) in ids.into_iter().zip(config.repos) {
        shared.keep(&mut repo);
        add(&mut briefs, id, repo, before);
    }
    briefs
}

/// What thousands of repositories may share is in memory once, although each reading of a configuration brings it
/// anew, and repositories that have changed live beside those that have not.
struct Shared {
    known_hosts: Known<[updater::KnownHosts]>,
    ca: Known<str>,
}

impl Shared {
    fn of(before: Before<'_>) -> Self {
        let briefs = || before.updaters.values();
        Self {
            known_hosts: Known::of(briefs().map(|brief| &brief.known_hosts)),
            ca: Known::of(briefs().filter_map(|brief| brief.ca.as_ref())),
        }
    }

    fn keep(&mut self, repo: &mut Repo) {
        self.known_hosts.keep(&mut repo.known_hosts);
        repo.ca.iter_mut().for_each(|ca| self.ca.keep(ca));
    }
}

/// Contents that are in memory already.
struct Known<T: ?Sized> {
    contents: HashSet<Arc<T>>,
    /// What to keep, by what it was compared with: each content is looked at once.
    kept: HashMap<*const u8, Arc<T>>,
}

impl<T: ?Sized + Hash + Eq> Known<T> {
    fn of<'a>(all: impl Iterator<Item = &'a Arc<T>>) -> Self
    where
        T: 'a,
    {
        let different: HashMap<*const u8, &Arc<T>> = all.map(|content| (at(content), content)).collect();
        Self { contents: different.into_values().cloned().collect(), kept: HashMap::new() }
    }

    fn keep(&mut self, content: &mut Arc<T>) {
        let known = || self.contents.get(content).unwrap_or(content).clone();
        *content = self.kept.entry(at(content)).or_insert_with(known).clone();
    }
}

fn at<T: ?Sized>(content: &Arc<T>) -> *const u8 {
    Arc::as_ptr(content).cast()
}

fn new(next_id: &mut u32) -> RepoId {
    let id = RepoId::new(*next_id);
    *next_id = next_id.saturating_add(1);
    id
}

fn add(briefs: &mut Briefs, id: RepoId, repo: Repo, before: Before<'_>) {
    let Repo {
        path,
        url,
        remote_name,
        directory,
        label,
        remote,
        trigger,
        proof,
        key,
        key_file: _,
        known_hosts,
        ca,
        hooks,
        limits,
        at_start,
    } = repo;
    let directory_id = directories::id(&directory);
    let name = before.names.get(&id).filter(|name| ***name == *path).cloned();
    briefs.names.insert(id, name.unwrap_or_else(|| path.as_str().into()));
    briefs.listener.1.push(listener::Repo { id, path: path.clone(), proof, ref_name: label.full_name(), remote: remote_name });
    let has = worker::Hooks { success: hooks.success.is_some(), failure: hooks.failure.is_some() };
    if has != worker::Hooks::default() {
        let ready = |hook: Option<Hook>| hook.map(|hook| hook_brief(hook, &path, &label.full_name(), &directory));
        briefs.hooks.insert(id, Hooks { success: ready(hooks.success), failure: ready(hooks.failure) });
    }
    let brief = updater::Brief {
        repo: id,
        url,
        label,
        remote,
        directory,
        trigger,
        known_hosts,
        ca,
        connect_ms: CONNECT_MS,
        silence_ms: SILENCE_MS,
        limits,
        purpose: updater::Purpose::Update,
    };
    let same = before.updaters.get(&id).filter(|before| ***before == brief).cloned();
    let changed = same.is_none();
    briefs.worker.2.push(worker::Repo { id, directory: directory_id, key, reconcile: at_start, changed, hooks: has });
    briefs.updaters.insert(id, same.unwrap_or_else(|| Arc::new(brief)));
}

fn hook_brief(hook: Hook, repo: &str, ref_name: &str, directory: &Path) -> HookBrief {
    let Hook { account, command, env, home, timeout_ms, write } = hook;
    let (repo, ref_name, directory) = (repo.to_owned(), ref_name.to_owned(), directory.to_owned());
    HookBrief { account, brief: Arc::new(brief::hook::Hook { command, env, home, timeout_ms, write, repo, ref_name, directory }) }
}
