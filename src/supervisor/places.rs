//! Where the supervisor's own things are: the listening socket and the state directory. Runs in the
//! supervisor, before any child starts.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockopt, listen as nix_listen, setsockopt, socket, sockopt,
};
use std::fs::{DirBuilder, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Connections that may wait while no listener runs; the kernel bounds it by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds and listens. `[::]` takes IPv4 too; where the kernel has no IPv6 it becomes `0.0.0.0`.
///
/// # Errors
/// The address is taken, or not ours; the message says what to do.
pub fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    bind_either(address, false).map_err(|error| refused(address, error))
}

/// The same while `old` still listens, perhaps on an address that contains this one or is in it, at the same
/// port: the two share it. The kernel lets other processes of this very user, and of no other, share it too
/// as long as the socket lives, where they ask for that.
///
/// # Errors
/// As [`listen`].
pub fn listen_beside(address: SocketAddr, old: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let bound = match (bind_either(address, false), old) {
        (Err(Errno::EADDRINUSE), Some(old)) => sharing(old, || {
            let socket = bind_either(address, true)?;
            setsockopt(&socket, sockopt::ReusePort, &false)?;
            Ok(socket)
        }),
        (bound, _) => bound,
    };
    bound.map_err(|error| refused(address, error))
}

fn sharing<T>(old: &OwnedFd, act: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    setsockopt(old, sockopt::ReusePort, &true)?;
    let done = act();
    setsockopt(old, sockopt::ReusePort, &false)?;
    done
}

fn bind_either(address: SocketAddr, shared: bool) -> nix::Result<OwnedFd> {
    let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match bind_one(address, shared) {
        Err(Errno::EAFNOSUPPORT) if address.ip().is_unspecified() => bind_one(fallback, shared),
        other => other,
    }
}

fn refused(address: SocketAddr, error: Errno) -> io::Error {
    let remedy = match error {
        Errno::EADDRINUSE => "another process listens there: end it, or choose another `port`",
        Errno::EADDRNOTAVAIL => "`listen` is no address of this machine",
        Errno::EACCES => "ports below 1024 want root: choose another `port`",
        _ => "check `listen` and `port`",
    };
    io::Error::other(format!("can't listen on {address}: {}; {remedy}", error.desc()))
}

/// Lets this process open as many descriptors as it may. Each running update costs a few, and `threads`
/// may be 1,000; children get limits of their own.
///
/// # Errors
/// Those of `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Whether connections still come to the socket. A `shutdown` by anyone who has it ends that for all.
pub fn is_listening(socket: &OwnedFd) -> bool {
    getsockopt(socket, sockopt::AcceptConn).unwrap_or(false)
}

fn bind_one(address: SocketAddr, shared: bool) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::ReusePort, &shared)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    nix_listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

/// The state directory, which one supervisor at a time may use.
pub struct State {
    directory: PathBuf,
    lock: Flock<File>,
}

impl State {
    /// `$STATE_DIRECTORY`; else `/var/lib/gwg` as root, and `$XDG_STATE_HOME/gwg` (`~/.local/state/gwg`)
    /// as anyone else. Made where it is missing. `kept`: the lock, where this process has it already.
    ///
    /// # Errors
    /// It can't be made or opened, or another gwg uses it.
    pub fn open(kept: Option<OwnedFd>) -> io::Result<Self> {
        let directory = state_directory()?;
        let name = |error: io::Error| io::Error::new(error.kind(), format!("the state directory {}: {error}", directory.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(name)?;
        let lock = kept.map_or_else(|| open_file(&directory.join("lock")), |kept| Ok(kept.into())).map_err(name)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| {
            let text = format!("another gwg uses the state directory {}: end it, or set STATE_DIRECTORY", directory.display());
            io::Error::other(text)
        })?;
        Ok(Self { directory, lock })
    }

    /// The lock, for who comes after this process's exec. This one keeps it until then.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn into_lock(self) -> io::Result<OwnedFd> {
        leave_locked(self.lock)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the worker's state file; the worker opens nothing itself.
    ///
    /// # Errors
    /// It can't be opened, or is a symlink.
    pub fn file(&self) -> io::Result<OwnedFd> {
        open_file(&self.path())
            .map(OwnedFd::from)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path().display())))
    }

    /// Sets a damaged state file aside. Nothing is lost with it but which triggers were touched.
    ///
    /// # Errors
    /// Those of renaming.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.path().with_extension("damaged");
        std::fs::rename(self.path(), &aside)?;
        Ok(aside)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("state.redb")
    }
}

/// A lock's descriptor: the lock lives as long as any copy of it is open.
///
/// # Errors
/// Out of descriptors.
pub fn leave_locked(lock: Flock<File>) -> io::Result<OwnedFd> {
    let copy = lock.try_clone()?;
    // Dropped, it would unlock the file, for all copies.
    std::mem::forget(lock);
    Ok(copy.into())
}

/// The state directory of a gateway that this process would be: see [`State::open`].
///
/// # Errors
/// The environment names none.
pub fn state_directory() -> io::Result<PathBuf> {
    if let Some(path) = directory_of_unit("STATE_DIRECTORY") {
        return Ok(path);
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/gwg"));
    }
    let state = directory_of("XDG_STATE_HOME").or_else(|| directory_of("HOME").map(|home| home.join(".local/state")));
    state.map(|path| path.join("gwg")).ok_or_else(|| io::Error::other("no place for the state: set STATE_DIRECTORY"))
}

/// The directory that a variable of the environment names.
pub fn directory_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The same of a variable that systemd sets: it gives a list where a unit names several, of which the first is
/// the unit's own.
pub fn directory_of_unit(variable: &str) -> Option<PathBuf> {
    let path = directory_of(variable)?;
    Some(path.to_str().and_then(|text| text.split(':').next()).map_or(path.clone(), PathBuf::from))
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn all_interfaces_means_both_families() {
        let socket = TcpListener::from(listen("[::]:0".parse().unwrap()).unwrap());
        let port = socket.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_copy_that_is_shut_down_is_seen_and_the_port_can_be_bound_again() {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(is_listening(&socket));
        let copy = TcpListener::from(socket.try_clone().unwrap());
        let address = copy.local_addr().unwrap();
        nix::sys::socket::shutdown(copy.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        assert!(!is_listening(&socket));
        drop((socket, copy));
        assert!(is_listening(&listen(address).unwrap()));
    }

    #[test]
    fn one_address_and_all_of_them_can_follow_each_other_on_one_port() {
        let one = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = TcpListener::from(one.try_clone().unwrap()).local_addr().unwrap();
        let all: SocketAddr = format!("[::]:{}", address.port()).parse().unwrap();
        assert!(listen(all).is_err(), "nothing stands in the way, so this test shows nothing");
        let wide = listen_beside(all, Some(&one)).unwrap();
        drop(one);
        TcpStream::connect(address).unwrap();
        let narrow = listen_beside(address, Some(&wide)).unwrap();
        drop(wide);
        TcpStream::connect(address).unwrap();
        assert!(is_listening(&narrow));
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_a_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = listen(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.contains("another process listens there"), "{error}");
    }
}
