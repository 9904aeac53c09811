//! Servers of the harness's own, which an owned process must not reach. Each says a secret to whoever comes,
//! and keeps what it hears.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What servers hear.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<String>>);

impl Heard {
    /// Whether somebody said that.
    pub fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().contains(text)
    }
}

/// A TCP server at an address and port; port 0 is one of the kernel's choice.
pub fn tcp(address: IpAddr, port: u16, secret: String) -> (SocketAddr, Heard) {
    let (server, heard) = (TcpListener::bind((address, port)).unwrap(), Heard::default());
    let (address, keep) = (server.local_addr().unwrap(), heard.clone());
    thread::spawn(move || {
        for stream in server.incoming().flatten() {
            let (secret, keep) = (secret.clone(), keep.clone());
            thread::spawn(move || {
                let mut stream = stream;
                let _it_may_be_gone = stream.write_all(secret.as_bytes());
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let mut bytes = [0; 256];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    keep.0.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            });
        }
    });
    (address, heard)
}

/// Answers each datagram.
pub fn udp(secret: String) -> SocketAddr {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok((_, from)) = server.recv_from(&mut bytes) {
            let _ = server.send_to(secret.as_bytes(), from);
        }
    });
    address
}

/// On a socket in the file system that everybody may use.
pub fn path_socket(path: &Path, secret: String) {
    let server = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    serve(server, secret);
}

/// On an abstract socket.
pub fn abstract_socket(name: &str, secret: String) {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    serve(UnixListener::bind_addr(&address).unwrap(), secret);
}

fn serve(server: UnixListener, secret: String) {
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let _ = stream.write_all(secret.as_bytes());
        }
    });
}
