//! The upgrade in place: what follows what, and its effects. Runs in the supervisor, on its main thread.
//!
//! ```text
//! asked ─▶ the new executable is tried ─▶ nothing new is started, what runs ends ─▶ it is tried again
//!       ─▶ POINT OF NO RETURN ─▶ the listener answers what it was asked, and ends; then the worker
//!       ─▶ exec
//! ```
//!
//! Until that point whatever fails changes nothing, and who asked is told why. After it nobody
//! is refused: who connects waits in the listening socket, which stays open. What the worker had marked, the
//! next one finds by comparing every repository. No child lives on over the exec.

use super::children;
use super::handover::{Expected, Handover};
use super::journal;
use super::run::{End, Estate, Heard, Supervisor};
use super::successor::{Successor, Trial};
use crate::confine::Role;
use crate::wire::control::{Answer, Refusal};
use crate::wire::frame;
use crate::wire::listener::{ToListener, Waiting};
use crate::wire::worker::ToWorker;
use std::error::Error;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What running updates and hooks get, and listeners that drain. The worker takes jobs meanwhile.
const HOLD: Duration = Duration::from_secs(30);
/// What unanswered requests get: a forge that waits in the listening socket gives up after 5 s to 10 s.
const DRAIN: Duration = Duration::from_secs(3);
/// What the worker gets for its end.
const END: Duration = Duration::from_secs(2);

/// An operator who waits.
pub struct Asker {
    /// His connection: the next gwg tells him that it serves.
    pub connection: OwnedFd,
    /// This one tells him why there is no next one.
    pub refuse: oneshot::Sender<String>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// None is wanted.
    Idle,
    /// The new executable is tried, before anything else.
    Trying,
    /// Nothing new is started.
    Holding,
    /// It is tried again: the configuration may have changed meanwhile.
    Sure,
    /// Requests are answered.
    Draining,
    /// The worker ends.
    Ending,
    /// No child is left.
    Alone,
}

/// What the next stage depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    /// The worker has said that it starts nothing more.
    holds: bool,
    /// No update, hook or reload runs, and no listener that a reload has replaced.
    quiet: bool,
    /// No listener is left.
    deaf: bool,
    /// No child is left.
    alone: bool,
    /// The stage has had its time.
    late: bool,
}

impl Stage {
    /// The stage that follows, where it is time.
    fn next(self, facts: Facts) -> Option<Self> {
        let Facts { holds, quiet, deaf, alone, late } = facts;
        match self {
            // Their ends are events.
            Self::Idle | Self::Trying | Self::Sure => None,
            Self::Holding => (holds && quiet || late).then_some(Self::Sure),
            Self::Draining => (deaf || late).then_some(Self::Ending),
            Self::Ending => (alone || late).then_some(Self::Alone),
            Self::Alone => None,
        }
    }

    /// Whether children are being ended: there is no way back.
    fn is_final(self) -> bool {
        match self {
            Self::Idle | Self::Trying | Self::Holding | Self::Sure => false,
            Self::Draining | Self::Ending | Self::Alone => true,
        }
    }

    /// Whether no reload may begin.
    fn is_holding(self) -> bool {
        self.is_final() || matches!(self, Self::Holding | Self::Sure)
    }

    fn limit(self) -> Option<Duration> {
        match self {
            Self::Holding => Some(HOLD),
            Self::Draining => Some(DRAIN),
            Self::Ending => Some(END),
            Self::Idle | Self::Trying | Self::Sure | Self::Alone => None,
        }
    }
}

/// The upgrade that runs, if one does.
pub struct Upgrade {
    stage: Stage,
    /// Counts stages, so that a deadline of one that has passed is not taken for that of another.
    stages: u64,
    late: bool,
    /// How often the running worker was told to hold, and has not answered.
    told: u32,
    /// The worker that has said that it starts nothing.
    holder: Option<children::Birth>,
    /// Where the executable is, or why that is not known.
    place: Result<PathBuf, String>,
    askers: Vec<Asker>,
    successor: Option<Successor>,
}

impl Upgrade {
    /// None is wanted. Make it at start: see `successor::place`.
    pub fn new(place: io::Result<PathBuf>) -> Self {
        let place = place.map_err(|error| format!("where this executable is can't be told: {error}"));
        Self { stage: Stage::Idle, stages: 0, late: false, told: 0, holder: None, place, askers: Vec::new(), successor: None }
    }

    /// Whether nothing new may begin: it is under way.
    pub fn is_holding(&self) -> bool {
        self.stage.is_holding()
    }
}

