//! No child speaks for another: an owned listener and an owned updater say what only others may say, or say it of
//! repositories that are not theirs. Who does is ended, with a record of the violation, and the audit
//! has no word of it: each record is stamped with who said it, by the supervisor, and is one that they may say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use gwg::audit::{
    Cause, DeliveryEvent, DeliveryResult, HostKey, KeyKind, Pruned, ReconcileCause, ReconcileEvent, Step, UpdateEvent, UpdateResult,
};
use gwg::ids::{CommitId, DeliveryId, JobNumber, OrderId, RepoId, UpdateId};
use gwg::wire::hook::{End, FromHook, On, Run};
use gwg::wire::job::Job;
use gwg::wire::listener::FromListener;
use gwg::wire::order::{FromUpdater, Outcome, Report};
use gwg::wire::worker::{Culprit, FromWorker};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use support::account;
use support::config::Repo;
use support::says::{command, framed, hexadecimal};
use support::site::{Ground, PATH, Site};
use support::syslog::Record;
use support::{need, owned, wait};

/// What is forged can be told by these, which nobody honest says.
const COMMIT: [u8; 20] = [0x5a; 20];
const DELIVERY: &str = "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(90, 90, 90, 90));
/// As records write the commit, the key's fingerprint, the delivery and the address.
const TRACES: [&str; 4] = ["5a5a5a5a5a5a", "WlpaWlpa", DELIVERY, "90.90.90.90"];

/// The first repository: the honest one, in whose name the others speak.
const VICTIM: RepoId = RepoId::new(0);

fn delivery() -> Option<DeliveryId> {
    DeliveryId::from_uuid(DELIVERY)
}

fn accepted() -> FromListener {
    let result = DeliveryResult::Accepted { coalesced: false, announced: Some(CommitId::from_bytes(COMMIT)), update: None };
    let repo = Some(VICTIM);
    FromListener::Delivery(DeliveryEvent { source: SOURCE, repo, delivery: delivery(), bytes: 1, micros: 1, result, pusher: None })
}

fn of_worker() -> Vec<(&'static str, Vec<u8>)> {
    let new = CommitId::from_bytes(COMMIT);
    let current = UpdateResult::Current { old: Some(new), new, forced: true, triggered: true, bytes: 1, ms: 1 };
    let update = |result| UpdateEvent { repo: VICTIM, update: UpdateId::NONE, cause: Cause::Delivery, delivery: delivery(), result };
    let run = Run { old: None, new: Some(new), attempt: 1 };
    let end = ReconcileEvent::End { cause: ReconcileCause::Timer, repos: 90, behind: 90, failed: 90, ms: 90 };
    let key = HostKey { kind: KeyKind::Ed25519, fingerprint: [0x5a; 32] };
    [
        ("the worker's start of an update", FromWorker::Update(update(UpdateResult::Started))),
        ("the worker's end of an update", FromWorker::Update(update(current))),
        ("the worker's refused host key", FromWorker::HostKeyRefused(VICTIM, key)),
        ("the worker's end of a reconcile", FromWorker::Reconcile(end)),
        ("the worker's wish for a hook", FromWorker::Hook(VICTIM, On::Success, run, UpdateId::NONE)),
        ("the worker's order", FromWorker::Order(OrderId::ZERO, VICTIM)),
        ("the worker's word that another broke the rules", FromWorker::Violation(Culprit::Listener(0))),
    ]
    .map(|(name, message)| (name, framed(&[message])))
    .into()
}

fn of_updater() -> Vec<(&'static str, Vec<u8>)> {
    let outcome = Outcome::Current { new: CommitId::from_bytes(COMMIT), forced: true, triggered: true, announced_seen: true };
    [
        ("an updater's word of its confinement", FromUpdater::Confined { landlock: 0 }),
        ("an updater's step", FromUpdater::Step(Step::Trigger)),
        ("an updater's report", FromUpdater::Report(Report { old: None, outcome, bytes: 1, gc_due: false })),
        ("an updater's host key", FromUpdater::HostKey(HostKey { kind: KeyKind::Ed25519, fingerprint: [0x5a; 32] })),
        ("an updater's look at a tree", FromUpdater::Pruned(Pruned::Deleted)),
    ]
    .map(|(name, message)| (name, framed(&[message])))
    .into()
}

fn of_hook() -> Vec<(&'static str, Vec<u8>)> {
    // Both together: one alone might be another's whole message.
    vec![("a hook's life", framed(&[FromHook::Started { own_pids: true, landlock: 7 }, FromHook::Ended(End::Exited(90))]))]
}

fn of_listener() -> Vec<(&'static str, Vec<u8>)> {
    let announced = Some(CommitId::from_bytes(COMMIT));
    vec![
        ("the listener's delivery", framed(&[accepted()])),
        ("the listener's count of losses", framed(&[FromListener::Lost(90)])),
        ("the listener's job", framed(&[Job { number: JobNumber::ZERO.next(), repo: VICTIM, announced, delivery: delivery() }])),
    ]
}

/// A site with owned executables in the place of these, and an audit file.
fn start(owned: &[&str], repos: impl FnOnce(&Ground) -> Vec<Repo>) -> Site {
    let ground = Ground::new();
    owned::house(&ground.scratch, owned);
    let config = repos(&ground).into_iter().fold(account::config(&ground.scratch), |config, repo| config.repo(repo));
    ground.start(config)
}

fn records(site: &Site) -> Vec<Record> {
    let text = fs::read_to_string(account::file(&site.scratch)).unwrap();
    account::of_file(text.rfind('\n').map_or("", |end| &text[..=end]))
}

