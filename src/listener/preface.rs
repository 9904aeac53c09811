//! The PROXY protocol, versions 1 and 2: what a proxy says about a connection before its first byte.
//! Pure. Runs in `gwg-listener`, where the configuration says `proxy_protocol: true`.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the longest line of version 1, its end included.
const LINE: usize = 107;
/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before its addresses.
const HEAD: usize = 16;
/// Bytes of the longest preface that is taken: addresses and what is said about TLS are far shorter.
pub const LONGEST: usize = 1024;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// More must come.
    Partial,
    /// It is whole: so many bytes long, and this is the client; none where the proxy speaks for itself.
    Whole(usize, Option<IpAddr>),
    /// It is none.
    Wrong,
}

/// Reads the bytes that have come.
pub fn read(bytes: &[u8]) -> Preface {
    let start = bytes.get(..SIGNATURE.len().min(bytes.len())).unwrap_or_default();
    if SIGNATURE.starts_with(start) {
        second(bytes)
    } else if b"PROXY ".starts_with(bytes.get(..6.min(bytes.len())).unwrap_or_default()) {
        first(bytes)
    } else {
        Preface::Wrong
    }
}

/// Version 1: `PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n`
fn first(bytes: &[u8]) -> Preface {
    let within = bytes.get(..LINE.min(bytes.len())).unwrap_or_default();
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE { Preface::Partial } else { Preface::Wrong };
    };
    let line = within.get(..end).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let client = match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", from, to, ports @ ..] if are_ports(ports) => both::<Ipv4Addr>(from, to),
        ["PROXY", "TCP6", from, to, ports @ ..] if are_ports(ports) => both::<Ipv6Addr>(from, to),
        _ => None,
    };
    client.map_or(Preface::Wrong, |client| Preface::Whole(end + 2, client))
}

fn are_ports(ports: &[&str]) -> bool {
    let is_port = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    ports.len() == 2 && ports.iter().all(is_port)
}

fn both<A: std::str::FromStr + Into<IpAddr>>(from: &str, to: &str) -> Option<Option<IpAddr>> {
    to.parse::<A>().ok()?;
    Some(Some(from.parse::<A>().ok()?.into().to_canonical()))
}

/// Version 2: binary, with its length.
fn second(bytes: &[u8]) -> Preface {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Preface::Partial };
    let [.., command, family, high, low] = head else { return Preface::Wrong };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if command >> 4 != 2 || HEAD + length > LONGEST {
        return Preface::Wrong;
    }
    let Some(addresses) = rest.get(..length) else { return Preface::Partial };
    let client = match (command & 0xf, family) {
        // LOCAL: the proxy itself, for instance to see whether we live.
        (0, _) => Some(None),
        (1, 0x11) if length >= 12 => addresses.first_chunk::<4>().map(|from| Some(IpAddr::from(*from))),
        (1, 0x21) if length >= 36 => addresses.first_chunk::<16>().map(|from| Some(IpAddr::from(*from).to_canonical())),
        // Not over TCP and IP: nothing that could be told of.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(None),
        _ => None,
    };
    client.map_or(Preface::Wrong, |client| Preface::Whole(HEAD + length, client))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    fn client(bytes: &[u8]) -> Option<String> {
        match read(bytes) {
            Preface::Whole(length, client) => {
                assert_eq!(length, bytes.len());
                Some(client.map_or("-".into(), |client| client.to_string()))
            }
            Preface::Partial | Preface::Wrong => None,
        }
    }

    #[test]
    fn both_versions_name_the_client() {
        let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let mut long = [six.as_slice(), &six, &[0x12, 0x67, 1, 0xbb]].concat();
        long.extend([0x20, 0, 3, 1, 0, 0]);
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".to_vec(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "-"),
            (b"PROXY UNKNOWN ffff:f::1 whatever 1 2\r\n".to_vec(), "-"),
            (binary(0x21, 0x11, &[192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x67, 1, 0xbb]), "192.0.2.7"),
            (binary(0x21, 0x21, &long), "2001:db8::7"),
            (binary(0x20, 0, &[]), "-"),
            (binary(0x21, 0, &[1, 2, 3]), "-"),
        ] {
            assert_eq!(client(&bytes).as_deref(), Some(expected), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Preface::Partial, "{cut} of {bytes:?}");
            }
            let more = [bytes.as_slice(), b"POST / HTTP/1.1\r\n"].concat();
            assert!(matches!(read(&more), Preface::Whole(length, _) if length == bytes.len()));
        }
    }

    #[test]
    fn what_is_none_is_known_as_early_as_it_can_be() {
        for bytes in [
            b"POST / HTTP/1.1\r\n".to_vec(),
            b"G".to_vec(),
            b"PROXX".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 70000\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 443\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 192.0.2.1 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7  192.0.2.1 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443 9\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.7 192.0.2.1 4711 443\r\n".to_vec(),
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; LINE]].concat(),
            b"\r\n\r\nGET / HTTP/1.1".to_vec(),
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x99, &[0; 36]),
            binary(0x21, 0x11, &[0; LONGEST]),
        ] {
            assert_eq!(read(&bytes), Preface::Wrong, "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_of_any_kind_panic_or_wait_beyond_the_bound() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let seeds = [
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(),
            binary(0x21, 0x21, &[7; 40]),
            binary(0x21, 0x11, &[7; 12]),
        ];
        for round in 0..100_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..random() % 4 {
                let place = usize::from(random()) % bytes.len();
                bytes[place] = random();
            }
            match read(&bytes) {
                Preface::Whole(length, _) => assert!(length <= bytes.len()),
                Preface::Partial => {
                    bytes.resize(LONGEST, b'x');
                    assert_ne!(read(&bytes), Preface::Partial, "{bytes:?}");
                }
                Preface::Wrong => {}
            }
        }
    }
}
