//! Takes clients: a bounded number, each asked for by the kernel who it is, each in a task of its own.
//! Runs in the supervisor.

use super::access::{Right, Rules};
use super::client::Client;
use super::conversation::{self, House};
use super::socket::{Keep, Socket};
use crate::confine::peer;
use crate::wire::control::{Answer, Refusal};
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::Listener as SyncListener;
use interprocess::os::unix::uds_local_socket::tokio::{Listener, Stream};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Clients at once.
const CLIENTS: usize = 32;
/// Of them those who may only look: whoever acts always finds room.
const LOOKERS: usize = 24;
/// How long to wait before accepting again after a failure that may last.
const PAUSE: Duration = Duration::from_millis(100);

/// The open socket. It is taken away when this is dropped.
pub struct Door {
    rules: Rules,
    room: Room,
    house: House,
    keep: Keep,
    /// Another copy of the socket.
    socket: OwnedFd,
    task: Option<JoinHandle<()>>,
}

impl Door {
    /// Serves from now on. Call within the runtime.
    ///
    /// # Errors
    /// Those of registering the socket.
    pub fn open(socket: Socket, rules: Rules, house: House) -> io::Result<Self> {
        let room = Room { all: Arc::new(Semaphore::new(CLIENTS)), lookers: Arc::new(Semaphore::new(LOOKERS)) };
        let (listener, keep) = socket.split();
        let socket = listener.as_fd().try_clone_to_owned()?;
        let task = Some(accept(listener, &rules, &room, &house)?);
        Ok(Self { rules, room, house, keep, socket, task })
    }

    /// What conversations need.
    pub fn house(&self) -> &House {
        &self.house
    }

    /// Other rules are in force, and the socket is another group's. Who is being served is served to the end.
    pub fn change(&mut self, rules: Rules) {
        if rules == self.rules {
            return;
        }
        let again = self.keep.bind_again(rules.control.group).and_then(|listener| {
            let socket = listener.as_fd().try_clone_to_owned()?;
            Ok((socket, accept(listener, &rules, &self.room, &self.house)?))
        });
        match again {
            Ok((socket, task)) => {
                self.close();
                (self.socket, self.task, self.rules) = (socket, Some(task), rules);
            }
            Err(error) => tracing::error!(%error, "the control socket can't be made anew: the old one stays, with its rules"),
        }
    }

    /// Takes nobody in any more; who is being served is served to the end. Who connects waits, as long as the
    /// socket is kept.
    pub fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// The socket and its lock, for who comes after this process's exec.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn hand_over(mut self) -> io::Result<(OwnedFd, OwnedFd)> {
        self.close();
        Ok((self.socket, self.keep.into_lock()?))
    }
}

fn accept(listener: SyncListener, rules: &Rules, room: &Room, house: &House) -> io::Result<JoinHandle<()>> {
    let listener = Listener::try_from(listener)?;
    let (rules, room, house) = (rules.clone(), room.clone(), house.clone());
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok(stream) => receive(stream, &rules, &room, &house),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }))
}

#[derive(Clone)]
struct Room {
    all: Arc<Semaphore>,
    lookers: Arc<Semaphore>,
}

fn receive(stream: Stream, rules: &Rules, room: &Room, house: &House) {
    // One who is gone already needs no answer.
    let Ok(peer) = peer::of(&stream) else { return };
    let right = rules.right(&peer);
    let mut client = Client::new(stream);
    let place = match right {
        Right::Nothing => {
            tracing::warn!(uid = peer.uid, pid = peer.pid, "a stranger at the control socket is sent away");
            return client.dismiss(&Answer::Refused(Refusal::NotYou));
        }
        Right::Look => {
            Arc::clone(&room.lookers).try_acquire_owned().and_then(|look| Ok((room.all.clone().try_acquire_owned()?, Some(look))))
        }
        Right::Act => Arc::clone(&room.all).try_acquire_owned().map(|place| (place, None)),
    };
    let Ok(place) = place else { return client.dismiss(&Answer::Refused(Refusal::Busy)) };
    let house = house.clone();
    tokio::spawn(async move {
        conversation::hold(&mut client, right, peer.uid, house).await;
        drop(place);
    });
}
