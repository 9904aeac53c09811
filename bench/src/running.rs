//! A peer that runs: a server on a port of loopback, ended when dropped.

use crate::Result;
use crate::machine::{self, Process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server and its processes.
pub struct Running {
    child: Child,
    pub port: u16,
    /// When it was started.
    pub since: Instant,
}

impl Running {
    /// Starts a server that listens on `port`, and waits until it takes connections.
    pub fn start(command: &mut Command, port: u16) -> Result<Self> {
        let since = Instant::now();
        let child = command.stdin(Stdio::null()).spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let mut running = Self { child, port, since };
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("{} ended at its start: {status}", command.get_program().display()).into());
            }
            if since.elapsed() > Duration::from_secs(30) {
                return Err(format!("{} does not listen", command.get_program().display()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(running)
    }

    /// It and its descendants, as they are now.
    pub fn family(&self) -> Vec<Process> {
        machine::family(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        let _gone = pid.map(|pid| kill(pid, Signal::SIGTERM));
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > Duration::from_secs(6) {
                let _gone = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A port that was free just now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
