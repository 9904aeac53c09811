//! What the tests share: a running listener, and clients that say exactly what they are told to.

use crate::audit::{DeliveryEvent, DeliveryResult};
use crate::brief::listener::{Limits, Proof, Proxies, Repo};
use crate::brief::{RemoteName, Secret};
use crate::ids::{RepoId, UpdateId};
use crate::link;
use crate::listener::route::Routes;
use crate::listener::serve::{self, Given, ServeError};
use crate::wire::frame;
use crate::wire::job::{Job, JobAnswer, Verdict};
use crate::wire::listener::{FromListener, ToListener};
use hmac::{Hmac, KeyInit, Mac};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};

pub const PUSH: &str = include_str!("../../../tests/fixtures/github-push.json");
pub const SECRET: &str = "a secret of the tests";
const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that make tests short where a deadline is waited for.
pub fn limits() -> Limits {
    Limits { header_ms: 5_000, body_ms: 5_000, acknowledge_ms: 4_000, answer_ms: 5_000, ..Limits::default() }
}

/// A running listener, and its neighbours' ends.
pub struct House {
    pub address: SocketAddr,
    pub supervisor: UnixStream,
    pub worker: UnixStream,
    server: JoinHandle<Result<(), ServeError>>,
}

impl House {
    /// Starts a listener with two paths: `/hook` is signed, `/open` is not.
    pub fn start(limits: Limits) -> Self {
        Self::behind(Proxies::default(), limits)
    }

    /// The same behind proxies.
    pub fn behind(proxies: Proxies, limits: Limits) -> Self {
        let mut house = Self::not_serving(proxies, limits);
        house.tell(&ToListener::Serve);
        house
    }

    /// The same before it is told to serve: who connects waits.
    pub fn not_serving(proxies: Proxies, limits: Limits) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let ((supervisor, their_supervisor), (worker, their_worker)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        for end in [&supervisor, &worker] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let server = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async {
                let given = Given {
                    socket: tokio::net::TcpListener::from_std(socket).unwrap(),
                    limits,
                    proxies,
                    routes: routes(),
                    landlock: 0,
                    supervisor: link::open(their_supervisor.into()).unwrap(),
                    worker: link::open(their_worker.into()).unwrap(),
                };
                serve::serve(given).await
            })
        });
        let mut house = Self { address, supervisor, worker, server };
        assert_eq!(house.hears(), FromListener::Ready { landlock: 0 });
        house
    }

    /// A listener whose worker sets a mark for every job.
    pub fn with_worker(limits: Limits) -> Self {
        let house = Self::start(limits);
        acknowledge_all(house.worker.try_clone().unwrap());
        house
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &[u8]) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    /// What the supervisor hears next.
    pub fn hears(&mut self) -> FromListener {
        frame::read(&mut self.supervisor).unwrap()
    }

    /// The next event.
    pub fn event(&mut self) -> DeliveryEvent {
        match self.hears() {
            FromListener::Delivery(event) => event,
            other => panic!("no event: {other:?}"),
        }
    }

    /// What the next event says became of the request.
    pub fn result(&mut self) -> DeliveryResult {
        self.event().result
    }

    /// Asserts that nothing was said.
    pub fn hears_nothing(&mut self) {
        self.supervisor.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let heard = frame::read::<FromListener>(&mut self.supervisor);
        self.supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    pub fn tell(&mut self, message: &ToListener) {
        frame::write(&mut self.supervisor, message).unwrap();
    }

    /// [`tell`](Self::tell), and a descriptor with it.
    pub fn hand_over(&mut self, message: &ToListener, descriptor: OwnedFd) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).unwrap();
        let sent = crate::confine::descriptors::send_with(&self.supervisor, &bytes, &descriptor).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// Brings a new worker.
    pub fn replace_worker(&mut self) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.hand_over(&ToListener::Worker, theirs.into());
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        self.worker = ours;
    }

    pub fn job(&mut self) -> Job {
        frame::read(&mut self.worker).unwrap()
    }

    pub fn answer(&mut self, job: &Job, verdict: Verdict) {
        frame::write(&mut self.worker, &JobAnswer { number: job.number, verdict }).unwrap();
    }

    /// How the listener ended.
    pub fn end(self) -> Result<(), ServeError> {
        self.server.join().unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.server.is_finished()
    }
}

fn routes() -> Routes {
    let mut routes = Routes::default();
    let signed = Proof::Signed { secrets: vec![Secret::new(SECRET.as_bytes().to_vec())], sha1: false };
    for (number, path, proof) in [(1, "/hook", signed), (2, "/open", Proof::Unsigned)] {
        let remote = RemoteName::from_url("git@github.com:lantern-works/harbour.git").unwrap();
        let (id, path, ref_name) = (RepoId::new(number), path.into(), "refs/heads/main".into());
        routes.add(Repo { id, path, proof, ref_name, remote }).unwrap();
    }
    routes
}

/// A worker that sets a mark for every job, until the link ends.
pub fn acknowledge_all(mut worker: UnixStream) {
    thread::spawn(move || {
        while let Ok(job) = frame::read::<Job>(&mut worker) {
            let answer = JobAnswer { number: job.number, verdict: Verdict::Marked(UpdateId::NONE) };
            if frame::write(&mut worker, &answer).is_err() {
                return;
            }
        }
    });
}

/// A stranger.
pub struct Client(pub TcpStream);

/// What a stranger was told.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    /// The JSON's `reason`, or its `status` where there is none.
    pub fn reason(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let word = json.get("reason").unwrap_or(&json["status"]);
        word.as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends until the other end does not take any more.
    pub fn send_what_is_taken(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    pub fn response(&mut self) -> Response {
        self.try_response().expect("no response")
    }

    pub fn try_response(&mut self) -> io::Result<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Response { status: head[9..12].parse().unwrap(), head, body: String::from_utf8(body).unwrap() })
    }

    /// Waits for the end of the connection. Says whether it came without a byte before it.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub fn sign(body: &[u8]) -> String {
    let mut key = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    key.update(body);
    key.finalize().into_bytes().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The header of a push to a path, without its length.
pub fn head(path: &str, body: &[u8], more: &str) -> String {
    let signature = sign(body);
    format!(
        "POST {path} HTTP/1.1\r\nhost: gwg\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
         x-github-delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\nx-hub-signature-256: {signature}\r\n{more}\r\n"
    )
}

/// A signed push, as GitHub sends it.
pub fn push(body: &str) -> Vec<u8> {
    let mut request = head("/hook", body.as_bytes(), &format!("content-length: {}\r\n", body.len())).into_bytes();
    request.extend_from_slice(body.as_bytes());
    request
}
