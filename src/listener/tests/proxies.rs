//! Whom an event names as its source, behind reverse proxies.

use super::house::{House, PUSH, limits, push};
use crate::audit::{DeliveryResult, Ignored, Rejected};
use crate::brief::listener::{Network, Proxies};

fn trusting(network: &str, protocol: bool) -> House {
    let house = House::behind(Proxies { trusted: vec![Network::read(network).unwrap()], protocol }, limits());
    super::house::acknowledge_all(house.worker.try_clone().unwrap());
    house
}

/// A push, with a header more.
fn forwarded(header: &str) -> Vec<u8> {
    let request = String::from_utf8(push(PUSH)).unwrap();
    request.replacen("\r\n", &format!("\r\n{header}\r\n"), 1).into_bytes()
}

fn source(house: &mut House, request: &[u8]) -> String {
    let status = house.ask(request).status;
    let event = house.event();
    assert!(!matches!(event.result, DeliveryResult::Ignored(Ignored::Gone)));
    format!("{status} {}", event.source)
}

#[test]
fn only_a_trusted_proxy_says_whom_a_request_comes_from() {
    let mut house = trusting("127.0.0.0/8", false);
    assert_eq!(source(&mut house, &forwarded("X-Forwarded-For: 1.1.1.1, 192.0.2.7")), "202 192.0.2.7");
    assert_eq!(source(&mut house, &forwarded("Forwarded: for=\"[2001:db8::7]\"")), "202 2001:db8::7");
    assert_eq!(source(&mut house, &push(PUSH)), "202 127.0.0.1");
    let mut house = trusting("10.0.0.0/8", false);
    assert_eq!(source(&mut house, &forwarded("X-Forwarded-For: 192.0.2.7")), "202 127.0.0.1");
}

#[test]
fn a_preface_names_the_client_of_a_connection() {
    let mut house = trusting("127.0.0.1", true);
    let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".as_slice();
    assert_eq!(source(&mut house, &[line, &push(PUSH)].concat()), "202 192.0.2.7");
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc0\0\x02\x01\x12\x67\x01\xbb".as_slice();
    let mut client = house.connect();
    // Byte by byte, and two requests on the connection.
    for byte in binary {
        client.send(&[*byte]);
    }
    for _ in 0..2 {
        client.send(&push(PUSH));
        assert_eq!(client.response().status, 202);
        assert_eq!(house.event().source.to_string(), "192.0.2.9");
    }
    assert_eq!(source(&mut house, &[b"PROXY UNKNOWN\r\n".as_slice(), &push(PUSH)].concat()), "202 127.0.0.1");
}

#[test]
fn without_a_preface_or_from_elsewhere_nothing_is_answered() {
    for (network, bytes) in [
        ("127.0.0.1", push(PUSH)),
        ("127.0.0.1", b"PROXY TCP4 nobody\r\n".to_vec()),
        ("10.0.0.0/8", [b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".as_slice(), &push(PUSH)].concat()),
    ] {
        let mut house = trusting(network, true);
        let mut client = house.connect();
        client.send(&bytes);
        assert!(client.is_closed(), "{network}: it was answered");
        let event = house.event();
        assert_eq!((event.result, event.source.to_string()), (DeliveryResult::Rejected(Rejected::Malformed), "127.0.0.1".into()));
    }
    // Who comes and goes has asked nothing.
    let mut house = trusting("127.0.0.1", true);
    drop(house.connect());
    house.hears_nothing();
}
