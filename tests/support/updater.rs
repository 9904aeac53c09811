//! The real gwg-updater, started as the supervisor starts it, with the test in the places of
//! supervisor and worker. As root it runs under a throw-away uid.

use super::{need, scratch};
use gwg::audit::Step;
use gwg::brief::updater::Brief;
use gwg::confine::spawn::{Account, Given, Limits, command};
use gwg::confine::{Confinement, Role, descriptors};
use gwg::wire::frame;
use gwg::wire::order::{FromUpdater, Order, Report};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};

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
}

impl Updater {
    /// Starts one, within the brief's limits.
    pub fn start(brief: &Brief) -> Self {
        descriptors::reserve().unwrap();
        let (mut supervisor, theirs) = UnixStream::pair().unwrap();
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
        frame::write(&mut supervisor, brief).unwrap();
        Self { child, worker, log: File::from(OwnedFd::from(log)) }
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
                FromUpdater::HostKey(_) | FromUpdater::Progress(_) => {}
                FromUpdater::Report(report) => return Ok(report),
                FromUpdater::Pruned(pruned) => panic!("{pruned:?}, and it was to update"),
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
        End { report, status: self.child.wait().unwrap(), said }
    }
}

/// The order of a first update, or of a later one (`known`).
pub fn order(known: bool) -> Order {
    Order { key: None, known, triggered: None, announced: None }
}
