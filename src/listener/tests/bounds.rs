//! What strangers may use: bytes, time, connections. Each test waits for a bound to be applied.

use super::house::{House, PUSH, acknowledge_all, head, limits, push};
use crate::audit::{DeliveryResult, Rejected};
use crate::brief::listener::{Limits, Proxies};
use crate::wire::listener::ToListener;
use std::net::Shutdown;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn rejected(house: &mut House, reason: Rejected) {
    assert_eq!(house.result(), DeliveryResult::Rejected(reason));
}

/// The header of a request whose body is still to come.
fn announce(length: usize) -> Vec<u8> {
    head("/hook", b"", &format!("content-length: {length}\r\n")).into_bytes()
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_at_once() {
    let mut house = House::with_worker(Limits { body: 1_000, ..limits() });
    let mut client = house.connect();
    client.send(&announce(1_001));
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.head.contains("connection: close"));
    rejected(&mut house, Rejected::TooLarge);
    for (length, status) in [("10000000000", 413), ("99999999999999999999999", 400), ("-1", 400), ("1e3", 400)] {
        let request = head("/hook", b"", &format!("content-length: {length}\r\n"));
        assert_eq!(house.ask(request.as_bytes()).status, status, "{length}");
        house.event();
    }
}

#[test]
fn a_body_that_becomes_too_large_is_refused_and_the_answer_reaches_a_sender_that_still_sends() {
    let mut house = House::with_worker(Limits { body: 100_000, ..limits() });
    let mut client = house.connect();
    client.send(head("/hook", b"", "transfer-encoding: chunked\r\n").as_bytes());
    // Much more than sockets buffer: a listener that just closed would reset the connection.
    let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    for _ in 0..32 {
        client.send(&chunk);
    }
    assert_eq!(client.response().status, 413);
    let event = house.event();
    assert_eq!(event.result, DeliveryResult::Rejected(Rejected::TooLarge));
    assert!(event.bytes < 200_000, "{} bytes were read", event.bytes);
}

#[test]
fn a_refusal_reaches_a_sender_that_still_sends() {
    let house = House::with_worker(limits());
    let body = "x".repeat(8 << 20);
    let request = String::from_utf8(push(&body)).unwrap().replacen("x-hub-signature-256", "x-other", 1);
    assert_eq!(house.ask(request.as_bytes()).status, 401);
}

#[test]
fn a_body_that_drips_is_408_at_its_deadline() {
    let mut house = House::with_worker(Limits { body_ms: 200, ..limits() });
    let mut client = house.connect();
    client.send(&announce(1_000));
    let began = Instant::now();
    for _ in 0..10 {
        client.send(b"x");
        sleep(Duration::from_millis(15));
    }
    let response = client.response();
    assert_eq!((response.status, response.reason().as_str()), (408, "timeout"));
    assert!((150..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let event = house.event();
    assert_eq!((event.result, event.bytes), (DeliveryResult::Rejected(Rejected::Timeout), 10));
    client.0.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
}

#[test]
fn a_body_that_ends_before_its_length_is_408() {
    let mut house = House::with_worker(limits());
    let mut client = house.connect();
    let request = push(PUSH);
    client.send(&request[..request.len() - 1]);
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().status, 408);
    rejected(&mut house, Rejected::Timeout);
    // And one whose sender is gone altogether is still an event.
    let mut client = house.connect();
    client.send(&request[..request.len() - 1]);
    drop(client);
    rejected(&mut house, Rejected::Timeout);
}

#[test]
fn chunks_that_are_no_chunks_are_400() {
    let mut house = House::with_worker(limits());
    let mut client = house.connect();
    client.send(head("/hook", b"", "transfer-encoding: chunked\r\n").as_bytes());
    client.send(b"5\r\nhello\r\nzz\r\n");
    assert_eq!(client.response().status, 400);
    rejected(&mut house, Rejected::Malformed);
}

#[test]
fn headers_that_drip_and_idle_connections_are_closed_without_a_word() {
    let mut house = House::with_worker(Limits { header_ms: 150, ..limits() });
    let (mut silent, mut dripping, mut idle) = (house.connect(), house.connect(), house.connect());
    idle.send(&push(PUSH));
    assert_eq!(idle.response().status, 202);
    house.event();
    for byte in &b"POST /hook"[..] {
        dripping.send(&[*byte]);
        sleep(Duration::from_millis(8));
    }
    assert!(silent.is_closed() && dripping.is_closed() && idle.is_closed());
    house.hears_nothing();
}

#[test]
fn over_the_byte_budget_the_largest_unverified_body_makes_room() {
    let mut house = House::with_worker(Limits { unverified: 100_000, ..limits() });
    let mut large = house.connect();
    large.send(&announce(1 << 20));
    large.send(&[b'x'; 60_000]);
    sleep(Duration::from_millis(100));
    let mut small = house.connect();
    small.send(&announce(1 << 20));
    small.send(&[b'x'; 50_000]);
    let response = large.response();
    assert_eq!((response.status, response.reason().as_str()), (503, "budget"));
    assert!(response.head.contains("retry-after: "));
    let event = house.event();
    assert_eq!((event.result, event.bytes), (DeliveryResult::Rejected(Rejected::Budget), 60_000));
    // Signed traffic goes on beside them, and its bytes are given back.
    for _ in 0..20 {
        assert_eq!(house.ask(&push(PUSH)).status, 202);
        house.event();
    }
    house.hears_nothing();
}

#[test]
fn when_all_seats_are_taken_the_slowest_stranger_leaves_and_known_senders_stay() {
    let mut house = House::with_worker(Limits { connections: 8, ..limits() });
    let mut known = house.connect();
    known.send(&push(PUSH));
    assert_eq!(known.response().status, 202);
    house.event();
    let mut strangers: Vec<_> = (0..40).map(|_| house.connect()).collect();
    strangers[0].send_what_is_taken(b"POST /hook HTTP/1.1\r\n");
    for _ in 0..10 {
        let mut fresh = house.connect();
        fresh.send(&push(PUSH));
        assert_eq!(fresh.response().status, 202, "a fresh sender gets a seat");
        house.event();
    }
    assert!(strangers[0].is_closed(), "the slowest stranger made room");
    known.send(&push(PUSH));
    assert_eq!(known.response().status, 202, "who was authentic keeps the seat");
}

#[test]
fn who_has_come_with_a_request_is_heard_before_those_behind_take_the_seat() {
    let mut house = House::not_serving(Proxies::default(), Limits { connections: 1, ..limits() });
    acknowledge_all(house.worker.try_clone().unwrap());
    let mut sender = house.connect();
    sender.send(&push(PUSH));
    let _strangers: Vec<_> = (0..40).map(|_| house.connect()).collect();
    house.tell(&ToListener::Serve);
    assert_eq!(sender.response().status, 202);
}

#[test]
fn a_body_that_is_evicted_is_an_event_all_the_same() {
    let mut house = House::with_worker(Limits { connections: 1, ..limits() });
    let mut slow = house.connect();
    slow.send(&announce(1_000));
    slow.send(b"x");
    sleep(Duration::from_millis(100));
    assert_eq!(house.ask(&push(PUSH)).status, 202);
    rejected(&mut house, Rejected::Timeout);
    assert!(slow.is_closed());
}
