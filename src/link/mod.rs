//! Typed ends of a socketpair, for tokio. Runs in supervisor, listener and worker.
//!
//! [`open`] gives a [`Sender`] of one direction's messages and a [`Receiver`] of the other's, so
//! that a message in the wrong direction does not compile. Sending never waits: messages gather in
//! a bounded buffer that one task writes, many at a time. A peer that does not read is the caller's
//! to end.

use crate::confine::descriptors;
use crate::wire::frame::{self, Decoder, Message, WireError};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use zeroize::Zeroize;

/// Bytes that may wait in a [`Sender`].
pub const QUEUE: usize = 4 << 20;
const READ: usize = 64 << 10;
/// How long messages that may wait do so (see [`Message::MAY_WAIT`]). Under load a receiver that
/// is woken for every few of them costs the sender more than the writing does.
const GATHER: Duration = Duration::from_millis(1);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer broke the rules of the border.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The peer does not read: the buffer is full, or the link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer does not take messages")]
pub struct NotTaken;

/// Opens an end of a socketpair: `S` goes out, `R` comes in. Call within a runtime.
///
/// # Errors
/// Those of registering the socket.
pub fn open<S: Message, R: Message>(socket: OwnedFd) -> io::Result<(Sender<S>, Receiver<R>)> {
    let stream = StdStream::from(socket);
    stream.set_nonblocking(true)?;
    let stream = Arc::new(UnixStream::from_std(stream)?);
    let outbox = Arc::new(Outbox::default());
    tokio::spawn(write_out(Arc::clone(&stream), Arc::clone(&outbox), S::MAY_WAIT));
    let sender = Sender { handle: Arc::new(Handle(outbox)), direction: PhantomData };
    let receiver = Receiver { stream, decoder: Decoder::default(), descriptors: VecDeque::new(), buffer: vec![0; READ].into_boxed_slice() };
    Ok((sender, receiver))
}

/// The outgoing side. Clones share one buffer, written in the order of sending.
pub struct Sender<S> {
    handle: Arc<Handle>,
    direction: PhantomData<fn(S)>,
}

impl<S> Clone for Sender<S> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), direction: PhantomData }
    }
}

impl<S: Message> Sender<S> {
    /// Queues a message.
    ///
    /// # Errors
    /// [`NotTaken`] where the peer is gone or has left [`QUEUE`] bytes unread.
    pub fn send(&self, message: &S) -> Result<(), NotTaken> {
        self.queue(message, None)
    }

    /// Queues a message that may as well be lost: a quarter of the room is left to all others.
    ///
    /// # Errors
    /// As [`Sender::send`], and where three quarters of [`QUEUE`] are unread.
    pub fn offer(&self, message: &S) -> Result<(), NotTaken> {
        if self.handle.0.state().waiting > QUEUE / 4 * 3 {
            return Err(NotTaken);
        }
        self.send(message)
    }

    /// Queues a message with the descriptor that belongs to it.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_with(&self, message: &S, descriptor: OwnedFd) -> Result<(), NotTaken> {
        self.queue(message, Some(descriptor))
    }

    fn queue(&self, message: &S, descriptor: Option<OwnedFd>) -> Result<(), NotTaken> {
        let outbox = &self.handle.0;
        let mut state = outbox.state();
        if state.closed || state.waiting > QUEUE {
            return Err(NotTaken);
        }
        let before = state.waiting;
        match (&descriptor, state.pieces.back_mut()) {
            (None, Some(Piece { bytes, descriptor: None })) => {
                let start = bytes.len();
                frame::encode(message, bytes).map_err(|_| NotTaken)?;
                let added = bytes.len() - start;
                state.waiting += added;
            }
            _ => {
                let bytes = frame::framed(message).map_err(|_| NotTaken)?;
                state.waiting += bytes.len();
                state.pieces.push_back(Piece { bytes, descriptor });
            }
        }
        drop(state);
        if before == 0 {
            outbox.wake.notify_one();
        }
        Ok(())
    }

    /// Whether the peer is gone; otherwise one that takes nothing does not read.
    pub fn is_closed(&self) -> bool {
        self.handle.0.state().closed
    }

    /// Waits until all that was sent is with the kernel, or the link is closed.
    pub async fn flushed(&self) {
        loop {
            let written = self.handle.0.written.notified();
            {
                let state = self.handle.0.state();
                if state.waiting == 0 || state.closed {
                    return;
                }
            }
            written.await;
        }
    }
}

