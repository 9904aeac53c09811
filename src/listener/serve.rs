//! The listener at work: accepts, hears supervisor and worker, sweeps over deadlines, drains.
//!
//! Runs in `gwg-listener`, on one thread. Holds what all connections share. Trusts the supervisor;
//! a worker that answers what it was not asked ends this process, and the supervisor starts another.

use super::admit::{Admission, End, SlotId};
use super::connection::{self, Connection, Signal};
use super::events::Events;
use super::http;
use super::jobs::Jobs;
use super::outbox::UnknownJob;
use super::route::Routes;
use super::scrape::Scrapes;
use crate::brief::listener::{Limits, Proxies};
use crate::link::{self, LinkError, NotTaken, Receiver, Sender};
use crate::wire::job::{Job, JobAnswer};
use crate::wire::listener::{FromListener, ToListener, Waiting};
use hyper::server::conn::http1;
use nix::errno::Errno;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

/// How coarse deadlines are, at most.
const SWEEP: Duration = Duration::from_millis(250);
/// How long who has a connection may still ask once more, when the listener drains: the answer says
/// that it was the last. Closed at once, it would cut off a request that is on its way.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long to wait before accepting again after a failure that may last.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are taken from a socket that is given up: more than its queue holds.
const MOST_WAITING: usize = 8192;

