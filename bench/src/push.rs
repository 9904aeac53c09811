//! The delivery that is measured: GitHub's own, as the tests have it, about a remote on loopback.

use crate::Result;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The secret of every peer.
pub const SECRET: &str = "6d1c5d6b7c1f4f0c9d7a3c2e8b5f4a90";
/// Where every peer takes deliveries.
pub const PATH: &str = "/hooks/push";

const PAYLOAD: &str = include_str!("../../tests/fixtures/github-push.json");
/// What stands in the payload where a remote on loopback and its commit are to stand.
const URL: &str = "git://github.com/lantern-works/harbour.git";
const AFTER: &str = "8d1f0a6b3c5e72941f6be0c4a7d25f3be9186c70";

/// A signed delivery.
#[derive(Clone)]
pub struct Push {
    pub body: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Push {
    /// Says that the remote at `url` is at the commit `after`.
    pub fn new(url: &str, after: &str) -> Result<Self> {
        if !PAYLOAD.contains(URL) || !PAYLOAD.contains(AFTER) {
            return Err("the payload is no longer the one that this was written for".into());
        }
        let body = PAYLOAD.replace(URL, url).replace(AFTER, after);
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
        mac.update(body.as_bytes());
        let mut signature = "sha256=".to_owned();
        for byte in mac.finalize().into_bytes() {
            write!(signature, "{byte:02x}")?;
        }
        let headers = vec![
            ("User-Agent", "GitHub-Hookshot/044aadd".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("X-GitHub-Event", "push".to_owned()),
            ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
            ("X-Hub-Signature-256", signature),
        ];
        Ok(Self { body, headers })
    }

    /// Its bytes, on a connection that is kept or closed.
    pub fn request(&self, path: &str, connection: &str) -> Vec<u8> {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\nContent-Length: {}\r\n", self.body.len());
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        [&head, &headers, "\r\n", &self.body].concat().into_bytes()
    }

    /// Sends it once and gives the answer's status.
    pub fn send(&self, port: u16, path: &str) -> Result<u16> {
        let request = self.request(path, "close");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(&request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        Ok(status.ok_or_else(|| format!("no answer but {answer:?}"))?.parse()?)
    }
}
