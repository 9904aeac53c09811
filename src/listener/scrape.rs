//! Answers who asks for figures: connections that the supervisor has accepted elsewhere and hands over,
//! with what there is to say. Runs in `gwg-listener`; distrusts the asker, whoever reaches that address.

use crate::wire::listener::Health;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::fs::File;
use std::future::pending;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::sleep;

/// Askers at once: those above it are sent away without a word.
const ASKERS: usize = 16;
/// How long one may take, whatever it does.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the longest page: 10,000 repositories need 2 MiB.
const LONGEST: usize = 64 << 20;
/// Bytes of a request's header.
const HEADER: usize = 8 << 10;

/// What there is to say, and to how many it is being said.
#[derive(Default)]
pub struct Scrapes {
    figures: Option<(Health, Bytes)>,
    askers: Rc<Askers>,
}

#[derive(Default)]
struct Askers {
    open: Cell<usize>,
    left: Notify,
    /// Who has not asked yet is too late.
    late: watch::Sender<bool>,
}

impl Scrapes {
    /// Other figures from now on.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn take_figures(&mut self, health: Health, file: OwnedFd) -> io::Result<()> {
        self.figures = Some((health, read(&File::from(file))?.into()));
        Ok(())
    }

    /// Whether nobody is being answered.
    pub fn is_idle(&self) -> bool {
        self.askers.open.get() == 0
    }

    /// One of them has gone.
    pub async fn left(&self) {
        self.askers.left.notified().await;
    }

    /// Sends those away who have not asked after a while.
    pub fn drain(&self, after: Duration) {
        let askers = Rc::clone(&self.askers);
        spawn_local(async move {
            sleep(after).await;
            askers.late.send_replace(true);
        });
    }

    /// Answers one asker, in a task of its own.
    ///
    /// # Errors
    /// Those of registering the socket.
    pub fn answer(&self, connection: OwnedFd) -> io::Result<()> {
        let Some((health, text)) = self.figures.clone().filter(|_| self.askers.open.get() < ASKERS) else { return Ok(()) };
        let stream = TcpStream::from(connection);
        stream.set_nonblocking(true)?;
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
        let seat = Seat::take(&self.askers);
        let late = self.askers.late.subscribe();
        spawn_local(async move {
            let has_asked = Cell::new(false);
            let service = service_fn(|request| {
                has_asked.set(true);
                std::future::ready(Ok::<_, Infallible>(respond(&request, health, &text)))
            });
            let mut http = http1::Builder::new();
            let connection = http.keep_alive(false).max_buf_size(HEADER).serve_connection(stream, service);
            // However it ends: nobody is told that a scrape failed but who made it.
            tokio::select! {
                _ = connection => {}
                () = sleep(PATIENCE) => {}
                () = too_late(late, &has_asked) => {}
            }
            drop(seat);
        });
        Ok(())
    }
}

async fn too_late(mut late: watch::Receiver<bool>, has_asked: &Cell<bool>) {
    let _nobody_else_says = late.wait_for(|late| *late).await;
    if has_asked.get() {
        pending().await
    }
}

struct Seat(Rc<Askers>);

impl Seat {
    fn take(askers: &Rc<Askers>) -> Self {
        askers.open.set(askers.open.get() + 1);
        Self(Rc::clone(askers))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.left.notify_one();
    }
}

/// By pread, the one way in which this process may read a file.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read_at(&mut piece, text.len() as u64)? {
            0 => return Ok(text),
            _ if text.len() > LONGEST => return Err(io::ErrorKind::FileTooLarge.into()),
            count => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
}

fn respond(request: &Request<Incoming>, health: Health, text: &Bytes) -> Response<Full<Bytes>> {
    let known = matches!(request.uri().path(), "/metrics" | "/healthz");
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, body) = match request.uri().path() {
        _ if known && !is_read => (StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"only GET\n")),
        "/metrics" => (StatusCode::OK, text.clone()),
        "/healthz" => of_health(health),
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"/metrics or /healthz\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = if request.uri().path() == "/metrics" { "text/plain; version=0.0.4; charset=utf-8" } else { "text/plain; charset=utf-8" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn of_health(health: Health) -> (StatusCode, Bytes) {
    match health {
        Health::Fine => (StatusCode::OK, Bytes::from_static(b"ok\n")),
        Health::NoWorker => (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"gwg-worker is not there, or does not answer\n")),
        Health::Failing(count) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{count} failing for longer than alert_after; see gwg status\n").into())
        }
    }
}
