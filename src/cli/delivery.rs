//! A webhook delivery as GitHub makes it: payload, signature, request, answer. For `gwg send` and
//! `gwg demo`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A request, ready to be sent.
pub struct Delivery {
    /// The event's name.
    pub event: &'static str,
    /// The payload.
    pub body: String,
    /// `sha256=HEX`, where it is signed.
    pub signature: Option<String>,
    /// The delivery's name, a UUID.
    pub id: Option<String>,
}

/// What came back.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// As in "202 Accepted".
    pub status_line: String,
    /// One line of JSON.
    pub body: String,
    /// From connecting to the answer's end.
    pub took: Duration,
}

impl Delivery {
    /// Sends it, and waits for the answer.
    ///
    /// # Errors
    /// Nobody listens, or what came is no answer.
    pub fn send(&self, to: SocketAddr, path: &str, patience: Duration) -> io::Result<Answer> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let Self { event, body, signature, id } = self;
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: GitHub-Hookshot/gwg\r\nContent-Type: application/json\r\n\
             X-GitHub-Event: {event}\r\nContent-Length: {}\r\nConnection: close\r\n",
            body.len()
        );
        for (name, value) in [("X-Hub-Signature-256", signature), ("X-GitHub-Delivery", id)] {
            if let Some(value) = value {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        parse(&answer, begun.elapsed()).ok_or_else(|| io::Error::other(format!("no HTTP answer came: {answer:?}")))
    }
}

fn parse(answer: &str, took: Duration) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status_line = head.lines().next()?.strip_prefix("HTTP/1.1 ")?;
    let (status, _) = status_line.split_once(' ')?;
    Some(Answer { status: status.parse().ok()?, status_line: status_line.to_owned(), body: body.trim().to_owned(), took })
}

/// The signature of a body.
pub fn sign(secret: &[u8], body: &str) -> String {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(secret).map(|mut mac| {
        mac.update(body.as_bytes());
        mac.finalize().into_bytes()
    });
    let digits: String = mac.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}
