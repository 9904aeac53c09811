//! One update, from top to bottom. Runs in the updater.

use super::endpoint::Endpoint;
use super::failure::{Fault, git};
use super::reset::Target;
use super::tree::Tree;
use super::trigger::Trigger;
use super::{crash, damage, fetch, gc, gitdir, host_keys, libgit2, reset, tree};
use crate::audit::{HostKey, Reason, Step};
use crate::brief::updater::Brief;
use crate::confine::maker::Maker;
use crate::confine::reach::Reach;
use crate::ids::CommitId;
use crate::wire::order::{Order, Outcome, Progress, Report};
use git2::{Commit, Oid, Repository};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Whom an update tells how it goes.
#[derive(Clone, Copy)]
pub struct Tell<'a> {
    /// A line for people.
    pub say: &'a dyn Fn(&str),
    /// A step begins.
    pub step: &'a dyn Fn(Step),
    /// How far it is.
    pub progress: &'a dyn Fn(Progress),
    /// The server's host key was refused.
    pub host_key: &'a dyn Fn(HostKey),
}

/// Brings the work tree level with its remote. `close` confines the process to what it is given; it
/// is called once, before anything is read that the remote or the work tree says, and before `order`, which
/// brings the key.
///
/// # Errors
/// Those of `close` and `order`, and of nothing else: then nothing was read. A failed update is a report.
pub fn update<E>(
    brief: &Brief,
    tell: &Tell<'_>,
    close: impl FnOnce(&Reach<'_>) -> Result<Option<Maker>, E>,
    order: impl FnOnce() -> Result<Order, E>,
) -> Result<Report, E> {
    let opened = match open(brief, tell) {
        Ok(opened) => {
            let maker = close(&opened.reach(brief))?;
            Ok(opened.with(maker))
        }
        Err(fault) => Err(fault),
    };
    let run = Run { brief, order: &order()?, tell, bytes: Cell::new(0), old: Cell::new(None), gc_due: Cell::new(false) };
    let outcome = opened.and_then(|opened| run.to_the_end(opened)).unwrap_or_else(|fault| {
        let fault = fault.explained(&brief.limits);
        (tell.say)(&fault.to_string());
        if let Some(key) = fault.host_key {
            (tell.host_key)(key);
        }
        Outcome::Failed(fault.failure())
    });
    Ok(Report { old: run.old.get(), outcome, bytes: run.bytes.get(), gc_due: run.gc_due.get() })
}

fn open(brief: &Brief, tell: &Tell<'_>) -> Result<Opened, Fault> {
    (tell.step)(Step::Open);
    libgit2::set_up(brief.connect_ms, brief.silence_ms, &brief.limits)?;
    let _certificates = trust(brief.ca.as_deref())?;
    let root = tree::open_root(brief)?;
    let trigger = brief.trigger.as_deref().map(|path| Trigger::find(path, &brief.directory)).transpose();
    Ok(Opened { root, trigger, _certificates })
}

/// What an update opens before it is confined: nothing in it has been read.
struct Opened {
    root: OwnedFd,
    /// A trigger that can't be touched must not keep the tree from being updated.
    trigger: Result<Option<Trigger>, Fault>,
    /// Open as long as OpenSSL may read it.
    _certificates: Option<OwnedFd>,
}

impl Opened {
    fn reach(&self, brief: &Brief) -> Reach<'_> {
        let trigger = self.trigger.as_ref().ok().and_then(Option::as_ref).and_then(Trigger::reach);
        // A URL without a port leads to no remote, and is refused when it is used.
        Reach { tree: self.root.as_fd(), above: None, trigger, port: Endpoint::of(&brief.url).map_or(0, |endpoint| endpoint.port) }
    }

    fn with(mut self, maker: Option<Maker>) -> Self {
        if let (Ok(Some(trigger)), Some(maker)) = (&mut self.trigger, maker) {
            trigger.made_by(maker);
        }
        self
    }
}

struct Run<'a> {
    brief: &'a Brief,
    order: &'a Order,
    tell: &'a Tell<'a>,
    bytes: Cell<u64>,
    old: Cell<Option<CommitId>>,
    gc_due: Cell<bool>,
}

