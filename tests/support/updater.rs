//! The real gwg-updater, started as the supervisor starts it, with the test in the places of
//! supervisor and worker. As root it runs under a throw-away uid.

use super::{need, scratch};
use gwg::audit::Step;
use gwg::brief::updater::{self, Brief, Purpose};
use gwg::brief::{Label, LabelKind};
use gwg::confine::spawn::{Account, Given, Limits, command};
use gwg::confine::{Confinement, Role, descriptors};
use gwg::ids::RepoId;
use gwg::wire::frame;
use gwg::wire::order::{FromUpdater, Order, Report};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::thread;

/// A running updater that has its brief.
pub struct Updater {
    /// The process.
    pub child: Child,
    /// The worker's end of its link.
    pub worker: UnixStream,
    log: File,
}

/// How one ended.
pub struct End {
    /// What it reported; none where it died before.
    pub report: Option<Report>,
    /// Its status.
    pub status: ExitStatus,
    /// All that it wrote.
    pub said: String,
    /// The most memory that it had, in KiB, where the kernel let the test see that: as root.
    pub peak_kib: Option<u64>,
}

impl Updater {
    /// Starts one, within the brief's limits.
    pub fn start(brief: &Brief) -> Self {
        let (updater, mut supervisor) = Self::born(brief);
        frame::write(&mut supervisor, brief).unwrap();
        updater
    }

    /// Starts one that waits for its brief on the link that is given.
    pub fn born(brief: &Brief) -> (Self, UnixStream) {
        descriptors::reserve().unwrap();
        let (supervisor, theirs) = UnixStream::pair().unwrap();
        let (worker, peer) = UnixStream::pair().unwrap();
        let (log, write) = io::pipe().unwrap();
        let program = OwnedFd::from(File::open(env!("CARGO_BIN_EXE_gwg-updater")).unwrap());
        let account = need::is_root().then_some(Account { uid: scratch::UPDATER, gid: scratch::UPDATER });
        let limits =
            Limits { descriptors: 1024, file_size: Some(brief.limits.file_size()), memory: Some(brief.limits.memory()), processes: None };
        let given = Given {
            program: &program,
            role: Role::Updater,
            descriptors: vec![(theirs.into(), descriptors::SUPERVISOR), (peer.into(), descriptors::PEER)],
            log: write.into(),
            account,
            limits,
            umask: 0o022,
            confinement: Confinement::Require,
        };
        let child = command(given).unwrap().spawn().unwrap();
        (Self { child, worker, log: File::from(OwnedFd::from(log)) }, supervisor)
    }

    /// Starts one and gives it its order.
    pub fn start_with(brief: &Brief, order: &Order) -> Self {
        let mut updater = Self::start(brief);
        frame::write(&mut updater.worker, order).unwrap();
        updater
    }

    /// What it reports at its end; the steps before it come in their order.
    pub fn report(&mut self) -> io::Result<Report> {
        let mut last = Step::Start;
        loop {
            match frame::read(&mut self.worker)? {
                FromUpdater::Step(step) => assert!(step > std::mem::replace(&mut last, step), "{step:?} after {last:?}"),
                FromUpdater::Confined { .. } | FromUpdater::HostKey(_) | FromUpdater::Progress(_) => {}
                FromUpdater::Report(report) => return Ok(report),
                FromUpdater::Pruned(pruned) => panic!("{pruned:?}, and it was to update"),
                FromUpdater::Shrunk(shrunk) => panic!("{shrunk:?}, and it was to update"),
            }
        }
    }

    /// All that it writes until its end.
    pub fn said(&mut self) -> String {
        let mut bytes = Vec::new();
        self.log.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).expect("an updater writes UTF-8")
    }

    /// Waits for its end.
    pub fn end(mut self) -> End {
        let report = self.report().ok();
        let said = self.said();
        End { report, said, peak_kib: None, status: self.child.wait().unwrap() }
    }

    /// Runs one to its end, and sees how much memory it had.
    pub fn run(brief: &Brief, order: &Order) -> End {
        let mut updater = Self::start(brief);
        let pid = i32::try_from(updater.child.id()).unwrap();
        thread::scope(|scope| {
            let (ready, watched) = mpsc::channel();
            let peak = scope.spawn(move || peak_kib(pid, &ready));
            // Before it can end. Where the kernel does not let this test watch, the other side hangs up.
            let _unwatched = watched.recv();
            frame::write(&mut updater.worker, order).unwrap();
            let report = updater.report().ok();
            let said = updater.said();
            End { report, said, peak_kib: peak.join().unwrap(), status: updater.child.wait().unwrap() }
        })
    }
}

/// The most memory that a process had since exec, which the kernel tells until it has ended: it is stopped on its way out, which a
/// debugger may ask for. `getrusage` would count what the test had when it forked, too.
#[allow(unsafe_code)]
fn peak_kib(pid: i32, ready: &mpsc::Sender<()>) -> Option<u64> {
    let trace = |request, data: i32| {
        // SAFETY: all four requests take numbers, and no address.
        nix::errno::Errno::result(unsafe { libc::ptrace(request, pid, 0, data) })
    };
    trace(libc::PTRACE_SEIZE, libc::PTRACE_O_TRACEEXIT).ok()?;
    ready.send(()).unwrap();
    let mut peak = None;
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one int. The end itself is left to the process's parent, which is another thread.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } != pid || !libc::WIFSTOPPED(status) {
            return peak;
        }
        if status >> 16 == libc::PTRACE_EVENT_EXIT {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            trace(libc::PTRACE_DETACH, 0).unwrap();
            return peak;
        }
        trace(libc::PTRACE_CONT, libc::WSTOPSIG(status)).unwrap();
    }
}

/// The brief of a tree at a branch of a remote that needs no key.
pub fn brief(url: String, directory: PathBuf, branch: &str) -> Brief {
    Brief {
        repo: RepoId::new(1),
        url,
        label: Label { kind: LabelKind::Branch, name: branch.into() },
        remote: "origin".into(),
        directory,
        trigger: None,
        known_hosts: [].into(),
        ca: None,
        connect_ms: 5_000,
        silence_ms: 5_000,
        limits: updater::Limits::default(),
        purpose: Purpose::Update,
    }
}

/// The order of a first update, or of a later one (`known`).
pub fn order(known: bool) -> Order {
    Order { key: None, known, triggered: None, announced: None }
}
