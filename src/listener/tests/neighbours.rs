//! Worker and supervisor: what the listener does when they are slow, replaced, gone, or wrong.

use super::house::{Client, House, PUSH, acknowledge_all, limits, push};
use crate::audit::{DeliveryResult, Rejected};
use crate::brief::listener::Limits;
use crate::ids::{JobNumber, UpdateId};
use crate::listener::serve::ServeError;
use crate::wire::frame;
use crate::wire::job::{JobAnswer, Verdict};
use crate::wire::listener::{FromListener, Health, ToListener, Waiting};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_silent_worker_is_503_at_the_deadline_and_a_late_answer_harms_nobody() {
    let mut house = House::start(Limits { acknowledge_ms: 150, ..limits() });
    let mut client = house.connect();
    let began = Instant::now();
    client.send(&push(PUSH));
    let response = client.response();
    assert_eq!((response.status, response.reason().as_str()), (503, "worker_unavailable"));
    assert!(response.head.contains("retry-after: ") && !response.head.contains("connection: close"));
    assert!((150..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(house.result(), DeliveryResult::Rejected(Rejected::WorkerUnavailable));
    let late = house.job();
    house.answer(&late, Verdict::Marked(UpdateId::NONE));
    acknowledge_all(house.worker.try_clone().unwrap());
    client.send(&push(PUSH));
    assert_eq!(client.response().status, 202);
}

#[test]
fn a_new_worker_is_told_in_order_what_the_one_before_did_not_acknowledge() {
    let mut house = House::start(limits());
    let mut clients: Vec<_> = (0..3).map(|_| house.connect()).collect();
    let mut jobs = Vec::new();
    for client in &mut clients {
        client.send(&push(PUSH));
        jobs.push(house.job());
    }
    house.answer(&jobs[1], Verdict::Marked(UpdateId::NONE));
    assert_eq!(clients[1].response().status, 202);
    house.worker.shutdown(Shutdown::Both).unwrap();
    // This one comes while there is no worker at all.
    let mut orphan = house.connect();
    orphan.send(&push(PUSH));
    sleep(Duration::from_millis(50));
    house.replace_worker();
    let again = [house.job(), house.job(), house.job()];
    assert_eq!(again[..2], [jobs[0], jobs[2]]);
    assert!(again[2].number > jobs[2].number);
    for job in &again {
        house.answer(job, Verdict::Marked(UpdateId::NONE));
    }
    clients.remove(1);
    clients.push(orphan);
    assert_eq!(clients.iter_mut().map(|client| client.response().status).collect::<Vec<_>>(), [202; 3]);
}

#[test]
fn a_worker_that_answers_what_it_was_not_asked_ends_the_listener() {
    let mut house = House::start(limits());
    let answer = JobAnswer { number: JobNumber::ZERO.next(), verdict: Verdict::Marked(UpdateId::NONE) };
    frame::write(&mut house.worker, &answer).unwrap();
    assert!(matches!(house.end(), Err(ServeError::OutOfTurn(_))));
}

#[test]
fn a_neighbour_that_says_what_is_no_message_ends_the_listener() {
    let mut house = House::start(limits());
    house.worker.write_all(&[1, 0, 0, 0, 0xff]).unwrap();
    assert!(matches!(house.end(), Err(ServeError::Worker(_))));
    let mut house = House::start(limits());
    house.supervisor.write_all(&[1, 0, 0, 0, 9]).unwrap();
    assert!(matches!(house.end(), Err(ServeError::Supervisor(_))));
    let mut house = House::start(limits());
    house.tell(&ToListener::Worker);
    assert!(matches!(house.end(), Err(ServeError::NoLink)));
}

#[test]
fn a_listener_whose_supervisor_is_gone_ends() {
    let house = House::start(limits());
    house.supervisor.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(house.end(), Err(ServeError::SupervisorGone)));
}

#[test]
fn draining_finishes_what_was_asked_and_says_all_events() {
    let mut house = House::start(limits());
    let (mut idle, mut asking) = (house.connect(), house.connect());
    idle.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(idle.response().status, 404);
    house.event();
    asking.send(&push(PUSH));
    let job = house.job();
    house.tell(&ToListener::Drain(Waiting::Leave));
    assert_eq!(house.hears(), FromListener::Closed);
    assert!(idle.is_closed(), "an idle connection is closed");
    assert!(!house.has_ended());
    house.answer(&job, Verdict::Marked(UpdateId::NONE));
    let response = asking.response();
    assert_eq!(response.status, 202);
    assert!(response.head.contains("connection: close"), "{}", response.head);
    assert!(asking.is_closed());
    assert!(matches!(house.result(), DeliveryResult::Accepted { .. }));
    house.end().unwrap();
}

/// A reverse proxy's: its next request may be on its way.
#[test]
fn draining_answers_what_still_comes_on_a_connection_that_was_kept() {
    let mut house = House::start(limits());
    let mut kept = house.connect();
    kept.send(b"GET / HTTP/1.1\r\n\r\n");
    assert!(!kept.response().head.contains("connection: close"));
    house.event();
    house.tell(&ToListener::Drain(Waiting::Leave));
    assert_eq!(house.hears(), FromListener::Closed);
    sleep(Duration::from_millis(100));
    kept.send(b"GET / HTTP/1.1\r\n\r\n");
    let last = kept.response();
    assert!(last.status == 404 && last.head.contains("connection: close"), "{}", last.head);
    assert!(kept.is_closed());
    house.end().unwrap();
}

#[test]
fn draining_lets_who_has_just_come_ask() {
    let mut house = House::with_worker(limits());
    let (mut fresh, _silent) = (house.connect(), house.connect());
    sleep(Duration::from_millis(50));
    house.tell(&ToListener::Drain(Waiting::Leave));
    sleep(Duration::from_millis(100));
    fresh.send(&push(PUSH));
    assert_eq!(fresh.response().status, 202);
    let began = Instant::now();
    house.end().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "one that stays silent does not hold the listener");
}

/// The supervisor had accepted it just before.
#[test]
fn draining_answers_who_asks_for_figures() {
    let mut house = House::start(limits());
    let figures = tempfile::tempfile().unwrap();
    house.hand_over(&ToListener::Figures(Health::Fine), figures.into());
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut asker = Client(TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap());
    house.hand_over(&ToListener::Scrape, elsewhere.accept().unwrap().0.into());
    house.tell(&ToListener::Drain(Waiting::Leave));
    assert_eq!(house.hears(), FromListener::Closed);
    sleep(Duration::from_millis(100));
    assert!(!house.has_ended());
    asker.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(asker.response().status, 200);
    house.end().unwrap();
}

#[test]
fn who_never_asks_for_figures_does_not_hold_up_the_drain() {
    let mut house = House::start(limits());
    house.hand_over(&ToListener::Figures(Health::Fine), tempfile::tempfile().unwrap().into());
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut silent = Client(TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap());
    house.hand_over(&ToListener::Scrape, elsewhere.accept().unwrap().0.into());
    let start = Instant::now();
    house.tell(&ToListener::Drain(Waiting::Leave));
    house.end().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "it was waited for");
    assert_eq!(silent.0.read(&mut [0]).unwrap(), 0);
}