impl Supervisor {
    /// Somebody wants the executable that is installed now to take over.
    pub fn upgrade(&mut self, asker: Option<Asker>) {
        if self.stopping && !self.upgrade.stage.is_final() {
            return asker.into_iter().for_each(|asker| drop(asker.refuse.send("gwg ends".to_owned())));
        }
        self.upgrade.askers.extend(asker);
        if self.upgrade.stage == Stage::Idle {
            self.enter(Stage::Trying);
        }
    }

    /// A trial has ended.
    pub fn hear_trial(&mut self, result: Result<Successor, String>) {
        if self.stopping {
            return;
        }
        match (self.upgrade.stage, result) {
            (Stage::Trying, Ok(_)) => self.enter(Stage::Holding),
            (Stage::Sure, Ok(successor)) => {
                self.upgrade.successor = Some(successor);
                self.enter(Stage::Draining);
            }
            (Stage::Trying | Stage::Sure, Err(why)) => self.refuse_upgrade(why),
            (Stage::Idle | Stage::Holding | Stage::Draining | Stage::Ending | Stage::Alone, _) => {}
        }
    }

    /// The worker starts nothing more. False where nobody has asked it for that.
    pub fn hear_holds(&mut self, worker: children::Birth) -> bool {
        let asked = self.upgrade.told > 0;
        self.upgrade.told = self.upgrade.told.saturating_sub(1);
        // The answer may come when the upgrade was refused meanwhile, or to another one before this.
        if self.upgrade.stage.is_holding() && self.upgrade.told == 0 {
            self.upgrade.holder = Some(worker);
        }
        asked
    }

    /// A worker serves that was started meanwhile: it is to start nothing either.
    pub fn hold_new_worker(&mut self) {
        self.upgrade.told = 0;
        if self.upgrade.stage.is_holding() {
            self.hold_worker();
        }
    }

    fn hold_worker(&mut self) {
        // One that is not ready yet is told when it is.
        if self.worker.as_ref().is_some_and(|worker| worker.ready) {
            self.upgrade.told += 1;
            self.tell_worker(|worker| worker.send(&ToWorker::Hold));
        }
    }

    /// A stage has had its time; it may be over long since.
    pub fn upgrade_is_late(&mut self, stage: u64) {
        self.upgrade.late |= stage == self.upgrade.stages;
    }

    /// Goes on as far as possible. True: it is time for the exec.
    pub fn advance_upgrade(&mut self) -> bool {
        while let Some(next) = self.upgrade.stage.next(self.facts()) {
            self.enter(next);
        }
        self.upgrade.stage == Stage::Alone && self.is_alone()
    }

