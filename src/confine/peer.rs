//! Who is at the other end of a unix socket, as the kernel noted it when that end was connected. Runs
//! in the supervisor.

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The user at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user id.
    pub uid: u32,
    /// Its pid: for messages, never for a decision.
    pub pid: i32,
    /// Its effective group and all supplementary ones.
    pub groups: Vec<u32>,
}

/// Asks the kernel (`SO_PEERCRED` and `SO_PEERGROUPS`, unix(7)).
///
/// # Errors
/// The socket is not of that kind.
pub fn of(socket: impl AsFd) -> nix::Result<Peer> {
    let socket = socket.as_fd();
    let credentials = getsockopt(&socket, PeerCredentials)?;
    let mut groups = supplementary(socket)?;
    groups.push(credentials.gid());
    Ok(Peer { uid: credentials.uid(), pid: credentials.pid(), groups })
}

fn supplementary(socket: BorrowedFd<'_>) -> nix::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let room = libc::socklen_t::try_from(std::mem::size_of_val(groups.as_slice())).map_err(|_| Errno::EOVERFLOW)?;
        let mut length = room;
        // SAFETY: the kernel writes at most `length` bytes to `groups`, which is that long, and the
        // length that it has or wants to `length`, a local.
        let result = unsafe {
            libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERGROUPS, groups.as_mut_ptr().cast(), &raw mut length)
        };
        let count = length as usize / size_of::<libc::gid_t>();
        match Errno::result(result) {
            Ok(_) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // Linux knows 65,536 groups at most.
            Err(Errno::ERANGE) if count > groups.len() && count <= 65_536 => groups.resize(count, 0),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::unistd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_names_us_with_all_our_groups() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of(&one).unwrap();
        assert_eq!((peer.uid, peer.pid), (unistd::geteuid().as_raw(), unistd::getpid().as_raw()));
        let mut groups: Vec<u32> = unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        groups.push(unistd::getegid().as_raw());
        assert_eq!(peer.groups, groups);
    }
}
