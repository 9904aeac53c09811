//! Deliveries: every answer, and that nothing but an authentic push of the configured ref of the
//! configured repository leads to an update.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;
use support::account;
use support::config::{Config, SECRET};
use support::delivery::{Answer, Delivery, ZERO, count_answers, exchange, push_payload};
use support::site::{Ground, PATH, Site};

const MASTER: &str = "refs/heads/master";

/// The answer's body is one line of JSON.
fn assert_json_line(answer: &Answer) {
    assert!(!answer.body.trim_end().contains('\n'), "{answer:?}");
    assert!(serde_json::from_str::<Value>(&answer.body).is_ok_and(|body| body.is_object()), "{answer:?}");
}

/// Requests that must not lead to an update: what they are, the answer, the log's word for it.
fn refused_and_ignored(url: &str, commit: &str) -> Vec<(&'static str, Delivery, u16, &'static str)> {
    let push = Delivery::push(PATH, url, MASTER, commit);
    let signed = push.clone().sign(SECRET);
    let text = String::from_utf8(push.bytes().to_vec()).unwrap();
    let other_repository = "https://example.com/else/where.git";
    let mut deletion = push_payload(url, MASTER, commit, ZERO);
    deletion["deleted"] = json!(true);
    deletion["head_commit"] = Value::Null;
    let ping = json!({"zen": "Design for failure.", "hook_id": 1, "hook": {"type": "Repository"}});
    vec![
        ("no signature", push.clone(), 401, "no_signature"),
        ("an empty signature", push.clone().header("X-Hub-Signature-256", "sha256="), 401, "no_signature"),
        ("an empty header", push.clone().header("X-Hub-Signature-256", ""), 401, "no_signature"),
        ("another secret", push.clone().sign("another secret, also long enough"), 401, "bad_signature"),
        ("an empty secret", push.clone().sign(""), 401, "bad_signature"),
        ("a signature that is none", push.clone().header("X-Hub-Signature-256", "sha256=zz"), 401, "_signature"),
        ("a body cut short", signed.clone().body(&text.as_bytes()[..text.len() / 2]), 401, "bad_signature"),
        ("a changed body", signed.clone().body(text.replace("master", "mastes")), 401, "bad_signature"),
        ("sha1 where nobody asked for it", push.clone().sign_sha1(SECRET), 401, "_signature"),
        ("a wrong type", push.clone().header("Content-Type", "text/plain").sign(SECRET), 415, "content_type"),
        ("no type", push.clone().without("Content-Type").sign(SECRET), 415, "content_type"),
        ("no JSON", push.clone().body("not json").sign(SECRET), 400, "malformed"),
        ("no body", push.clone().body("").sign(SECRET), 400, "malformed"),
        ("a JSON list", push.clone().body("[1,2,3]").sign(SECRET), 400, "malformed"),
        ("a ref that is a number", push.clone().body(r#"{"ref": 7}"#).sign(SECRET), 400, "malformed"),
        ("half of a JSON object", push.clone().body(r#"{"ref": "refs/heads/ma"#).sign(SECRET), 400, "malformed"),
        ("a form without payload", push.clone().form().body("a=b").sign(SECRET), 400, "malformed"),
        ("an unknown path", signed.clone().path("/nowhere"), 404, "unknown_path"),
        ("a path below", signed.clone().path("/site/below"), 404, "unknown_path"),
        ("a GET", signed.clone().method("GET"), 405, "method"),
        ("a PUT", signed.clone().method("PUT"), 405, "method"),
        ("another repository", Delivery::push(PATH, other_repository, MASTER, commit).sign(SECRET), 200, "other_repository"),
        ("another branch", Delivery::push(PATH, url, "refs/heads/other", commit).sign(SECRET), 200, "other_ref"),
        ("a tag of the branch's name", Delivery::push(PATH, url, "refs/tags/master", commit).sign(SECRET), 200, "other_ref"),
        ("a deletion", Delivery::event(PATH, "push", &deletion).sign(SECRET), 200, "deleted"),
        ("a ping", Delivery::event(PATH, "ping", &ping).sign(SECRET), 200, "ping"),
        ("another event", Delivery::event(PATH, "issues", &json!({"action": "opened"})).sign(SECRET), 200, "other_event"),
    ]
}

#[test]
fn what_is_no_push_for_us_is_answered_logged_and_changes_nothing() {
    let mut site = Site::audited();
    let (deployed, connections) = (site.remote.head(), site.daemon.server().seen());
    // An update would be seen: the remote is ahead.
    let commit = site.remote.publish(&[("README", "second\n")]);
    let url = site.daemon.url(site.remote.name());
    let mut unauthorised = Vec::new();
    for (what, request, status, word) in refused_and_ignored(&url, &commit) {
        // Of more than ten rejections a second the rest would be summed up.
        std::thread::sleep(std::time::Duration::from_millis(110));
        let mark = site.gateway.log().mark();
        let answer = request.send(site.gateway.port());
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_json_line(&answer);
        let line = site.gateway.log().wait_after(mark, &["delivery", word]);
        assert!(line.contains("127.0.0.1"), "{what}: who sent it? {line}");
        match status {
            401 => unauthorised.push(answer.body),
            405 => assert_eq!(answer.header("allow"), Some("POST"), "{what}: {answer:?}"),
            200 => assert!(answer.body.contains(word), "{what}: says no reason: {answer:?}"),
            _ => {}
        }
    }
    unauthorised.dedup();
    assert_eq!(unauthorised.len(), 1, "the answers tell bad signatures apart: {unauthorised:?}");
    assert_eq!((site.tree().head(), site.daemon.server().seen()), (Some(deployed), connections), "something was updated");

    // Nothing is stuck, and nothing was waiting.
    let before = site.gateway.updates(PATH);
    site.gateway.deploy(PATH, &commit);
    site.gateway.wait_for_log(0, PATH, &["update ok", "cause=delivery"]);
    assert_eq!(site.gateway.updates(PATH), before + 1, "more than one update");
    account::assert_exact(&mut site);
}

#[test]
fn a_body_that_is_too_large_or_not_whole_is_refused() {
    let mut site = Site::audited();
    let head = |length: usize| {
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={}\r\nContent-Length: {length}\r\n\r\n",
            "0".repeat(64)
        )
    };
    let mark = site.gateway.log().mark();
    let answer = exchange(site.gateway.port(), head((25 << 20) + 1).as_bytes()).unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    site.gateway.log().wait_after(mark, &["too_large"]);

    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.gateway.port())).unwrap();
    stream.write_all((head(1000) + "{\"half\":").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    site.gateway.log().wait_after(mark, &["delivery", "timeout"]);
    count_answers(site.gateway.port(), 1);
    site.deploy(&[("README", "after\n")]);
    account::assert_exact(&mut site);
}

#[test]
fn a_header_that_is_too_large_is_refused() {
    let mut site = Site::audited();
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(600_000));
    let answer = exchange(site.gateway.port(), request.as_bytes()).unwrap();
    assert_eq!(answer.status, 431, "{answer:?}");
    site.deploy(&[("README", "after\n")]);
    account::assert_exact(&mut site);
}

#[test]
fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let mut site = Site::audited();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"POST\r\n\r\n", &[0; 4096]] {
        let answer = exchange(site.gateway.port(), bytes);
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 400), "{answer:?}");
    }
    site.deploy(&[("README", "after\n")]);
    account::assert_exact(&mut site);
}

