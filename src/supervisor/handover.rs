//! What goes over when another gwg takes this one's place in the same process (`gwg upgrade`): the sockets and
//! locks, as descriptors that outlive the exec, and a letter about them. Runs in the supervisor: written by
//! the one before, read by the one after.
//!
//! The letter is a sealed memory file; a variable of the environment has its number. It is JSON, since
//! the two may be of different versions: what one of them does not know is left out. No secret goes
//! over: the configuration is read anew.

use super::briefs;
use super::executables::{Executables, Named};
use crate::audit::Before;
use crate::confine::descriptors;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// The variable. Not one of `GWG_…`, which are the configuration's.
pub const VARIABLE: &str = "HANDOVER_FD";

/// What goes over.
pub struct Handover {
    /// The version of who gives it.
    pub version: String,
    /// The number of its last event: told when all have been.
    pub seq: u64,
    /// What takes connections; none where another must be bound.
    pub listening: Option<OwnedFd>,
    /// A socket unit chose that one.
    pub is_given: bool,
    /// The socket of figures.
    pub scrapes: Option<OwnedFd>,
    /// The control socket.
    pub control: OwnedFd,
    /// The lock of the directory that it is in.
    pub control_lock: OwnedFd,
    /// The lock of the state directory.
    pub state_lock: OwnedFd,
    /// The children's executables.
    pub executables: Rc<Executables>,
    /// The operators who asked for it, and wait.
    pub askers: Vec<OwnedFd>,
    /// The other could not be run, and why: who gives this takes it himself.
    pub failure: Option<String>,
}

/// The letter.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    /// For this process only: what it starts may inherit the variable.
    pid: u32,
    version: String,
    seq: u64,
    listening: Option<RawFd>,
    is_given: bool,
    scrapes: Option<RawFd>,
    control: RawFd,
    control_lock: RawFd,
    state_lock: RawFd,
    executables: Named<RawFd>,
    askers: Vec<RawFd>,
    failure: Option<String>,
}

/// Whether this process goes on from another gwg.
pub fn is_there() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// What came over, if anything did.
#[derive(Default)]
pub struct Inherited {
    /// Who had it before.
    pub before: Before,
    /// What takes connections.
    pub listening: Option<OwnedFd>,
    /// A socket unit chose that one.
    pub is_given: bool,
    /// The socket of figures.
    pub scrapes: Option<OwnedFd>,
    /// The control socket and its directory's lock.
    pub control: Option<(OwnedFd, OwnedFd)>,
    /// The lock of the state directory.
    pub state_lock: Option<OwnedFd>,
    /// The children's executables: those that were tried.
    pub executables: Named<OwnedFd>,
    /// Who waits to hear that this gwg serves.
    pub expected: Expected,
}

/// Who waits to hear that this gwg serves, and what to tell.
#[derive(Default)]
pub struct Expected {
    /// Their connections to the control socket.
    pub askers: Vec<OwnedFd>,
    /// The version before; none where nobody was.
    pub from: Option<String>,
    /// Why this gwg is the one before.
    pub failure: Option<String>,
}

impl Inherited {
    /// Takes what the one before gave, if there was one.
    ///
    /// # Errors
    /// The variable is there, and not what it names.
    pub fn take() -> io::Result<Self> {
        let Ok(number) = std::env::var(VARIABLE) else { return Ok(Self::default()) };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{VARIABLE}={number}: {error}; unset it"));
        let file = number.parse().map_err(io::Error::other).and_then(descriptors::take_outlived).map_err(named)?;
        let letter: Letter = serde_json::from_reader(descriptors::Brief::of(File::from(file))).map_err(|error| named(error.into()))?;
        if letter.pid != std::process::id() {
            return Err(named(io::Error::other("that is for another process")));
        }
        letter.open().map_err(named)
    }
}

