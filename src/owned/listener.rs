//! The process `gwg-owned-listener`: the real start, then whatever a stranger commands.

use super::{Held, command};
use crate::listener::{self, StartError};
use crate::wire::frame;
use crate::wire::listener::FromListener;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

/// The command after which it is a listener like any other.
const SERVE: &str = "serve";

/// Starts as a listener does, and obeys.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg-owned-listener: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), StartError> {
    let held = listener::hold()?;
    let at = |what| move |error| StartError::Io { what, error };
    say_ready(&held).map_err(at("the link to the supervisor"))?;
    // The supervisor's socket does not wait.
    held.socket.set_nonblocking(false).map_err(at("the listening socket"))?;
    loop {
        let (connection, _) = held.socket.accept().map_err(at("accepting"))?;
        if let Ok(Then::Serve) = obey(&connection, &held) {
            return listener::serve(held);
        }
    }
}

fn say_ready(held: &listener::Held) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame::encode(&FromListener::Ready { landlock: held.landlock }, &mut bytes).map_err(io::Error::other)?;
    nix::unistd::write(&held.supervisor, &bytes)?;
    Ok(())
}

/// What a connection leads to.
enum Then {
    Next,
    Serve,
}

fn obey(connection: &TcpStream, from: &listener::Held) -> io::Result<Then> {
    let held = Held {
        supervisor: from.supervisor.as_raw_fd(),
        worker: from.worker.as_raw_fd(),
        listening: Some(from.socket.as_raw_fd()),
        accepted: Some(connection.as_raw_fd()),
    };
    let mut lines = BufReader::new(connection);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line.trim_end() == SERVE {
            return Ok(Then::Serve);
        }
        let mut to = connection;
        to.write_all(command::obey(&line, &held).as_bytes())?;
        line.clear();
    }
    Ok(Then::Next)
}
