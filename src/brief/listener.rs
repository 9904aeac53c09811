//! The listener's brief: one [`Head`], then one [`Repo`] for each repository, a frame each.

use super::{RemoteName, Secret};
use crate::ids::RepoId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What comes first: how many repositories follow, and the bounds on strangers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// How many [`Repo`] frames follow.
    pub repos: u32,
    /// Bounds for what strangers may use.
    pub limits: Limits,
    /// Who may say whom a connection or a request comes from.
    pub proxies: Proxies,
}

/// Reverse proxies in front of the listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxies {
    /// Their addresses. Nobody else is believed.
    pub trusted: Vec<Network>,
    /// Each connection begins with a preface of the PROXY protocol.
    pub protocol: bool,
}

impl Proxies {
    /// Whether it is the address of one.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// Addresses with a common beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    address: IpAddr,
    /// How many bits are common; at most as many as the address has.
    bits: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, or an address for itself. `None` where it is neither, or has bits set behind
    /// the common ones.
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let network = Self { address, bits: bits.unwrap_or(most) };
        (network.bits <= most && network.contains(address)).then_some(network)
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && number(address) & self.mask() == number(self.address)
    }

    /// The common bits. Addresses of IPv4 stand in the last 32 bits.
    fn mask(&self) -> u128 {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        u128::MAX.checked_shl(most - u32::from(self.bits).min(most)).unwrap_or(0)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::ffff:1.2.3.4"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.7"),
            ("::1", "::1", "::2"),
        ] {
            let network = Network::read(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?}");
        }
        for text in
            ["", "192.0.2.0/33", "192.0.2.7/24", "::1/64", "192.0.2/24", "/8", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/24/1", "::/129"]
        {
            assert_eq!(Network::read(text), None, "{text}");
        }
    }
}
