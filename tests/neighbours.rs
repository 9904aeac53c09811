//! The hostile neighbour: an owned listener and an owned updater say what no honest one says, to the worker
//! and to the supervisor. The one who says it is ended, and the log says so; whoever hears it stays as it was, with
//! the memory that it had, and goes on serving. They are the real supervisor and the real worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use gwg::audit::{Cause, Claim, DeliveryEvent, DeliveryResult, Ignored, Pruned, Step, UpdateEvent, UpdateResult};
use gwg::ids::{CommitId, DeliveryId, DirectoryId, JobNumber, OrderId, RepoId, UpdateId};
use gwg::wire::job::{Job, JobAnswer, Verdict};
use gwg::wire::listener::FromListener;
use gwg::wire::order::{FromUpdater, Outcome, Progress, Report, Shrunk, StoreSize};
use gwg::wire::worker::FromWorker;
use std::net::Ipv4Addr;
use std::time::Instant;
use support::config::{Config, Repo};
use support::processes::Process;
use support::says::{around, command, framed, hexadecimal};
use support::site::{Ground, PATH, Site};
use support::{need, owned, wait};

/// More crashes in a row than this, and the supervisor waits before it starts the next.
const RESTARTS: usize = 8;

/// What is said, to whom.
struct Attack {
    name: &'static str,
    to: &'static str,
    bytes: Vec<u8>,
    times: u32,
}

fn attack(name: &'static str, to: &'static str, bytes: Vec<u8>) -> Attack {
    Attack { name, to, bytes, times: 1 }
}

/// A job for the repository with this number, as an honest listener sends it.
fn job(number: u32, repo: u32) -> Job {
    let number = (0..number).fold(JobNumber::ZERO, |number, _| number.next());
    Job { number, repo: RepoId::new(repo), announced: None, delivery: DeliveryId::from_uuid("72d3162e-cc78-11e3-81ab-4c9367dc0958") }
}

fn event(repo: u32) -> FromListener {
    event_of(repo, None)
}

/// An event whose payload claims words that no honest listener hands on.
fn claiming(words: &[u8]) -> Vec<u8> {
    let honest = framed(&[event_of(0, Claim::of("ada"))]);
    let (claim, length) = (b"\x03ada", honest.len());
    assert!(honest.ends_with(claim), "the claim is not what the event ends with");
    around(&[&honest[4..length - claim.len()], &[u8::try_from(words.len()).unwrap()], words].concat())
}

fn event_of(repo: u32, pusher: Option<Claim>) -> FromListener {
    let result = DeliveryResult::Ignored(Ignored::Ping);
    let source = Ipv4Addr::LOCALHOST.into();
    FromListener::Delivery(DeliveryEvent { source, repo: Some(RepoId::new(repo)), delivery: None, bytes: 1, micros: 1, result, pusher })
}

/// Every way of breaking a frame, around a message that would be right.
fn malformed(to: &'static str, right: &[u8]) -> Vec<Attack> {
    let body = &right[4..];
    let with = |bytes: &[u8]| [right, bytes].concat();
    vec![
        attack("an empty frame", to, with(&around(&[]))),
        attack("a byte too many in a frame", to, with(&around(&[body, &[0]].concat()))),
        attack("a byte too few in a frame", to, with(&around(&body[..body.len() - 1]))),
        attack("a tag that there is not", to, with(&around(&[[0xfa; 1].as_slice(), body].concat()))),
        attack("all bits set", to, with(&around(&[0xff; 48]))),
        attack("a frame above its bound", to, with(&(1_u32 << 20).to_le_bytes())),
        attack("the longest frame of all", to, with(&u32::MAX.to_le_bytes())),
        attack("text", to, with(b"GET / HTTP/1.1\r\n\r\n")),
        Attack { times: 100_000, ..attack("a flood of it", to, around(&[0xff; 48])) },
    ]
}