    fn facts(&self) -> Facts {
        let worker = self.worker.as_ref().map(|worker| worker.birth);
        Facts {
            holds: worker.is_some() && self.upgrade.holder == worker,
            quiet: self.updates.running() + self.hooks.running() == 0 && self.draining.is_empty() && !self.is_reloading(),
            deaf: self.listener.is_none() && self.draining.is_empty(),
            alone: self.is_alone(),
            late: self.upgrade.late,
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.upgrade.stage = stage;
        self.upgrade.stages += 1;
        self.upgrade.late = false;
        if let Some(limit) = stage.limit() {
            self.later(limit, Heard::UpgradeLate(self.upgrade.stages));
        }
        match stage {
            Stage::Idle => {}
            Stage::Trying | Stage::Sure => self.try_successor(),
            Stage::Holding => self.hold(),
            Stage::Draining => self.drain_for_upgrade(),
            Stage::Ending => self.end_worker(),
            // What is left after all this time is ended.
            Stage::Alone => drop(self.kill_all()),
        }
    }

    fn try_successor(&self) {
        let (ears, place) = (self.ears.clone(), self.upgrade.place.clone());
        let listen = (!self.estate.listen_is_given).then_some(self.estate.listen);
        let config = self.estate.origin.file.clone();
        tokio::spawn(async move {
            let result = match place {
                Ok(path) => Trial { path, config, listen }.run().await,
                Err(why) => Err(why),
            };
            children::hand_on(&ears, Heard::Tried(result)).await;
        });
    }

    fn hold(&mut self) {
        self.upgrade.holder = None;
        self.hold_worker();
        let (updates, hooks) = (self.updates.running(), self.hooks.running());
        if updates + hooks > 0 {
            journal::upgrade_waits(updates, hooks);
        }
    }

    fn refuse_upgrade(&mut self, why: String) {
        journal::upgrade_refused(&why);
        for asker in self.upgrade.askers.drain(..) {
            // He may be gone.
            let _ = asker.refuse.send(why.clone());
        }
        let held = self.upgrade.stage.is_holding();
        self.enter(Stage::Idle);
        if held {
            self.tell_worker(|worker| worker.send(&ToWorker::Resume));
            self.begin_reload_if_there_is_room();
        }
    }

    /// From here on there is no way back.
    fn drain_for_upgrade(&mut self) {
        journal::upgrading(self.upgrade.successor.as_ref().map_or("", |successor| &successor.version));
        self.estate.notify.reloading();
        // Those who ask from now on wait in the sockets.
        self.estate.door.close();
        self.estate.scrapes.close();
        self.stopping = true;
        self.give_reload_up();
        self.give_prune_up();
        self.upkeep.give_up();
        self.updates.kill_all();
        self.hooks.kill_all();
        if let Some(listener) = &self.listener {
            children::tell(Role::Listener, listener, |listener| listener.send(&ToListener::Drain(Waiting::Leave)));
        }
    }

    /// Hears what children that are gone had said: their links end with them.
    ///
    /// # Errors
    /// See [`Supervisor::hear`].
    pub async fn listen_out(&mut self, heard: &mut mpsc::Receiver<Heard>) -> Result<(), Box<dyn Error>> {
        let limit = tokio::time::sleep(END);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                biased;
                Some(heard) = heard.recv() => self.hear(heard)?,
                ended = self.hearings.join_next() => if ended.is_none() { return Ok(()) },
                () = &mut limit => return Ok(()),
            }
        }
    }

    /// All that the next gwg goes on with.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn hand_over(self) -> Result<End, Box<dyn Error>> {
        let Self { estate, upgrade, .. } = self;
        let successor = upgrade.successor.ok_or("an upgrade to nothing")?;
        let Estate { roster, socket, listen_is_given, state, door, mut scrapes, .. } = estate;
        let (control, control_lock) = door.hand_over()?;
        let handover = Handover {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seq: 0,
            listening: socket,
            is_given: listen_is_given,
            scrapes: scrapes.take_socket(),
            control,
            control_lock,
            state_lock: state.into_lock()?,
            executables: roster.executables(),
            askers: upgrade.askers.into_iter().map(|asker| asker.connection).collect(),
            failure: None,
        };
        Ok(End::Replaced(successor, Box::new(handover)))
    }

    /// This gwg serves: who waited for that hears it from this one.
    pub fn tell_expected(&mut self) {
        let Expected { askers, from, failure } = std::mem::take(&mut self.estate.expected);
        let Some(from) = from else { return };
        if let Some(failure) = &failure {
            journal::upgrade_refused(failure);
        }
        let last = match failure {
            Some(failure) => Answer::Refused(Refusal::Upgrade(failure)),
            None => Answer::Done,
        };
        let text = Answer::Text(format!("gwg {} serves, in the place of {from}", env!("CARGO_PKG_VERSION")));
        for asker in askers {
            let mut bytes = Vec::new();
            if last == Answer::Done {
                let _ = frame::encode(&text, &mut bytes);
            }
            let _ = frame::encode(&last, &mut bytes);
            // Few bytes, which fit into the socket of anyone who still listens; it never waits.
            let _ = UnixStream::from(asker).write_all(&bytes);
        }
    }

    fn end_worker(&mut self) {
        for listener in self.listener.iter().chain(&self.draining) {
            listener.process.kill();
        }
        self.tell_worker(|worker| worker.send(&ToWorker::Stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts = Facts { holds: false, quiet: false, deaf: false, alone: false, late: false };

    #[test]
    fn each_stage_waits_for_what_it_is_for() {
        assert_eq!(Stage::Holding.next(Facts { quiet: true, ..NOTHING }), None, "an order may be on its way");
        assert_eq!(Stage::Holding.next(Facts { holds: true, ..NOTHING }), None);
        assert_eq!(Stage::Holding.next(Facts { holds: true, quiet: true, ..NOTHING }), Some(Stage::Sure));
        assert_eq!(Stage::Draining.next(Facts { holds: true, quiet: true, ..NOTHING }), None, "requests are not answered yet");
        assert_eq!(Stage::Draining.next(Facts { deaf: true, ..NOTHING }), Some(Stage::Ending));
        assert_eq!(Stage::Ending.next(Facts { deaf: true, ..NOTHING }), None);
        assert_eq!(Stage::Ending.next(Facts { alone: true, ..NOTHING }), Some(Stage::Alone));
    }

    #[test]
    fn each_stage_with_a_limit_ends_at_it_and_no_other_does() {
        for stage in [Stage::Idle, Stage::Trying, Stage::Holding, Stage::Sure, Stage::Draining, Stage::Ending, Stage::Alone] {
            assert_eq!(stage.next(Facts { late: true, ..NOTHING }).is_some(), stage.limit().is_some(), "{stage:?}");
        }
    }

    #[test]
    fn what_is_tried_is_tried_last_before_there_is_no_way_back() {
        assert!(!Stage::Sure.is_final() && Stage::Sure.is_holding());
        assert!(Stage::Draining.is_final());
    }
}