/// Who says an event of this kind.
fn speaker(name: &str) -> &'static str {
    match name.split_once('.').unwrap() {
        ("delivery", _) => "gwg-listener",
        ("update" | "trigger" | "hostkey" | "reconcile", _) | ("hook", "failed") => "gwg-worker",
        ("reject" | "hook" | "tree" | "config" | "process" | "confinement" | "log" | "service", _) => "gwg",
        _ => panic!("an event of a new kind: who says {name}?"),
    }
}

/// Each record was said by who may say it, who is that process; and nothing of it was forged.
fn assert_nobody_speaks_for_another(site: &Site, supervisor: i32) {
    let records = records(site);
    let started = records.iter().filter(|record| record.name == "process.start");
    let mut roles: BTreeMap<String, String> =
        started.map(|start| (start.get("pid").unwrap().to_owned(), start.get("role").unwrap().to_owned())).collect();
    roles.insert(supervisor.to_string(), "gwg".into());
    for record in &records {
        let by = record.get("by").unwrap();
        assert_eq!(by, speaker(&record.name), "{record:?}");
        assert_eq!(Some(by), roles.get(record.get("by_pid").unwrap()).map(String::as_str), "{record:?}");
        for (_, value) in &record.fields {
            assert!(TRACES.iter().all(|trace| !value.contains(trace)), "what an attacker forged is a record: {record:?}");
        }
        assert!(!record.is("reconcile.end", &[("cause", "timer")]), "what an attacker forged is a record: {record:?}");
    }
}

#[test]
fn p4_an_owned_listener_speaks_neither_for_the_worker_nor_for_an_updater_nor_for_a_hook() {
    let Some(()) = need::root() else { return };
    let site = start(&["gwg-listener"], |ground| vec![ground.repo()]);
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    let supervisor = site.gateway.process().pid();
    let mut attacks = [of_worker(), of_updater(), of_hook()].concat();
    // The same bytes as its own count of losses: so it says that of itself, which it may.
    attacks.retain(|(_, bytes)| *bytes != framed(&[FromListener::Lost(1)]));
    let mut attackers = Vec::new();
    for (name, bytes) in attacks {
        println!("listener to supervisor: {name}");
        let listener = site.gateway.child("gwg-listener");
        let pid = listener.pid().to_string();
        wait::until_true("it serves", || records(&site).iter().any(|record| record.is("confinement.level", &[("pid", &pid)])));
        command(&site, &format!("say\tto=supervisor\tbytes={}", hexadecimal(&bytes)));
        let is_told = |name, more| records(&site).iter().any(|record| record.is(name, &[("role", "gwg-listener"), ("pid", &pid), more]));
        wait::until_true("the violation is recorded", || is_told("confinement.violation", ("by", "gwg")));
        wait::until_true("its end is recorded", || is_told("process.exit", ("signal", "9")));
        site.gateway.child_other_than("gwg-listener", &[listener]);
        attackers.push(pid);
    }
    assert_nobody_speaks_for_another(&site, supervisor);
    let violations = records(&site).into_iter().filter(|record| record.name == "confinement.violation");
    let named: Vec<String> = violations.map(|record| record.get("pid").unwrap().to_owned()).collect();
    assert_eq!(named, attackers, "one record for each, and of nobody else");
}

#[test]
fn p5_an_owned_updater_speaks_neither_for_others_nor_of_other_repositories() {
    let Some(()) = need::root() else { return };
    let others = [of_listener(), of_worker(), of_hook()].concat();
    let attacks: Vec<(String, &str, Vec<u8>)> = ["worker", "supervisor"]
        .into_iter()
        .flat_map(|to| others.iter().map(move |(name, bytes)| (format!("updater to {to}: {name}"), to, bytes.clone())))
        .chain(of_updater().into_iter().map(|(name, bytes)| (format!("updater to supervisor: {name}"), "supervisor", bytes)))
        .collect();
    let path = |number: usize| format!("/owned-{number}");
    let site = start(&["gwg-updater"], |ground| {
        let say = |to: &str, bytes: &[u8]| format!("owned/say,to={to},bytes={}", hexadecimal(bytes));
        let owned = attacks.iter().enumerate().map(|(number, (_, to, bytes))| ground.repo_at(&path(number)).set("label", say(to, bytes)));
        [ground.repo()].into_iter().chain(owned).collect()
    });
    let supervisor = site.gateway.process().pid();
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    for (number, (name, ..)) in attacks.iter().enumerate() {
        println!("{name}");
        let path = path(number);
        wait::until_true("an updater of that repository is named by a violation", || {
            let records = records(&site);
            let of_it = records.iter().filter(|record| record.is("process.start", &[("role", "gwg-updater"), ("repo", &path)]));
            of_it.map(|start| start.get("pid").unwrap()).any(|pid| {
                records.iter().any(|record| record.is("confinement.violation", &[("by", "gwg"), ("role", "gwg-updater"), ("pid", pid)]))
            })
        });
        wait::until_true("its update has failed", || {
            records(&site).iter().any(|record| record.is("update.failed", &[("repo", &path), ("reason", "crashed")]))
        });
    }
    let commit = site.deploy(&[("README", "second\n")]);
    assert_nobody_speaks_for_another(&site, supervisor);
    let is_recorded = || records(&site).iter().any(|record| record.is("update.ok", &[("repo", PATH), ("new", &commit)]));
    wait::until_true("the honest one's update is recorded", is_recorded);
    let all = records(&site);
    let mut deployed = all.iter().filter(|record| record.name == "update.ok" || record.name == "update.noop");
    assert!(deployed.all(|record| record.get("repo") == Some(PATH)), "an owned updater's tree is told to be deployed");
}