#[test]
fn json_and_form_trailing_slash_and_every_form_of_the_url_are_accepted() {
    let site = Site::new();
    let url = site.daemon.url(site.remote.name());
    let push = |url: &str| Delivery::push(PATH, url, MASTER, &site.remote.head());
    for (what, request) in [
        ("JSON", push(&url).sign(SECRET)),
        ("JSON with a charset", push(&url).header("Content-Type", "application/json; charset=utf-8").sign(SECRET)),
        ("a form", push(&url).form().sign(SECRET)),
        ("a trailing slash", push(&url).sign(SECRET).path("/site/")),
        ("an https URL", push("https://127.0.0.1/site.git").sign(SECRET)),
        ("the scp form", push("git@127.0.0.1:site.git").sign(SECRET)),
        ("a URL without .git", push("ssh://git@127.0.0.1:22/site").sign(SECRET)),
        ("both signatures", push(&url).sign(SECRET).sign_sha1(SECRET)),
    ] {
        let answer = request.send(site.gateway.port());
        assert_eq!(answer.status, 202, "{what}: {answer:?}");
        assert_json_line(&answer);
    }
    let line = site.gateway.wait_for_log(0, PATH, &["delivery accepted"]);
    assert!(line.contains("72d3162e-cc78-11e3-81ab-4c9367dc0958"), "the delivery's id is missing: {line}");
}