fn from_listener() -> Vec<Attack> {
    let right = framed(&[job(1, 0)]);
    let with = |bytes: Vec<u8>| [right.clone(), bytes].concat();
    let ready = framed(&[FromListener::Ready { landlock: 7 }]);
    let mut attacks = malformed("worker", &right);
    attacks.extend([
        attack("a replayed job", "worker", with(right.clone())),
        attack("a number that goes back", "worker", with(framed(&[job(3, 0), job(2, 0)]))),
        attack("a repository that never was", "worker", with(framed(&[job(2, 2)]))),
        attack("the highest repository of all", "worker", with(framed(&[job(2, u32::MAX)]))),
        attack("an answer", "worker", with(framed(&[JobAnswer { number: job(2, 0).number, verdict: Verdict::Gone }]))),
        attack("what belongs to the supervisor", "worker", with(ready.clone())),
    ]);
    attacks.extend(malformed("supervisor", &framed(&[event(0)])));
    attacks.extend([
        attack("ready, twice", "supervisor", ready),
        attack("a store of a repository that never was", "supervisor", framed(&[FromWorker::GcDue(RepoId::new(9999))])),
        attack("an event of a repository that never was", "supervisor", framed(&[event(0), event(2)])),
        attack("a claim that is a line", "supervisor", claiming(b"ada\n")),
        attack("a claim that steers terminals", "supervisor", claiming(b"\x1b[2J")),
        attack("a claim that is too long", "supervisor", claiming(&[b'a'; Claim::MAX + 1])),
        attack("a claim that says nothing", "supervisor", claiming(b"")),
        attack("what belongs to the worker", "supervisor", right),
    ]);
    attacks
}

fn from_worker() -> Vec<Attack> {
    let order = |number: u32, repo: u32| {
        let number = (0..number).fold(OrderId::ZERO, |number, _| number.next());
        FromWorker::Order(number, RepoId::new(repo))
    };
    let event = UpdateEvent {
        repo: RepoId::new(2),
        update: UpdateId::NONE,
        cause: Cause::Reconcile,
        delivery: None,
        result: UpdateResult::Started,
    };
    let mut attacks = malformed("supervisor", &framed(&[order(1, 0)]));
    attacks.extend([
        attack("ready, twice", "supervisor", framed(&[FromWorker::Ready { landlock: 7 }])),
        attack("an order of a repository that never was", "supervisor", framed(&[order(1, 2)])),
        attack("an order's number twice", "supervisor", framed(&[order(1, 0), order(1, 1)])),
        attack("an order's number that goes back", "supervisor", framed(&[order(2, 0), order(1, 1)])),
        attack("two orders of one repository", "supervisor", framed(&[order(1, 0), order(2, 0)])),
        attack("more orders than threads", "supervisor", framed(&[order(1, 0), order(2, 1)])),
        attack("an event of a repository that never was", "supervisor", framed(&[FromWorker::Update(event)])),
        attack(
            "what was deployed to a tree, and nobody asked",
            "supervisor",
            framed(&[FromWorker::Recalled(DirectoryId::from_digest([7; 32]), None)]),
        ),
        attack("what belongs to the listener", "supervisor", framed(&[JobAnswer { number: JobNumber::ZERO, verdict: Verdict::Gone }])),
    ]);
    attacks
}

