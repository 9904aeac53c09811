//! Events as lines of the log: one line each, in the same words everywhere. The audit record of the
//! same event has the same number. Runs in the supervisor.

use crate::audit::Pruned;
use crate::audit::event::{Child, Delivery, End, Event, Hook, Level, Summary, Update};
use crate::audit::record::Entry;
use crate::ids::{CommitId, ShortId};
use std::fmt;
use tracing::{debug, error, info, warn};

/// Writes the line of an event.
pub fn write(entry: &Entry) {
    let Entry { seq, event, by_pid, .. } = entry;
    match event {
        Event::DeliveryAccepted { .. } | Event::DeliveryIgnored { .. } | Event::DeliveryRejected { .. } => delivery(*seq, event),
        Event::RejectSummary(Summary { reason, count, sources, window_ms }) => {
            warn!(reason = %reason.word(), count, sources, window_ms, seq, "deliveries rejected");
        }
        Event::UpdateStart(_) | Event::UpdateEnd { .. } | Event::UpdateAwaits { .. } | Event::UpdateFailed { .. } => update(*seq, event),
        Event::HostKeyRefused { repo, host, key_type, fingerprint } => {
            error!(%repo, %host, %key_type, %fingerprint, seq, "host key refused");
        }
        Event::TriggerTouched { repo, update, commit } => debug!(%repo, %update, commit = %commit.short(), seq, "trigger touched"),
        Event::HookStart { .. } | Event::HookEnd { .. } | Event::HookFailed { .. } => hook(*seq, event),
        Event::TreePruned { repo, directory, pruned } => match pruned {
            Pruned::Kept(kept) => info!(%repo, %directory, reason = %kept.word(), seq, "a work tree that is no longer configured is kept"),
            Pruned::Unchanged | Pruned::Deleted | Pruned::Emptied | Pruned::Missing => {
                info!(%repo, %directory, result = %pruned.word(), seq, "a work tree that is no longer configured is pruned");
            }
        },
        Event::ConfigLoaded { file, generation, cause, added, removed, changed, repos, listen } => {
            info!(generation, %cause, added, removed, changed, repos, %listen, %file, seq, "config loaded");
        }
        Event::ConfigRejected { file, line, key, reason } => error!(file, line, key, %reason, seq, "config refused"),
        Event::ProcessStart { .. } | Event::ProcessExit { .. } | Event::ProcessThrottled { .. } => process(*seq, event),
        Event::ConfinementLevel { child: Child { role, pid, .. }, level } => confined(*seq, role, *pid, level),
        Event::ConfinementViolation { child: Child { role, pid, .. }, kind, detail } => {
            error!(%role, pid, kind = %kind.word(), detail, seq, "confinement violation; the process is ended");
        }
        Event::ReconcileStart { cause, repos } => info!(%cause, repos, seq, "reconcile started"),
        Event::ReconcileEnd { cause, repos, behind, failed, ms } => info!(%cause, repos, behind, failed, ms, seq, "reconcile ended"),
        Event::LogGap { lost, cause } => warn!(lost, cause = %cause.word(), seq, "events were lost"),
        Event::ServiceStart { .. } => info!(version = %env!("CARGO_PKG_VERSION"), pid = by_pid, seq, "starting"),
        Event::ServiceUpgrade { from, .. } => info!(version = %env!("CARGO_PKG_VERSION"), %from, pid = by_pid, seq, "upgraded in place"),
        Event::ServiceReady { listen, repos } => {
            info!(%listen, repos, version = %env!("CARGO_PKG_VERSION"), pid = by_pid, seq, "ready");
        }
        Event::ServiceStop { signal } => info!(%signal, seq, "stopping"),
    }
}

fn delivery(seq: u64, event: &Event) {
    let shown = |delivery: &Delivery| (delivery.repo.clone().unwrap_or_else(|| "-".into()), OrDash(delivery.id));
    match event {
        Event::DeliveryAccepted { delivery: of @ Delivery { source, bytes, micros, .. }, announced, coalesced, update, pusher } => {
            let ((repo, delivery), announced, update, claimed_pusher) =
                (shown(of), short(*announced), OrDash(*update), OrDash(pusher.as_ref()));
            info!(%repo, %source, %delivery, %update, %claimed_pusher, %announced, coalesced, bytes, us = micros, seq, "delivery accepted");
        }
        Event::DeliveryIgnored { delivery: of @ Delivery { source, bytes, micros, .. }, reason } => {
            let (repo, delivery) = shown(of);
            info!(%repo, reason = %reason.word(), %source, %delivery, bytes, us = micros, seq, "delivery ignored");
        }
        Event::DeliveryRejected { delivery: of @ Delivery { source, bytes, micros, .. }, reason } => {
            let (repo, delivery) = shown(of);
            let (status, reason) = (reason.status(), reason.word());
            warn!(%repo, %reason, status, %source, %delivery, bytes, us = micros, seq, "delivery rejected");
        }
        _ => {}
    }
}

