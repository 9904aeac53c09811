//! The executables of the children, started by hand with descriptors of the attacker's own making, so
//! that they do what he can't.

use super::files::House;
use super::support::scratch::UPDATER;
use gwg::brief::updater::{self, Brief};
use gwg::brief::{Label, LabelKind};
use gwg::confine::spawn::{Account, Given, Limits, command};
use gwg::confine::{Confinement, Role, descriptors};
use gwg::ids::RepoId;
use gwg::wire::frame;
use gwg::wire::order::{FromUpdater, Order, Outcome};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;

/// Plays supervisor and worker to an updater, and has it update the gateway's tree. Root makes it the
/// updater's user, as the supervisor does; anyone else it runs as himself, there being no other way.
pub fn updates(house: &House, user: u32) -> io::Result<()> {
    descriptors::reserve()?;
    let (mut supervisor, theirs) = UnixStream::pair()?;
    let (mut worker, peer) = UnixStream::pair()?;
    let given = Given {
        program: &house.updater,
        role: Role::Updater,
        descriptors: vec![(theirs.into(), descriptors::SUPERVISOR), (peer.into(), descriptors::PEER)],
        log: File::options().write(true).open("/dev/null")?.into(),
        account: (user == 0).then_some(Account { uid: UPDATER, gid: UPDATER }),
        limits: Limits { descriptors: 256, file_size: None, memory: None, processes: None },
        umask: 0o022,
        confinement: Confinement::BestEffort,
    };
    let mut child = command(given)?.spawn()?;
    let brief = Brief {
        repo: RepoId::new(1),
        url: house.url().to_owned(),
        label: Label { kind: LabelKind::Branch, name: "master".into() },
        remote: "origin".into(),
        directory: house.site.tree().directory,
        trigger: None,
        known_hosts: [].into(),
        ca: None,
        connect_ms: 5_000,
        silence_ms: 5_000,
        limits: updater::Limits::default(),
        purpose: updater::Purpose::Update,
    };
    frame::write(&mut supervisor, &brief)?;
    frame::write(&mut worker, &Order { key: None, known: true, triggered: None, announced: None })?;
    let report = loop {
        match frame::read(&mut worker)? {
            FromUpdater::Confined { .. }
            | FromUpdater::Step(_)
            | FromUpdater::Progress(_)
            | FromUpdater::HostKey(_)
            | FromUpdater::Pruned(_)
            | FromUpdater::Shrunk(_) => {}
            FromUpdater::Report(report) => break report,
        }
    };
    child.wait()?;
    match report.outcome {
        Outcome::Current { .. } => Ok(()),
        Outcome::Failed(failure) => Err(io::Error::other(failure.reason.word())),
    }
}
