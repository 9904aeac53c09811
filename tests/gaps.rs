//! `log.gap`: whatever is lost on the way to the audit is counted, exactly, and told as soon as there is room again.
//! On the way to syslog: tests/audit.rs; for want of disk: tests/outputs.rs. Here: by a listener whose
//! supervisor hears nothing, and by a supervisor whose writing thread writes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use support::account::{self, FILE};
use support::config::SECRET;
use support::delivery::{Delivery, ZERO, answered, push_payload};
use support::flood::flood;
use support::processes::Process;
use support::site::{PATH, Site};
use support::syslog::Record;
use support::{need, wait};

fn records(site: &Site) -> Vec<Record> {
    let text = fs::read_to_string(account::file(&site.scratch)).unwrap();
    account::of_file(text.rfind('\n').map_or("", |end| &text[..=end]))
}

/// Waits until that loss is told, and what was lost before the last of it with it.
fn wait_for_gap(site: &Site, cause: &str) {
    wait::until_true("the loss is told", || records(site).iter().any(|record| record.is("log.gap", &[("cause", cause)])));
}

/// Ends the gateway, and holds its records against what was answered: gaps are the one thing that is missing.
fn assert_exact_with_gaps(site: &mut Site) {
    site.gateway.stop(Signal::SIGTERM);
    let records = records(site);
    assert!(records.iter().any(|record| record.name == "service.stop"), "records are missing at the end");
    account::assert_no_hole(&records, FILE);
    // Only requests are ever lost for want of room in the queue: all else has a quarter of it.
    let (told, lost, answered) = (account::told(&records), account::lost(&records, &["queue"]), answered(site.gateway.port()));
    assert_eq!(account::lost(&records, &["file", "syslog", "log"]), 0, "more was lost than this test is about");
    assert_eq!(
        told + lost,
        answered,
        "{told} told, of those {} by the listener's count, {lost} lost",
        account::lost(&records, &["listener"])
    );
    assert!(records.iter().filter(|record| record.name == "log.gap").all(|gap| gap.get("by") == Some("gwg") && gap.number("lost") > 0));
}

/// A push whose event is as long as they come.
fn long_push(site: &Site) -> Delivery {
    let repo = site.gateway.config().repo_at(PATH);
    let mut payload = push_payload(repo.text("url").unwrap(), &repo.ref_name(), ZERO, &site.remote.head());
    payload["pusher"] = json!({"name": "p".repeat(64)});
    Delivery::event(PATH, "push", &payload).sign(SECRET)
}

#[test]
fn f18_what_a_listener_can_t_hand_over_is_counted_to_the_last_request() {
    let mut site = Site::audited();
    let push = long_push(&site);
    let port = site.gateway.port();
    site.gateway.process().signal(Signal::SIGSTOP);
    // More than a link and the listener's own buffer hold; each is answered all the same.
    flood(port, &push, 202, 60_000);
    site.gateway.process().signal(Signal::SIGCONT);
    wait_for_gap(&site, "listener");
    site.deploy(&[("README", "awake\n")]);
    assert_exact_with_gaps(&mut site);
}

/// The one thread of that name, stopped while the others go on.
struct Stopped(Pid);

impl Stopped {
    fn thread(process: Process, name: &str) -> Self {
        let tasks = fs::read_dir(process.path("task")).unwrap().map(|task| task.unwrap().path());
        let mut named = tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == name);
        let task = named.next().unwrap_or_else(|| panic!("no thread {name}"));
        let task = Pid::from_raw(task.file_name().unwrap().to_str().unwrap().parse().unwrap());
        ptrace::seize(task, Options::empty()).unwrap();
        ptrace::interrupt(task).unwrap();
        waitpid(task, Some(WaitPidFlag::__WALL)).unwrap();
        Self(task)
    }

    fn go_on(self) {
        ptrace::detach(self.0, None).unwrap();
    }
}

#[test]
fn f18_what_a_full_queue_can_t_take_is_counted_and_is_never_but_requests() {
    let Some(()) = need::root() else { return };
    let mut site = Site::audited();
    let (port, push) = (site.gateway.port(), site.gateway.push(PATH, &site.remote.head()));
    let writer = Stopped::thread(site.gateway.process(), "audit");
    flood(port, &push, 202, 20_000);
    // Nothing waits for the audit, and what is no request still has room.
    let commit = site.deploy(&[("README", "nobody writes\n")]);
    writer.go_on();
    wait_for_gap(&site, "queue");
    site.deploy(&[("README", "awake\n")]);
    assert_exact_with_gaps(&mut site);
    let ok = records(&site).into_iter().filter(|record| record.is("update.ok", &[("repo", PATH), ("new", &commit)]));
    assert_eq!(ok.count(), 1, "what is no request was lost");
}
