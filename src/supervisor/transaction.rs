//! The reload's transaction: what follows what. Pure. Runs in the supervisor.
//!
//! ```text
//! wanted ─▶ read, checked, split, port bound ─▶ the worker has read its brief ─▶ a new listener is ready
//!        ─▶ COMMIT ─▶ the old listener has closed its socket ─▶ done
//! ```
//!
//! Until the commit everything can be taken back, and whatever fails takes it back: the
//! configuration in force stays so in whole. The commit itself can't fail: a child that dies at it
//! or after it is started again with the new brief. Requests that come meanwhile are one more reload after it.

/// How often a reload is begun again because a process died in the middle of it.
const TRIES: u8 = 3;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants the configuration read again.
    Wanted,
    /// A reload may begin now: the worker serves, and not too many listeners drain.
    Room,
    /// The worker has read its brief.
    Prepared,
    /// The worker can't use its brief.
    Unusable,
    /// The worker has ended.
    WorkerDied,
    /// The new listener shows that it could serve.
    NewReady,
    /// The new listener has ended.
    NewDied,
    /// The old listener accepts nothing more, or is gone.
    OldClosed,
    /// The stage takes too long.
    Late,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Wait,
    /// Read, check, split, bind; then tell the worker, and [`Transaction::begun`].
    Begin,
    /// Start the new listener.
    StartListener,
    /// All of it is in force from now on.
    Commit,
    /// End the old listener, which does not close its socket.
    KillOld,
    /// It is done.
    Done,
    /// Take it back and try again.
    Again,
    /// Take it back.
    Refuse(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Wanted, and there is no room yet.
    Waiting,
    /// The worker reads its brief.
    Asking,
    /// The new listener starts.
    Starting,
    /// Committed: the old listener closes its socket.
    Closing,
}

/// The transaction that runs, if one does.
#[derive(Debug)]
pub struct Transaction {
    stage: Stage,
    /// Another was wanted while this one ran.
    again: bool,
    tries: u8,
    /// Counts stages, so that a deadline of one that has passed is not taken for that of another.
    stages: u64,
}

impl Transaction {
    /// None runs.
    pub const fn new() -> Self {
        Self { stage: Stage::Idle, again: false, tries: 0, stages: 0 }
    }

    /// Which stage this is, for its deadline.
    pub const fn stage(&self) -> u64 {
        self.stages
    }

