//! What became of the work tree of a repository that is no longer configured. Said by the updater that
//! looked at it, or by the supervisor.

use serde::{Deserialize, Serialize};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pruned {
    /// It is as gwg deployed it, and may be deleted.
    Unchanged,
    /// It is deleted.
    Deleted,
    /// What was in it is deleted; the directory itself could not be.
    Emptied,
    /// Nothing is there any more.
    Missing,
    /// It stays.
    Kept(Kept),
}

/// Why a tree stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// It is, contains or lies in a directory that is configured.
    Configured,
    /// gwg does not know what it deployed there.
    Unknown,
    /// gwg did not clone it, or it is no clone any more.
    NotCloned,
    /// HEAD is not where gwg left it, or there are refs that gwg did not make.
    Moved,
    /// A file was changed or removed.
    Changed,
    /// There is something that the commit does not have.
    Untracked,
    /// An update has begun and not ended, or another process works there.
    Busy,
    /// It could not be looked at to the end, or not be deleted to the end.
    Failed,
}

impl Pruned {
    /// One word, for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Emptied => "emptied",
            Self::Missing => "missing",
            Self::Kept(_) => "kept",
        }
    }
}

impl Kept {
    /// One word, for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Unknown => "unknown",
            Self::NotCloned => "not_cloned",
            Self::Moved => "moved",
            Self::Changed => "changed",
            Self::Untracked => "untracked",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }

    /// The same, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Configured => "it is, contains or lies in a directory that is configured",
            Self::Unknown => "gwg does not know what it deployed there",
            Self::NotCloned => "gwg did not clone it",
            Self::Moved => "it is at another commit than gwg left it at, or has other branches or settings",
            Self::Changed => "a file was changed or removed",
            Self::Untracked => "there are files that the commit does not have",
            Self::Busy => "an update of it has not ended, or another process works in it",
            Self::Failed => "it could not be looked at, or not be deleted to the end; the gateway's log has the reason",
        }
    }
}
