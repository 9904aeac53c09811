//! Briefs as the children get them: listener's and worker's in sealed memory files, so that the
//! supervisor's own memory holds no secret once a configuration is split, and a child that died can
//! be started again without reading the configuration anew. Runs in the supervisor.

use super::outcome::Difference;
use crate::brief::{Key, listener, updater, worker};
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
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use zeroize::Zeroizing;

/// One configuration, ready to be given out.
pub struct Sealed {
    listener: OwnedFd,
    worker: OwnedFd,
    /// An updater's brief holds no secret.
    pub updaters: BTreeMap<RepoId, Arc<updater::Brief>>,
    /// The hooks of those repositories that have some. Their variables stay here, for each run.
    pub hooks: BTreeMap<RepoId, Hooks<HookBrief>>,
    /// What the log calls a repository.
    pub names: Arc<BTreeMap<RepoId, Arc<str>>>,
    /// How updates are scheduled.
    pub schedule: worker::Schedule,
    /// Whom the listener believes.
    pub proxies: listener::Proxies,
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
        let (mut prints, mut buffer) = (BTreeMap::new(), Zeroizing::default());
        for (to_listener, to_worker) in repos.iter().zip(&worker_repos) {
            prints.insert(
                to_listener.id,
                print(
                    salt.build_hasher(),
                    &mut buffer,
                    (to_listener, to_worker.reconcile, to_worker.key.and_then(|key| keys.get(key.0 as usize)), hooks.get(&to_listener.id)),
                )?,
            );
        }
        let (schedule, proxies) = (worker_head.schedule, head.proxies.clone());
        let listener = seal("gwg-listener brief", |file| {
            frame::write(file, &head)?;
            write_each(file, &repos)
        })?;
        let worker = seal("gwg-worker brief", |file| {
            frame::write(file, &worker_head)?;
            write_each(file, &keys)?;
            write_each(file, &worker_repos)
        })?;
        Ok(Self { listener, worker, updaters, hooks, names: Arc::new(names), schedule, proxies, prints })
    }

    /// What is different from `before`.
    pub fn difference(&self, before: &Self) -> Difference {
        let of = |ids: &mut dyn Iterator<Item = &RepoId>, names: &BTreeMap<RepoId, Arc<str>>| -> Vec<Arc<str>> {
            ids.filter_map(|id| names.get(id).cloned()).collect()
        };
        let same = |id: &RepoId| self.prints.get(id) == before.prints.get(id) && self.updaters.get(id) == before.updaters.get(id);
        Difference {
            added: of(&mut self.names.keys().filter(|id| !before.names.contains_key(id)), &self.names),
            removed: of(&mut before.names.keys().filter(|id| !self.names.contains_key(id)), &before.names),
            changed: of(&mut self.names.keys().filter(|id| before.names.contains_key(id) && !same(id)), &self.names),
        }
    }

    /// Each repository, with its name and its updater's brief.
    pub fn repos(&self) -> impl Iterator<Item = (RepoId, &Arc<str>, &Arc<updater::Brief>)> {
        // Both maps have the same keys.
        self.names.iter().zip(self.updaters.values()).map(|((id, name), brief)| (*id, name, brief))
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
fn print(
    mut digest: impl Hasher,
    buffer: &mut Zeroizing<Vec<u8>>,
    (to_listener, reconcile, key, hooks): (&listener::Repo, bool, Option<&Key>, Option<&Hooks<HookBrief>>),
) -> io::Result<u64> {
    encode(to_listener, buffer)?;
    digest.write_u8(u8::from(reconcile));
    match key {
        Some(key) => encode(key, buffer)?,
        None => digest.write_u8(0),
    }
    for hook in hooks.into_iter().flat_map(|hooks| [&hooks.success, &hooks.failure]) {
        digest.write_u8(u8::from(hook.is_some()));
        let Some(HookBrief { account, brief }) = hook else { continue };
        digest.write_u32(account.as_ref().map_or(0, |account| account.uid));
        digest.write_u32(account.as_ref().map_or(0, |account| account.gid));
        let run = hook::Run { old: None, new: None, attempt: 0 };
        encode(&hook::Brief { hook: Arc::clone(brief), run }, buffer)?;
    }
    digest.write(buffer);
    buffer.clear();
    Ok(digest.finish())
}

fn encode<M: Message>(message: &M, buffer: &mut Vec<u8>) -> io::Result<()> {
    frame::encode(message, buffer).map_err(io::Error::other)
}

/// Bytes that are gathered before they are written: thousands of small frames would each cost a call.
const AT_ONCE: usize = 64 << 10;

fn write_each<M: Message>(file: &mut File, messages: &[M]) -> io::Result<()> {
    let mut buffer = Zeroizing::new(Vec::new());
    for message in messages {
        encode(message, &mut buffer)?;
        if buffer.len() >= AT_ONCE {
            file.write_all(&buffer)?;
            buffer.clear();
        }
    }
    file.write_all(&buffer)
}

/// A memory file that nobody, its reader included, can change any more. Frames go into it through no
/// buffer that would keep a copy: this executable's heap wipes what is freed.
///
/// # Errors
/// Those of making and filling it.
pub fn seal(name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    fill(&mut file)?;
    let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(all))?;
    // Opened anew, to be read only: a child's domain need not let it write what nobody can write.
    Ok(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.into())
}