    /// Whether a reload is wanted and could begin as soon as there is room.
    pub fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// Whether one has begun and is not over.
    pub fn is_running(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Waiting => false,
            Stage::Asking | Stage::Starting | Stage::Closing => true,
        }
    }

    /// Whether the stage may take only so long.
    pub fn is_timed(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// What was asked for by [`Act::Begin`] is done: the worker reads its brief.
    pub fn begun(&mut self) {
        self.enter(Stage::Asking);
    }

    /// The reload is over, however it ended. Another one waits, where it was wanted meanwhile.
    pub fn over(&mut self) {
        self.tries = 0;
        let again = std::mem::take(&mut self.again);
        self.enter(if again { Stage::Waiting } else { Stage::Idle });
    }

    /// What to do about an event.
    pub fn on(&mut self, event: Event) -> Act {
        match (self.stage, event) {
            (Stage::Idle, Event::Wanted) => self.go(Stage::Waiting, Act::Wait),
            (Stage::Waiting, Event::Room) => Act::Begin,
            // The file may have changed after it was read.
            (Stage::Asking | Stage::Starting | Stage::Closing, Event::Wanted) => {
                self.again = true;
                Act::Wait
            }
            (Stage::Asking, Event::Prepared) => self.go(Stage::Starting, Act::StartListener),
            (Stage::Starting, Event::NewReady) => self.go(Stage::Closing, Act::Commit),
            (Stage::Closing, Event::OldClosed) => Act::Done,
            (Stage::Closing, Event::Late) => Act::KillOld,
            (Stage::Asking | Stage::Starting, Event::WorkerDied) => self.retry("the worker ended again and again while it was asked"),
            (Stage::Asking, Event::Unusable) => Act::Refuse("the worker can't use its brief; its lines in the log say why"),
            (Stage::Starting, Event::NewDied) => self.retry("the new listener ended again and again before it was ready; its lines in the log say why"),
            (Stage::Asking, Event::Late) => Act::Refuse("the worker did not answer in time"),
            (Stage::Starting, Event::Late) => Act::Refuse("the new listener was not ready in time"),
            (Stage::Waiting, Event::Late) => Act::Refuse("the processes did not get ready in time"),
            // What was said before something else decided.
            (Stage::Idle, Event::Room | Event::Prepared | Event::Unusable | Event::WorkerDied)
            | (Stage::Idle, Event::NewReady | Event::NewDied | Event::OldClosed | Event::Late)
            | (Stage::Waiting, Event::Wanted | Event::Prepared | Event::Unusable | Event::WorkerDied)
            | (Stage::Waiting, Event::NewReady | Event::NewDied | Event::OldClosed)
            | (Stage::Asking, Event::Room | Event::NewReady | Event::NewDied | Event::OldClosed)
            | (Stage::Starting, Event::Room | Event::Prepared | Event::Unusable | Event::OldClosed)
            | (Stage::Closing, Event::Room | Event::Prepared | Event::Unusable)
            // A worker that dies now is started again with the new brief, and so is a listener.
            | (Stage::Closing, Event::WorkerDied | Event::NewReady | Event::NewDied) => Act::Wait,
        }
    }

    fn retry(&mut self, why: &'static str) -> Act {
        self.tries += 1;
        if self.tries < TRIES { self.go(Stage::Waiting, Act::Again) } else { Act::Refuse(why) }
    }

    fn go(&mut self, stage: Stage, act: Act) -> Act {
        self.enter(stage);
        act
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.stages += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    const ALL: [Event; 9] = [
        Event::Wanted,
        Event::Room,
        Event::Prepared,
        Event::Unusable,
        Event::WorkerDied,
        Event::NewReady,
        Event::NewDied,
        Event::OldClosed,
        Event::Late,
    ];

    fn begun() -> Transaction {
        let mut transaction = Transaction::new();
        assert_eq!(transaction.on(Event::Wanted), Act::Wait);
        assert_eq!(transaction.on(Event::Room), Act::Begin);
        transaction.begun();
        transaction
    }

    fn after(events: &[Event]) -> Transaction {
        let mut transaction = begun();
        for event in events {
            transaction.on(*event);
        }
        transaction
    }

    #[test]
    fn each_step_follows_the_one_before_and_the_commit_comes_when_both_are_ready() {
        let mut transaction = begun();
        assert_eq!(transaction.on(Event::NewReady), Act::Wait, "no listener was started");
        assert_eq!(transaction.on(Event::Prepared), Act::StartListener);
        assert_eq!(transaction.on(Event::NewReady), Act::Commit);
        assert_eq!(transaction.on(Event::OldClosed), Act::Done);
        transaction.over();
        assert_eq!(transaction.on(Event::Room), Act::Wait);
    }

    #[test]
    fn whatever_fails_before_the_commit_takes_it_back_and_nothing_after_it_does() {
        for (events, failure) in [(&[][..], Event::Unusable), (&[], Event::Late), (&[Event::Prepared], Event::Late)] {
            assert!(matches!(after(events).on(failure), Act::Refuse(_)), "{events:?} {failure:?}");
        }
        for event in ALL {
            let act = after(&[Event::Prepared, Event::NewReady]).on(event);
            assert!(matches!(act, Act::Wait | Act::Done | Act::KillOld), "{event:?} {act:?}");
        }
    }

    #[test]
    fn a_process_that_dies_in_between_is_waited_for_and_not_for_ever() {
        for (events, death) in [(&[][..], Event::WorkerDied), (&[Event::Prepared], Event::WorkerDied), (&[Event::Prepared], Event::NewDied)]
        {
            let mut transaction = after(events);
            for _ in 1..TRIES {
                assert_eq!(transaction.on(death), Act::Again);
                assert!(transaction.is_waiting());
                assert_eq!(transaction.on(Event::Room), Act::Begin);
                transaction.begun();
                for event in events {
                    transaction.on(*event);
                }
            }
            assert!(matches!(transaction.on(death), Act::Refuse(_)), "{events:?} {death:?}");
        }
    }

    #[test]
    fn any_number_of_requests_meanwhile_is_one_more_reload() {
        let mut transaction = begun();
        for _ in 0..1000 {
            assert_eq!(transaction.on(Event::Wanted), Act::Wait);
        }
        transaction.on(Event::Prepared);
        transaction.on(Event::NewReady);
        transaction.on(Event::OldClosed);
        transaction.over();
        assert_eq!(transaction.on(Event::Room), Act::Begin);
        transaction.begun();
        transaction.over();
        assert_eq!(transaction.on(Event::Room), Act::Wait);
    }

    #[test]
    fn no_order_of_events_leaves_it_stuck_or_commits_twice() {
        let mut seed = 7_u32;
        for _ in 0..20_000 {
            let (mut transaction, mut commits, mut ended) = (begun(), 0, false);
            for _ in 0..12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match transaction.on(ALL[(seed >> 16) as usize % ALL.len()]) {
                    Act::Commit => commits += 1,
                    Act::Begin => transaction.begun(),
                    Act::Done | Act::Refuse(_) => ended = true,
                    Act::Wait | Act::StartListener | Act::KillOld | Act::Again => {}
                }
                if ended {
                    break;
                }
            }
            assert!(commits <= 1);
            let late = transaction.on(Event::Late);
            assert!(ended || matches!(late, Act::Refuse(_) | Act::KillOld), "nothing ends {transaction:?}");
        }
    }
}
