//! One client: frames in and out, each with a deadline. Runs in the supervisor; distrusts the client.

use crate::wire::control::{Answer, Request};
use crate::wire::frame::{self, Decoder};
use interprocess::os::unix::uds_local_socket::tokio::Stream;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a client may leave an answer unread.
const ANSWER: Duration = Duration::from_secs(10);

/// The connection.
pub struct Client {
    stream: Stream,
}

impl Client {
    /// Nothing is read yet.
    pub fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// The one request; `None` where it does not come in time, is none, or more follows it.
    pub async fn request(&mut self) -> Option<Request> {
        timeout(REQUEST, self.read()).await.ok().flatten()
    }

    async fn read(&mut self) -> Option<Request> {
        let mut decoder = Decoder::<Request>::default();
        let mut buffer = [0; 4096];
        loop {
            match decoder.take() {
                Ok(Some(request)) if !decoder.is_inside_message() => return Some(request),
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return None,
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => decoder.push(buffer.get(..count)?),
            }
        }
    }

    /// Tells the client something.
    ///
    /// # Errors
    /// It is gone, or does not read.
    pub async fn say(&mut self, answer: &Answer) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::encode(answer, &mut bytes).map_err(io::Error::other)?;
        timeout(ANSWER, self.stream.write_all(&bytes)).await.map_err(io::Error::other)?
    }

    /// Tells a client that is not served one last thing: what fits into a fresh socket, without waiting.
    pub fn dismiss(&mut self, answer: &Answer) {
        let mut bytes = Vec::new();
        if frame::encode(answer, &mut bytes).is_ok() {
            let _ = self.stream.inner().try_write(&bytes);
        }
    }

    /// Another copy of the connection, for who comes after this process's exec.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.stream.inner().as_fd().try_clone_to_owned()
    }

    /// Waits until the client goes away. One that speaks out of turn counts as gone.
    pub async fn gone(&mut self) {
        // Cancelled, this has read nothing.
        let _ = self.stream.read(&mut [0]).await;
    }
}
