//! Landlock: which files and TCP ports a process can still reach. Runs in every child, before its
//! system calls are filtered.
//!
//! What Landlock can restrict grows with the kernel; all that this kernel knows is asked for, and
//! nothing less is accepted. `stat(2)` is open on every kernel; so is UDP to an updater, until it has looked up where
//! its remote is.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The oldest Landlock that serves: before it no file could be moved between directories, which git does.
/// Linux 5.19.
pub const OLDEST: u32 = 2;

/// All that an updater can still reach. Other children: nothing.
pub struct Reach<'a> {
    /// The work tree, to read and write.
    pub tree: BorrowedFd<'a>,
    /// The directory that the work tree stands in, where an empty one is to be removed from it.
    pub above: Option<BorrowedFd<'a>>,
    /// The trigger, where it is not in the work tree.
    pub trigger: Option<Trigger<'a>>,
    /// The remote's TCP port.
    pub port: u16,
}

/// The trigger.
pub enum Trigger<'a> {
    /// The file, where it is there already: no other may be made or opened.
    File(BorrowedFd<'a>),
    /// It is to be made in this directory, by this name, as an empty file. Landlock knows no file that is not
    /// there: so not by this process, but by a `maker`.
    Missing {
        /// Where.
        directory: BorrowedFd<'a>,
        /// Without a slash.
        name: &'a CStr,
    },
}

/// What every update may read: how names are resolved, which authorities are trusted, local time.
const SYSTEM: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/lib/ssl",
    "/usr/local/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

const DNS: u16 = 53;

/// Files are read and written, moved and linked; none is run, and no device, pipe or socket is made.
const TREE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | Refer | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym
});

/// Which Landlock this kernel has; 0 for none.
pub fn abi() -> u32 {
    const VERSION: libc::c_uint = 1; // LANDLOCK_CREATE_RULESET_VERSION
    // SAFETY: with this flag the kernel reads no memory and answers a number: landlock_create_ruleset(2).
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    u32::try_from(answer).unwrap_or(0)
}

/// Leaves nothing in reach.
///
/// # Errors
/// The kernel's Landlock is too old or off, or not all of it was enforced.
pub fn close_all() -> Result<(), ReachError> {
    restrict(ABI::V10, |rules, _| Ok(rules))
}

/// Leaves this in reach and nothing else.
///
/// # Errors
/// As [`close_all`].
pub fn close_but(reach: &Reach<'_>) -> Result<(), ReachError> {
    // Of the kernel's tenth Landlock, which knows UDP, nothing is asked yet: name servers want it.
    restrict(ABI::V9, |rules, abi| {
        let known = AccessFs::from_all(abi);
        let mut rules = rules.add_rule(PathBeneath::new(reach.tree, TREE & known))?;
        if let Some(above) = reach.above {
            rules = rules.add_rule(PathBeneath::new(above, AccessFs::RemoveDir))?;
        }
        if let Some(Trigger::File(file)) = &reach.trigger {
            rules = rules.add_rule(PathBeneath::new(file, AccessFs::WriteFile))?;
        }
        for path in SYSTEM.iter().map(Path::new) {
            // What is missing needs no rule.
            let Ok(file) = PathFd::new(path) else { continue };
            let read = if path.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
            rules = rules.add_rule(PathBeneath::new(file, read))?;
        }
        if !AccessNet::from_all(abi).is_empty() {
            for port in [reach.port, DNS] {
                rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
            }
        }
        Ok(rules)
    })
}

/// Leaves making files in this directory, and nothing else.
///
/// # Errors
/// As [`close_all`].
pub fn close_but_making(directory: BorrowedFd<'_>) -> Result<(), ReachError> {
    restrict(ABI::V10, |rules, _| rules.add_rule(PathBeneath::new(directory, AccessFs::MakeReg)))
}

/// Leaves, of all ports, this one of TCP. What [`close_but`] left beside that stays.
///
/// # Errors
/// As [`close_all`].
pub fn close_ports_but(port: u16) -> Result<(), ReachError> {
    let ports = AccessNet::from_all(known());
    if ports.is_empty() {
        return Ok(());
    }
    // Who handles no moves between directories forbids them all: landlock(7). The first doors say which are left.
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(ports)?.handle_access(AccessFs::Refer)?;
    let rules = rules.create()?.add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::Refer))?;
    let status = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?.restrict_self()?;
    if status.ruleset == RulesetStatus::FullyEnforced { Ok(()) } else { Err(ReachError::Part) }
}

/// This kernel's Landlock, as the crate calls it.
fn known() -> ABI {
    ABI::from(i32::try_from(abi()).unwrap_or(i32::MAX))
}

/// Opens a directory to name it in a rule.
///
/// # Errors
/// Those of `open(2)`; `ENOTDIR`.
#[cfg(feature = "hook")]
pub fn open_directory(path: &Path) -> nix::Result<std::os::fd::OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Leaves writing within reach only beneath these directories, and to /dev/null; reading and running as it was.
///
/// # Errors
/// As [`close_all`].
#[cfg(feature = "hook")]
pub fn write_beneath(directories: &[std::os::fd::OwnedFd]) -> Result<(), ReachError> {
    let found = abi();
    if found < OLDEST {
        return Err(ReachError::Missing(found));
    }
    let abi = known();
    let write = AccessFs::from_write(abi);
    let mut rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(write)?.create()?;
    for directory in directories {
        rules = rules.add_rule(PathBeneath::new(directory, write))?;
    }
    if let Ok(null) = PathFd::new("/dev/null") {
        rules = rules.add_rule(PathBeneath::new(null, AccessFs::WriteFile))?;
    }
    let status = rules.restrict_self()?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(ReachError::Part);
    }
    // A device that everybody may write, else.
    match open("/dev/full", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(_) => Ok(()),
        Ok(_) => Err(ReachError::StillOpen),
    }
}

/// Why Landlock does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// None, or one that is too old.
    #[error("the kernel's Landlock has version {0}, and {OLDEST} or more is needed (Linux 5.19, `landlock` in the kernel's lsm= list)")]
    Missing(u32),
    /// A call failed.
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
    /// The root directory can't be named.
    #[error(transparent)]
    Root(#[from] landlock::PathFdError),
    /// The kernel took the rules and enforces only some.
    #[error("only a part is enforced")]
    Part,
    /// The kernel said yes, and something can be opened all the same.
    #[error("what is out of reach can still be opened")]
    StillOpen,
}

fn restrict(newest: ABI, rules: impl FnOnce(RulesetCreated, ABI) -> Result<RulesetCreated, RulesetError>) -> Result<(), ReachError> {
    let found = abi();
    if found < OLDEST {
        return Err(ReachError::Missing(found));
    }
    let abi = known().min(newest);
    let mut all = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
    if !AccessNet::from_all(abi).is_empty() {
        all = all.handle_access(AccessNet::from_all(abi))?;
    }
    if !Scope::from_all(abi).is_empty() {
        // No signal and no abstract socket of any process out of this one's reach.
        all = all.scope(Scope::from_all(abi))?;
    }
    let status = rules(all.create()?, abi)?.restrict_self()?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(ReachError::Part);
    }
    // The kernel has no question "which rules hold?", so this asks by trying.
    match open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::EACCES) => Ok(()),
        _ => Err(ReachError::StillOpen),
    }
}
