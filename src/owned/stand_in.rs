//! The process `gwg-owned`: stands in for the supervisor. Starts an owned child from the real roster for
//! each line of its standard input, commands it, and says what came of it, a line each.
//!
//! - `gwg-owned list` prints the attacks: role (or `both`), name, proof, what the attacker wants.
//! - `gwg-owned run [--users=UPDATER,WORKER,LISTENER] [--without=LAYERS]` reads first what it plants with
//!   the [`victims`](super::victims), then lines of `listener` or `updater`, a tab, and a
//!   [`command`](super::command).
//! - `gwg-owned victim` is one of the victims.
//!
//! It takes the executables that lie beside it under the names of the real ones.

use super::attacks::{self, Attack, Proof};
use super::child::Child;
use super::command;
use super::victims::{self, Victims};
use crate::config::{Account, Accounts};
use crate::confine::{Confinement, descriptors};
use crate::supervisor::{Executables, Roster};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{self, Write};
use std::process::ExitCode;

/// Lists, runs, or suffers.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("list") => list(),
        Some("run") => run(&arguments),
        Some("victim") => victims::suffer(),
        _ => Err(io::Error::other("gwg-owned list | gwg-owned run [--users=U,W,L] [--without=LAYERS]")),
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
    for (role, table) in [("both", attacks::BOTH), ("listener", attacks::LISTENER), ("updater", attacks::UPDATER)] {
        for Attack { name, wants, proof, .. } in table {
            writeln!(io::stdout(), "{role}\t{name}\t{proof}\t{wants}")?;
        }
    }
    Ok(())
}

fn run(arguments: &[String]) -> io::Result<()> {
    // First, as in the supervisor: the children's numbers must be free.
    descriptors::reserve()?;
    // What bounds a child must be its own limit.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let users = arguments.iter().find_map(|argument| argument.strip_prefix("--users="));
    let roster = Roster::new(Executables::open(Default::default())?, users.map(accounts).transpose()?, Confinement::Require);
    let mut lines = io::stdin().lines();
    let planted = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let mut victims = Victims::new(planted)?;
    for line in lines {
        let line = line?;
        let Some((role, command)) = line.split_once('\t') else { return Err(io::Error::other(format!("no command: {line}"))) };
        let world = command::parse(command).1;
        let known = victims.known(&roster, role, &world)?;
        let outcome = Child::start(&roster, role, &world)?.attack(&format!("{command}\t{known}"))?;
        let wants_hurt = attacks::find(command::parse(command).0).is_some_and(|attack| matches!(attack.proof, Proof::Hurts(_)));
        let hurt = victims.hurt(wants_hurt && outcome.starts_with("succeeded")).join(",");
        writeln!(io::stdout(), "{outcome}\t{hurt}")?;
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
