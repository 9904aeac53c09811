//! Deliveries as GitHub makes them, and raw requests as others do.
//!
//! HTTP is written by hand here: a client library would refuse to send what must be refused.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A request that can be changed before it is sent.
#[derive(Debug, Clone)]
pub struct Delivery {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All header lines.
    pub head: String,
    /// The body.
    pub body: String,
    /// From the first byte sent to the last byte received.
    pub took: Duration,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A push payload about the repository that `url` names.
pub fn push_payload(url: &str, ref_name: &str, before: &str, after: &str) -> Value {
    let commit = json!({
        "id": after, "tree_id": "f9d2a07e9488b91af2641b26b9407fe22a451433", "distinct": true, "message": "Update README",
        "timestamp": "2026-11-22T12:00:00+01:00", "url": format!("https://example.com/commit/{after}"),
        "author": {"name": "A. U. Thor", "email": "author@example.com", "username": "author"},
        "committer": {"name": "C. O. Mitter", "email": "committer@example.com"},
        "added": [], "removed": [], "modified": ["README"],
    });
    json!({
        "ref": ref_name, "before": before, "after": after, "created": false, "deleted": false, "forced": false,
        "base_ref": null, "compare": "https://example.com/compare", "commits": [commit], "head_commit": commit,
        "repository": {
            "id": 35129377, "name": "site", "full_name": "example/site", "private": true,
            "owner": {"name": "example", "email": "owner@example.com"}, "html_url": "https://example.com/example/site",
            "git_url": url, "ssh_url": url, "clone_url": url, "pushed_at": 1795345200, "default_branch": "master",
        },
        "pusher": {"name": "author", "email": "author@example.com"},
        "sender": {"login": "author", "id": 6752317, "type": "User"},
    })
}

/// The id that no commit has.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

impl Delivery {
    /// An event with a JSON body, and no signature yet.
    pub fn event(path: &str, event: &str, payload: &Value) -> Self {
        let request = Self { method: "POST".into(), path: path.into(), headers: Vec::new(), body: payload.to_string().into_bytes() };
        request
            .header("Host", "127.0.0.1")
            .header("User-Agent", "GitHub-Hookshot/044aadd")
            .header("Content-Type", "application/json")
            .header("X-GitHub-Event", event)
            .header("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
            .header("Connection", "close")
    }

    /// A push.
    pub fn push(path: &str, url: &str, ref_name: &str, after: &str) -> Self {
        Self::event(path, "push", &push_payload(url, ref_name, ZERO, after))
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Leaves a header out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// Another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Another body. A signature that is there stays as it is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The same payload as a form, GitHub's default in its web pages. Sign after this.
    #[must_use]
    pub fn form(mut self) -> Self {
        let escaped: String = self.body.iter().map(|byte| escape(*byte)).collect();
        self.body = format!("payload={escaped}").into_bytes();
        self.header("Content-Type", "application/x-www-form-urlencoded")
    }

    /// Signs with SHA-256.
    #[must_use]
    pub fn sign(self, secret: &str) -> Self {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&self.body);
        let signature = format!("sha256={}", hex(&mac.finalize().into_bytes()));
        self.header("X-Hub-Signature-256", &signature)
    }

    /// Signs with SHA-1, as old GitHub Enterprise does.
    #[must_use]
    pub fn sign_sha1(self, secret: &str) -> Self {
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&self.body);
        let signature = format!("sha1={}", hex(&mac.finalize().into_bytes()));
        self.header("X-Hub-Signature", &signature)
    }

    /// The request's bytes. `Content-Length` is right unless it was set.
    pub fn request(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it and waits for the answer. Panics where there is none.
    pub fn send(&self, port: u16) -> Answer {
        self.try_send(port).expect("an answer")
    }

    /// Sends it and waits for the answer.
    pub fn try_send(&self, port: u16) -> std::io::Result<Answer> {
        exchange(port, &self.request())
    }
}

/// Answers by port: what accounts are held against.
static ANSWERED: Mutex<BTreeMap<u16, u64>> = Mutex::new(BTreeMap::new());

/// So many requests were answered on this port, since it was last forgotten.
pub fn answered(port: u16) -> u64 {
    ANSWERED.lock().unwrap().get(&port).copied().unwrap_or_default()
}

/// Counts requests that a test sent and was answered by itself.
pub fn count_answers(port: u16, answers: u64) {
    *ANSWERED.lock().unwrap().entry(port).or_default() += answers;
}

/// Another gateway has this port from now on.
pub fn forget(port: u16) {
    ANSWERED.lock().unwrap().remove(&port);
}

/// Sends bytes, whatever they are, and reads until the other side closes.
pub fn exchange(port: u16, request: &[u8]) -> std::io::Result<Answer> {
    let start = Instant::now();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // A server that refuses early need not read all of it.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    if bytes.is_empty() {
        end?;
    }
    let answer = parse(&bytes, start.elapsed());
    count_answers(port, answer.iter().count() as u64);
    answer.ok_or_else(|| std::io::Error::other(format!("no answer but {:?}", String::from_utf8_lossy(&bytes))))
}

/// A connection that is kept open from request to request, as a reverse proxy keeps it.
pub struct Kept {
    port: u16,
    stream: TcpStream,
}

impl Kept {
    pub fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { port, stream })
    }

    /// Whether the other side has closed it: then no request may be sent any more.
    pub fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let open = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
        !open
    }

    /// Sends a request and reads its answer. False: it was the last on this connection.
    pub fn send(&mut self, request: &[u8]) -> std::io::Result<(Answer, bool)> {
        let start = Instant::now();
        self.stream.write_all(request)?;
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(answer) = parse(&bytes, start.elapsed())
                .filter(|answer| Some(answer.body.len().to_string().as_str()) == answer.header("content-length"))
            {
                count_answers(self.port, 1);
                let goes_on = answer.header("connection") != Some("close");
                return Ok((answer, goes_on));
            }
            match self.stream.read(&mut piece)? {
                0 => return Err(std::io::Error::other(format!("closed after {:?}", String::from_utf8_lossy(&bytes)))),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }
}

fn parse(bytes: &[u8], took: Duration) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned(), took })
}

fn escape(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        _ => format!("%{byte:02X}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