/// The incoming side.
pub struct Receiver<R> {
    stream: Arc<UnixStream>,
    decoder: Decoder<R>,
    descriptors: VecDeque<OwnedFd>,
    buffer: Box<[u8]>,
}

impl<R: Message> Receiver<R> {
    /// The next message; `None` at the end. May be cancelled and called again.
    ///
    /// # Errors
    /// What the peer sent is no message, or the socket failed. The link is of no use after it.
    pub async fn recv(&mut self) -> Result<Option<R>, LinkError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) as a poll, for whoever waits for several links. One task at a time.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, LinkError>> {
        loop {
            if let Some(message) = self.decoder.take()? {
                return Poll::Ready(Ok(Some(message)));
            }
            ready!(self.stream.poll_read_ready(cx))?;
            let (stream, buffer, descriptors) = (&self.stream, &mut self.buffer, &mut self.descriptors);
            let received =
                stream.try_io(Interest::READABLE, || descriptors::receive(stream.as_ref(), buffer, descriptors).map_err(io::Error::from));
            // Nobody else may fill this process's descriptor table. They are closed with the link.
            if !R::DESCRIPTORS && !self.descriptors.is_empty() {
                return Poll::Ready(Err(WireError::Malformed.into()));
            }
            match received {
                Ok(0) if self.decoder.is_inside_message() => return Poll::Ready(Err(WireError::Truncated.into())),
                Ok(0) => return Poll::Ready(Ok(None)),
                Ok(count) => self.decoder.push(self.buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Poll::Ready(Ok(None)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Another message, if it is here already: for answering many at once.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn recv_ready(&mut self) -> Result<Option<R>, LinkError> {
        Ok(self.decoder.take()?)
    }

    /// The descriptor that came with the message just received. Messages and descriptors keep
    /// their order.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

#[derive(Default)]
struct Outbox {
    state: Mutex<State>,
    wake: Notify,
    written: Notify,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Bytes queued or being written.
    waiting: usize,
    closed: bool,
}

struct Piece {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Orders carry keys.
        self.bytes.zeroize();
    }
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the outbox when the last sender is gone.
struct Handle(Arc<Outbox>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.wake.notify_one();
    }
}

/// Writes what is queued until the last sender is gone and nothing is left, or the peer is gone.
async fn write_out(stream: Arc<UnixStream>, outbox: Arc<Outbox>, may_wait: bool) {
    loop {
        let piece = outbox.state().pieces.pop_front();
        let Some(piece) = piece else {
            if outbox.state().closed {
                return;
            }
            outbox.wake.notified().await;
            if may_wait {
                tokio::time::sleep(GATHER).await;
            }
            continue;
        };
        let result = write_piece(&stream, &piece).await;
        let mut state = outbox.state();
        state.waiting = state.waiting.saturating_sub(piece.bytes.len());
        if result.is_err() {
            state.closed = true;
            state.pieces.clear();
        }
        let done = state.pieces.is_empty();
        drop(state);
        if done {
            outbox.written.notify_waiters();
        }
    }
}

async fn write_piece(stream: &UnixStream, piece: &Piece) -> io::Result<()> {
    let mut rest = piece.bytes.as_slice();
    let mut descriptor = piece.descriptor.as_ref();
    while !rest.is_empty() {
        stream.writable().await?;
        let written = stream.try_io(Interest::WRITABLE, || match descriptor {
            Some(descriptor) => descriptors::send_with(stream, rest, descriptor).map_err(io::Error::from),
            None => nix::sys::socket::send(std::os::fd::AsRawFd::as_raw_fd(stream), rest, nix::sys::socket::MsgFlags::MSG_NOSIGNAL)
                .map_err(io::Error::from),
        });
        match written {
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                descriptor = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OrderId;
    use crate::wire::listener::{FromListener, ToListener};
    use crate::wire::worker::{FromWorker, ToWorker};
    use std::io::{Read, Write};

    fn pair() -> (OwnedFd, OwnedFd) {
        let (a, b) = StdStream::pair().unwrap();
        (a.into(), b.into())
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn messages_and_their_descriptors_arrive_in_order() {
        run(async {
            let (a, b) = pair();
            let (sender, _keep) = open::<ToWorker, FromWorker>(a).unwrap();
            let (_keep, mut receiver) = open::<FromWorker, ToWorker>(b).unwrap();
            let (theirs, ours) = pair();
            sender.send(&ToWorker::Stop).unwrap();
            sender.send_with(&ToWorker::Updater(OrderId::ZERO), theirs).unwrap();
            sender.send(&ToWorker::Reconcile).unwrap();
            assert_eq!(receiver.recv().await.unwrap(), Some(ToWorker::Stop));
            assert_eq!(receiver.recv().await.unwrap(), Some(ToWorker::Updater(OrderId::ZERO)));
            let descriptor = receiver.take_descriptor().unwrap();
            assert_eq!(receiver.recv().await.unwrap(), Some(ToWorker::Reconcile));
            assert!(receiver.take_descriptor().is_none());
            StdStream::from(descriptor).write_all(b"x").unwrap();
            let mut byte = [0];
            StdStream::from(ours).read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
        });
    }

    #[test]
    fn a_descriptor_where_none_belongs_ends_the_link() {
        run(async {
            let (a, b) = pair();
            let (sender, _keep) = open::<FromWorker, ToWorker>(a).unwrap();
            let (_keep, mut receiver) = open::<ToWorker, FromWorker>(b).unwrap();
            let (theirs, _ours) = pair();
            sender.send_with(&FromWorker::Ready { landlock: 0 }, theirs).unwrap();
            assert!(matches!(receiver.recv().await, Err(LinkError::Wire(WireError::Malformed))));
        });
    }

    #[test]
    fn a_peer_that_does_not_read_fills_a_bounded_buffer() {
        run(async {
            let (a, _b) = pair();
            let (sender, _keep) = open::<FromWorker, ToWorker>(a).unwrap();
            let mut sent = 0_u64;
            while sender.send(&FromWorker::Ready { landlock: 0 }).is_ok() {
                sent += 1;
                assert!(sent < (QUEUE as u64), "the buffer has no bound");
            }
        });
    }

    #[test]
    fn what_may_be_lost_leaves_room_for_what_may_not() {
        run(async {
            let (a, _b) = pair();
            let (sender, _keep) = open::<FromListener, ToListener>(a).unwrap();
            let mut lost = false;
            for _ in 0..QUEUE {
                lost = sender.offer(&FromListener::Lost(1)).is_err();
                if lost {
                    break;
                }
            }
            assert!(lost, "the buffer has no bound");
            sender.send(&FromListener::Closed).unwrap();
        });
    }

    #[test]
    fn the_end_inside_of_a_message_is_an_error_and_between_messages_is_not() {
        run(async {
            for (bytes, clean) in [(&[][..], true), (&[1, 0][..], false)] {
                let (a, b) = pair();
                let (_keep, mut receiver) = open::<FromWorker, ToWorker>(b).unwrap();
                StdStream::from(a).write_all(bytes).unwrap();
                assert_eq!(receiver.recv().await.is_ok(), clean);
            }
        });
    }
}
