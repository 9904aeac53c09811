//! The listener's brief: one [`Head`], then one [`Repo`] for each repository, a frame each.

use super::{RemoteName, Secret};
use crate::ids::RepoId;
use serde::{Deserialize, Serialize};

/// What comes first: how many repositories follow, and the bounds on strangers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// How many [`Repo`] frames follow.
    pub repos: u32,
    /// Bounds for what strangers may use.
    pub limits: Limits,
}

/// Bounds for what strangers may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections open at once.
    pub connections: u32,
    /// Bytes of one body.
    pub body: u64,
    /// Bytes of all bodies together that are received and not verified.
    pub unverified: u64,
    /// Milliseconds for a request's header, idle time between requests included.
    pub header_ms: u32,
    /// Milliseconds for a request's body.
    pub body_ms: u32,
    /// Milliseconds from the verified body to the worker's acknowledgement.
    pub acknowledge_ms: u32,
    /// Milliseconds from the verified body to the end of the answer.
    pub answer_ms: u32,
}

impl Default for Limits {
    /// GitHub sends no body above 25 MiB and waits 10 s for the answer, Gitea 5 s.
    fn default() -> Self {
        Self {
            connections: 1024,
            body: 25 << 20,
            unverified: 64 << 20,
            header_ms: 5_000,
            body_ms: 10_000,
            acknowledge_ms: 4_000,
            answer_ms: 5_000,
        }
    }
}

/// One route.
#[derive(Serialize, Deserialize)]
pub struct Repo {
    /// What the worker calls it.
    pub id: RepoId,
    /// The request path, with its leading slash and without a trailing one.
    pub path: String,
    /// How a request proves that it is authentic.
    pub proof: Proof,
    /// The full name of the configured ref.
    pub ref_name: String,
    /// The repository that a payload must be about.
    pub remote: RemoteName,
}

/// How a request proves that it is authentic.
#[derive(Serialize, Deserialize)]
pub enum Proof {
    /// The configuration says `unsigned: true`.
    Unsigned,
    /// A signature made with any of these secrets; never an empty list.
    Signed {
        /// All are accepted, so that a secret can be rotated.
        secrets: Vec<Secret>,
        /// Whether SHA-1 is accepted where no SHA-256 signature came.
        sha1: bool,
    },
}