impl Run<'_> {
    fn to_the_end(&self, opened: Opened) -> Result<Outcome, Fault> {
        let Opened { root, trigger, _certificates } = opened;
        let tree = Tree::open(root, self.brief, self.order.known)?;
        let outcome = self.deploy(&tree).and_then(|deployed| self.pull(&tree, trigger, deployed));
        // A store that can't be listed shows in an update, and is no reason to fail one that went well.
        self.gc_due.set(outcome.is_ok() && gc::is_due(&tree).unwrap_or(false));
        crash::end(&tree.private).map_err(|errno| Fault::errno(Step::Open, ".git/gwg/running", errno))?;
        outcome
    }

    /// Fetches and resets. A damaged repository is rebuilt from its remote, once.
    fn deploy(&self, tree: &Tree) -> Result<Deployed, Fault> {
        let errno = |errno| Fault::errno(Step::Open, ".git", errno);
        let deployed = match self.fetch_and_reset(tree) {
            Err(damage) if damage.reason == Reason::Corrupt && !self.came_damaged(tree, &damage) => {
                (self.tell.say)(&format!("{damage}; the repository is damaged and is fetched anew"));
                gitdir::set_damaged_aside(&tree.git, &self.brief.label).map_err(errno)?;
                self.fetch_and_reset(tree).or_else(|fault| match fault.reason {
                    // So it was not the disk: what the remote has is bad, and what was here is as good as it was.
                    Reason::Corrupt => gitdir::put_back_damaged(&tree.git).map_err(errno).and(Err(fault)),
                    _ => Err(fault),
                })?
            }
            result => result?,
        };
        // Of this update, or of one before it that did not get so far.
        gitdir::forget_damaged(&tree.private).map_err(errno)?;
        Ok(deployed)
    }

    /// Whether the repository on disk is whole, so that what came must have been bad.
    fn came_damaged(&self, tree: &Tree, fault: &Fault) -> bool {
        let Brief { label, remote, .. } = self.brief;
        let refs = ["HEAD", &label.full_name(), &fetch::local_name(label, remote)];
        fault.step == Step::Fetch && tree.repository(self.brief).is_ok_and(|repo| damage::is_whole(&repo, &refs))
    }

    fn fetch_and_reset(&self, tree: &Tree) -> Result<Deployed, Fault> {
        let (brief, order) = (self.brief, self.order);
        let known_hosts = Endpoint::of(&brief.url).map(|endpoint| host_keys::preferences(&brief.known_hosts, &endpoint));
        let home = gitdir::make_home(&tree.private, &known_hosts.unwrap_or_default())
            .map_err(|errno| Fault::errno(Step::Open, ".git/gwg/home", errno))?;
        libgit2::set_home(&home)?;
        let repo = tree.repository(brief)?;
        let old = repo.head().and_then(|head| head.peel_to_commit()).ok().map(|commit| commit.id());
        if let Some(old) = old {
            self.old.set(Some(commit_id(old)?));
        }

        (self.tell.step)(Step::Fetch);
        let tip = fetch::fetch(&repo, brief, order.key.as_ref(), &self.bytes, self.tell.progress)?;
        (self.tell.step)(Step::Verify);
        let commit = find_commit(&repo, tip, brief)?;
        let forced = match old {
            Some(old) => old != commit.id() && !repo.graph_descendant_of(commit.id(), old).map_err(git(Step::Verify))?,
            None => false,
        };
        let announced_seen = order.announced.is_none_or(|announced| is_in(&repo, announced, tip, &commit));
        let target = Target::check(&repo, tree, brief, &commit)?;
        (self.tell.step)(Step::Reset);
        reset::reset(&repo, tree, brief, target, self.tell.progress)?;
        Ok(Deployed { new: commit_id(commit.id())?, forced, announced_seen })
    }

    /// Touches the trigger, where there is one and it was not touched for this commit.
    fn pull(&self, tree: &Tree, trigger: Result<Option<Trigger>, Fault>, deployed: Deployed) -> Result<Outcome, Fault> {
        let Deployed { new, forced, announced_seen } = deployed;
        let due = self.brief.trigger.is_some() && self.order.triggered != Some(new);
        if due && let Some(trigger) = trigger? {
            (self.tell.step)(Step::Trigger);
            trigger.touch(tree.root.as_fd())?;
        }
        Ok(Outcome::Current { new, forced, triggered: due, announced_seen })
    }
}

struct Deployed {
    new: CommitId,
    forced: bool,
    announced_seen: bool,
}

fn find_commit<'r>(repo: &'r Repository, tip: Oid, brief: &Brief) -> Result<Commit<'r>, Fault> {
    let object = repo.find_object(tip, None).map_err(git(Step::Verify))?;
    object.peel_to_commit().map_err(|error| match error.code() {
        git2::ErrorCode::InvalidSpec | git2::ErrorCode::Peel => {
            Fault::new(Step::Verify, Reason::Other, format!("{} is at {tip}, which is no commit", brief.label))
        }
        _ => Fault::git(Step::Verify, &error),
    })
}

/// Whether the announced commit (or annotated tag) has arrived. One that is not here has not.
fn is_in(repo: &Repository, announced: CommitId, tip: Oid, commit: &Commit<'_>) -> bool {
    let Ok(announced) = Oid::from_bytes(announced.as_bytes()) else { return false };
    if announced == tip || announced == commit.id() {
        return true;
    }
    let Ok(announced) = repo.find_object(announced, None).and_then(|object| object.peel_to_commit()) else { return false };
    announced.id() == commit.id() || repo.graph_descendant_of(commit.id(), announced.id()).unwrap_or(false)
}

fn commit_id(id: Oid) -> Result<CommitId, Fault> {
    let bytes = <[u8; 20]>::try_from(id.as_bytes());
    bytes.map(CommitId::from_bytes).map_err(|_| Fault::new(Step::Verify, Reason::Other, "only SHA-1 repositories are supported"))
}

/// Hands certificates to OpenSSL, which wants a file: one in memory, open as long as the result.
fn trust(certificates: Option<&str>) -> Result<Option<OwnedFd>, Fault> {
    let Some(certificates) = certificates else { return Ok(None) };
    let file = memfd_create(c"ca", MFdFlags::MFD_CLOEXEC).map_err(|errno| Fault::errno(Step::Start, "caFile", errno))?;
    let mut file = File::from(file);
    file.write_all(certificates.as_bytes()).map_err(|error| Fault::new(Step::Start, Reason::Other, format!("caFile: {error}")))?;
    libgit2::trust(&format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(Some(file.into()))
}
