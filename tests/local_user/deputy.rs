//! The executables of the children, started by hand with descriptors of the attacker's own making, so
//! that they do what he can't.

use super::files::House;
use super::support::scratch::UPDATER;
use super::support::updater::brief;
use gwg::confine::spawn::{Account, Given, Limits, command};
use gwg::confine::{Confinement, Role, descriptors};
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
    frame::write(&mut supervisor, &brief(house.url().to_owned(), house.site.tree().directory, "master"))?;
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
