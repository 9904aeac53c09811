//! The processes that an attacker meets: a supervisor, a twin of its own role and user, a cousin of the
//! other role. In the memory of each something is planted, and the same waits unread in its descriptor 3.
//! Runs in the stand-in.

use super::child::Child;
use super::command::{self, PLANT, World};
use crate::confine::descriptors::SUPERVISOR;
use crate::supervisor::Roster;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{self, Command, Stdio};
use std::time::Duration;

/// Whom an attacker meets.
pub struct Victims {
    planted: String,
    segment: Segment,
    met: BTreeMap<&'static str, Victim>,
    role: String,
}

struct Victim {
    body: Body,
    address: usize,
    descriptor: i32,
    health: String,
}

enum Body {
    Child(Child),
    Plain {
        process: process::Child,
        /// Open as long as the victim may be robbed.
        _link: UnixStream,
    },
}

impl Victims {
    /// Nobody yet. What is planted is a word of 32 letters.
    ///
    /// # Errors
    /// There is no shared memory.
    pub fn new(planted: String) -> io::Result<Self> {
        Ok(Self { segment: Segment::new(&planted)?, planted, met: BTreeMap::new(), role: String::new() })
    }

    /// What an attacker of that role knows of them, as the end of a command. Those that are missing are started.
    ///
    /// # Errors
    /// One could not be started.
    pub fn known(&mut self, roster: &Roster, role: &str, world: &World) -> io::Result<String> {
        if role != self.role {
            // A child's relatives are others.
            self.met.retain(|name, _| *name == "supervisor");
            self.role = role.to_owned();
        }
        let cousin = if role == "listener" { "updater" } else { "listener" };
        let mut known = vec![format!("system-v={}", self.segment.key)];
        for (name, role) in [("supervisor", None), ("twin", Some(role)), ("cousin", Some(cousin))] {
            if !self.met.contains_key(name) {
                let victim = match role {
                    Some(role) => Victim::child(roster, role, world, &self.planted)?,
                    None => Victim::plain(&self.planted)?,
                };
                self.met.insert(name, victim);
            }
            if let Some(victim) = self.met.get(name) {
                let Victim { address, descriptor, .. } = victim;
                known.push(format!("{name}.pid={}\t{name}.address={address}\t{name}.descriptor={descriptor}", victim.pid()));
            }
        }
        Ok(known.join("\t"))
    }

    /// Those that are not what they were. They are replaced. Where somebody must have been hit, it may take a
    /// moment until that shows.
    pub fn hurt(&mut self, must: bool) -> Vec<&'static str> {
        let is_hurt = |victim: &Victim| health(victim.pid()) != victim.health;
        let mut patience = if must { 100 } else { 0 };
        while patience > 0 && !self.met.values().any(is_hurt) {
            std::thread::sleep(Duration::from_millis(5));
            patience -= 1;
        }
        let hurt: Vec<_> = self.met.iter().filter(|(_, victim)| is_hurt(victim)).map(|(name, _)| *name).collect();
        self.met.retain(|name, _| !hurt.contains(name));
        hurt
    }
}

impl Victim {
    fn child(roster: &Roster, role: &str, world: &World, planted: &str) -> io::Result<Self> {
        let child = Child::start(roster, role, world)?;
        let answer = child.ask(&format!("{PLANT}\tvalue={planted}"))?;
        let address = answer.strip_prefix("succeeded\t").and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("a victim's address: {answer}")))?;
        // Nothing there reads that link any more.
        (&child.supervisor).write_all(planted.as_bytes())?;
        Ok(Self { health: health(child.pid()), body: Body::Child(child), address, descriptor: SUPERVISOR })
    }

    fn plain(planted: &str) -> io::Result<Self> {
        let (theirs, mut ours) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("victim").env_clear().env("OWNED_VICTIM", planted).stdout(Stdio::piped());
        let mut process = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn()?;
        ours.write_all(format!("{planted}\n{planted}").as_bytes())?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { health: health(process.id()), body: Body::Plain { process, _link: ours }, address, descriptor: 0 })
    }

    fn pid(&self) -> u32 {
        match &self.body {
            Body::Child(child) => child.pid(),
            Body::Plain { process, .. } => process.id(),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Body::Plain { process, .. } = &mut self.body {
            let _it_is_gone = process.kill();
            let _reaped = process.wait();
        }
    }
}

/// Shared memory of the supervisor's, with what is planted in it.
struct Segment {
    key: i32,
    id: i32,
}

impl Segment {
    fn new(planted: &str) -> io::Result<Self> {
        const PAGE: usize = 4096;
        let key = process::id().cast_signed() | 0x6f00_0000;
        // One that was killed may have left its own, and numbers of processes come again.
        // SAFETY: the segment is a page long, and mapped; what is planted is shorter.
        unsafe {
            let id = Errno::result(libc::shmget(key, PAGE, libc::IPC_CREAT | 0o600))?;
            let address = libc::shmat(id, std::ptr::null(), 0);
            if address.addr() == usize::MAX {
                return Err(io::Error::last_os_error());
            }
            std::ptr::copy_nonoverlapping(planted.as_ptr(), address.cast(), planted.len().min(PAGE));
            Ok(Self { key, id })
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: numbers, and no buffer. It goes when nobody has it mapped any more.
        unsafe { libc::shmctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

/// What others can do to a process: whether it lives, its priority, its limits, its worth.
fn health(pid: u32) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let after_name: Vec<_> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    // The state is no part of it, but for the end: proc(5) counts it first, priority and nice as 15 and 16.
    let ended = matches!(after_name.first(), Some(&"Z" | &"X") | None);
    format!("{ended} {:?} {} {}", after_name.get(15..17), read("oom_score_adj"), read("limits"))
}

/// The process `gwg-owned victim`: keeps what it is told, says where, and waits.
pub fn suffer() -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut value = Vec::new();
    // Past the library's buffer, and byte by byte: what comes after the line stays unread.
    let mut byte = [0];
    while nix::unistd::read(io::stdin(), &mut byte)? == 1 && byte != *b"\n" {
        value.extend(byte);
    }
    let address = command::plant(&String::from_utf8_lossy(&value));
    writeln!(io::stdout(), "{address}")?;
    loop {
        std::thread::park();
    }
}
