//! What became of a request: made by the listener.

use crate::ids::{CommitId, DeliveryId, RepoId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryEvent {
    /// Who sent it.
    pub source: IpAddr,
    /// The repository whose path was asked for.
    pub repo: Option<RepoId>,
    /// The forge's name for the delivery; not signed.
    pub delivery: Option<DeliveryId>,
    /// Bytes of the body.
    pub bytes: u64,
    /// Microseconds from the end of the header to the answer.
    pub micros: u64,
    /// What became of it.
    pub result: DeliveryResult,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryResult {
    /// 202: the repository is due.
    Accepted {
        /// It was due already.
        coalesced: bool,
        /// The commit that the payload announced.
        announced: Option<CommitId>,
    },
    /// 200: authentic, but nothing to do.
    Ignored(Ignored),
    /// Any 4xx or 5xx.
    Rejected(Rejected),
}

/// Why an authentic delivery changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ignored {
    /// The forge tests the webhook.
    Ping,
    /// Some other event than a push.
    OtherEvent,
    /// A push to another branch or tag.
    OtherRef,
    /// A push to another repository.
    OtherRepository,
    /// The branch or tag was deleted.
    Deleted,
    /// A reload has just removed the repository.
    Gone,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rejected {
    /// 401: no signature, or an empty one.
    NoSignature,
    /// 401: the signature does not match.
    BadSignature,
    /// 404: no repository has this path.
    UnknownPath,
    /// 405: not a POST.
    Method,
    /// 415: neither JSON nor a form.
    ContentType,
    /// 400: not a well-formed push payload.
    Malformed,
    /// 413: a body above the bound.
    TooLarge,
    /// 408: the body did not come in time, or not whole.
    Timeout,
    /// 503: too many bytes of unverified bodies.
    Budget,
    /// 503: the worker did not acknowledge in time.
    WorkerUnavailable,
}

impl Ignored {
    /// The word for logs and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::OtherEvent => "other_event",
            Self::OtherRef => "other_ref",
            Self::OtherRepository => "other_repository",
            Self::Deleted => "deleted",
            Self::Gone => "gone",
        }
    }
}

impl Rejected {
    /// The word for logs. Answers don't tell one bad signature from another.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoSignature => "no_signature",
            Self::BadSignature => "bad_signature",
            Self::UnknownPath => "unknown_path",
            Self::Method => "method",
            Self::ContentType => "content_type",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Budget => "budget",
            Self::WorkerUnavailable => "worker_unavailable",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::NoSignature | Self::BadSignature => 401,
            Self::UnknownPath => 404,
            Self::Method => 405,
            Self::ContentType => 415,
            Self::Malformed => 400,
            Self::TooLarge => 413,
            Self::Timeout => 408,
            Self::Budget | Self::WorkerUnavailable => 503,
        }
    }
}
