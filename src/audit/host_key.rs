//! A host key that an updater refused: a kind from a closed list and a digest, nothing that the server
//! wrote.

use serde::{Deserialize, Serialize};

/// A key that a server showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// What it says it is.
    pub kind: KeyKind,
    /// The SHA-256 of the key as it came.
    pub fingerprint: [u8; 32],
}

/// Kinds of host keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyKind {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`, `…384`, `…521`
    Ecdsa,
    /// `ssh-rsa`
    Rsa,
    /// `ssh-dss`
    Dsa,
    /// Something else.
    Other,
}

impl KeyKind {
    /// From the name that the key itself has.
    pub fn of_name(name: &str) -> Self {
        match name {
            "ssh-ed25519" => Self::Ed25519,
            "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => Self::Ecdsa,
            "ssh-rsa" => Self::Rsa,
            "ssh-dss" => Self::Dsa,
            _ => Self::Other,
        }
    }

    /// The word for records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
            Self::Dsa => "dsa",
            Self::Other => "other",
        }
    }
}
