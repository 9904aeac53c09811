//! Listening sockets that the service manager passes to gwg: that of a socket unit, or the one that
//! it kept while gwg was restarted. Runs in the supervisor, before any child starts; the words are
//! those of sd_listen_fds(3).

use super::notify::{KEPT, Notify};
use super::places;
use crate::confine::descriptors;
use nix::sys::socket::{Shutdown, shutdown};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

/// More is a mistake in a unit.
const MOST: usize = 8;

/// What the service manager passed: each socket with its name.
#[derive(Default)]
pub struct Passed(Vec<(String, OwnedFd)>);

/// The listening socket, and where it listens.
pub struct Listening {
    /// The socket.
    pub socket: OwnedFd,
    /// Its address.
    pub address: SocketAddr,
    /// A socket unit chose it.
    pub is_given: bool,
}

impl Passed {
    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`, and takes the sockets to numbers that no
    /// child is given.
    ///
    /// # Errors
    /// What was passed is no socket, or there are too many.
    pub fn take() -> io::Result<Self> {
        let text = |name: &str| std::env::var(name).ok();
        let count = count(text("LISTEN_PID").as_deref(), text("LISTEN_FDS").as_deref(), std::process::id());
        if count > MOST {
            return Err(io::Error::other(format!("{count} sockets were passed (LISTEN_FDS), and gwg takes one: write one ListenStream=")));
        }
        let names = text("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
        let sockets =
            descriptors::take_passed(count).map_err(|error| io::Error::new(error.kind(), format!("LISTEN_FDS={count}: {error}")))?;
        Ok(Self(names.zip(sockets).collect()))
    }

    /// Also the one that another gwg had in this process before. `is_given`: a socket unit had chosen it.
    #[must_use]
    pub fn and(mut self, listening: Option<OwnedFd>, is_given: bool) -> Self {
        let name = if is_given { "given before" } else { KEPT };
        self.0.extend(listening.map(|socket| (name.to_owned(), socket)));
        self
    }

    /// The socket to listen on: that of a socket unit, else the kept one where it still is what the
    /// configuration wants, else a new one.
    ///
    /// # Errors
    /// What a socket unit passed is no TCP socket, or there are several; or a new one can't be bound.
    pub fn choose(self, wanted: SocketAddr, notify: &Notify) -> io::Result<Listening> {
        let (kept, mut units): (Vec<_>, Vec<_>) = self.0.into_iter().partition(|(name, _)| name == KEPT);
        if units.len() > 1 {
            return Err(io::Error::other("a socket unit passed several sockets, and gwg takes one: write one ListenStream="));
        }
        if let Some((_, socket)) = units.pop() {
            let listening = open(socket).map_err(|error| io::Error::other(format!("what the socket unit passed: {error}")))?;
            let listening = Listening { is_given: true, ..listening };
            if !serves(listening.address, wanted) {
                tracing::warn!(socket = %listening.address, configured = %wanted, "a socket unit says where to listen, and not the configuration");
            }
            return Ok(listening);
        }
        for (_, socket) in kept {
            match open(socket) {
                Ok(listening) if serves(listening.address, wanted) => return Ok(listening),
                // It would hold on to its port in the manager's hands: this ends every copy of it.
                Ok(listening) => drop(shutdown(listening.socket.as_raw_fd(), Shutdown::Both)),
                Err(_) => {}
            }
        }
        let listening = Listening { socket: places::listen(wanted)?, address: wanted, is_given: false };
        notify.keep(&listening.socket);
        Ok(listening)
    }
}

/// How many sockets were passed to this process.
fn count(pid: Option<&str>, fds: Option<&str>, own: u32) -> usize {
    let ours = pid.and_then(|pid| pid.parse().ok()) == Some(own);
    if ours { fds.and_then(|fds| fds.parse().ok()).unwrap_or(0) } else { 0 }
}

/// A listening TCP socket, in the state in which a listener wants it.
fn open(socket: OwnedFd) -> io::Result<Listening> {
    let advice = "this is no listening TCP socket: write ListenStream= with a port";
    if !places::is_listening(&socket) {
        return Err(io::Error::other(advice));
    }
    let socket = TcpListener::from(socket);
    let address = socket.local_addr().map_err(|_| io::Error::other(advice))?;
    socket.set_nonblocking(true)?;
    Ok(Listening { socket: socket.into(), address, is_given: false })
}

/// Whether a socket is what the configuration wants. Where the kernel has no IPv6, all interfaces are
/// those of IPv4.
pub fn serves(found: SocketAddr, wanted: SocketAddr) -> bool {
    let all = found.ip() == Ipv4Addr::UNSPECIFIED && wanted.ip().is_unspecified();
    found.port() == wanted.port() && (found.ip() == wanted.ip() || all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixListener;

    fn passed(sockets: Vec<(&str, OwnedFd)>) -> Passed {
        Passed(sockets.into_iter().map(|(name, socket)| (name.to_owned(), socket)).collect())
    }

    fn silent() -> Notify {
        Notify::nobody()
    }

    fn bound() -> (OwnedFd, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket.into(), address)
    }

    #[test]
    fn sockets_count_only_for_the_process_that_they_are_for() {
        assert_eq!(count(Some("7"), Some("1"), 7), 1);
        assert_eq!(count(Some("8"), Some("1"), 7), 0);
        assert_eq!(count(None, Some("1"), 7), 0);
        assert_eq!(count(Some("7"), None, 7), 0);
        assert_eq!(count(Some("7"), Some("-1"), 7), 0);
    }

    #[test]
    fn a_socket_units_socket_is_used_wherever_it_listens() {
        let (socket, address) = bound();
        let chosen = passed(vec![("gwg.socket", socket)]).choose("127.0.0.1:1".parse().unwrap(), &silent()).unwrap();
        assert_eq!(chosen.address, address);
    }

    #[test]
    fn a_kept_socket_is_used_where_the_configuration_still_wants_it() {
        let (socket, address) = bound();
        let chosen = passed(vec![(KEPT, socket)]).choose(address, &silent()).unwrap();
        assert_eq!(TcpListener::from(chosen.socket).local_addr().unwrap(), address);
    }

    #[test]
    fn a_kept_socket_does_not_hold_on_to_an_address_that_is_not_wanted_any_more() {
        let (socket, address) = bound();
        let managers = socket.try_clone().unwrap();
        let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()));
        let chosen = passed(vec![(KEPT, socket)]).choose(elsewhere, &silent()).unwrap();
        assert_eq!(TcpListener::from(chosen.socket).local_addr().unwrap(), elsewhere);
        assert!(!places::is_listening(&managers));
        // The port is free for its address too, whatever the manager still holds.
        places::listen(address).unwrap();
    }

    #[test]
    fn what_is_no_listening_tcp_socket_is_refused_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let local = UnixListener::bind(directory.path().join("s")).unwrap();
        let (client, _server) = std::os::unix::net::UnixStream::pair().unwrap();
        for socket in [OwnedFd::from(local), client.into()] {
            let error = passed(vec![("x", socket)]).choose("127.0.0.1:1".parse().unwrap(), &silent()).err().unwrap();
            assert!(error.to_string().contains("ListenStream="), "{error}");
        }
        let error = passed(vec![("x", bound().0), ("y", bound().0)]).choose("127.0.0.1:1".parse().unwrap(), &silent()).err().unwrap();
        assert!(error.to_string().contains("several"), "{error}");
    }

    #[test]
    fn all_interfaces_of_ipv4_serve_where_there_is_no_ipv6() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(serves(address("0.0.0.0:1"), address("[::]:1")));
        assert!(!serves(address("[::]:1"), address("0.0.0.0:1")));
        assert!(!serves(address("127.0.0.1:1"), address("[::]:1")));
        assert!(!serves(address("[::]:2"), address("[::]:1")));
    }
}
