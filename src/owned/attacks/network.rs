//! Attacks by way of sockets.

use super::sys::{Int, call, says, text};
use crate::confine::remote;
use crate::owned::Held;
use crate::owned::command::{Tried, World};
use nix::errno::Errno;
use std::net::{Ipv4Addr, SocketAddrV4};

/// An address with its length.
type Address<T> = (T, libc::socklen_t);

fn sized<T>(address: T) -> Address<T> {
    (address, libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0))
}

fn internet(address: SocketAddrV4) -> Address<libc::sockaddr_in> {
    sized(libc::sockaddr_in {
        sin_family: libc::AF_INET.cast_unsigned() as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    })
}

/// The address of a socket in the file system, or of an abstract one, whose name begins with a zero.
pub fn path_address(name: &str) -> Address<libc::sockaddr_un> {
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX.cast_unsigned() as libc::sa_family_t, sun_path: [0; 108] };
    for (place, byte) in address.sun_path.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    // An abstract name ends with its length.
    let length = size_of::<libc::sa_family_t>() + name.len();
    (address, libc::socklen_t::try_from(length).unwrap_or(0))
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Result<libc::c_int, Errno> {
    call!(SYS_socket, family, kind, protocol).int()
}

fn connect<T>(socket: libc::c_int, address: &Address<T>) -> Result<(), Errno> {
    call!(SYS_connect, socket, &raw const address.0, address.1)?;
    Ok(())
}

/// What the other side says first.
fn hear(socket: libc::c_int) -> Tried {
    let mut bytes = [0_u8; 256];
    let none = std::ptr::null::<u8>();
    // Nobody answers where nothing leads to: the harness's servers speak at once.
    for _ in 0..100 {
        match call!(SYS_recvfrom, socket, bytes.as_mut_ptr(), bytes.len(), libc::MSG_DONTWAIT, none, none) {
            Err(Errno::EAGAIN) => std::thread::sleep(std::time::Duration::from_millis(20)),
            heard => return text(&bytes, heard?),
        }
    }
    Err(Errno::ETIMEDOUT)
}

fn server(world: &World, key: &str) -> Result<Address<libc::sockaddr_in>, Errno> {
    Ok(internet(world.number(key)?))
}

pub fn tcp(world: &World, key: &str) -> Tried {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    connect(socket, &server(world, key)?)?;
    hear(socket)
}

/// Another address in the place of the remote's: what a filter compares is where it lies.
pub fn move_remote(_: &Held, world: &World) -> Tried {
    const PAGE: u64 = 4096;
    let (address, length) = server(world, "elsewhere")?;
    let place = *remote::places().first().ok_or(Errno::ENOENT)?;
    let page = place / PAGE * PAGE;
    let (write, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
    call!(SYS_mprotect, page, PAGE, write)
        .or_else(|_| call!(SYS_munmap, page, PAGE).and_then(|_| call!(SYS_mmap, page, PAGE, write, flags, -1, 0)))
        .or_else(|_| call!(SYS_mmap, page, PAGE, write, flags, -1, 0))?;
    let at = std::ptr::with_exposed_provenance_mut::<libc::sockaddr_in>(usize::try_from(place).map_err(|_| Errno::EFAULT)?);
    // SAFETY: the page was made writable, or a new one, and has room for an address there.
    unsafe { at.write(address) };
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    call!(SYS_connect, socket, at, length)?;
    hear(socket)
}

pub fn multipath(_: &Held, world: &World) -> Tried {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?;
    connect(socket, &server(world, "tcp")?)?;
    hear(socket)
}

pub fn fast_open(_: &Held, world: &World) -> Tried {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let (address, length) = server(world, "tcp")?;
    call!(SYS_sendto, socket, c"x".as_ptr(), 1, libc::MSG_FASTOPEN, &raw const address, length)?;
    hear(socket)
}

pub fn udp(_: &Held, world: &World) -> Tried {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let (address, length) = server(world, "udp")?;
    call!(SYS_sendto, socket, c"x".as_ptr(), 1, 0, &raw const address, length)?;
    hear(socket)
}

pub fn abstract_socket(_: &Held, world: &World) -> Tried {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?;
    connect(socket, &path_address(&format!("\0{}", world.text("abstract")?)))?;
    hear(socket)
}

pub fn path_socket(_: &Held, world: &World) -> Tried {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?;
    connect(socket, &path_address(world.text("path-socket")?))?;
    hear(socket)
}

/// An echo of its own, over loopback.
pub fn ping(_: &Held, _: &World) -> Tried {
    let raw = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)?;
    let (address, length) = internet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let request = [8_u8, 0, 0xf7, 0xff, 0, 0, 0, 0]; // an echo request, with its checksum
    call!(SYS_sendto, raw, request.as_ptr(), request.len(), 0, &raw const address, length)?;
    hear(raw).map(|_| "echo".into())
}

