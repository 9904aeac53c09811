//! Finds the running gateway and talks to it. Runs as the operator; believes only a gateway of root's or
//! of its own user.

use crate::cli::exit::{Exit, Failure};
use crate::supervisor;
use crate::wire::control::{Answer, Refusal, Request};
use crate::wire::frame;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a gateway may take to answer. What may last longer says so.
const PATIENCE: Duration = Duration::from_secs(40);

/// Which gateway.
#[derive(Debug, Clone, clap::Args)]
pub struct Where {
    /// The gateway's control socket. Without it, the one of the gateway that this user would start, then /run/gwg/control.sock.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
}

/// A connection to the gateway.
pub struct Gateway {
    stream: UnixStream,
}

impl Gateway {
    /// Connects.
    ///
    /// # Errors
    /// None runs here, or this user may not ask it.
    pub fn open(place: &Where) -> Result<Self, Failure> {
        let candidates = place.socket.clone().map_or_else(supervisor::control_sockets, |socket| vec![socket]);
        for candidate in &candidates {
            match UnixStream::connect(candidate) {
                Ok(stream) => return Self::of(stream, candidate),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(forbidden(candidate)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock) => return Err(busy()),
                Err(_) => {}
            }
        }
        let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        Err(Failure::new(
            Exit::NotRunning,
            format!("no gateway runs here: nobody answers at {}; start one with `gwg`", looked.join(" or ")),
        ))
    }

    fn of(stream: UnixStream, path: &Path) -> Result<Self, Failure> {
        let peer = getsockopt(&stream, PeerCredentials).map_err(io::Error::from)?.uid();
        if peer != 0 && peer != nix::unistd::geteuid().as_raw() {
            let text = format!("{} belongs to user {peer}, who is neither root nor you: it is not asked", path.display());
            return Err(Failure::new(Exit::Refused, text));
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Sends the one request.
    ///
    /// # Errors
    /// A request with too many names.
    pub fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        frame::encode(request, &mut bytes).map_err(|_| Failure::new(Exit::Failed, "too many names: use --all, or fewer"))?;
        // A gateway that sends us away may have closed already: what it said comes first.
        let _ = self.stream.write_all(&bytes);
        Ok(())
    }

    /// The answer may take as long as it takes.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn be_patient(&mut self) -> Result<(), Failure> {
        Ok(self.stream.set_read_timeout(None)?)
    }

    /// The next answer.
    ///
    /// # Errors
    /// It refuses, or is gone.
    pub fn next(&mut self) -> Result<Answer, Failure> {
        match frame::read(&mut self.stream) {
            Ok(Answer::Refused(refusal)) => Err(refused(refusal)),
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Failure::new(Exit::TryAgain, "the gateway does not answer in time"))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(super::unexpected(&Answer::Done)),
            Err(_) => Err(Failure::new(Exit::NotRunning, "the gateway has ended before it had answered")),
        }
    }
}

fn forbidden(path: &Path) -> Failure {
    let text = format!(
        "you may not ask the gateway at {}: only root, and members of the group that its configuration names (control.group)",
        path.display()
    );
    Failure::new(Exit::Refused, text)
}

fn busy() -> Failure {
    Failure::new(Exit::TryAgain, "the gateway has too many clients: try again")
}

fn refused(refusal: Refusal) -> Failure {
    let (exit, text) = match refusal {
        Refusal::NotYou => (
            Exit::Refused,
            "the gateway refuses: you are neither root nor in the group that its configuration names (control.group)".to_owned(),
        ),
        Refusal::LookOnly => {
            (Exit::Refused, "you may look and not act: that is for root, unless the configuration says control.act: true".to_owned())
        }
        Refusal::Busy => return busy(),
        Refusal::Malformed => return super::unexpected(&Answer::Done),
        Refusal::Unknown { name, nearest: Some(nearest) } => {
            (Exit::Unknown, format!("there is no repository {name}: did you mean {nearest}?"))
        }
        Refusal::Unknown { name, nearest: None } => (Exit::Unknown, format!("there is no repository {name}: `gwg status` names them all")),
        Refusal::NoWorker => {
            (Exit::TryAgain, "gwg-worker is not there, or does not answer; when it is back it compares every repository".to_owned())
        }
        Refusal::Pruning => (Exit::TryAgain, "another prune runs: try again".to_owned()),
        Refusal::TooSlow => (Exit::TryAgain, "this client did not keep up with what happens: try again".to_owned()),
        Refusal::Upgrade(reason) => (Exit::Failed, format!("no upgrade, the running gateway goes on as it is: {reason}")),
        Refusal::Reload(reason) => (Exit::Config, format!("the old configuration stays in force: {reason}")),
    };
    Failure::new(exit, text)
}
