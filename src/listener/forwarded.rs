//! Who is behind a reverse proxy. Pure. Runs in `gwg-listener`; believes nobody but the configured
//! proxies, and of what they hand on only what they added themselves.
//!
//! A proxy appends its peer's address on the right; what stands further left came from that peer and
//! may be forged. So addresses are taken from the right, as long as each is a trusted proxy's.

use crate::brief::listener::Proxies;
use hyper::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// Addresses that are looked at: a chain of proxies is short, a header may be long.
const HOPS: usize = 16;

/// The client's address. `peer`: whom the connection comes from.
///
/// Where both headers came and say different things, one of them was not made by the proxy, and the
/// proxy's own address is as much as is known.
pub fn client(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    if !proxies.trusts(peer) {
        return peer;
    }
    let list = last_first(headers, "x-forwarded-for").map(|hops| walk(peer, hops.into_iter().map(address), proxies));
    let standard = last_first(headers, "forwarded").map(|hops| walk(peer, hops.into_iter().map(of_element), proxies));
    match (list, standard) {
        (Some(one), Some(two)) if one != two => peer,
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => peer,
    }
}

/// Goes from proxy to proxy, until one is none of ours. What is no address ends the way.
fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, proxies: &Proxies) -> IpAddr {
    let mut last = peer;
    for hop in hops.take(HOPS) {
        let Some(hop) = hop else { return last };
        last = hop;
        if !proxies.trusts(hop) {
            return last;
        }
    }
    last
}

/// The elements of a header that is a list, over all of its lines; none where there is no such header.
fn last_first<'a>(headers: &'a HeaderMap, name: &str) -> Option<Vec<&'a [u8]>> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(hyper::header::HeaderValue::as_bytes).collect();
    let elements = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    (!lines.is_empty()).then(|| elements.take(HOPS + 1).collect())
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:4711`
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

/// The `for` of an element (RFC 7239, 4). One within quotes that hold a `,` or `;` is no address.
fn of_element(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(|byte| *byte == b';') {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for") {
            // Twice is forbidden, and nobody could say which is right.
            if found.is_some() {
                return None;
            }
            let value = value.trim_matches([' ', '\t']);
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            found = Some(address(value.as_bytes())?);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::brief::listener::Network;
    use hyper::header::HeaderValue;

    const PROXY: &str = "10.0.0.1";

    fn seen(peer: &str, lines: &[(&'static str, &[u8])]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8", "127.0.0.1"].map(|text| Network::read(text).unwrap()).to_vec();
        client(peer.parse().unwrap(), &headers, &Proxies { trusted, protocol: false }).to_string()
    }

    #[test]
    fn the_address_that_the_proxy_added_is_taken_and_no_other() {
        for (value, client) in [
            ("192.0.2.7", "192.0.2.7"),
            ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, 10.0.0.9, 10.1.2.3", "192.0.2.7"),
            ("1.1.1.1, 192.0.2.7 ,10.0.0.9", "192.0.2.7"),
            ("10.0.0.9", "10.0.0.9"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("2001:db8::7, fd00::1", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            // What is no address says no more than that the proxy before it is known.
            ("192.0.2.7, unknown", PROXY),
            ("192.0.2.7, unknown, 10.0.0.9", "10.0.0.9"),
            ("", PROXY),
            ("192.0.2.7, ", PROXY),
            ("192.0.2.7\", x", PROXY),
        ] {
            assert_eq!(seen(PROXY, &[("x-forwarded-for", value.as_bytes())]), client, "{value}");
        }
        assert_eq!(seen(PROXY, &[("x-forwarded-for", b"1.1.1.1"), ("x-forwarded-for", b"192.0.2.7")]), "192.0.2.7");
        assert_eq!(seen(PROXY, &[("x-forwarded-for", b"192.0.2.7, \xff")]), PROXY);
    }

    #[test]
    fn the_standard_header_says_the_same() {
        for (value, client) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("for=1.1.1.1, For=\"[2001:db8::7]:4711\";proto=https", "2001:db8::7"),
            ("for=192.0.2.7;by=10.0.0.1, for=10.0.0.9", "192.0.2.7"),
            ("for=_hidden", PROXY),
            ("for=unknown", PROXY),
            ("by=10.0.0.1", PROXY),
            ("for=1.1.1.1;for=192.0.2.7", PROXY),
            ("for", PROXY),
        ] {
            assert_eq!(seen(PROXY, &[("forwarded", value.as_bytes())]), client, "{value}");
        }
    }

    #[test]
    fn a_stranger_names_nobody_and_two_headers_must_agree() {
        assert_eq!(seen("192.0.2.66", &[("x-forwarded-for", b"10.0.0.9"), ("forwarded", b"for=10.0.0.9")]), "192.0.2.66");
        assert_eq!(seen(PROXY, &[("x-forwarded-for", b"192.0.2.7"), ("forwarded", b"for=192.0.2.7")]), "192.0.2.7");
        assert_eq!(seen(PROXY, &[("x-forwarded-for", b"192.0.2.7"), ("forwarded", b"for=1.1.1.1")]), PROXY);
    }

    #[test]
    fn a_chain_of_proxies_without_end_ends() {
        let long = "192.0.2.7, ".to_owned() + &vec!["10.0.0.9"; 2_000].join(", ");
        assert_eq!(seen(PROXY, &[("x-forwarded-for", long.as_bytes())]), "10.0.0.9");
    }

    #[test]
    fn no_bytes_of_any_kind_name_anybody_but_by_an_address() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let pieces: [&[u8]; 12] = [b"10.0.0.9", b"192.0.2.7", b",", b";", b"=", b"for=", b"\"", b"[", b"]", b":1", b" ", b"\xff"];
        for round in 0..100_000 {
            let mut value = Vec::new();
            for _ in 0..round % 12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                value.extend_from_slice(pieces[(state >> 33) as usize % pieces.len()]);
            }
            for name in ["x-forwarded-for", "forwarded"] {
                let client = seen(PROXY, &[(name, &value)]);
                assert!([PROXY, "10.0.0.9", "192.0.2.7"].contains(&client.as_str()), "{client} out of {value:?}");
            }
        }
    }
}
