//! A secret's bytes: no `Debug`, no `Display`, no `Clone`; wiped when dropped.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A webhook secret, an ssh key or a passphrase.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over; no copy is left behind.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A copy. By name and not by `Clone`, so that every copy can be found.
    pub fn copy(&self) -> Self {
        Self(self.0.clone())
    }
}