/// Why serving ended otherwise than by draining.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The supervisor closed its link.
    #[error("the supervisor is gone")]
    SupervisorGone,
    /// What the supervisor said is no message.
    #[error("the link to the supervisor: {0}")]
    Supervisor(LinkError),
    /// The supervisor spoke of a new worker without its descriptor.
    #[error("the supervisor announced a descriptor and gave none")]
    NoLink,
    /// The supervisor does not take messages.
    #[error("the supervisor: {0}")]
    NotTaken(#[from] NotTaken),
    /// What the worker said is no message.
    #[error("the link to the worker: {0}")]
    Worker(LinkError),
    /// The worker spoke out of turn.
    #[error(transparent)]
    OutOfTurn(#[from] UnknownJob),
    /// What the supervisor gave for who asks for figures is of no use.
    #[error("figures: {0}")]
    Scrape(io::Error),
    /// The listening socket is of no use any more.
    #[error("accepting connections: {0}")]
    Accept(io::Error),
}

/// All that a listener needs in order to serve.
pub struct Given {
    /// The listening socket.
    pub socket: TcpListener,
    /// Bounds for strangers.
    pub limits: Limits,
    /// Who may say whom something comes from.
    pub proxies: Proxies,
    /// The configured paths.
    pub routes: Routes,
    /// The version of Landlock that holds.
    pub landlock: u8,
    /// The link to the supervisor.
    pub supervisor: (Sender<FromListener>, Receiver<ToListener>),
    /// The link to the worker.
    pub worker: (Sender<Job>, Receiver<JobAnswer>),
}

/// What all connections share.
pub struct Server {
    /// Bounds for strangers.
    pub limits: Limits,
    /// Who may say whom something comes from.
    pub proxies: Proxies,
    /// The configured paths.
    pub routes: Routes,
    /// Jobs for the worker.
    pub jobs: Jobs,
    /// Events for the supervisor.
    pub events: Events,
    /// Who may stay.
    pub admission: RefCell<Admission<Rc<Signal>>>,
    /// How connections are served.
    pub http: http1::Builder,
    draining: Cell<Option<Waiting>>,
    /// Whether it has drained for [`LAST_REQUEST`].
    idle_may_go: Cell<bool>,
    /// For the accepting task: a connection is gone, or it is time to drain.
    accepting: Notify,
    /// For [`serve`] while it drains: a connection is gone.
    emptied: Notify,
    /// For the sweep, which rests while there is nobody: a connection has come.
    filled: Notify,
}

impl Server {
    /// A connection comes.
    pub fn enter(&self, signal: Rc<Signal>) -> SlotId {
        self.filled.notify_one();
        self.admission.borrow_mut().enter(Instant::now(), signal)
    }

    /// A connection is gone.
    pub fn leave(&self, slot: SlotId) {
        self.admission.borrow_mut().leave(slot);
        self.accepting.notify_one();
        self.emptied.notify_one();
    }

    /// Whether the next answer on each connection is its last.
    pub fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Whether connections are to end that are doing nothing.
    pub fn ends_idle(&self) -> bool {
        self.idle_may_go.get()
    }

    fn drain(self: &Rc<Self>, waiting: Waiting) {
        self.draining.set(Some(waiting));
        self.admission.borrow_mut().drain();
        self.accepting.notify_one();
        let server = Rc::clone(self);
        spawn_local(async move {
            sleep(LAST_REQUEST).await;
            server.idle_may_go.set(true);
            server.admission.borrow().handles().for_each(|signal| signal.wake());
        });
    }

    fn evict(&self) {
        if let Some(signal) = self.admission.borrow_mut().evict() {
            signal.end(End::Close);
        }
    }
}

/// Serves until told to drain, and then until nothing is left.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(given: Given) -> Result<(), ServeError> {
    let (to_supervisor, mut supervisor) = given.supervisor;
    let (to_worker, worker) = given.worker;
    let server = Rc::new(Server {
        limits: given.limits,
        proxies: given.proxies,
        routes: given.routes,
        jobs: Jobs::new(to_worker),
        events: Events::new(to_supervisor.clone()),
        admission: RefCell::new(Admission::new(given.limits)),
        http: http::builder(),
        draining: Cell::new(None),
        idle_may_go: Cell::new(false),
        accepting: Notify::new(),
        emptied: Notify::new(),
        filled: Notify::new(),
    });
    to_supervisor.send(&FromListener::Ready { landlock: given.landlock })?;
    // One task accepts, from when the supervisor says so.
    let (mut socket, mut accepting) = (Some(given.socket), None);
    spawn_local(sweep(Rc::clone(&server)));

    let mut worker = Some(worker);
    let mut scrapes = Scrapes::default();
    let is_idle = |scrapes: &Scrapes| server.admission.borrow().open() == 0 && scrapes.is_idle();
    while !(server.is_draining() && socket.is_none() && accepting.is_none() && is_idle(&scrapes)) {
        tokio::select! {
            message = supervisor.recv() => match message.map_err(ServeError::Supervisor)?.ok_or(ServeError::SupervisorGone)? {
                ToListener::Worker => worker = Some(reconnect(&server, &mut supervisor)?),
                ToListener::Serve => accepting = socket.take().map(|socket| spawn_local(accept(Rc::clone(&server), socket))),
                ToListener::Drain(waiting) => {
                    server.drain(waiting);
                    scrapes.drain(LAST_REQUEST);
                    if socket.take().is_some() {
                        to_supervisor.send(&FromListener::Closed)?;
                    }
                }
                ToListener::Figures(health) => {
                    let file = supervisor.take_descriptor().ok_or(ServeError::NoLink)?;
                    scrapes.take_figures(health, file).map_err(ServeError::Scrape)?;
                }
                ToListener::Scrape => {
                    let connection = supervisor.take_descriptor().ok_or(ServeError::NoLink)?;
                    scrapes.answer(connection).map_err(ServeError::Scrape)?;
                }
                ToListener::Ping => {
                    // Not taken: the supervisor is behind, and asks again.
                    let _ = to_supervisor.send(&FromListener::Alive);
                }
            },
            answer = next(&mut worker) => acknowledge(&server, &mut worker, answer?)?,
            result = ended(&mut accepting) => {
                result?;
                to_supervisor.send(&FromListener::Closed)?;
            }
            () = server.emptied.notified(), if server.is_draining() => {}
            () = scrapes.left(), if server.is_draining() => {}
        }
    }
    server.events.flushed().await;
    Ok(())
}

/// Takes the link to a new worker, and tells it what the one before did not acknowledge.
fn reconnect(server: &Server, supervisor: &mut Receiver<ToListener>) -> Result<Receiver<JobAnswer>, ServeError> {
    let socket = supervisor.take_descriptor().ok_or(ServeError::NoLink)?;
    let (sender, receiver) = link::open(socket).map_err(|error| ServeError::Worker(error.into()))?;
    server.jobs.reconnect(sender);
    Ok(receiver)
}

/// The worker's next answer; waits for ever where there is no worker.
async fn next(worker: &mut Option<Receiver<JobAnswer>>) -> Result<Option<JobAnswer>, ServeError> {
    let Some(receiver) = worker else { return pending().await };
    match receiver.recv().await {
        // A worker that died takes its socket with it. The supervisor brings the next one.
        Err(LinkError::Io(_)) => Ok(None),
        other => other.map_err(ServeError::Worker),
    }
}

