//! One configuration, three kinds of brief: each child gets what it needs and nothing else. Pure.

use super::{Briefs, Config, Hook, HookBrief, Hooks, Repo, directories};
use crate::brief::{self, listener, updater, worker};
use crate::ids::RepoId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Milliseconds for a TCP connection to a remote to come up.
const CONNECT_MS: u32 = 15_000;
/// Milliseconds that a remote may stay silent.
const SILENCE_MS: u32 = 60_000;

/// Splits a configuration. Its secrets move: the listener's go to the listener's brief, the keys to
/// the worker's, none to an updater's. `next_id` goes up by the number of repositories: an id is
/// never given twice.
pub fn split(config: Config, next_id: &mut u32) -> Briefs {
    let count = u32::try_from(config.repos.len()).unwrap_or(u32::MAX);
    let keys = u32::try_from(config.keys.len()).unwrap_or(u32::MAX);
    let mut briefs = Briefs {
        listener: (listener::Head { repos: count, limits: listener::Limits::default() }, Vec::with_capacity(config.repos.len())),
        worker: (worker::Head { keys, repos: count, schedule: config.schedule }, config.keys, Vec::with_capacity(config.repos.len())),
        updaters: BTreeMap::new(),
        hooks: BTreeMap::new(),
        names: BTreeMap::new(),
    };
    for repo in config.repos {
        let id = RepoId::new(*next_id);
        *next_id = next_id.saturating_add(1);
        add(&mut briefs, id, repo);
    }
    briefs
}

fn add(briefs: &mut Briefs, id: RepoId, repo: Repo) {
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
    briefs.names.insert(id, path.clone());
    briefs.listener.1.push(listener::Repo { id, path: path.clone(), proof, ref_name: label.full_name(), remote: remote_name });
    let has = worker::Hooks { success: hooks.success.is_some(), failure: hooks.failure.is_some() };
    briefs.worker.2.push(worker::Repo { id, directory: directory_id, key, reconcile: at_start, hooks: has });
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
    };
    briefs.updaters.insert(id, brief);
}

fn hook_brief(hook: Hook, repo: &str, ref_name: &str, directory: &Path) -> HookBrief {
    let Hook { account, command, env, home, timeout_ms, write } = hook;
    let (repo, ref_name, directory) = (repo.to_owned(), ref_name.to_owned(), directory.to_owned());
    HookBrief { account, brief: Arc::new(brief::hook::Hook { command, env, home, timeout_ms, write, repo, ref_name, directory }) }
}