/// Sees a datagram that somebody (here: itself) sends to somebody else.
pub fn sniff(_: &Held, _: &World) -> Tried {
    const ALL: libc::c_int = (libc::ETH_P_ALL as u16).to_be() as libc::c_int;
    let ear = socket(libc::AF_PACKET, libc::SOCK_DGRAM, ALL)?;
    let mouth = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let (address, length) = internet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));
    call!(SYS_sendto, mouth, c"heard".as_ptr(), 5, 0, &raw const address, length)?;
    for _ in 0..1000 {
        if hear(ear)?.contains("heard") {
            return Ok("heard".into());
        }
    }
    Err(Errno::ENODATA)
}

/// The kernel's list of interfaces, where one is up: in an empty namespace none is.
pub fn netlink(_: &Held, _: &World) -> Tried {
    const HEADER: usize = 16;
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    // RTM_GETLINK, as a request for all of them: length, type, flags, number, port; a family and padding.
    let mut request = [0_u8; HEADER + 16];
    for (start, bytes) in [(0, &32_u32.to_ne_bytes()[..]), (4, &18_u16.to_ne_bytes()), (6, &0x301_u16.to_ne_bytes())] {
        request.get_mut(start..start + bytes.len()).ok_or(Errno::EFAULT)?.copy_from_slice(bytes);
    }
    call!(SYS_sendto, socket, request.as_ptr(), request.len(), 0, std::ptr::null::<u8>(), 0)?;
    let mut answer = [0_u8; 32 << 10];
    let count = call!(SYS_recvfrom, socket, answer.as_mut_ptr(), answer.len(), 0, std::ptr::null::<u8>(), std::ptr::null::<u8>())?;
    let mut rest = answer.get(..usize::try_from(count).map_err(|_| Errno::EIO)?).unwrap_or_default();
    while let Some(length) = rest.first_chunk().map(|length| u32::from_ne_bytes(*length) as usize).filter(|length| *length >= HEADER) {
        // The flags stand 8 bytes behind the header; 1 is IFF_UP.
        if rest.get(HEADER + 8).is_some_and(|flags| flags & 1 == 1) {
            return Ok("interfaces up".into());
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(Errno::ENONET)
}

pub fn vsock(_: &Held, _: &World) -> Tried {
    let socket = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)?;
    // SAFETY: plain numbers.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK.cast_unsigned() as libc::sa_family_t;
    address.svm_cid = libc::VMADDR_CID_ANY;
    address.svm_port = libc::VMADDR_PORT_ANY;
    let (address, length) = sized(address);
    call!(SYS_bind, socket, &raw const address, length)?;
    call!(SYS_listen, socket, 1)?;
    Ok("bound".into())
}

pub fn listen(_: &Held, _: &World) -> Tried {
    let door = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let (mut address, mut length) = internet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    call!(SYS_bind, door, &raw const address, length)?;
    call!(SYS_listen, door, 1)?;
    call!(SYS_getsockname, door, &raw mut address, &raw mut length)?;
    let guest = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    connect(guest, &(address, length))?;
    call!(SYS_accept4, door, 0, 0, 0)?;
    Ok("accepted".into())
}

/// An accepted socket belongs to the supervisor's network, whatever namespace this process is in.
pub fn reconnect(held: &Held, world: &World) -> Tried {
    let accepted = held.accepted.ok_or(Errno::EBADF)?;
    // SAFETY: plain numbers.
    let mut nowhere: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    nowhere.sin_family = libc::AF_UNSPEC.cast_unsigned() as libc::sa_family_t;
    connect(accepted, &sized(nowhere))?;
    connect(accepted, &server(world, "tcp")?)?;
    // The way back for the answer is gone: the harness hears of it from the server.
    call!(SYS_sendto, accepted, world.text("nonce")?.as_ptr(), world.text("nonce")?.len(), 0, 0, 0)?;
    Ok(String::new())
}

pub fn shut_down(held: &Held, _: &World) -> Tried {
    call!(SYS_shutdown, held.listening.ok_or(Errno::EBADF)?, libc::SHUT_RDWR)?;
    Ok(String::new())
}

/// A filter of packets that lets none through.
pub fn filter(held: &Held, _: &World) -> Tried {
    let mut nothing = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 }]; // return 0 bytes
    let program = libc::sock_fprog { len: 1, filter: nothing.as_mut_ptr() };
    let (program, length) = sized(program);
    let socket = held.listening.ok_or(Errno::EBADF)?;
    call!(SYS_setsockopt, socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &raw const program, length)?;
    Ok(String::new())
}

/// Under a number that no rule of its filter knows.
pub fn copy(held: &Held, _: &World) -> Tried {
    let copy = call!(SYS_fcntl, held.listening.ok_or(Errno::EBADF)?, libc::F_DUPFD, 50).int()?;
    says(copy >= 50, "copied")
}
