//! The process `gwg-owned`: stands in for the supervisor. Starts an owned child from the real roster for
//! each line of its standard input, commands it, and says what came of it, a line each.
//!
//! `gwg-owned list` prints the attacks. `gwg-owned run [--users UPDATER,WORKER,LISTENER] [--without=LAYERS]`
//! reads lines of `listener` or `updater`, a tab, and a command (see [`command`](super::command)).
//!
//! It takes the executables that lie beside it under the names of the real ones.

use super::attacks::{self, Attack};
use super::command::{self, World};
use crate::brief::listener::{Head, Limits};
use crate::brief::updater::Brief;
use crate::brief::{Label, LabelKind};
use crate::config::{Account, Accounts};
use crate::confine::{Confinement, Role, descriptors};
use crate::ids::RepoId;
use crate::supervisor::{Executables, Roster};
use crate::wire::frame;
use crate::wire::order::{FromUpdater, Order};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

/// How long an attack may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lists, or runs.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("list") => list(),
        Some("run") => run(&arguments),
        _ => Err(io::Error::other("gwg-owned list | gwg-owned run [--users U,W,L] [--without=LAYERS]")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg-owned: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> io::Result<()> {
    for (role, table) in [("listener", attacks::LISTENER), ("updater", attacks::UPDATER)] {
        for Attack { name, wants, .. } in table {
            writeln!(io::stdout(), "{role}\t{name}\t{wants}")?;
        }
    }
    Ok(())
}

fn run(arguments: &[String]) -> io::Result<()> {
    // First, as in the supervisor: the children's numbers must be free.
    descriptors::reserve()?;
    let users = arguments.iter().find_map(|argument| argument.strip_prefix("--users="));
    let roster = Roster::new(Executables::open()?, users.map(accounts).transpose()?, Confinement::Require);
    for line in io::stdin().lines() {
        let line = line?;
        let answer = match line.split_once('\t') {
            Some(("listener", command)) => Owned::listener(&roster)?.made(command)?,
            Some(("updater", command)) => Owned::updater(&roster, &command::parse(command).1)?.made(command)?,
            _ => return Err(io::Error::other(format!("no command: {line}"))),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

fn accounts(users: &str) -> io::Result<Accounts> {
    let account = |number: &str| -> io::Result<Account> {
        let id = number.parse().map_err(io::Error::other)?;
        Ok(Account { name: number.to_owned(), uid: id, gid: id })
    };
    match users.split(',').collect::<Vec<_>>().as_slice() {
        [updater, worker, listener] => Ok(Accounts { updater: account(updater)?, worker: account(worker)?, listener: account(listener)? }),
        _ => Err(io::Error::other("--users=UPDATER,WORKER,LISTENER")),
    }
}

/// An owned child at its first breath. What it has of the supervisor is what the real one gives.
struct Owned {
    child: Child,
    commands: Commands,
    /// The other ends of its links; the worker's.
    _links: Vec<UnixStream>,
    /// Its log.
    log: io::PipeReader,
}

/// The way by which commands come.
enum Commands {
    Connection(TcpListener),
    Link(UnixStream),
}

impl Owned {
    fn listener(roster: &Roster) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (supervisor, ours) = UnixStream::pair()?;
        let (worker, workers) = UnixStream::pair()?;
        let mut brief = File::from(memfd_create("brief", MFdFlags::MFD_CLOEXEC)?);
        frame::write(&mut brief, &Head { repos: 0, limits: Limits::default() })?;
        let given = vec![
            (supervisor.into(), descriptors::SUPERVISOR),
            (worker.into(), descriptors::PEER),
            (brief.into(), descriptors::BRIEF),
            (socket.try_clone()?.into(), descriptors::OWN),
        ];
        Self::start(roster, Role::Listener, given, Commands::Connection(socket), vec![ours, workers])
    }

    fn updater(roster: &Roster, world: &World) -> io::Result<Self> {
        let (supervisor, mut ours) = UnixStream::pair()?;
        let (worker, mut workers) = UnixStream::pair()?;
        let given = vec![(supervisor.into(), descriptors::SUPERVISOR), (worker.into(), descriptors::PEER)];
        let owned = Self::start(roster, Role::Updater, given, Commands::Link(workers.try_clone()?), Vec::new())?;
        frame::write(&mut ours, &brief(world)?)?;
        frame::write(&mut workers, &Order { key: None, known: false, triggered: None, announced: None })?;
        Ok(Self { _links: vec![ours], ..owned })
    }

    fn start(roster: &Roster, role: Role, given: Vec<(OwnedFd, i32)>, commands: Commands, links: Vec<UnixStream>) -> io::Result<Self> {
        let (log, writer) = io::pipe()?;
        let child = roster.command(role, given, writer.into())?.spawn()?;
        Ok(Self { child, commands, _links: links, log })
    }

    /// Commands an attack and says what came of it.
    fn made(mut self, command: &str) -> io::Result<String> {
        let answer = self.commands.ask(command);
        let status = match answer {
            Ok(_) => None,
            // It is dying, or silent.
            Err(_) => self.ended_soon()?,
        };
        let accepting = self.commands.is_whole();
        let _it_is_gone = self.child.kill();
        self.child.wait()?;
        let outcome = match (answer, status) {
            (Ok(answer), _) => answer,
            (Err(_), Some(status)) => self.told(status),
            (Err(_), None) => "silent".to_owned(),
        };
        Ok(format!("{outcome}{}", if accepting { "" } else { "\tdeaf" }))
    }

    fn ended_soon(&mut self) -> io::Result<Option<ExitStatus>> {
        for _ in 0..100 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }

    fn told(&mut self, status: ExitStatus) -> String {
        match status.signal() {
            Some(signal) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(signal) => format!("killed\t{signal}"),
                Err(_) => format!("killed\t{signal}"),
            },
            None => {
                let mut log = String::new();
                let _what_there_is = self.log.read_to_string(&mut log);
                format!("ended\t{status}: {}", log.replace(['\n', '\t'], " "))
            }
        }
    }
}

impl Commands {
    fn ask(&self, command: &str) -> io::Result<String> {
        match self {
            Self::Connection(socket) => ask(TcpStream::connect(socket.local_addr()?)?, command, TcpStream::set_read_timeout),
            Self::Link(link) => {
                let mut link = link.try_clone()?;
                // That it opens its tree, which is the last that is heard of it as an updater.
                let FromUpdater::Step(_) = frame::read(&mut link)? else { return Err(io::ErrorKind::InvalidData.into()) };
                ask(link, command, UnixStream::set_read_timeout)
            }
        }
    }

    /// Whether the supervisor's copy of a listening socket still listens.
    fn is_whole(&self) -> bool {
        match self {
            Self::Connection(socket) => getsockopt(socket, AcceptConn).unwrap_or(false),
            Self::Link(_) => true,
        }
    }
}

fn ask<S: Read + Write>(mut to: S, command: &str, patience: impl Fn(&S, Option<Duration>) -> io::Result<()>) -> io::Result<String> {
    patience(&to, Some(PATIENCE))?;
    to.write_all(format!("{command}\n").as_bytes())?;
    let mut line = String::new();
    match BufReader::new(to).read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// What the real supervisor would say to an updater of this world's tree.
fn brief(world: &World) -> io::Result<Brief> {
    Ok(Brief {
        repo: RepoId::new(1),
        url: world.text("url")?.to_owned(),
        label: Label { kind: LabelKind::Branch, name: "owned".into() },
        remote: "origin".into(),
        directory: world.text("tree")?.into(),
        trigger: world.text("trigger").ok().map(Into::into),
        known_hosts: Arc::new([]),
        ca: None,
        connect_ms: 5_000,
        silence_ms: 5_000,
        limits: crate::brief::updater::Limits::default(),
    })
}
