//! An ssh key, on its way from the supervisor's configuration to the worker, and from there to the one
//! updater that needs it.

use super::Secret;
use serde::{Deserialize, Serialize};

/// An ssh key. Its place in the worker's brief is its [`KeyIndex`](super::worker::KeyIndex).
#[derive(Serialize, Deserialize)]
pub struct Key {
    /// The key file's content.
    pub pem: Secret,
    /// Its passphrase.
    pub passphrase: Option<Secret>,
}

impl Key {
    /// A copy, to hand to the one updater that needs it.
    pub fn copy(&self) -> Self {
        Self { pem: self.pem.copy(), passphrase: self.passphrase.as_ref().map(Secret::copy) }
    }
}