#[test]
fn a_right_sha1_does_not_excuse_a_wrong_sha256() {
    let ground = Ground::new();
    let repo = ground.repo().set("signature", "sha1");
    let site = ground.start_with(repo);
    let push = || Delivery::push(PATH, &site.daemon.url(site.remote.name()), MASTER, &site.remote.head());
    let port = site.gateway.port();
    assert_eq!(push().sign_sha1(SECRET).send(port).status, 202);
    assert_eq!(push().sign(SECRET).send(port).status, 202);
    assert_eq!(push().sign_sha1("another secret, also long enough").send(port).status, 401);
    assert_eq!(push().sign_sha1(SECRET).sign("another secret, also long enough").send(port).status, 401);
    assert_eq!(push().send(port).status, 401);
}

#[test]
fn each_repository_has_its_own_way_to_know_its_forge() {
    let ground = Ground::new();
    let file = ground.scratch.file("secret", "the secret of the file\n");
    let config = Config::new()
        .repo(ground.repo_at("/one"))
        .repo(ground.repo_at("/rotated").set("secret", json!(["the old secret of two", "the new secret of two"])))
        .repo(ground.repo_at("/file").without("secret").set("secretFile", file.to_str().unwrap()))
        .repo(ground.repo_at("/unsigned").without("secret").set("unsigned", true));
    let site = ground.start(config);
    let push = |path| Delivery::push(path, &site.daemon.url(site.remote.name()), MASTER, &site.remote.head());
    for (path, secret, status) in [
        ("/one", SECRET, 202),
        ("/rotated", "the old secret of two", 202),
        ("/rotated", "the new secret of two", 202),
        ("/rotated", SECRET, 401),
        ("/file", "the secret of the file", 202),
        ("/file", SECRET, 401),
        ("/one", "the old secret of two", 401),
    ] {
        let answer = push(path).sign(secret).send(site.gateway.port());
        assert_eq!(answer.status, status, "{path} with {secret:?}: {answer:?}");
    }
    assert_eq!(push("/unsigned").send(site.gateway.port()).status, 202);
    assert_eq!(push("/one").send(site.gateway.port()).status, 401);
}

#[test]
fn a_connection_serves_several_deliveries() {
    let site = Site::new();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.gateway.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let push = site.gateway.push(PATH, &site.remote.head());
    stream.write_all(&push.clone().without("Connection").request()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 202");
    stream.write_all(&push.request()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 202"), "{rest}");
}

#[test]
fn a_worker_that_does_not_answer_is_told_to_the_forge() {
    use nix::sys::signal::Signal;
    let site = Site::new();
    let worker = site.gateway.child("gwg-worker");
    worker.signal(Signal::SIGSTOP);
    let answer = site.gateway.push(PATH, &site.remote.head()).send(site.gateway.port());
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{answer:?}");
    assert!(answer.took < Duration::from_secs(10), "GitHub has hung up by now: {answer:?}");
    site.gateway.log().wait(&["worker_unavailable"]);
    if worker.alive() {
        worker.signal(Signal::SIGCONT);
    }
    site.deploy(&[("README", "after\n")]);
}
