//! One configuration, three kinds of brief: each child gets what it needs and nothing else. Pure.

use super::{Briefs, Config, Repo, directories};
use crate::brief::{listener, updater, worker};
use crate::ids::RepoId;
use std::collections::BTreeMap;

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
    let Repo { path, url, remote_name, directory, label, remote, trigger, proof, key, key_file: _, known_hosts, ca, limits, at_start } =
        repo;
    let directory_id = directories::id(&directory);
    briefs.names.insert(id, path.clone());
    briefs.listener.1.push(listener::Repo { id, path, proof, ref_name: label.full_name(), remote: remote_name });
    briefs.worker.2.push(worker::Repo { id, directory: directory_id, key, reconcile: at_start });
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
