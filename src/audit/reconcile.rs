//! Comparing repositories with their remotes, from its beginning to its end: made by the worker.

use serde::{Deserialize, Serialize};

/// Why repositories are compared with their remotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileCause {
    /// The worker started.
    Start,
    /// It is done every few hours.
    Timer,
    /// What a listener that died had heard may be lost.
    ListenerCrash,
    /// A reload brought repositories, or changed them.
    Reload,
}

/// Its beginning or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileEvent {
    /// It begins.
    Start {
        /// Why.
        cause: ReconcileCause,
        /// How many repositories are compared.
        repos: u32,
    },
    /// Each has been compared once, or will be by the next one, which has begun.
    End {
        /// Why it began.
        cause: ReconcileCause,
        /// How many repositories were to be compared.
        repos: u32,
        /// How many were behind their remotes, and are level now.
        behind: u32,
        /// How many could not be compared or updated.
        failed: u32,
        /// Milliseconds.
        ms: u64,
    },
}

impl ReconcileCause {
    /// The word for records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Timer => "timer",
            Self::ListenerCrash => "listener_crash",
            Self::Reload => "reload",
        }
    }
}