fn update(seq: u64, event: &Event) {
    let shown = |update: &Update| (update.repo.clone(), update.update, update.cause.word(), OrDash(update.delivery));
    match event {
        Event::UpdateStart(of) => {
            let (repo, update, cause, delivery) = shown(of);
            info!(%repo, %update, %cause, %delivery, seq, "update started");
        }
        Event::UpdateEnd { update: of, old, new, triggered, ms, .. } if *old == Some(*new) => {
            let ((repo, update, cause, delivery), new) = (shown(of), new.short());
            info!(%repo, %update, %cause, %delivery, %new, triggered, ms, seq, "update ok, nothing new");
        }
        Event::UpdateEnd { update: of, old, new, forced, triggered, bytes, ms } => {
            let ((repo, update, cause, delivery), old, new) = (shown(of), short(*old), new.short());
            info!(%repo, %update, %cause, %delivery, %old, %new, forced, triggered, bytes, ms, seq, "update ok");
        }
        Event::UpdateAwaits { update: of, new, announced, attempt, next_ms } => {
            let ((repo, update, cause, delivery), announced, new) = (shown(of), announced.short(), new.short());
            warn!(%repo, %update, %cause, %delivery, %announced, %new, attempt, next_ms, seq, "announced commit not seen");
        }
        Event::UpdateFailed { update: of, failure, attempt, last, next_ms, ms } => {
            let ((repo, update, cause, delivery), step, reason) = (shown(of), failure.step.word(), failure.reason.word());
            if *last {
                error!(%repo, %update, %cause, %delivery, %step, %reason, attempt, next_ms, ms, seq, "update failed; its tries are used up, and it is tried slowly from now on");
            } else {
                warn!(%repo, %update, %cause, %delivery, %step, %reason, attempt, next_ms, ms, seq, "update failed");
            }
        }
        _ => {}
    }
}

fn hook(seq: u64, event: &Event) {
    match event {
        Event::HookStart { hook: Hook { repo, update, on, old, new, attempt, pid, uid }, own_pids, landlock } => {
            let (old, new, pids) = (short(*old), short(*new), if *own_pids { "own" } else { "shared" });
            info!(%repo, %update, %on, %old, %new, attempt, pid, uid, %pids, landlock, seq, "hook started");
        }
        Event::HookEnd { hook: Hook { repo, update, on, new, attempt, pid, .. }, end: End::Exit(0), ms } => {
            info!(%repo, %update, %on, new = %short(*new), attempt, pid, how = %How(End::Exit(0)), ms, seq, "hook ended");
        }
        Event::HookEnd { hook: Hook { repo, update, on, new, attempt, pid, .. }, end, ms } => {
            warn!(%repo, %update, %on, new = %short(*new), attempt, pid, how = %How(*end), ms, seq, "hook ended badly");
        }
        Event::HookFailed { update, new, attempt, last, next_ms } => {
            let (repo, cause, delivery, new) = (&update.repo, update.cause.word(), OrDash(update.delivery), new.short());
            let update = update.update;
            if *last {
                error!(%repo, %update, %cause, %delivery, %new, attempt, seq, "hook failed; its tries are used up, and it is not tried again for this commit");
            } else {
                warn!(%repo, %update, %cause, %delivery, %new, attempt, next_ms, seq, "hook failed; it is tried again");
            }
        }
        _ => {}
    }
}

fn process(seq: u64, event: &Event) {
    match event {
        // One for each update: the update's own lines say as much.
        Event::ProcessStart { child: Child { role, pid, repo: Some(repo) }, uid } => debug!(%role, pid, uid, %repo, seq, "process started"),
        Event::ProcessStart { child: Child { role, pid, repo: None }, uid } => info!(%role, pid, uid, seq, "process started"),
        Event::ProcessExit { child: Child { role, pid, repo: Some(repo) }, end, uptime_s, .. } => {
            debug!(%role, pid, how = %How(*end), uptime_s, %repo, seq, "process ended");
        }
        Event::ProcessExit { child: Child { role, pid, .. }, end, uptime_s, wait_s: Some(wait_s) } => {
            warn!(%role, pid, how = %How(*end), uptime_s, wait_s, seq, "process died; it is started again");
        }
        Event::ProcessExit { child: Child { role, pid, .. }, end, uptime_s, wait_s: None } => {
            info!(%role, pid, how = %How(*end), uptime_s, seq, "process ended");
        }
        Event::ProcessThrottled { role, wait_s, not_started: Some(error) } => {
            error!(%role, wait_s, %error, seq, "process could not be started");
        }
        Event::ProcessThrottled { role, wait_s, not_started: None } => warn!(%role, wait_s, seq, "the next start waits"),
        _ => {}
    }
}

