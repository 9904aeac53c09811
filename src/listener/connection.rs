//! One connection: hyper on top of a socket, and the signal by which it is ended.
//!
//! Runs in `gwg-listener`, one task for each connection. It has no timer of its own: `serve` sweeps
//! over all of them, and [`Signal`] carries what it decides.

use super::admit::{End, SlotId, Stage};
use super::http;
use super::preface::{self, Preface};
use super::serve::Server;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// How a connection is reached from outside of its task.
#[derive(Default)]
pub struct Signal {
    end: Cell<Option<End>>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Ends the connection, or what it asks.
    pub fn end(&self, end: End) {
        self.end.set(Some(end));
        self.wake();
    }

    /// Makes the connection look around.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn is_closed(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.end.get() == Some(End::Close)
    }
}

/// One connection, as its requests see it.
pub struct Connection {
    /// What all connections share.
    pub server: Rc<Server>,
    /// Who is at the other end, or whom the proxy's preface names.
    source: Cell<IpAddr>,
    slot: SlotId,
    signal: Rc<Signal>,
    /// A request is not read whole.
    unread: Cell<bool>,
}

impl Connection {
    /// Takes a seat.
    pub fn new(server: Rc<Server>, source: IpAddr) -> Self {
        let signal = Rc::<Signal>::default();
        let slot = server.enter(Rc::clone(&signal));
        Self { server, source: Cell::new(source), slot, signal, unread: Cell::new(false) }
    }

    /// Who is at the other end, as far as its connection tells.
    pub fn source(&self) -> IpAddr {
        self.source.get()
    }

    /// Polls what a request waits for, unless it is ended first. This is polled in the connection's
    /// own task, which the signal wakes.
    pub fn unless_ended<T>(&self, poll: Poll<T>) -> Poll<Result<T, End>> {
        match self.signal.end.take() {
            Some(end) => Poll::Ready(Err(end)),
            None => poll.map(Ok),
        }
    }

    /// A request's header has come; `body`: and a body comes after it.
    pub fn begins(&self, body: bool) {
        self.unread.set(body);
        self.server.admission.borrow_mut().begins_body(self.slot, Instant::now());
    }

    /// Bytes of an unverified body have come.
    pub fn receives(&self, bytes: u64) {
        if let Some(signal) = self.server.admission.borrow_mut().receives(self.slot, bytes) {
            signal.end(End::Budget);
        }
    }

    /// The body has come to its end.
    pub fn read_whole(&self) {
        self.unread.set(false);
    }

    /// Whether a part of the request is still to be read.
    pub fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// The body was authentic.
    pub fn verified(&self, signed: bool) {
        self.server.admission.borrow_mut().verified(self.slot, signed, Instant::now());
    }

    /// The answer is known.
    pub fn answers(&self) {
        self.signal.end.take();
        self.server.admission.borrow_mut().answers(self.slot, Instant::now());
    }

    /// hyper has given all that it had to the kernel.
    fn flushed(&self) {
        let mut admission = self.server.admission.borrow_mut();
        if admission.stage(self.slot) == Some(Stage::Answering) && !self.is_unread() {
            admission.answered(self.slot, Instant::now());
        }
    }

    fn lingers(&self) {
        self.server.admission.borrow_mut().lingers(self.slot, Instant::now());
    }

    /// Whether it should end where it is doing nothing. Who has just come and not asked anything yet is
    /// about to: it is let.
    fn ends_idle(&self) -> bool {
        self.server.ends_idle() && self.server.admission.borrow().is_used(self.slot)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.leave(self.slot);
    }
}

/// Serves one connection until its end.
pub async fn run(stream: TcpStream, connection: Connection) {
    let connection = &connection;
    let preface = connection.server.proxies.protocol.then(Vec::new);
    let socket = Socket { stream: TokioIo::new(stream), connection, preface, first: Vec::new() };
    let service = service_fn(|request| http::respond(connection, request));
    let mut requests = pin!(connection.server.http.serve_connection(socket, service));
    let result = std::future::poll_fn(|cx| {
        if connection.signal.is_closed(cx) {
            return Poll::Ready(Ok(()));
        }
        let mut done = requests.as_mut().poll(cx);
        if done.is_pending() && connection.ends_idle() {
            // After the poll: a request that had come already is answered, and not cut off.
            requests.as_mut().graceful_shutdown();
            done = requests.as_mut().poll(cx);
        }
        done
    })
    .await;
    if result.is_err_and(|error| error.is_parse()) {
        connection.server.events.malformed(connection.source());
    }
}

/// The socket, as hyper sees it. Notes when an answer is out, and lingers at the end where the
/// sender is still sending: a reset would overtake the answer.
struct Socket<'a> {
    stream: TokioIo<TcpStream>,
    connection: &'a Connection,
    /// What has come of the PROXY protocol's preface, as long as it is not whole.
    preface: Option<Vec<u8>>,
    /// Bytes that came behind it.
    first: Vec<u8>,
}

impl Socket<'_> {
    fn stream(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.stream)
    }

    /// Reads of the preface what there is. A peer that sends none, or may not, is a stranger who speaks
    /// something else.
    fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [0; preface::LONGEST];
        let mut buffer = ReadBuf::new(&mut room);
        ready!(Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer))?;
        let connection = self.connection;
        let so_far = self.preface.get_or_insert_default();
        so_far.extend_from_slice(buffer.filled());
        let read = match preface::read(so_far) {
            // Gone before it said a word: nobody asked anything.
            _ if so_far.is_empty() => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Preface::Partial if !buffer.filled().is_empty() => return Poll::Ready(Ok(())),
            read if connection.server.proxies.trusts(connection.source()) => read,
            _ => Preface::Wrong,
        };
        let Preface::Whole(length, client) = read else {
            connection.server.events.malformed(connection.source());
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        self.first = so_far.split_off(length);
        self.preface = None;
        connection.source.set(client.unwrap_or_else(|| connection.source()));
        Poll::Ready(Ok(()))
    }

    /// Throws away what still comes, until the sender closes or a deadline ends it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.lingers();
        let mut thrown_away = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            ready!(Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Read for Socket<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        while self.preface.is_some() {
            ready!(self.poll_preface(cx))?;
        }
        if self.first.is_empty() {
            return self.stream().poll_read(cx, buffer);
        }
        let fits = self.first.len().min(buffer.remaining());
        let rest = self.first.split_off(fits);
        buffer.put_slice(&std::mem::replace(&mut self.first, rest));
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_flush(cx))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_shutdown(cx))?;
        if self.connection.is_unread() { self.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}