fn from_updater() -> Vec<Attack> {
    let report = Report { old: None, outcome: current(), bytes: 0, gc_due: false };
    let (fetch, report) = (FromUpdater::Step(Step::Fetch), FromUpdater::Report(report));
    let closed = FromUpdater::Confined { landlock: 0 };
    let far = FromUpdater::Progress(Progress::Checkout { files: 1, of: 2 });
    let mut attacks = malformed("worker", &framed(&[fetch]));
    attacks.extend([
        attack("a step twice", "worker", framed(&[fetch, fetch])),
        attack("a step back", "worker", framed(&[FromUpdater::Step(Step::Reset), fetch])),
        attack("that its doors are closed, twice", "worker", framed(&[closed, closed])),
        attack("two reports", "worker", framed(&[report, report])),
        attack("a step after the report", "worker", framed(&[report, FromUpdater::Step(Step::Trigger)])),
        attack("what became of an object store, to the worker", "worker", framed(&[FromUpdater::Shrunk(shrunk())])),
        attack("what became of a tree, to the worker", "worker", framed(&[FromUpdater::Pruned(Pruned::Deleted)])),
        Attack { times: 1_000, ..attack("how far it is, without end", "worker", framed(&[far])) },
        attack("how far it is, after the report", "worker", framed(&[report, far])),
        attack("any word", "supervisor", framed(&[fetch])),
        attack("an empty frame", "supervisor", around(&[])),
        attack("the longest frame of all", "supervisor", u32::MAX.to_le_bytes().to_vec()),
        Attack { times: 100_000, ..attack("a flood", "supervisor", around(&[0xff; 48])) },
    ]);
    attacks
}

fn current() -> Outcome {
    Outcome::Current { new: CommitId::from_bytes([7; 20]), forced: false, triggered: true, announced_seen: true }
}

/// Two repositories, with owned executables in the places of these.
fn start(owned: &[&str], repos: impl FnOnce(&Ground) -> Vec<Repo>) -> Site {
    let ground = Ground::new();
    owned::house(&ground.scratch, owned);
    let config = repos(&ground).into_iter().fold(Config::new(), Config::repo);
    ground.start(config)
}

