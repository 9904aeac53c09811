//! Briefs as the children get them: listener's and worker's in sealed memory files, so that the
//! supervisor's own memory holds no secret once a configuration is split, and a child that died can
//! be started again without reading the configuration anew. Runs in the supervisor.

use super::outcome::Difference;
use crate::brief::{Key, updater, worker};
use crate::config::{Briefs, HookBrief, Hooks};
use crate::ids::RepoId;
use crate::wire::frame::{self, Message};
use crate::wire::hook;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One configuration, ready to be given out.
pub struct Sealed {
    listener: OwnedFd,
    worker: OwnedFd,
    /// An updater's brief holds no secret.
    pub updaters: BTreeMap<RepoId, updater::Brief>,
    /// The hooks of those repositories that have some. Their variables stay here, for each run.
    pub hooks: BTreeMap<RepoId, Hooks<HookBrief>>,
    /// What the log calls a repository.
    pub names: Arc<BTreeMap<RepoId, String>>,
    /// How updates are scheduled.
    pub schedule: worker::Schedule,
    /// By which a reload sees that a path, a secret, a key or a hook has changed, when they are not here any more.
    prints: BTreeMap<RepoId, u64>,
}

impl Sealed {
    /// Takes the briefs and wipes their secrets. `salt`: the same for all that are compared.
    ///
    /// # Errors
    /// Those of making memory files, or a brief above the border's bound.
    pub fn new(briefs: Briefs, salt: &RandomState) -> io::Result<Self> {
        let Briefs { listener: (head, repos), worker: (worker_head, keys, worker_repos), updaters, hooks, names } = briefs;
        let mut prints = BTreeMap::new();
        for (to_listener, to_worker) in repos.iter().zip(&worker_repos) {
            prints.insert(
                to_listener.id,
                print(salt, to_listener, to_worker.key.and_then(|key| keys.get(key.0 as usize)), hooks.get(&to_listener.id))?,
            );
        }
        let schedule = worker_head.schedule;
        let listener = seal("gwg-listener brief", |file| {
            frame::write(file, &head)?;
            write_each(file, &repos)
        })?;
        let worker = seal("gwg-worker brief", |file| {
            frame::write(file, &worker_head)?;
            write_each(file, &keys)?;
            write_each(file, &worker_repos)
        })?;
        Ok(Self { listener, worker, updaters, hooks, names: Arc::new(names), schedule, prints })
    }

    /// What is different from `before`.
    pub fn difference(&self, before: &Self) -> Difference {
        let of = |ids: &mut dyn Iterator<Item = &RepoId>, names: &BTreeMap<RepoId, String>| -> Vec<String> {
            ids.filter_map(|id| names.get(id).cloned()).collect()
        };
        let same = |id: &RepoId| self.prints.get(id) == before.prints.get(id) && self.updaters.get(id) == before.updaters.get(id);
        Difference {
            added: of(&mut self.names.keys().filter(|id| !before.names.contains_key(id)), &self.names),
            removed: of(&mut before.names.keys().filter(|id| !self.names.contains_key(id)), &before.names),
            changed: of(&mut self.names.keys().filter(|id| before.names.contains_key(id) && !same(id)), &self.names),
        }
    }

    /// A descriptor of the listener's brief.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone()
    }

    /// A descriptor of the worker's brief.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn worker(&self) -> io::Result<OwnedFd> {
        self.worker.try_clone()
    }
}

/// A digest of what only listener and worker are told: 64 bits, and no use without the salt.
fn print(salt: &RandomState, to_listener: &impl Message, key: Option<&Key>, hooks: Option<&Hooks<HookBrief>>) -> io::Result<u64> {
    let mut digest = Digest(salt.build_hasher());
    frame::write(&mut digest, to_listener)?;
    match key {
        Some(key) => frame::write(&mut digest, key)?,
        None => digest.0.write_u8(0),
    }
    for hook in hooks.into_iter().flat_map(|hooks| [&hooks.success, &hooks.failure]) {
        digest.0.write_u8(u8::from(hook.is_some()));
        let Some(HookBrief { account, brief }) = hook else { continue };
        digest.0.write_u32(account.as_ref().map_or(0, |account| account.uid));
        digest.0.write_u32(account.as_ref().map_or(0, |account| account.gid));
        let run = hook::Run { old: None, new: None, attempt: 0 };
        frame::write(&mut digest, &hook::Brief { hook: Arc::clone(brief), run })?;
    }
    Ok(digest.0.finish())
}

struct Digest<H>(H);

impl<H: Hasher> Write for Digest<H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_each<M: Message>(file: &mut File, messages: &[M]) -> io::Result<()> {
    messages.iter().try_for_each(|message| frame::write(file, message))
}

/// A memory file that nobody, its reader included, can change any more. Frames go straight into it,
/// through no buffer that would keep a copy.
fn seal(name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    fill(&mut file)?;
    let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(all))?;
    Ok(file.into())
}
