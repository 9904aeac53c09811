//! Running hooks: the worker asks by id, the supervisor decides from its own brief, starts them under
//! their own user, and tells how they ended. Runs in the supervisor; distrusts the worker and the hooks.
//!
//! gwg-hook itself ends a hook at its deadline, with all that it started. The deadline here is for a
//! gwg-hook that does not.

use super::briefs::Sealed;
use super::journal::{self, Journal};
use super::output;
use super::process::{self, Exit, Process};
use super::roster::Roster;
use super::updates::OutOfTurn;
use crate::audit::event::Hook;
use crate::config::HookBrief;
use crate::confine::spawn::Account;
use crate::confine::{Role, descriptors};
use crate::ids::{RepoId, UpdateId, millis};
use crate::link::{self, LinkError, Receiver};
use crate::wire::hook::{Brief, End, FromHook, On, Run};
use crate::wire::worker::HookEnded;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What gwg-hook gets beyond its hook's deadline to end all of it.
const SPARE: Duration = Duration::from_secs(10);
/// How long the log waits for the rest of an output. Nothing of the hook runs any more then, but where it has no
/// PID namespace something may have got away with the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All running hooks of one worker.
pub struct Hooks {
    most: usize,
    running: BTreeMap<RepoId, Process>,
}

/// Which hook of which repository is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub repo: RepoId,
    pub on: On,
    pub run: Run,
    /// The update that it comes after: for the records.
    pub update: UpdateId,
}

impl Hooks {
    /// Nothing runs yet. As many may run at once as updates.
    pub fn new(threads: u16) -> Self {
        Self { most: usize::from(threads), running: BTreeMap::new() }
    }

    /// How many may run from now on.
    pub fn set_threads(&mut self, threads: u16) {
        self.most = usize::from(threads);
    }

    /// The repositories whose hooks run.
    pub fn repos(&self) -> impl Iterator<Item = RepoId> {
        self.running.keys().copied()
    }

    /// Checks what the worker asks for against what the supervisor itself knows. `next_id`: the first one that
    /// was never given out; a hook that a reload has just removed is no offence.
    ///
    /// # Errors
    /// [`OutOfTurn`] says what is wrong with it.
    pub fn check(&self, wanted: Wanted, next_id: u32) -> Result<(), OutOfTurn> {
        if wanted.repo.number() >= next_id {
            return Err(OutOfTurn("a hook of an unknown repository"));
        }
        if self.running.len() >= self.most {
            return Err(OutOfTurn("more hooks than threads"));
        }
        if self.is_running(wanted.repo) {
            return Err(OutOfTurn("two hooks for one repository"));
        }
        Ok(())
    }

    /// Starts a checked hook. `ended` is called once, when nothing of it runs any more.
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(
        &mut self,
        wanted: Wanted,
        found: &HookBrief,
        roster: &Roster,
        journal: &Journal,
        ended: impl FnOnce(HookEnded) + Send + 'static,
    ) -> io::Result<()> {
        let account = found.account.as_ref().map(|account| Account { uid: account.uid, gid: account.gid });
        let (ours, theirs) = UnixStream::pair()?;
        let (log, reader) = output::pipe_of(account)?;
        let command = roster.hook(account, vec![(theirs.into(), descriptors::SUPERVISOR)], log)?;
        let deadline = Duration::from_millis(found.brief.timeout_ms) + SPARE;
        let (exit, exited) = oneshot::channel();
        let process = process::start(command, Some(deadline), |status| {
            let _nobody_waits = exit.send(status);
        })?;
        let name = found.brief.repo.clone();
        let output = reader.log_hook(process.pid, name.clone());
        let (sender, receiver) = link::open::<Brief, FromHook>(ours.into())?;
        if sender.send(&Brief { hook: Arc::clone(&found.brief), run: wanted.run }).is_err() {
            process.kill();
        }
        self.running.insert(wanted.repo, process.clone());
        let uid = account.map_or_else(|| nix::unistd::geteuid().as_raw(), |account| account.uid);
        let watch = Watch { repo: name, wanted, process, uid, journal: journal.clone() };
        tokio::spawn(async move {
            let told = watch.listen(receiver).await;
            // Until here: gwg-hook ends its hook where it finds the link closed.
            drop(sender);
            let exit = exited.await.unwrap_or(Exit { status: None, deadline: false });
            let _rest_is_lost = tokio::time::timeout(LAST_WORDS, output).await;
            ended(watch.end(told, exit));
        });
        Ok(())
    }

    /// A hook has ended.
    pub fn ended(&mut self, repo: RepoId) {
        self.running.remove(&repo);
    }

    /// Ends all.
    pub fn kill_all(&self) {
        self.running.values().for_each(Process::kill);
    }

    /// Whether a hook of this repository runs.
    pub fn is_running(&self, repo: RepoId) -> bool {
        self.running.contains_key(&repo)
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

/// What the configuration in force has for it.
pub fn find(wanted: Wanted, sealed: &Sealed) -> Option<&HookBrief> {
    let hooks = sealed.hooks.get(&wanted.repo)?;
    match wanted.on {
        On::Success => hooks.success.as_ref(),
        On::Failure => hooks.failure.as_ref(),
    }
}

/// One running hook, as the log tells of it.
struct Watch {
    repo: String,
    wanted: Wanted,
    process: Process,
    uid: u32,
    journal: Journal,
}

impl Watch {
    fn about(&self) -> Hook {
        let Wanted { repo: _, on, run: Run { old, new, attempt }, update } = self.wanted;
        Hook { repo: self.repo.clone(), update, on: on.word(), old, new, attempt, pid: self.process.pid, uid: self.uid }
    }

    /// Hears gwg-hook until its link ends.
    async fn listen(&self, mut link: Receiver<FromHook>) -> Option<End> {
        let (mut started, mut end) = (false, None);
        loop {
            match link.recv().await {
                Ok(Some(FromHook::Started { own_pids, landlock })) if !started && end.is_none() => {
                    started = true;
                    journal::hook_started(self.about(), own_pids, landlock);
                }
                Ok(Some(FromHook::Ended(told))) if end.is_none() => end = Some(told),
                Ok(None) | Err(LinkError::Io(_)) => return end,
                Ok(Some(_)) | Err(LinkError::Wire(_)) => {
                    journal::violation(Role::Hook, self.process.pid, "a message that no honest hook sends");
                    self.process.kill();
                    return None;
                }
            }
        }
    }

    fn end(&self, told: Option<End>, exit: Exit) -> HookEnded {
        let ms = millis(self.process.since.elapsed());
        // Killed at the last moment: what it told may not be true any more.
        let told = told.filter(|_| exit.status.is_some_and(|status| status.success()));
        self.journal.hook_ended(self.wanted, self.about(), told.ok_or(exit), ms);
        match told {
            Some(End::Exited(0)) => HookEnded::Well,
            Some(End::Exited(_) | End::Signal(_) | End::Deadline | End::NotStarted) | None => HookEnded::Badly,
        }
    }
}