/// KiB of memory that the process has for itself.
fn memory(process: Process) -> i64 {
    let text = std::fs::read_to_string(process.path("smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss_Anon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn two(ground: &Ground) -> Vec<Repo> {
    vec![ground.repo(), ground.repo_at("/other")]
}

#[test]
fn p4_an_owned_listener_that_breaks_the_rules_is_ended_and_nobody_else() {
    let Some(()) = need::root() else { return };
    for attacks in from_listener().chunks(RESTARTS) {
        let site = start(&["gwg-listener"], two);
        for path in [PATH, "/other"] {
            site.gateway.wait_for_log(0, path, &["update ok"]);
        }
        let hearers = [site.gateway.process(), site.gateway.child("gwg-worker")];
        let before = hearers.map(memory);
        for attack in attacks {
            let listener = site.gateway.child("gwg-listener");
            let mark = site.gateway.log().mark();
            let (to, times, bytes) = (attack.to, attack.times, hexadecimal(&attack.bytes));
            command(&site, &format!("say\tto={to}\ttimes={times}\tbytes={bytes}"));
            println!("listener to {to}: {}", attack.name);
            site.gateway.log().wait_after(mark, &["violation", "role=gwg-listener", &format!("pid={}", listener.pid())]);
            listener.wait_until_gone();
            let next = site.gateway.child_other_than("gwg-listener", &[listener]);
            site.gateway.log().wait_after(mark, &["process confined", &format!("pid={} ", next.pid())]);
        }
        assert_eq!(hearers.map(|hearer| hearer.alive()), [true, true], "who heard it is gone");
        let grown = [0, 1].map(|place: usize| memory(hearers[place]) - before[place]);
        assert!(grown.iter().all(|kib| *kib < 2048), "grown by {grown:?} KiB");
        assert_serves(&site);
    }
}

/// The first job of the next listener, which keeps to the rules, is served.
fn assert_serves(site: &Site) {
    assert_serves_job(site, 1);
}

fn assert_serves_job(site: &Site, number: u32) {
    let before = site.tree().touched();
    let commit = site.remote.publish(&[("README", "all is well\n")]);
    let said = command(site, &format!("say\tto=worker\tlistening=1\tbytes={}", hexadecimal(&framed(&[job(number, 0)]))));
    assert_eq!(said.as_deref(), Some("succeeded\tsaid\n"));
    site.tree().wait_for(&commit, before);
}

/// Jobs that an honest listener might send, as fast as they can be sent: marks don't pile up.
#[test]
fn p4_a_flood_of_valid_jobs_is_a_few_updates_and_starves_nobody() {
    let Some(()) = need::root() else { return };
    let site = start(&["gwg-listener"], two);
    for path in [PATH, "/other"] {
        site.gateway.wait_for_log(0, path, &["update ok"]);
    }
    let (listener, worker, supervisor) = (site.gateway.child("gwg-listener"), site.gateway.child("gwg-worker"), site.gateway.process());
    let before = [memory(worker), memory(supervisor)];
    let updates = site.gateway.updates(PATH) + nothing_new(&site);
    let other = site.gateway.tree("/other");
    let touched = other.touched();
    let commit = site.remote.publish(&[("README", "second\n")]);
    // In the midst of it one job for the other repository.
    let mut number = JobNumber::ZERO;
    let jobs: Vec<Job> = (0..100_000)
        .map(|place| {
            number = number.next();
            Job { number, ..job(0, u32::from(place == 50_000)) }
        })
        .collect();
    let start = Instant::now();
    let said = command(&site, &format!("say\tto=worker\tlistening=1\tbytes={}", hexadecimal(&framed(&jobs))));
    let took = start.elapsed();
    assert_eq!(said.as_deref(), Some("succeeded\tsaid\n"), "an honest listener was ended");
    other.wait_for(&commit, touched);
    wait::until_true("the repository of the flood is deployed too", || site.tree().head().as_ref() == Some(&commit));
    let grown = [memory(worker) - before[0], memory(supervisor) - before[1]];
    assert!(grown.iter().all(|kib| *kib < 2048), "grown by {grown:?} KiB");
    // The first at once, then one each 2 s at the most, then one for the rest; and one of a retry.
    let most = 3 + usize::try_from(took.as_secs()).unwrap();
    let updates = site.gateway.updates(PATH) + nothing_new(&site) - updates;
    assert!(updates <= most, "{updates} updates of {} jobs in {took:?}", jobs.len());
    assert!([listener, worker, supervisor].iter().all(|process| process.alive()));
}

fn nothing_new(site: &Site) -> usize {
    site.gateway.log().matching(&["update ok, nothing new", &format!("repo={PATH} ")]).len()
}

/// It takes no answers: what waits for it is bounded, and then it is ended.
#[test]
fn p4_a_listener_that_reads_no_answers_is_ended() {
    let Some(()) = need::root() else { return };
    let site = start(&["gwg-listener"], two);
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    let (listener, worker) = (site.gateway.child("gwg-listener"), site.gateway.child("gwg-worker"));
    let before = memory(worker);
    let mut number = JobNumber::ZERO;
    for _ in 0..20 {
        let jobs: Vec<Job> = std::iter::repeat_with(|| {
            number = number.next();
            Job { number, delivery: None, ..job(0, 0) }
        })
        .take(100_000)
        .collect();
        if command(&site, &format!("say\tto=worker\tbytes={}", hexadecimal(&framed(&jobs)))).is_none() {
            break;
        }
        let kib = memory(worker) - before;
        assert!(kib < 16 << 10, "what waits for the listener takes {kib} KiB");
    }
    site.gateway.log().wait(&["violation", "role=gwg-listener", &format!("pid={}", listener.pid())]);
    site.gateway.child_other_than("gwg-listener", &[listener]);
    assert!(worker.alive());
    assert_serves(&site);
    assert!(memory(worker) - before < 4096, "the worker keeps what nobody read");
}

/// Each repository's branch tells its updater what to say; the last one's is honest.
#[test]
fn p5_an_owned_updater_that_breaks_the_rules_is_ended_and_nobody_else() {
    let Some(()) = need::root() else { return };
    let attacks = from_updater();
    let site = start(&["gwg-updater"], |ground| {
        let say = |attack: &Attack| format!("owned/say,to={},times={},bytes={}", attack.to, attack.times, hexadecimal(&attack.bytes));
        let owned = attacks.iter().enumerate().map(|(number, attack)| ground.repo_at(&path(number)).set("label", say(attack)));
        owned.chain([ground.repo()]).collect()
    });
    let hearers = [site.gateway.process(), site.gateway.child("gwg-worker")];
    for (number, attack) in attacks.iter().enumerate() {
        println!("updater to {}: {}", attack.to, attack.name);
        let failed = site.gateway.wait_for_log(0, &path(number), &["update failed"]);
        assert!(failed.contains("reason=crashed"), "{}: {failed}", attack.name);
    }
    let violations = || site.gateway.log().matching(&["violation", "role=gwg-updater"]).len();
    wait::until_true("each attacker is named", || violations() >= attacks.len());
    assert!(hearers.iter().all(|hearer| hearer.alive()), "who heard it is gone");
    // They go on with it at each retry, and meanwhile an honest one does its work.
    let before = hearers.map(memory);
    for content in ["second\n", "third\n"] {
        site.deploy(&[("README", content)]);
    }
    wait::until_true("each has tried again", || site.gateway.log().matching(&["update failed", "attempt=2"]).len() >= attacks.len());
    let grown = [0, 1].map(|place: usize| memory(hearers[place]) - before[place]);
    assert!(grown.iter().all(|kib| *kib < 2048), "grown by {grown:?} KiB");
}

fn path(number: usize) -> String {
    format!("/owned-{number}")
}

/// The worker hears its attacker through the listener, which is owned as well.
#[test]
fn an_owned_worker_that_breaks_the_rules_is_ended_and_the_supervisor_goes_on() {
    let Some(()) = need::root() else { return };
    for attacks in from_worker().chunks(RESTARTS) {
        let ground = Ground::new();
        owned::house(&ground.scratch, &["gwg-listener", "gwg-worker"]);
        let config = two(&ground).into_iter().fold(Config::new().set("threads", 1), Config::repo);
        let site = ground.start(config);
        let (supervisor, listener) = (site.gateway.process(), site.gateway.child("gwg-listener"));
        let before = memory(supervisor);
        for attack in attacks {
            println!("worker to {}: {}", attack.to, attack.name);
            let worker = site.gateway.child("gwg-worker");
            let mark = site.gateway.log().mark();
            let line = format!("say\tto={}\ttimes={}\tbytes={}\n", attack.to, attack.times, hexadecimal(&attack.bytes));
            command(&site, &format!("say\tto=worker\tbytes={}", hexadecimal(line.as_bytes())));
            site.gateway.log().wait_after(mark, &["violation", "role=gwg-worker", &format!("pid={}", worker.pid())]);
            let next = site.gateway.child_other_than("gwg-worker", &[worker]);
            site.gateway.log().wait_after(mark, &["process confined", &format!("pid={} ", next.pid())]);
            // An owned listener does not take a link to the next worker; its successor is born with one.
            let gone = site.gateway.child("gwg-listener");
            gone.kill();
            let next = site.gateway.child_other_than("gwg-listener", &[gone]);
            site.gateway.log().wait_after(mark, &["process confined", &format!("pid={} ", next.pid())]);
        }
        assert!(supervisor.alive() && !listener.alive());
        let grown = memory(supervisor) - before;
        assert!(grown < 2048, "grown by {grown} KiB");
    }
}

/// Half a message and then its end: no offence of the next listener, which did nothing.
#[test]
fn p4_a_listener_that_dies_in_the_middle_of_a_message_does_the_next_no_harm() {
    let Some(()) = need::root() else { return };
    let site = start(&["gwg-listener"], two);
    let worker = site.gateway.child("gwg-worker");
    for (to, whole) in [("worker", framed(&[job(1, 0)])), ("supervisor", framed(&[event(0)])), ("worker", vec![9, 0])] {
        let listener = site.gateway.child("gwg-listener");
        let said = command(&site, &format!("say\tto={to}\tbytes={}", hexadecimal(&whole[..whole.len() - 1])));
        assert_eq!(said.as_deref(), Some("succeeded\tsaid\n"));
        listener.kill();
        site.gateway.child_other_than("gwg-listener", &[listener]);
        assert_serves(&site);
    }
    assert_eq!(site.gateway.log().matching(&["violation"]), Vec::<String>::new());
    assert!(worker.alive());
}

/// Events that an honest listener might send: each is a line of the log, and nothing else grows. As an honest one
/// does, it says in between that it hears: where the supervisor needs more than 30 s for all of it, one that did
/// not would be ended.
#[test]
fn p4_a_flood_of_valid_events_is_written_and_forgotten() {
    let Some(()) = need::root() else { return };
    let site = start(&["gwg-listener"], two);
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    let supervisor = site.gateway.process();
    let before = memory(supervisor);
    let mut thousand = vec![event(0); 1_000];
    thousand.push(FromListener::Alive);
    let flood = |number| {
        let said = command(&site, &format!("say\tto=supervisor\ttimes=100\tbytes={}", hexadecimal(&framed(&thousand))));
        assert_eq!(said.as_deref(), Some("succeeded\tsaid\n"), "an honest listener was ended");
        assert_serves_job(&site, number);
    };
    flood(1);
    assert!(site.gateway.log().matching(&["delivery ignored"]).len() > 1_000);
    // The history keeps the newest, and the C library what it once had: so the first flood may leave something, and
    // another must find room in that.
    let after = memory(supervisor);
    assert!(after - before < 32 << 10, "{before} KiB before, {after} after");
    flood(2);
    wait::until_true("the second flood has left nothing more", || memory(supervisor) - after < 4096);
    assert_eq!(site.gateway.log().matching(&["violation"]), Vec::<String>::new());
}

/// What a child writes to its output is bounded, and always its own.
#[test]
fn p5_an_owned_updater_forges_no_line_of_the_log_and_does_not_flood_it() {
    let Some(()) = need::root() else { return };
    let forged = "\r\x1b[2K2026-01-01T00:00:00Z INFO FORGED ready role=gwg-worker\n";
    let site = start(&["gwg-updater"], |ground| {
        let say = |text: &str| format!("owned/say,to=log,times=100000,bytes={}", hexadecimal(text.as_bytes()));
        let endless = forged.trim_end();
        vec![ground.repo(), ground.repo_at("/lines").set("label", say(forged)), ground.repo_at("/endless").set("label", say(endless))]
    });
    let start = Instant::now();
    let supervisor = site.gateway.process();
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    let before = memory(supervisor);
    site.deploy(&[("README", "second\n")]);
    for path in ["/lines", "/endless"] {
        site.gateway.wait_for_log(0, path, &["update failed"]);
    }
    let lines = site.gateway.log().matching(&["FORGED"]);
    assert!(!lines.is_empty(), "nothing was written");
    for line in &lines {
        let (stamp, said) = line.split_once("gwg-updater[").unwrap_or_else(|| panic!("a line of its own: {line}"));
        assert!(!stamp.contains("FORGED") && said.contains("repo=/") && !line.contains(['\r', '\x1b']), "{line}");
    }
    // A hundred a second of each updater; a second more than has begun, and a retry.
    let most = 200 * (usize::try_from(start.elapsed().as_secs()).unwrap() + 3);
    assert!(lines.len() <= most, "{} lines", lines.len());
    site.gateway.log().wait(&["more lines", "are not shown"]);
    assert!(memory(supervisor) - before < 2048);
}

fn shrunk() -> Shrunk {
    let size = StoreSize { packs: 1, loose: 1, objects: 1, bytes: 1 };
    Shrunk { before: size, after: size }
}
