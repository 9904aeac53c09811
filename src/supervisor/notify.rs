//! What the service manager is told: ready, stopping, still alive, keep this socket. Runs in the
//! supervisor; the words are those of sd_notify(3). Without a service manager nothing is said.
//!
//! No child learns of the manager's socket: children start with an empty environment.

use crate::confine::descriptors;
use std::ffi::OsStr;
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// The name under which the manager keeps the listening socket while gwg is restarted.
pub const KEPT: &str = "gwg-listening";

/// The way to the service manager, where there is one.
pub struct Notify {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the loop turns.
    pulse: Option<Duration>,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// The socket that was named can't be reached: then the manager would wait in vain.
    pub fn of_environment() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::nobody());
        };
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address(&name)?)?;
            // A manager that does not read must not hold the supervisor up.
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket =
            connect().map_err(|error: io::Error| io::Error::new(error.kind(), format!("NOTIFY_SOCKET={}: {error}", name.display())))?;
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let pulse = pulse(number("WATCHDOG_USEC"), number("WATCHDOG_PID"), std::process::id());
        Ok(Self { socket: Some(socket), pulse })
    }

    /// No service manager.
    pub const fn nobody() -> Self {
        Self { socket: None, pulse: None }
    }

    /// Every child serves.
    pub fn ready(&self, repos: usize) {
        let work = match repos {
            0 => "nothing to do: no repository is configured".to_owned(),
            1 => "serving 1 repository".to_owned(),
            several => format!("serving {several} repositories"),
        };
        self.say(&format!("READY=1\nSTATUS={work}"));
    }

    /// The configuration is read again; [`Notify::ready`] says that this is over.
    pub fn reloading(&self) {
        // The manager tells this reload from an earlier one by its clock.
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=ending what still runs");
    }

    /// The loop turns.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Hands the manager a copy of the listening socket, which it gives back to the next start: who
    /// connects meanwhile waits, and is not refused. It replaces the one that it had.
    pub fn keep(&self, listening: &OwnedFd) {
        self.forget();
        if let Some(socket) = &self.socket {
            let words = format!("FDSTORE=1\nFDNAME={KEPT}");
            // A manager that keeps none says so by giving none back.
            let _ = descriptors::send_with(socket, words.as_bytes(), listening);
        }
    }

    /// The manager need not keep a socket any more.
    pub fn forget(&self) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={KEPT}"));
    }

    /// Ticks twice in the time after which the manager takes silence for a hang.
    pub fn pulse(&self) -> Option<Interval> {
        let mut pulse = tokio::time::interval(self.pulse?);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(pulse)
    }

    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket {
            // There is nobody else to tell it to.
            let _ = socket.send(words.as_bytes());
        }
    }
}

/// The next tick; never, where there is no pulse.
pub async fn beat(pulse: &mut Option<Interval>) {
    match pulse {
        Some(pulse) => drop(pulse.tick().await),
        None => future::pending().await,
    }
}

/// A path, or `@` and an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// The watchdog may be meant for another process than the one that reads its time.
fn pulse(usec: Option<u64>, pid: Option<u64>, own: u32) -> Option<Duration> {
    let usec = usec.filter(|usec| *usec >= 2 && pid.is_none_or(|pid| pid == u64::from(own)))?;
    Some(Duration::from_micros(usec / 2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    #[test]
    fn the_pulse_is_twice_as_fast_as_asked_and_only_ours() {
        assert_eq!(pulse(Some(30_000_000), None, 7), Some(Duration::from_secs(15)));
        assert_eq!(pulse(Some(30_000_000), Some(7), 7), Some(Duration::from_secs(15)));
        assert_eq!(pulse(Some(30_000_000), Some(8), 7), None);
        assert_eq!(pulse(Some(0), None, 7), None);
        assert_eq!(pulse(None, Some(7), 7), None);
    }

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let path = address(OsStr::new("/run/x")).unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/x")));
        let name = address(OsStr::new("@x/y")).unwrap();
        assert_eq!(name.as_abstract_name(), Some(b"x/y".as_slice()));
    }
}
