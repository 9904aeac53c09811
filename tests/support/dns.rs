//! A name server of the test's own: on port 53 of 127.0.0.1, so only in a network namespace of the test's own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many questions came, of whatever kind.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    udp: Arc<AtomicUsize>,
    tcp: Arc<AtomicUsize>,
}

impl Asked {
    /// By UDP.
    pub fn udp(&self) -> usize {
        self.udp.load(Ordering::Relaxed)
    }

    /// By TCP.
    pub fn tcp(&self) -> usize {
        self.tcp.load(Ordering::Relaxed)
    }
}

/// Knows `NAME.gwg.test` by these addresses. For a name that begins with `long` it says over UDP that the answer is too long
/// for a datagram.
pub fn start(addresses: &'static [Ipv4Addr]) -> Asked {
    let asked = Asked::default();
    let (socket, mine) = (UdpSocket::bind("127.0.0.1:53").unwrap(), asked.clone());
    thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut bytes) {
            mine.udp.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&answer(&bytes[..count], addresses, true), from);
        }
    });
    let (server, mine) = (TcpListener::bind("127.0.0.1:53").unwrap(), asked.clone());
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                mine.tcp.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&query, addresses, false);
                stream.write_all(&[&u16::try_from(answer.len()).unwrap().to_be_bytes()[..], &answer].concat()).unwrap();
            }
        }
    });
    asked
}

/// RFC 1035, section 4: a header of 12 bytes, the question, records.
fn answer(query: &[u8], addresses: &[Ipv4Addr], datagram: bool) -> Vec<u8> {
    const A: u8 = 1;
    const NO_SUCH_NAME: u8 = 3;
    const CUT: u8 = 2;
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
    let (name, question) = (&query[12..end], &query[12..end + 5]);
    let known = name.ends_with(b"\x03gwg\x04test");
    let cut = datagram && name[1..].starts_with(b"long");
    let records = if known && !cut && question[question.len() - 3] == A { addresses } else { &[] };
    let flags = [0x85 | if cut { CUT } else { 0 }, 0x80 | if known { 0 } else { NO_SUCH_NAME }];
    let mut answer = [&query[..2], &flags, &[0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0], question].concat();
    for address in records {
        // The name as in the question; type A, class IN, a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
