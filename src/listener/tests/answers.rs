//! Every answer that a request may get, and the event that goes with it.

use super::house::{House, PUSH, SECRET, head, limits, push, sign};
use crate::audit::{DeliveryResult, Ignored, Rejected};
use crate::brief::listener::Limits;
use crate::ids::{CommitId, RepoId, UpdateId};
use crate::wire::job::Verdict;
use std::net::{IpAddr, Ipv4Addr, Shutdown};

const AFTER: &str = "8d1f0a6b3c5e72941f6be0c4a7d25f3be9186c70";

fn announced() -> Option<CommitId> {
    CommitId::from_hex(AFTER)
}

#[test]
fn a_signed_push_is_accepted_only_after_the_worker_has_set_the_mark() {
    let mut house = House::start(limits());
    let mut client = house.connect();
    client.send(&push(PUSH));
    let job = house.job();
    assert_eq!((job.repo, job.announced), (RepoId::new(1), announced()));
    assert_eq!(job.delivery.unwrap().to_string(), "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    house.hears_nothing();
    house.answer(&job, Verdict::Marked(UpdateId::NONE));
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (202, "{\"status\":\"accepted\"}\n"));
    assert!(response.head.contains("content-type: application/json"), "{}", response.head);

    let event = house.event();
    assert_eq!(event.result, DeliveryResult::Accepted { coalesced: false, announced: announced(), update: Some(UpdateId::NONE) });
    assert_eq!((event.repo, event.delivery, event.bytes), (Some(RepoId::new(1)), job.delivery, PUSH.len() as u64));
    assert_eq!(event.source, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert!(event.micros >= 50_000, "{} µs, although the worker took 50 ms", event.micros);
}

#[test]
fn every_verdict_of_the_worker_has_its_answer() {
    let mut house = House::start(limits());
    let mut client = house.connect();
    for (verdict, status, result) in [
        (
            Verdict::Marked(UpdateId::NONE),
            202,
            DeliveryResult::Accepted { coalesced: false, announced: announced(), update: Some(UpdateId::NONE) },
        ),
        (
            Verdict::Coalesced(UpdateId::NONE),
            202,
            DeliveryResult::Accepted { coalesced: true, announced: announced(), update: Some(UpdateId::NONE) },
        ),
        (Verdict::Gone, 200, DeliveryResult::Ignored(Ignored::Gone)),
    ] {
        client.send(&push(PUSH));
        let job = house.job();
        house.answer(&job, verdict);
        assert_eq!(client.response().status, status, "{verdict:?}");
        assert_eq!(house.result(), result);
    }
}

/// Replaces a part of a request that would be accepted.
fn push_with(from: &str, to: &str) -> Vec<u8> {
    let request = String::from_utf8(push(PUSH)).unwrap();
    assert!(request.contains(from), "{from}");
    request.replacen(from, to, 1).into_bytes()
}

#[test]
fn every_reason_to_refuse_has_its_answer_and_one_event() {
    let mut house = House::with_worker(limits());
    let signature = format!("x-hub-signature-256: {}", sign(PUSH.as_bytes()));
    let not_json = push("{\"ref\":");
    let wrong_shape = push("{\"ref\":[]}");
    for (request, status, rejected) in [
        (push_with("POST /hook", "POST /other"), 404, Rejected::UnknownPath),
        (push_with("POST /hook", "GET /other"), 404, Rejected::UnknownPath),
        (push_with("POST", "PUT"), 405, Rejected::Method),
        (b"GET /hook HTTP/1.1\r\nhost: gwg\r\n\r\n".to_vec(), 405, Rejected::Method),
        (push_with("application/json", "text/plain"), 415, Rejected::ContentType),
        (push_with("content-type", "x-content-type"), 415, Rejected::ContentType),
        (push_with("x-hub-signature-256", "x-other"), 401, Rejected::NoSignature),
        (push_with("x-hub-signature-256", "x-hub-signature"), 401, Rejected::NoSignature),
        (push_with(&signature, "x-hub-signature-256:"), 401, Rejected::NoSignature),
        (push_with(&signature, "x-hub-signature-256: sha256="), 401, Rejected::NoSignature),
        (push_with(&signature, "x-hub-signature-256: sha256=00"), 401, Rejected::BadSignature),
        (push_with(&signature, &format!("x-hub-signature-256: {}", sign(b"other"))), 401, Rejected::BadSignature),
        (push_with("refs/heads/main", "refs/heads/evil"), 401, Rejected::BadSignature),
        (push_with("x-github-event", "x-other"), 400, Rejected::Malformed),
        (not_json, 400, Rejected::Malformed),
        (wrong_shape, 400, Rejected::Malformed),
    ] {
        let response = house.ask(&request);
        assert_eq!(response.status, status, "{rejected:?}: {}", response.head);
        let reason = if status == 401 { "signature" } else { rejected.word() };
        assert_eq!(response.reason(), reason);
        assert_eq!(house.result(), DeliveryResult::Rejected(rejected));
    }
    house.hears_nothing();
}

#[test]
fn what_is_authentic_but_not_for_us_is_200_with_the_reason() {
    let mut house = House::with_worker(limits());
    let other_ref = PUSH.replace("refs/heads/main", "refs/heads/next");
    let other_repository = PUSH.replace("lantern-works/harbour", "lantern-works/quay");
    let deleted = PUSH.replace("\"deleted\":false", "\"deleted\":true");
    for (request, ignored) in [
        (push(&other_ref), Ignored::OtherRef),
        (push(&other_repository), Ignored::OtherRepository),
        (push(&deleted), Ignored::Deleted),
        (push_with("x-github-event: push", "x-github-event: ping"), Ignored::Ping),
        (push_with("x-github-event: push", "x-github-event: star"), Ignored::OtherEvent),
    ] {
        let response = house.ask(&request);
        assert_eq!((response.status, response.reason().as_str()), (200, ignored.word()));
        assert_eq!(house.result(), DeliveryResult::Ignored(ignored));
    }
}

#[test]
fn an_unsigned_repository_needs_no_signature_and_a_signed_one_still_does() {
    let house = House::with_worker(limits());
    let unsigned = |path: &str| {
        let text = String::from_utf8(push(PUSH)).unwrap();
        text.replacen("x-hub-signature-256", "x-other", 1).replacen("/hook", path, 1).into_bytes()
    };
    assert_eq!(house.ask(&unsigned("/open")).status, 202);
    assert_eq!(house.ask(&unsigned("/hook")).status, 401);
}

#[test]
fn a_form_is_signed_as_it_came() {
    let house = House::with_worker(limits());
    let body: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", PUSH).finish();
    let request = String::from_utf8(push(&body)).unwrap().replacen("application/json", "application/x-www-form-urlencoded", 1);
    assert_eq!(house.ask(request.as_bytes()).status, 202);
}

#[test]
fn a_connection_serves_many_requests_refused_ones_among_them() {
    let mut house = House::with_worker(limits());
    let mut client = house.connect();
    for round in 0..50 {
        let (request, status) = if round % 5 == 0 { (push_with("refs/heads/main", "refs/heads/evil"), 401) } else { (push(PUSH), 202) };
        client.send(&request);
        assert_eq!(client.response().status, status, "request {round}");
        house.event();
    }
    // Pipelined: answered in their order.
    client.send(&[push(PUSH), push_with("POST /hook", "GET /hook"), push(PUSH)].concat());
    assert_eq!([(); 2].map(|()| client.response().status), [202, 405]);
}

#[test]
fn the_trailing_slash_and_the_query_make_no_difference() {
    let house = House::with_worker(limits());
    for path in ["/hook/", "/hook?x=1", "/hook/?x=1", "http://any.example/hook"] {
        assert_eq!(house.ask(&push_with("/hook", path)).status, 202, "{path}");
    }
}

#[test]
fn a_body_may_come_in_any_pieces() {
    let mut house = House::with_worker(limits());
    let large = PUSH.replacen("\"created\":", &format!("\"filler\":\"{}\",\"created\":", "x".repeat(200_000)), 1);
    for body in [PUSH, large.as_str()] {
        for piece in [100, 4096, 70_000] {
            let mut client = house.connect();
            client.send(head("/hook", body.as_bytes(), "transfer-encoding: chunked\r\n").as_bytes());
            for chunk in body.as_bytes().chunks(piece) {
                client.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            client.send(b"0\r\n\r\n");
            let response = client.response();
            assert_eq!(response.status, 202);
            assert!(!response.head.contains("connection: close"), "a body that was read whole keeps the connection");
            assert_eq!(house.event().bytes, body.len() as u64);
        }
    }
    let request = push(PUSH);
    let mut client = house.connect();
    request.chunks(500).for_each(|piece| {
        client.send(piece);
        std::thread::sleep(std::time::Duration::from_millis(1));
    });
    assert_eq!(client.response().status, 202);
}

#[test]
fn a_sender_that_waits_for_100_is_told_to_continue_unless_it_is_refused() {
    let house = House::with_worker(Limits { body: 10_000, ..limits() });
    let expecting = |length: usize| head("/hook", PUSH.as_bytes(), &format!("expect: 100-continue\r\ncontent-length: {length}\r\n"));
    let mut client = house.connect();
    client.send(expecting(PUSH.len()).as_bytes());
    assert_eq!(client.response().status, 100);
    client.send(PUSH.as_bytes());
    assert_eq!(client.response().status, 202);
    let mut client = house.connect();
    client.send(expecting(10_001).as_bytes());
    assert_eq!(client.response().status, 413);
}

#[test]
fn a_sender_that_closed_its_side_gets_its_answer() {
    let mut house = House::start(limits());
    let mut client = house.connect();
    client.send(&push(PUSH));
    client.0.shutdown(Shutdown::Write).unwrap();
    let job = house.job();
    house.answer(&job, Verdict::Marked(UpdateId::NONE));
    assert_eq!(client.response().status, 202);
}

#[test]
fn what_is_no_http_is_400_and_an_event() {
    let mut house = House::with_worker(limits());
    for garbage in [
        "\x16\x03\x01 hello\r\n\r\n",
        "POST /hook HTTP/1.1\r\nbad header\r\n\r\n",
        "POST /hook HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(house.ask(garbage.as_bytes()).status, 400, "{garbage}");
        assert_eq!(house.result(), DeliveryResult::Rejected(Rejected::Malformed));
    }
    let long = format!("POST /hook HTTP/1.1\r\nx-long: {}\r\n\r\n", "x".repeat(40_000));
    let mut client = house.connect();
    client.send_what_is_taken(long.as_bytes());
    assert_eq!(client.response().status, 431);
    assert_eq!(house.result(), DeliveryResult::Rejected(Rejected::Malformed));
}

#[test]
fn no_answer_holds_anything_of_the_secret() {
    let house = House::with_worker(limits());
    let response = house.ask(&push_with("refs/heads/main", "refs/heads/evil"));
    let signature = sign(PUSH.replacen("refs/heads/main", "refs/heads/evil", 1).as_bytes());
    for secret in [SECRET, signature.trim_start_matches("sha256=")] {
        assert!(!response.head.contains(secret) && !response.body.contains(secret));
    }
}
