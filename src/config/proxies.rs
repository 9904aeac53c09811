//! `trusted_proxies` and `proxy_protocol`: who may say whom a request comes from. Runs in the supervisor.

use super::error::{Fault, KeyPath, Notes};
use crate::brief::listener::{Network, Proxies};

/// More than these are a mistake: a network is one entry.
const MOST: usize = 64;

/// The checked proxies.
pub fn check(trusted: Option<Vec<String>>, protocol: Option<bool>, notes: &mut Notes) -> Option<Proxies> {
    let key = KeyPath::global("trusted_proxies");
    let written = trusted.unwrap_or_default();
    if written.len() > MOST {
        notes.wrong(key, Fault::new(format!("there are more than {MOST} networks"), "write the network that they are in"));
        return None;
    }
    let read = |(place, text): (usize, &String)| notes.take(key.clone().index(place), network(text.trim()));
    let trusted: Vec<Option<Network>> = written.iter().enumerate().map(read).collect();
    let protocol = protocol.unwrap_or(false);
    if protocol && written.is_empty() {
        let fault = Fault::new("there is no proxy that could speak it", "name the proxies' networks in trusted_proxies");
        notes.wrong(KeyPath::global("proxy_protocol"), fault);
    }
    Some(Proxies { trusted: trusted.into_iter().collect::<Option<_>>()?, protocol })
}

fn network(text: &str) -> Result<Network, Fault> {
    Network::read(text)
        .ok_or_else(|| Fault::new(format!("{text:?} is no network"), "write an address, or one with its common bits: 10.0.0.0/8, fd00::/8"))
}
