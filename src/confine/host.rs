//! What this machine offers for confinement, and what the kernel says of a running child. Runs in the
//! supervisor: the first before any child, and in `gwg check --host`.

use super::namespaces::{self, Offer};
use super::{reach, remote};
use std::fmt;
use std::fs;
use std::path::Path;

/// What this machine offers to whoever runs this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The version of Landlock; 0 for none.
    pub landlock: u32,
    /// Whether system calls can be filtered, with the end of the process as an answer.
    pub seccomp: bool,
    /// Whether memory can be sealed, so that not even an owned updater changes its remote's address.
    pub seals: bool,
    /// How children get namespaces of their own.
    pub namespaces: Offer,
    /// The kernel's list of security modules, where it tells.
    pub modules: Option<String>,
}

impl Host {
    /// Looks, and tries in processes of their own what can't be asked.
    pub fn look() -> Self {
        let modules = fs::read_to_string("/sys/kernel/security/lsm").ok();
        Self { landlock: reach::abi(), seccomp: can_filter(), seals: remote::can_seal(), namespaces: namespaces::offered(), modules }
    }

    /// The layers that are not there; none where all children can be confined in full.
    pub fn missing(&self) -> Vec<&'static str> {
        let layers = [
            (self.landlock >= reach::OLDEST, "Landlock (Linux 5.19, and `landlock` in the kernel's lsm= list)"),
            (self.seccomp, "seccomp filters (CONFIG_SECCOMP_FILTER)"),
            (self.namespaces != Offer::None, "namespaces (CAP_SYS_ADMIN, or user namespaces for everybody)"),
        ];
        layers.into_iter().filter(|(there, _)| !there).map(|(_, layer)| layer).collect()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = match self.landlock {
            0 => "none".to_owned(),
            found if found < reach::OLDEST => format!("version {found}, too old: {} is needed", reach::OLDEST),
            found => format!("version {found}: {}", covers(found)),
        };
        let namespaces = match self.namespaces {
            Offer::Direct => "yes",
            Offer::ThroughUser => "yes, within user namespaces",
            Offer::None => "no",
        };
        writeln!(f, "  landlock    {landlock}")?;
        writeln!(f, "  seccomp     {}", if self.seccomp { "yes" } else { "no" })?;
        writeln!(
            f,
            "  seals       {}",
            if self.seals { "yes" } else { "no: an updater is held to its remote's port (Linux 6.10: to its address)" }
        )?;
        writeln!(f, "  namespaces  {namespaces}")?;
        writeln!(f, "  modules     {}", self.modules.as_deref().map_or("the kernel does not tell", str::trim))
    }
}

/// What a version of Landlock covers, of what gwg asks for.
fn covers(version: u32) -> String {
    let steps =
        [(2, "files"), (3, "truncation"), (4, "TCP ports"), (5, "device controls"), (6, "signals, abstract sockets"), (9, "path sockets")];
    let names: Vec<_> = steps.iter().filter(|(since, _)| *since <= version).map(|(_, name)| *name).collect();
    names.join(", ")
}

fn can_filter() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2; // SECCOMP_GET_ACTION_AVAIL
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads one u32, a local that outlives the call, and changes nothing: seccomp(2).
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// What the kernel says of a running process, in its own words; `?` where it does not tell us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// User id.
    pub uid: String,
    /// Group id.
    pub gid: String,
    /// `none`, or the effective and permitted sets.
    pub capabilities: String,
    /// `1`: set.
    pub no_new_privs: String,
    /// `2`: filtered.
    pub seccomp: String,
    /// `own`: another network than ours, with nothing in it but loopback.
    pub network: String,
}

impl Level {
    /// Reads `/proc/PID`.
    pub fn of(pid: u32) -> Self {
        let home = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(home.join("status")).unwrap_or_default();
        let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| field(&status, set));
        Self {
            uid: field(&status, "Uid"),
            gid: field(&status, "Gid"),
            capabilities: if sets.iter().all(|set| set == "0000000000000000") { "none".into() } else { sets.join("/") },
            no_new_privs: field(&status, "NoNewPrivs"),
            seccomp: field(&status, "Seccomp"),
            network: network(&home),
        }
    }
}

/// The first word of a line.
fn field(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()).unwrap_or("?").to_owned()
}

/// A process that can't be dumped hides its links to namespaces even from its parent, and not the
/// interfaces that it sees.
fn network(home: &Path) -> String {
    let Ok(theirs) = fs::read_to_string(home.join("net/dev")) else { return "?".into() };
    let mut interfaces = theirs.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    if is_same(&home.join("net/dev"), Path::new("/proc/self/net/dev")) {
        "shared".into()
    } else if interfaces.all(|name| name == "lo") {
        "own".into()
    } else {
        "other".into()
    }
}

/// Each network namespace has files of its own in `/proc/PID/net`.
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => true,
    }
}