/// Takes an answer, and those that came with it; `None` where the worker is gone.
fn acknowledge(server: &Server, worker: &mut Option<Receiver<JobAnswer>>, first: Option<JobAnswer>) -> Result<(), ServeError> {
    let mut answer = first;
    if answer.is_none() {
        *worker = None;
    }
    while let (Some(received), Some(receiver)) = (answer, worker.as_mut()) {
        server.jobs.acknowledge(received)?;
        answer = receiver.recv_ready().map_err(ServeError::Worker)?;
    }
    Ok(())
}

/// The end of the accepting task.
async fn ended(accepting: &mut Option<JoinHandle<io::Result<()>>>) -> Result<(), ServeError> {
    let Some(task) = accepting else { return pending().await };
    let result = task.await;
    *accepting = None;
    result.map_err(io::Error::other).flatten().map_err(ServeError::Accept)
}

/// Accepts until told to drain. The socket is closed then, not shut down: the supervisor and the
/// next listener have it too.
async fn accept(server: Rc<Server>, socket: TcpListener) -> io::Result<()> {
    while !server.is_draining() {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = server.accepting.notified() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                make_room(&server).await;
                welcome(&server, stream, peer);
            }
            Err(error) => recover(&server, error).await?,
        }
    }
    match server.draining.get() {
        Some(Waiting::Take) => take_waiting(&server, socket.into_std()?).await,
        Some(Waiting::Leave) | None => Ok(()),
    }
}

/// Accepts what waits in a socket that nobody will accept from after this: who had connected before
/// it was closed is answered, and not reset. Asks the kernel itself, since the event loop may not have
/// heard yet of who has just come.
async fn take_waiting(server: &Rc<Server>, socket: std::net::TcpListener) -> io::Result<()> {
    for _ in 0..MOST_WAITING {
        let (stream, peer) = match socket.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return recover(server, error).await,
        };
        make_room(server).await;
        stream.set_nonblocking(true)?;
        welcome(server, TcpStream::from_std(stream)?, peer);
    }
    Ok(())
}

fn welcome(server: &Rc<Server>, stream: TcpStream, peer: SocketAddr) {
    // An answer is one write; it must not wait for an acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let connection = Connection::new(Rc::clone(server), peer.ip().to_canonical());
    spawn_local(connection::run(stream, connection));
}

/// Sees to it that there is a slot: whoever deserves its own least is ended. Where nobody may be,
/// deadlines make room.
async fn make_room(server: &Server) {
    while server.admission.borrow().is_full() {
        look_around().await;
        if server.admission.borrow().is_full() {
            server.evict();
            somebody_leaves(server).await;
        }
    }
}

/// Lets the event loop look at all connections: who has just come with a request is heard before anybody is ended. Else
/// many who come and say nothing would push out, unheard, those who do.
async fn look_around() {
    yield_now().await;
}

async fn somebody_leaves(server: &Server) {
    let open = server.admission.borrow().open();
    while server.admission.borrow().open() >= open {
        server.accepting.notified().await;
    }
}

/// What to do about an `accept` that failed.
async fn recover(server: &Server, error: io::Error) -> io::Result<()> {
    match error.raw_os_error().map(Errno::from_raw) {
        // No longer a listening socket: the supervisor binds another.
        Some(Errno::EINVAL | Errno::EBADF | Errno::ENOTSOCK | Errno::EOPNOTSUPP) => return Err(error),
        // The connection failed before it was accepted.
        Some(Errno::ECONNABORTED | Errno::EPROTO | Errno::EINTR) => {}
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
            look_around().await;
            server.evict();
            let _ = timeout(PAUSE, somebody_leaves(server)).await;
        }
        // accept(2): the network, or a firewall. It may last, and must not make this spin.
        _ => sleep(PAUSE).await,
    }
    Ok(())
}

/// Applies deadlines, as long as there is somebody to apply them to.
async fn sweep(server: Rc<Server>) {
    let pause = (server.admission.borrow().shortest_deadline() / 4).clamp(Duration::from_millis(5), SWEEP);
    loop {
        if server.admission.borrow().open() == 0 {
            server.filled.notified().await;
        }
        sleep(pause).await;
        server.admission.borrow_mut().end_overdue(Instant::now(), |signal, end| signal.end(end));
        server.events.say_lost();
    }
}
