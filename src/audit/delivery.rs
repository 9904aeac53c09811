//! What became of a request: made by the listener.

use super::text;
use crate::ids::{CommitId, DeliveryId, RepoId, UpdateId};
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// Who pushed, by the payload's word.
    pub pusher: Option<Claim>,
}

/// What somebody claims: printable ASCII, and short. For people to read; nothing is ever decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Claim(Box<str>);

impl Claim {
    /// Bytes of the longest.
    pub const MAX: usize = 64;

    /// A claim in whatever letters; any byte that is not printable ASCII is escaped, a long one is cut
    /// off. `None` for nothing.
    pub fn of(words: &str) -> Option<Self> {
        (!words.is_empty()).then(|| Self(text::bounded(words.as_bytes(), Self::MAX).into()))
    }

    /// The words.
    pub fn words(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.0.into()
    }
}

/// These words were not made by [`Claim::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a claim that is too long, or not printable")]
pub struct NoClaim;

impl TryFrom<String> for Claim {
    type Error = NoClaim;

    fn try_from(words: String) -> Result<Self, NoClaim> {
        let printable = words.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        if printable && !words.is_empty() && words.len() <= Self::MAX { Ok(Self(words.into())) } else { Err(NoClaim) }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryResult {
    /// 202: the repository is due.
    Accepted {
        /// It was due already.
        coalesced: bool,
        /// The commit that the payload announced.
        announced: Option<CommitId>,
        /// The update that serves it. None in a history that was written before updates had numbers.
        #[serde(default)]
        update: Option<UpdateId>,
    },
    /// 200: authentic, but nothing to do.
    Ignored(Ignored),
    /// Any 4xx or 5xx.
    Rejected(Rejected),
}

/// Why an authentic delivery changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[serde(rename_all = "snake_case")]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_claim_is_short_and_printable_whoever_made_it() {
        assert_eq!(Claim::of(""), None);
        assert_eq!(Claim::of("ada\n\u{9b}31m]\\").unwrap().words(), "ada\\x0a\\xc2\\x9b31m]\\\\");
        assert_eq!(Claim::of(&"a".repeat(65)).unwrap().words(), "a".repeat(61) + "...");
        for bad in ["", "a\nb", "\u{7f}", "\u{e9}", &"a".repeat(65)] {
            assert_eq!(Claim::try_from(bad.to_owned()), Err(NoClaim), "{bad:?}");
        }
        let whole = Claim::of(&"\0".repeat(99)).unwrap();
        assert_eq!(Claim::try_from(whole.words().to_owned()), Ok(whole));
    }
}
