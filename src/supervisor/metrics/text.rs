//! The figures as text, in Prometheus' exposition format 0.0.4. Pure.

use crate::ids::Moment;
use crate::ids::RepoId;
use crate::supervisor::control::{Histogram, Ledger, Premises};
use crate::wire::worker::{Fact, Standing};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::Instant;

/// Every metric: its name, its kind, and what it tells. The dashboard and the alert rules name no others.
pub const METRICS: [(&str, &str, &str); 18] = [
    ("gwg_build_info", "gauge", "The running version; always 1."),
    ("gwg_start_time_seconds", "gauge", "When the gateway started, in seconds since 1970."),
    ("gwg_repos", "gauge", "Configured repositories."),
    ("gwg_deliveries_total", "counter", "Requests that were answered, by result and reason."),
    ("gwg_delivery_seconds", "histogram", "From the end of a request's header to its answer."),
    ("gwg_updates_total", "counter", "Updates that ended, by result and reason."),
    ("gwg_update_seconds", "histogram", "From an update's order to its end."),
    ("gwg_received_bytes_total", "counter", "Bytes received from remotes by updates that ended well."),
    ("gwg_worker_up", "gauge", "1 where the worker answers."),
    ("gwg_due", "gauge", "Repositories that are due and not being updated."),
    ("gwg_updaters_running", "gauge", "Updates that run."),
    ("gwg_process_up", "gauge", "1 for each process that runs, by name."),
    ("gwg_process_restarts_total", "counter", "How often a process was started again."),
    ("gwg_process_confined", "gauge", "1 where the kernel says that this layer holds for this process."),
    ("gwg_repo_current_age_seconds", "gauge", "Seconds since the work tree was last proved to be at its remote's tip."),
    ("gwg_repo_failing_seconds", "gauge", "For how long every update has failed; 0 where the last one did not."),
    ("gwg_history_lost_total", "counter", "Records of the history that the disk did not take."),
    ("gwg_alert_after_seconds", "gauge", "For how long a repository may fail before /healthz says so."),
];

/// Lines of text.
struct Page(String);

impl Page {
    fn begin(&mut self, name: &str) {
        if let Some((_, kind, help)) = METRICS.iter().find(|(known, ..)| *known == name) {
            self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, value: impl Display) {
        self.begin(name);
        self.line(name, &[], value);
    }

    fn counts(&mut self, name: &str, counts: &BTreeMap<(&'static str, &'static str), u64>) {
        self.begin(name);
        for ((result, reason), count) in counts {
            self.line(name, &[("result", result), ("reason", reason)], count);
        }
    }

    fn histogram<const N: usize>(&mut self, name: &str, histogram: &Histogram<N>) {
        self.begin(name);
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.buckets() {
            self.line(&bucket, &[("le", &bound.to_string())], count);
        }
        self.line(&bucket, &[("le", "+Inf")], histogram.count);
        self.line(&format!("{name}_sum"), &[], histogram.sum);
        self.line(&format!("{name}_count"), &[], histogram.count);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The whole page.
pub fn render(ledger: &Ledger, premises: &Premises, facts: Option<&BTreeMap<RepoId, Fact>>) -> String {
    let mut page = Page(String::new());
    ledger.read(|pages| {
        page.begin("gwg_build_info");
        page.line("gwg_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.one("gwg_start_time_seconds", pages.since.millis() / 1000);
        page.one("gwg_repos", pages.book.len());
        page.counts("gwg_deliveries_total", &pages.tally.deliveries);
        page.histogram("gwg_delivery_seconds", &pages.tally.delivery_seconds);
        page.counts("gwg_updates_total", &pages.tally.updates);
        page.histogram("gwg_update_seconds", &pages.tally.update_seconds);
        page.one("gwg_received_bytes_total", pages.tally.received_bytes);
        page.one("gwg_history_lost_total", pages.history.lost());
        page.one("gwg_alert_after_seconds", pages.alert_after.as_secs());
        page.begin("gwg_process_restarts_total");
        for name in ["gwg-listener", "gwg-worker"] {
            page.line("gwg_process_restarts_total", &[("process", name)], pages.tally.restarts(name));
        }
        let (at, now) = (Moment::now(), Instant::now());
        page.begin("gwg_repo_current_age_seconds");
        for (name, age, _) in pages.book.ages(at, now) {
            // One that was never current has no age: absent, and not zero.
            if let Some(age) = age {
                page.line("gwg_repo_current_age_seconds", &[("repo", name)], age.as_secs());
            }
        }
        page.begin("gwg_repo_failing_seconds");
        for (name, _, failing) in pages.book.ages(at, now) {
            page.line("gwg_repo_failing_seconds", &[("repo", name)], failing.map_or(0, |time| time.as_secs()));
        }
    });
    page.one("gwg_worker_up", u8::from(facts.is_some()));
    if let Some(facts) = facts {
        let count = |wanted: fn(&Standing) -> bool| facts.values().filter(|fact| wanted(&fact.standing)).count();
        page.one("gwg_due", count(|standing| matches!(standing, Standing::Due { .. })));
        page.one("gwg_updaters_running", count(|standing| matches!(standing, Standing::Running { .. })));
    }
    processes(&mut page, premises);
    page.0
}

fn processes(page: &mut Page, premises: &Premises) {
    let lasting = || premises.processes.iter().filter(|process| process.repo.is_none());
    page.begin("gwg_process_up");
    for process in lasting() {
        page.line("gwg_process_up", &[("process", &process.name)], 1);
    }
    page.begin("gwg_process_confined");
    for process in lasting().filter(|process| process.name != "gwg") {
        let layers = [
            ("privileges", process.capabilities == "none" && process.no_new_privs == "1"),
            ("seccomp", process.seccomp == "2"),
            ("landlock", process.landlock.is_some_and(|version| version > 0)),
            ("network", process.network == "own"),
        ];
        for (layer, holds) in layers {
            page.line("gwg_process_confined", &[("process", &process.name), ("layer", layer)], u8::from(holds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_not_end_its_line() {
        let mut page = Page(String::new());
        page.line("x", &[("repo", "/a\"} 1\n\\")], 2);
        assert_eq!(page.0, "x{repo=\"/a\\\"} 1\\n\\\\\"} 2\n");
    }
}
