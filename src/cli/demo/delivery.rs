//! A webhook delivery as GitHub makes it: payload, signature, request, answer.

use super::Result;
use super::remote::Remote;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A signed request, ready to be sent.
pub struct Delivery {
    body: String,
    signature: String,
}

/// What came back.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// One line of JSON.
    pub body: String,
    /// From connecting to the answer's end.
    pub took: Duration,
    reason: String,
}

impl Answer {
    /// As in "202 Accepted".
    pub fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason)
    }
}

impl Delivery {
    /// A push of a commit to `main`.
    pub fn push(remote: &Remote, commit: &str, secret: &str) -> Self {
        let url = remote.url();
        let body = serde_json::json!({
            "ref": "refs/heads/main",
            "after": commit,
            "deleted": false,
            "repository": { "full_name": "demo/remote", "git_url": url },
        });
        let body = body.to_string();
        let signature = sign(secret, &body);
        Self { body, signature }
    }

    /// Signed by someone who does not know the secret.
    pub fn forged() -> Self {
        let body = "{\"ref\":\"refs/heads/main\"}".to_owned();
        let signature = sign("a guess", &body);
        Self { body, signature }
    }

    /// Sends it to a gateway on loopback.
    pub fn send(&self, port: u16, path: &str, patience: Duration) -> Result<Answer> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patience))?;
        let Self { body, signature } = self;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: GitHub-Hookshot/demo\r\nContent-Type: application/json\r\n\
             X-GitHub-Event: push\r\nX-Hub-Signature-256: {signature}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        parse(&answer, begun.elapsed()).ok_or_else(|| format!("no HTTP answer came: {answer:?}").into())
    }
}

fn parse(answer: &str, took: Duration) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status_line = head.lines().next()?.strip_prefix("HTTP/1.1 ")?;
    let (status, reason) = status_line.split_once(' ')?;
    Some(Answer { status: status.parse().ok()?, body: body.trim().to_owned(), took, reason: reason.to_owned() })
}

fn sign(secret: &str, body: &str) -> String {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(body.as_bytes());
        mac.finalize().into_bytes()
    });
    let digits: String = mac.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}