fn confined(seq: u64, role: &str, pid: u32, level: &Level) {
    let Level { uid, gid, capabilities, no_new_privs, seccomp, landlock, network, mac, missing } = level;
    let mac = OrDash(mac.as_ref());
    info!(%role, pid, %uid, %gid, %capabilities, %no_new_privs, %seccomp, landlock, %network, %mac, seq, "process confined");
    if !missing.is_empty() {
        error!(%role, pid, missing = %missing.join(", "), seq, "a layer of the confinement is missing");
    }
}

struct How(End);

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            End::Exit(code) => write!(f, "exit {code}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
            End::Deadline => f.write_str("deadline"),
            End::Unknown => f.write_str("unknown"),
            End::NotStarted => f.write_str("not started"),
        }
    }
}

fn short(commit: Option<CommitId>) -> OrDash<ShortId> {
    OrDash(commit.map(|commit| commit.short()))
}

/// What there is, or a dash; written straight into the line.
struct OrDash<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::samples::{self, Random};
    use crate::config::LogFormat;
    use crate::supervisor::{journal, log};
    use serde_json::{Map, Value};
    use std::time::SystemTime;

    const SEED: u64 = 0x6777_6701;
    /// Poisoned texts in each format.
    const TEXTS: usize = 100_000;

    fn line(event: Event) {
        write(&Entry { seq: 7, when: SystemTime::now(), by: "gwg", by_pid: 1, event });
    }

    /// Each kind of event in turn, with poison in it: one line each, and of one line only.
    fn each(format: LogFormat, mut judge: impl FnMut(&str, &Event, &str)) {
        let (samples, mut random) = (samples::all(), Random::new(SEED));
        let mut texts = 0;
        log::tests::written(format, |taken| {
            for round in 0.. {
                let mut event = samples[round % samples.len()].clone();
                texts += samples::poison(&mut event, &mut random).len();
                let at = format!("seed {SEED:#x}, round {round}");
                line(event.clone());
                let said = taken();
                for one in said.split_inclusive('\n') {
                    let body = one.strip_suffix('\n').unwrap_or_else(|| panic!("{at}: no end: {said:?}"));
                    assert!(body.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{at}: {said:?}");
                }
                // A level that has not all its layers is told in a second line.
                let lines = if matches!(event, Event::ConfinementLevel { .. }) { 2 } else { 1 };
                assert_eq!(said.lines().count(), lines, "{at}: {said:?}");
                judge(&at, &samples[round % samples.len()], &said);
                if texts >= TEXTS {
                    return;
                }
            }
        });
    }

    #[test]
    fn no_text_in_any_event_forges_a_line_of_the_log() {
        each(LogFormat::Text, |at, _, said| {
            for one in said.lines() {
                let level = one.split_whitespace().nth(1).unwrap();
                assert!(one.starts_with("20") && ["ERROR", "WARN", "INFO", "DEBUG"].contains(&level), "{at}: {one}");
            }
        });
    }

    #[test]
    fn no_text_in_any_event_forges_a_line_or_a_field_of_the_log_as_json() {
        let names = |said: &str| {
            let of = |one: &str| serde_json::from_str::<Map<String, Value>>(one).unwrap().into_iter().map(|(name, _)| name).collect();
            said.lines().map(of).collect::<Vec<Vec<String>>>()
        };
        let mut honest = Vec::new();
        log::tests::written(LogFormat::Json, |taken| {
            for event in samples::all() {
                line(event.clone());
                honest.push((event, names(&taken())));
            }
        });
        each(LogFormat::Json, |at, benign, said| {
            let (_, expected) = honest.iter().find(|(event, _)| event == benign).unwrap();
            assert_eq!(&names(said), expected, "{at}: {said}");
        });
    }

    /// What git, a hook, or a child that somebody owns writes to its output, as it comes out of the pipe.
    #[test]
    fn nothing_that_a_child_writes_forges_a_line_or_a_field_of_the_log() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let mut random = Random::new(SEED);
            log::tests::written(format, |taken| {
                for round in 0..TEXTS / 2 {
                    let bytes = random.hostile();
                    let lines = crate::supervisor::output::tests::lines(&[&bytes]);
                    for line in &lines {
                        journal::child_said(crate::confine::Role::Updater, 12, Some("/hooks/site"), line);
                        journal::hook_said(13, "/hooks/site", line);
                    }
                    let said = taken();
                    let at = format!("seed {SEED:#x}, round {round}: {said:?}");
                    assert_eq!(said.lines().count(), 2 * lines.len(), "{at}");
                    for (place, one) in said.lines().enumerate() {
                        assert!(one.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{at}");
                        let speaker = ["gwg-updater[12]: ", "gwg-hook[13]: "][place % 2];
                        let whole = format!("{speaker}{}", lines[place / 2]);
                        match format {
                            LogFormat::Text => assert!(one.contains(&format!(" {whole}")), "{at}"),
                            LogFormat::Json => {
                                let object: Map<String, Value> = serde_json::from_str(one).unwrap();
                                assert_eq!((object.len(), object["message"].as_str()), (4, Some(whole.as_str())), "{at}");
                            }
                        }
                    }
                }
            });
        }
    }
}
