//! Briefs as the children get them: listener's and worker's in sealed memory files, so that the
//! supervisor's own memory holds no secret once a configuration is split, and a child that died can
//! be started again without reading the configuration anew. Runs in the supervisor.

use super::control::RepoInfo;
use crate::brief::updater;
use crate::config::Briefs;
use crate::ids::RepoId;
use crate::wire::frame::{self, Message};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One configuration, ready to be given out.
pub struct Sealed {
    listener: OwnedFd,
    worker: OwnedFd,
    /// An updater's brief holds no secret.
    pub updaters: BTreeMap<RepoId, updater::Brief>,
    /// What the log calls a repository.
    pub names: Arc<BTreeMap<RepoId, String>>,
}

impl Sealed {
    /// Takes the briefs and wipes their secrets.
    ///
    /// # Errors
    /// Those of making memory files, or a brief above the border's bound.
    pub fn new(briefs: Briefs) -> io::Result<Self> {
        let Briefs { listener: (head, repos), worker: (worker_head, keys, worker_repos), updaters, names } = briefs;
        let listener = seal("gwg-listener brief", |file| {
            frame::write(file, &head)?;
            write_each(file, &repos)
        })?;
        let worker = seal("gwg-worker brief", |file| {
            frame::write(file, &worker_head)?;
            write_each(file, &keys)?;
            write_each(file, &worker_repos)
        })?;
        Ok(Self { listener, worker, updaters, names: Arc::new(names) })
    }

    /// What operators are shown of each repository.
    pub fn infos(&self) -> impl Iterator<Item = (RepoId, RepoInfo)> {
        self.updaters.iter().map(|(id, brief)| {
            let name = self.names.get(id).map_or("", String::as_str);
            let (label, url) = (brief.label.to_string(), brief.url.as_str());
            let directory = brief.directory.to_string_lossy();
            (*id, RepoInfo { name: name.into(), label: label.into(), url: url.into(), directory: directory.into() })
        })
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
