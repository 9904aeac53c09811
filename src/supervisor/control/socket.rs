//! Makes the control socket: one in each runtime directory, for its owner and one group. Runs in the
//! supervisor, on its main thread, before any child starts.

use super::place;
use crate::supervisor::places;
use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::uds_local_socket::Listener;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, setfsgid};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The socket, and what says that its gateway lives.
pub struct Socket {
    listener: Listener,
    keep: Keep,
}

impl Socket {
    /// What takes connections, and what must be kept meanwhile.
    pub fn split(self) -> (Listener, Keep) {
        (self.listener, self.keep)
    }
}

/// The socket's name and lock, for as long as its gateway lives.
pub struct Keep {
    path: PathBuf,
    /// Given away at most once.
    lock: Option<Flock<File>>,
}

impl Keep {
    /// Makes the socket anew in its place, for another group.
    ///
    /// # Errors
    /// The directory can't be used any more.
    pub fn bind_again(&self, group: Option<u32>) -> io::Result<Listener> {
        bind(self.path.parent().unwrap_or(Path::new("/")), &self.path, group)
    }

    /// The lock, for who comes after this process's exec: the name stays, too.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn into_lock(mut self) -> io::Result<OwnedFd> {
        self.lock.take().map_or_else(|| Err(io::Error::other("the lock is given away")), places::leave_locked)
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        // A stale one would be replaced by the next gateway; this is tidier.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the socket. What a dead gateway left there is replaced.
///
/// # Errors
/// Another gateway lives there, or the directory can't be used.
pub fn open(directory: &Path, group: Option<u32>) -> io::Result<Socket> {
    let name = |error: io::Error| io::Error::new(error.kind(), format!("the control socket in {}: {error}", directory.display()));
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(name)?;
    let lock = lock(directory).map_err(name)?;
    let path = directory.join(place::NAME);
    let listener = bind(directory, &path, group).map_err(name)?;
    Ok(Socket { listener, keep: Keep { path, lock: Some(lock) } })
}

/// Goes on with the socket that another gwg had in this process before.
///
/// # Errors
/// As [`open`].
pub fn keep(directory: &Path, group: Option<u32>, socket: OwnedFd, lock: OwnedFd) -> io::Result<Socket> {
    let name = |error: io::Error| io::Error::new(error.kind(), format!("the control socket in {}: {error}", directory.display()));
    let path = directory.join(place::NAME);
    let lock = take_lock(lock.into()).map_err(name)?;
    let about = fs::metadata(&path).map_err(name)?;
    // Made for another group, it is made anew; who waits in the old one is sent away.
    let fits = group.map_or(about.mode() & 0o070 == 0, |group| about.gid() == group && about.mode() & 0o070 != 0);
    let listener = if fits { Listener::from(socket) } else { bind(directory, &path, group).map_err(name)? };
    Ok(Socket { listener, keep: Keep { path, lock: Some(lock) } })
}

fn lock(directory: &Path) -> io::Result<Flock<File>> {
    let path = directory.join("control.lock");
    let file =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(path)?;
    take_lock(file)
}

fn take_lock(file: File) -> io::Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => io::Error::other("another gwg is in charge there: end it, or set RUNTIME_DIRECTORY"),
        other => other.into(),
    })
}

/// Bound under another name and then given its own, so that nobody ever finds it with a mode or a
/// group that is not meant.
fn bind(directory: &Path, path: &Path, group: Option<u32>) -> io::Result<Listener> {
    let new = directory.join("control.new");
    remove(&new)?;
    let listener = {
        let _lent = group.map(AsGroup::take).transpose()?;
        let options = ListenerOptions::new().name(new.as_path().to_fs_name::<GenericFilePath>()?);
        let mut listener = options.create_sync_as::<Listener>()?;
        listener.do_not_reclaim_name_on_drop();
        listener
    };
    fs::set_permissions(&new, Permissions::from_mode(if group.is_some() { 0o660 } else { 0o600 }))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Files that this thread makes belong to a group, until this is dropped: the supervisor has given up
/// the capability to change a file's group, and has the one to change its own.
struct AsGroup(Gid);

impl AsGroup {
    fn take(group: u32) -> io::Result<Self> {
        let group = Gid::from_raw(group);
        let lent = Self(setfsgid(group));
        // setfsgid(2) reports no failure; asked for an impossible id it tells the current one.
        match setfsgid(Gid::from_raw(u32::MAX)) == group {
            true => Ok(lent),
            false => Err(io::Error::other("its group can't be set (CAP_SETGID)")),
        }
    }
}

impl Drop for AsGroup {
    fn drop(&mut self) {
        setfsgid(self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(place::NAME);
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err(), "it is stale");
        let living = open(folder.path(), None).unwrap();
        UnixStream::connect(&path).unwrap();
        let error = open(folder.path(), None).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("another gwg is in charge") && error.contains(folder.path().to_str().unwrap()), "{error}");
        UnixStream::connect(&path).unwrap();
        drop(living);
        assert!(!path.exists());
        open(folder.path(), None).unwrap();
    }

    #[test]
    fn without_a_group_it_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _socket = open(folder.path(), None).unwrap();
        assert_eq!(fs::metadata(folder.path().join(place::NAME)).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn the_group_is_set_without_the_capability_to_change_a_files_group() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("SKIPPED: needs root");
        }
        let folder = tempfile::tempdir().unwrap();
        let _socket = open(folder.path(), Some(64_020)).unwrap();
        let about = fs::metadata(folder.path().join(place::NAME)).unwrap();
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (0, 64_020, 0o660));
        // And only the socket's.
        assert_eq!(fs::metadata(folder.path().join("control.lock")).unwrap().gid(), 0);
    }
}
