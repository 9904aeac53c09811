//! An owned child, as the stand-in starts and commands it: what the real supervisor gives it, and the way by
//! which commands come. Runs in the stand-in.

use super::command::World;
use crate::brief::listener::{Head, Limits, Proxies};
use crate::brief::updater::{self, Brief};
use crate::brief::{Label, LabelKind};
use crate::confine::{Role, descriptors};
use crate::ids::RepoId;
use crate::supervisor::Roster;
use crate::wire::frame;
use crate::wire::order::{FromUpdater, Order};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

/// How long an attack may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a child may take to die, once it answers no more.
const DEATH: Duration = Duration::from_secs(2);
/// How long a connection to a socket of one's own may take.
const CONNECTION: Duration = Duration::from_secs(1);

/// A running owned child.
pub struct Child {
    process: process::Child,
    commands: Commands,
    /// The other end of its link to the supervisor.
    pub supervisor: UnixStream,
    /// The other end of its link to the worker, where commands do not come by it.
    _worker: Option<UnixStream>,
    log: io::PipeReader,
}

/// The way by which commands come.
enum Commands {
    Socket(TcpListener),
    Link(UnixStream),
}

impl Child {
    /// Starts one of that role: `listener` or `updater`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(roster: &Roster, role: &str, world: &World) -> io::Result<Self> {
        match role {
            "listener" => Self::listener(roster),
            "updater" => Self::updater(roster, world),
            _ => Err(io::Error::other(format!("no role: {role}"))),
        }
    }

    fn listener(roster: &Roster) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (theirs, supervisor) = UnixStream::pair()?;
        let (peer, worker) = UnixStream::pair()?;
        let mut brief = File::from(memfd_create("brief", MFdFlags::MFD_CLOEXEC)?);
        frame::write(&mut brief, &Head { repos: 0, limits: Limits::default(), proxies: Proxies::default() })?;
        let given = vec![
            (theirs.into(), descriptors::SUPERVISOR),
            (peer.into(), descriptors::PEER),
            (brief.into(), descriptors::BRIEF),
            (socket.try_clone()?.into(), descriptors::OWN),
        ];
        let (log, writer) = io::pipe()?;
        let process = roster.command(Role::Listener, given, writer.into())?.spawn()?;
        Ok(Self { process, commands: Commands::Socket(socket), supervisor, _worker: Some(worker), log })
    }

    fn updater(roster: &Roster, world: &World) -> io::Result<Self> {
        let (theirs, mut supervisor) = UnixStream::pair()?;
        let (peer, mut worker) = UnixStream::pair()?;
        let given = vec![(theirs.into(), descriptors::SUPERVISOR), (peer.into(), descriptors::PEER)];
        let (brief, (log, writer)) = (brief(world)?, io::pipe()?);
        let process = roster.updater(&brief.limits, given, writer.into())?.spawn()?;
        frame::write(&mut supervisor, &brief)?;
        frame::write(&mut worker, &Order { key: None, known: false, triggered: None, announced: None })?;
        // That it opens its tree, and then that its doors are closed: the last that it says as an updater.
        let last = frame::read::<FromUpdater>(&mut worker).and_then(|_opens| frame::read::<FromUpdater>(&mut worker));
        let mut child = Self { process, commands: Commands::Link(worker), supervisor, _worker: None, log };
        match last {
            Ok(FromUpdater::Confined { .. }) => Ok(child),
            Ok(
                FromUpdater::Step(_)
                | FromUpdater::Report(_)
                | FromUpdater::Progress(_)
                | FromUpdater::HostKey(_)
                | FromUpdater::Pruned(_)
                | FromUpdater::Shrunk(_),
            )
            | Err(_) => Err(io::Error::other(format!("the updater did not start: {}", child.last_words()?))),
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Commands, and gives the answer.
    ///
    /// # Errors
    /// It died, or did not answer.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        match &self.commands {
            Commands::Socket(socket) => ask(TcpStream::connect(socket.local_addr()?)?, command, TcpStream::set_read_timeout),
            Commands::Link(link) => ask(link.try_clone()?, command, UnixStream::set_read_timeout),
        }
    }

    /// Commands an attack, ends the process, and says what came of it: the answer, or the signal.
    ///
    /// # Errors
    /// It could not be waited for.
    pub fn attack(mut self, command: &str) -> io::Result<String> {
        let outcome = match self.ask(command) {
            Ok(answer) => answer,
            Err(_) => self.last_words()?,
        };
        let deaf = if self.is_heard() { "" } else { "deaf" };
        Ok(format!("{outcome}\t{deaf}"))
    }

    /// How it ended, if it does soon.
    fn last_words(&mut self) -> io::Result<String> {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..DEATH.as_millis() / STEP.as_millis() {
            if let Some(status) = self.process.try_wait()? {
                return Ok(self.told(status));
            }
            std::thread::sleep(STEP);
        }
        Ok("silent\t".to_owned())
    }

    fn told(&mut self, status: ExitStatus) -> String {
        if let Some(signal) = status.signal() {
            return format!("killed\t{}", Signal::try_from(signal).map_or("a signal", Signal::as_str));
        }
        let mut log = String::new();
        let _what_there_is = self.log.read_to_string(&mut log);
        format!("ended\t{status}: {}", log.replace(['\n', '\t'], " "))
    }

    /// Whether the supervisor's copy of the listening socket still takes connections.
    fn is_heard(&self) -> bool {
        let Commands::Socket(socket) = &self.commands else { return true };
        let address = socket.local_addr();
        address.is_ok_and(|address| TcpStream::connect_timeout(&address, CONNECTION).is_ok())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _it_is_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn ask<S: Read + Write>(mut to: S, command: &str, patience: impl Fn(&S, Option<Duration>) -> io::Result<()>) -> io::Result<String> {
    patience(&to, Some(PATIENCE))?;
    to.write_all(format!("{command}\n").as_bytes())?;
    let mut line = String::new();
    match BufReader::new(to).read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches('\n').to_owned()),
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
        // Little, so that an attack on the machine's memory is no attack on the machine.
        limits: updater::Limits { object: 64 << 20, files: 1_000, ..updater::Limits::default() },
        purpose: updater::Purpose::Update,
    })
}
