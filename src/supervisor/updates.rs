//! Running updaters: the worker asks by id, the supervisor decides from its own brief, starts them,
//! and ends them at their deadline. Runs in the supervisor; distrusts the worker and the updaters.

use super::journal::{self, Journal};
use super::process::{Exit, Process};
use super::updater::{self, Needs, Started};
use crate::audit::event::Level;
use crate::brief::updater::Brief;
use crate::confine::Role;
use crate::ids::{OrderId, RepoId};
use crate::link::{LinkError, Receiver, Sender};
use crate::wire::WireError;
use crate::wire::order::Silence;
use crate::wire::worker::Ended;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

/// One running update.
struct Running {
    repo: RepoId,
    process: Process,
    /// Keeps the brief's link open until the updater has read it.
    _brief: Sender<Brief>,
}

/// All running updates of one worker.
pub struct Updates {
    threads: usize,
    last: OrderId,
    running: BTreeMap<OrderId, Running>,
    /// The confinement of an updater, as it was last recorded.
    level: Option<Level>,
}

/// An order that no honest worker gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTurn(pub &'static str);

impl Updates {
    /// Nothing runs yet.
    pub fn new(threads: u16) -> Self {
        Self { threads: usize::from(threads), last: OrderId::ZERO, running: BTreeMap::new(), level: None }
    }

    /// How many may run from now on.
    pub fn set_threads(&mut self, threads: u16) {
        self.threads = usize::from(threads);
    }

    /// The repositories whose updates run.
    pub fn repos(&self) -> impl Iterator<Item = RepoId> {
        self.running.values().map(|running| running.repo)
    }

    /// Checks an order against what the supervisor itself knows. `next_id`: the first one that was never
    /// given out; a repository that a reload has just removed is no offence.
    ///
    /// # Errors
    /// [`OutOfTurn`] says what is wrong with it.
    pub fn check(&mut self, order: OrderId, repo: RepoId, next_id: u32) -> Result<(), OutOfTurn> {
        if order <= self.last {
            return Err(OutOfTurn("an order's number does not grow"));
        }
        if repo.number() >= next_id {
            return Err(OutOfTurn("an order for an unknown repository"));
        }
        if self.running.len() >= self.threads {
            return Err(OutOfTurn("more orders than threads"));
        }
        if self.is_running(repo) {
            return Err(OutOfTurn("two orders for one repository"));
        }
        self.last = order;
        Ok(())
    }

    /// Starts the updater of a checked order. Gives the worker's end of the order link.
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(
        &mut self,
        order: OrderId,
        repo: RepoId,
        needs: &Needs<'_>,
        ended: impl FnOnce(Exit) + Send + 'static,
    ) -> io::Result<OwnedFd> {
        let Started { process, sender, receiver, peer } = updater::start(needs, ended)?;
        tokio::spawn(expect_silence(receiver, process.clone()));
        self.running.insert(order, Running { repo, process, _brief: sender });
        Ok(peer.into())
    }

    /// An updater's process has ended.
    pub fn ended(&mut self, order: OrderId, exit: Exit, journal: &Journal) {
        let Some(Running { repo, process, .. }) = self.running.remove(&order) else { return };
        updater::ended(&process, exit, journal.name(repo));
    }

    /// Ends an updater that broke the rules.
    pub fn kill(&self, order: OrderId, detail: &'static str) {
        if let Some(running) = self.running.get(&order) {
            journal::violation(Role::Updater, running.process.pid, detail);
            running.process.kill();
        }
    }

    /// Ends all, for there is no worker any more that could hear of their ends.
    pub fn kill_all(&self) {
        self.running.values().for_each(|running| running.process.kill());
    }

    /// The worker is gone and nothing runs: the next one counts its orders anew.
    pub fn forget_numbers(&mut self) {
        self.last = OrderId::ZERO;
    }

    /// Whether an update of this repository runs.
    pub fn is_running(&self, repo: RepoId) -> bool {
        self.running.values().any(|running| running.repo == repo)
    }

    /// Those that run.
    pub fn each(&self) -> impl Iterator<Item = (RepoId, &Process)> {
        self.running.values().map(|running| (running.repo, &running.process))
    }

    /// What an order's updater updates.
    pub fn repo_of(&self, order: OrderId) -> Option<RepoId> {
        self.running.get(&order).map(|running| running.repo)
    }

    /// An order's updater has closed its doors. Gives whether there is such an order.
    pub fn confined(&mut self, order: OrderId, landlock: u8) -> bool {
        let running = self.running.get(&order);
        if let Some(running) = running {
            journal::updater_confined(running.process.pid, landlock, &mut self.level);
        }
        running.is_some()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

/// Ends an updater that says anything at all to the supervisor.
async fn expect_silence(mut receiver: Receiver<Silence>, process: Process) {
    match receiver.recv().await {
        // Its end, which is told elsewhere; or a byte or two that never became a message.
        Ok(None) | Err(LinkError::Io(_) | LinkError::Wire(WireError::Truncated)) => {}
        Ok(Some(said)) => match said {},
        Err(LinkError::Wire(WireError::TooLong(_) | WireError::Malformed)) => {
            journal::violation(Role::Updater, process.pid, "it has nothing to say to the supervisor");
            process.kill();
        }
    }
}

/// How an end looks to the worker.
pub fn as_told(exit: Exit) -> Ended {
    match exit.status {
        _ if exit.deadline => Ended::Deadline,
        Some(status) if status.code().is_some() => Ended::Exited,
        Some(_) | None => Ended::Killed,
    }
}