impl Handover {
    /// Leaves all of it open over the next exec. Gives the letter, which is to be named by [`VARIABLE`].
    ///
    /// # Errors
    /// Those of making the letter.
    pub fn leave(&self) -> io::Result<OwnedFd> {
        let Self { version, seq, listening, is_given, scrapes, control, control_lock, state_lock, executables, askers, failure } = self;
        let mut all = vec![control, control_lock, state_lock];
        all.extend(listening.iter().chain(scrapes).chain(askers));
        all.into_iter().try_for_each(descriptors::outlive_exec)?;
        let letter = Letter {
            pid: std::process::id(),
            version: version.clone(),
            seq: *seq,
            listening: listening.as_ref().map(AsRawFd::as_raw_fd),
            is_given: *is_given,
            scrapes: scrapes.as_ref().map(AsRawFd::as_raw_fd),
            control: control.as_raw_fd(),
            control_lock: control_lock.as_raw_fd(),
            state_lock: state_lock.as_raw_fd(),
            executables: executables.leave()?,
            askers: askers.iter().map(AsRawFd::as_raw_fd).collect(),
            failure: failure.clone(),
        };
        let letter = briefs::seal("gwg handover", |file| serde_json::to_writer(file, &letter).map_err(io::Error::from))?;
        descriptors::outlive_exec(&letter)?;
        Ok(letter)
    }
}

impl Letter {
    fn open(self) -> io::Result<Inherited> {
        let Self { pid: _, version, seq, listening, is_given, scrapes, control, control_lock, state_lock, executables, askers, failure } =
            self;
        let askers = askers.into_iter().map(descriptors::take_outlived).collect::<io::Result<_>>()?;
        Ok(Inherited {
            before: Before::Another { version: version.clone(), seq },
            listening: listening.map(descriptors::take_outlived).transpose()?,
            is_given,
            scrapes: scrapes.map(descriptors::take_outlived).transpose()?,
            control: Some((descriptors::take_outlived(control)?, descriptors::take_outlived(control_lock)?)),
            state_lock: Some(descriptors::take_outlived(state_lock)?),
            executables: take_executables(executables)?,
            expected: Expected { askers, from: Some(version), failure },
        })
    }
}

/// Takes executables over that were left open.
///
/// # Errors
/// One is not open.
pub fn take_executables(named: Named<RawFd>) -> io::Result<Named<OwnedFd>> {
    named.into_iter().map(|(name, number)| Ok((name, descriptors::take_outlived(number)?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Above the numbers that children are given, as everything of the supervisor's is.
    fn null() -> OwnedFd {
        let mut low = Vec::new();
        loop {
            let null = OwnedFd::from(File::open("/dev/null").unwrap());
            if null.as_raw_fd() >= descriptors::FIRST_FREE {
                return null;
            }
            low.push(null);
        }
    }

    fn handover(askers: usize) -> Handover {
        let executables = ["gwg-listener", "gwg-worker", "gwg-updater", "gwg-hook"].map(|name| (name.to_owned(), null())).into();
        Handover {
            version: "0.0.9".into(),
            seq: 7,
            listening: Some(null()),
            is_given: true,
            scrapes: None,
            control: null(),
            control_lock: null(),
            state_lock: null(),
            executables: Rc::new(Executables::open(executables).unwrap()),
            askers: (0..askers).map(|_| null()).collect(),
            failure: None,
        }
    }

    fn read(letter: OwnedFd) -> Letter {
        serde_json::from_reader(descriptors::Brief::of(File::from(letter))).unwrap()
    }

    #[test]
    fn what_is_left_is_what_is_taken_and_can_be_taken_once() {
        let before = handover(2);
        let letter = before.leave().unwrap();
        let again = read(letter.try_clone().unwrap());
        // As an exec would: the numbers stay, and nobody owns them.
        std::mem::forget(before);
        let after = read(letter).open().unwrap();
        assert_eq!(after.before, Before::Another { version: "0.0.9".into(), seq: 7 });
        assert_eq!((after.is_given, after.expected.askers.len(), after.expected.from.as_deref()), (true, 2, Some("0.0.9")));
        assert_eq!(after.executables.len(), 4);
        assert!(after.listening.is_some() && after.scrapes.is_none());
        assert!(again.open().is_err(), "taken twice");
    }

    #[test]
    fn what_is_this_process_s_own_is_not_taken() {
        let before = handover(0);
        let mut letter = read(before.leave().unwrap());
        let own = null();
        letter.control = own.as_raw_fd();
        std::mem::forget(before);
        assert!(letter.open().is_err());
    }

    #[test]
    fn a_letter_of_a_later_version_can_be_read() {
        let text = r#"{"pid":1,"version":"9","seq":1,"listening":null,"is_given":false,"scrapes":null,"control":90,"control_lock":91,
            "state_lock":92,"executables":{"gwg-something":93},"askers":[],"failure":null,"something":{"else":true}}"#;
        assert_eq!(serde_json::from_str::<Letter>(text).unwrap().version, "9");
    }
}
