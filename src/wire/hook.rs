//! supervisor → hook (its brief), hook → supervisor (how it went).

use super::Message;
use super::order::BRIEF_MAX;
use crate::brief::hook::Hook;
use crate::ids::CommitId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// All that one run is told.
#[derive(Serialize, Deserialize)]
pub struct Brief {
    /// What to run.
    pub hook: Arc<Hook>,
    /// For which commit.
    pub run: Run,
}

impl Message for Brief {
    const MAX: usize = BRIEF_MAX;
}

/// What one run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The commit for which the hook last ended well; after a failed update, the one that is deployed.
    pub old: Option<CommitId>,
    /// The commit that was deployed; none after a failed update.
    pub new: Option<CommitId>,
    /// Which try this is, from 1; after a failed update, how many tries that had.
    pub attempt: u32,
}

/// Which of a repository's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The one for each commit that is deployed.
    Success,
    /// The one for an update whose tries are used up.
    Failure,
}

impl On {
    /// The word for logs, and for the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// What a hook's process says to the supervisor. The command itself says nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHook {
    /// The command is about to start. Said once, first.
    Started {
        /// It has a PID namespace of its own, so that nothing can outlive it.
        own_pids: bool,
        /// The version of Landlock that holds; 0 for none, or none asked for.
        landlock: u8,
    },
    /// The command has ended, and all that it started. Said once, last.
    Ended(End),
}

impl Message for FromHook {
    const MAX: usize = 16;
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With this exit status.
    Exited(u8),
    /// By this signal.
    Signal(u8),
    /// It was killed at its deadline.
    Deadline,
    /// It could not be started; its output says why.
    NotStarted,
}

impl Message for End {
    const MAX: usize = 8;
}
