//! A server on a loopback port of its own that a test can hold up: a thread for each connection,
//! stopped when dropped. Under `git_daemon`, `sshd` and `https`.

use super::wait;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is served.
    Serve,
    /// It stays open and silent until the mode changes.
    Hold,
    /// It is closed at once.
    HangUp,
}

struct State {
    mode: Mode,
    seen: usize,
    stopped: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running server.
pub struct Loopback {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Loopback {
    /// Serves each connection by `handler`, in a thread of its own.
    pub fn start(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: Mutex::new(State { mode: Mode::Serve, seen: 0, stopped: false }), changed: Condvar::new() });
        let (ours, handler) = (shared.clone(), Arc::new(handler));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = ours.state.lock().unwrap();
                if state.stopped {
                    return;
                }
                state.seen += 1;
                drop(state);
                let (shared, handler) = (ours.clone(), handler.clone());
                thread::spawn(move || {
                    if shared.admit() {
                        handler(stream);
                    }
                });
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What becomes of connections from now on, held ones included.
    pub fn set(&self, mode: Mode) {
        self.shared.state.lock().unwrap().mode = mode;
        self.shared.changed.notify_all();
    }

    /// How many connections there were.
    pub fn seen(&self) -> usize {
        self.shared.state.lock().unwrap().seen
    }

    /// Waits until there were more than `before` connections.
    pub fn wait_for_more_than(&self, before: usize) {
        wait::until_true("the server got another connection", || self.seen() > before);
    }
}

impl Shared {
    /// Waits while connections are held; says whether this one is served.
    fn admit(&self) -> bool {
        let state = self.changed.wait_while(self.state.lock().unwrap(), |state| state.mode == Mode::Hold && !state.stopped).unwrap();
        state.mode == Mode::Serve && !state.stopped
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().stopped = true;
        self.shared.changed.notify_all();
        // Wakes `accept`, so that the thread sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
