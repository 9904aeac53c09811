//! Figures for Prometheus. Runs in the supervisor, which accepts connections and reads nothing from them:
//! each is handed to the listener, with the figures in a sealed memory file. So HTTP is parsed where it
//! is parsed anyway, and the listener gets no second socket to accept from.

mod text;

use super::briefs;
use super::control::{Ask, House, Terms};
use crate::wire::listener::Health;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use text::render;

/// Figures so old are as good as new ones.
const FRESH: Duration = Duration::from_secs(1);
/// Between two connections: a listener that hangs for 30 s holds no more than a few hundred.
const PACE: Duration = Duration::from_millis(50);

/// One answer to all who ask within a second.
pub struct Figures {
    /// Whether all is well.
    pub health: Health,
    /// As Prometheus reads it.
    pub text: String,
}

/// Where figures are served, if anywhere.
#[derive(Default)]
pub struct Scrapes {
    task: Option<JoinHandle<()>>,
    /// Another copy of the socket.
    socket: Option<OwnedFd>,
}

impl Scrapes {
    /// Serves on this socket from now on, or nowhere. Call within the runtime.
    ///
    /// # Errors
    /// Those of registering the socket.
    pub fn serve(&mut self, socket: Option<OwnedFd>, house: &House) -> io::Result<()> {
        self.close();
        self.socket = socket.as_ref().map(OwnedFd::try_clone).transpose()?;
        if let Some(socket) = socket {
            let listener = TcpListener::from_std(std::net::TcpListener::from(socket))?;
            self.task = Some(tokio::spawn(accept(listener, house.clone())));
        }
        Ok(())
    }

    /// Serves nobody any more. Who connects waits, as long as the socket is kept.
    pub fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// The socket, for who comes after this process's exec.
    pub fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }
}

impl Drop for Scrapes {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept(listener: TcpListener, house: House) {
    let mut last: Option<(Instant, Arc<Figures>)> = None;
    loop {
        if let Ok((connection, _)) = listener.accept().await
            && let Ok(connection) = connection.into_std()
        {
            let figures = match last.take().filter(|(at, _)| at.elapsed() < FRESH) {
                Some((at, figures)) => {
                    last = Some((at, Arc::clone(&figures)));
                    Some(figures)
                }
                None => house.figures().await.map(Arc::new).inspect(|figures| last = Some((Instant::now(), Arc::clone(figures)))),
            };
            if let Some(figures) = figures {
                // The loop is gone only when the supervisor ends.
                let _ = house.asks.send(Ask::Scrape(connection.into(), figures)).await;
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The text in a file that nobody can change any more.
///
/// # Errors
/// Out of descriptors or memory.
pub fn sealed(figures: &Figures) -> io::Result<OwnedFd> {
    briefs::seal("gwg figures", |file| io::Write::write_all(file, figures.text.as_bytes()))
}

/// Binds the socket of figures, where it is another one than before; `None` inside where there is none.
///
/// # Errors
/// The address can't be had.
pub fn socket(address: Option<SocketAddr>, before: Option<&Terms>) -> io::Result<Option<Option<OwnedFd>>> {
    if before.is_some_and(|before| before.metrics == address) {
        return Ok(None);
    }
    Ok(Some(address.map(super::places::listen).transpose()?))
}

/// The socket that gwg begins with: the one that another had in this process before, where that is the one
/// that is wanted, or a new one; `None` where there is none.
///
/// # Errors
/// The address can't be had.
pub fn first_socket(address: Option<SocketAddr>, kept: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    let kept = kept.map(std::net::TcpListener::from).filter(|kept| kept.local_addr().ok() == address);
    match kept {
        Some(kept) => Ok(Some(kept.into())),
        None => Ok(socket(address, None)?.flatten()),
    }
}
