//! Whether a child still hears: it is asked in every beat, and one that leaves too many unanswered is ended.
//! Pure; counts beats and not time, so that a supervisor that was stopped itself blames nobody. Runs
//! in the supervisor.

use std::time::Duration;

/// Between two questions.
pub const BEAT: Duration = Duration::from_secs(5);
/// Questions that may stay unanswered: 30 s.
const MOST: u8 = 6;

/// What to do in this beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Ask.
    Ask,
    /// It does not answer: end it.
    End,
}

/// One child's.
#[derive(Debug, Default)]
pub struct Pulse {
    unanswered: u8,
}

impl Pulse {
    /// A beat.
    pub fn beat(&mut self) -> Beat {
        if self.unanswered >= MOST {
            return Beat::End;
        }
        self.unanswered += 1;
        Beat::Ask
    }

    /// The child answered.
    pub fn answered(&mut self) {
        self.unanswered = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f5_a_child_that_answers_nothing_for_thirty_seconds_is_ended() {
        let mut pulse = Pulse::default();
        for _ in 0..MOST {
            assert_eq!(pulse.beat(), Beat::Ask);
        }
        assert_eq!(pulse.beat(), Beat::End);
        assert_eq!(BEAT * u32::from(MOST), Duration::from_secs(30));
    }

    #[test]
    fn one_answer_is_enough_to_live_on() {
        let mut pulse = Pulse::default();
        for beat in 0..1000 {
            assert_eq!(pulse.beat(), Beat::Ask);
            if beat % 5 == 0 {
                pulse.answered();
            }
        }
    }
}
