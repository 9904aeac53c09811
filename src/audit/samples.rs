//! One event of each kind, with each field, and random texts: for tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::delivery::{Claim, Ignored, Rejected};
use super::event::{Child, Delivery, End, Event, Hook, Level, Sink, Summary, Update, Violation};
use super::prune::{Kept, Pruned};
use super::update::{Cause, Failure, Reason, Step};
use crate::ids::{CommitId, DeliveryId, UpdateId};

/// At least one for each row of the table, so that each field is in one.
pub fn all() -> Vec<Event> {
    let commit = CommitId::from_bytes([0xab; 20]);
    let id = DeliveryId::from_uuid("72d3162e-cc78-11e3-81ab-4c9367dc0958");
    let number = UpdateId::read("660dc3778d001").unwrap();
    let repo = || "/hooks/site".to_owned();
    let delivery = || Delivery { source: "2001:db8::1".parse().unwrap(), repo: Some(repo()), id, bytes: 7423, micros: 811 };
    let update = || Update { repo: repo(), update: number, cause: Cause::Delivery, delivery: id };
    let hook = || Hook { repo: repo(), update: number, on: "success", old: None, new: Some(commit), attempt: 1, pid: 4712, uid: 1000 };
    let child = |role| Child { role, pid: 4711, repo: Some(repo()) };
    let end = |old, forced| Event::UpdateEnd { update: update(), old, new: commit, forced, triggered: true, bytes: 812, ms: 93 };
    let exit = |end| Event::ProcessExit { child: child("gwg-worker"), end, uptime_s: 60, wait_s: Some(1) };
    let level = Level {
        uid: "64003".into(),
        gid: "64003".into(),
        capabilities: "none".into(),
        no_new_privs: "1".into(),
        seccomp: "2".into(),
        landlock: 6,
        network: "own".into(),
        mac: Some("gwg-listener (enforce)".into()),
        missing: vec!["landlock"],
    };
    vec![
        Event::DeliveryAccepted {
            delivery: delivery(),
            announced: Some(commit),
            coalesced: false,
            update: Some(number),
            pusher: Claim::of("ada-f"),
        },
        Event::DeliveryIgnored { delivery: delivery(), reason: Ignored::Ping },
        Event::DeliveryRejected { delivery: delivery(), reason: Rejected::BadSignature },
        Event::RejectSummary(Summary { reason: Rejected::BadSignature, count: 9_990, sources: 3, window_ms: 5_000 }),
        Event::UpdateStart(update()),
        end(Some(CommitId::from_bytes([1; 20])), true),
        end(Some(commit), false),
        Event::UpdateAwaits { update: update(), new: commit, announced: commit, attempt: 1, next_ms: 1000 },
        Event::UpdateFailed {
            update: update(),
            failure: Failure { step: Step::Fetch, reason: Reason::HostKey },
            attempt: 1,
            last: false,
            next_ms: 1000,
            ms: 70,
        },
        Event::HostKeyRefused {
            repo: repo(),
            host: "[git.example.org]:2222".into(),
            key_type: "ssh-ed25519",
            fingerprint: "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU".into(),
        },
        Event::TriggerTouched { repo: repo(), update: number, commit },
        Event::HookStart { hook: hook(), own_pids: true, landlock: 0 },
        Event::HookEnd { hook: hook(), end: End::Exit(1), ms: 5 },
        Event::HookEnd { hook: hook(), end: End::Signal(9), ms: 5 },
        Event::HookFailed { update: update(), new: commit, attempt: 1, last: false, next_ms: 1000 },
        Event::TreePruned { repo: repo(), directory: "/srv/old".into(), pruned: Pruned::Deleted },
        Event::TreePruned { repo: repo(), directory: "/srv/old".into(), pruned: Pruned::Kept(Kept::Changed) },
        Event::ConfigLoaded {
            file: "/etc/gwg/config.yaml".into(),
            generation: 1,
            cause: "start",
            added: 3,
            removed: 0,
            changed: 0,
            repos: 3,
            listen: "[::]:5555".parse().unwrap(),
        },
        Event::ConfigRejected {
            file: Some("/etc/gwg/config.yaml".into()),
            line: Some(12),
            key: Some("repos[0].lable".into()),
            reason: "there is no such key".into(),
        },
        Event::ProcessStart { child: child("gwg-updater"), uid: 64001 },
        exit(End::Exit(0)),
        exit(End::Signal(9)),
        Event::ProcessThrottled { role: "gwg-worker", wait_s: 8, not_started: None },
        Event::ConfinementLevel { child: child("gwg-listener"), level },
        Event::ConfinementViolation { child: child("gwg-listener"), kind: Violation::Record, detail: "a malformed message" },
        Event::ReconcileStart { cause: "start", repos: 3 },
        Event::ReconcileEnd { cause: "start", repos: 3, behind: 1, failed: 1, ms: 900 },
        Event::LogGap { lost: 12, cause: Sink::Syslog },
        Event::ServiceStart { chain: Some("0".repeat(64)) },
        Event::ServiceUpgrade { from: "0.0.9".into(), chain: Some("0".repeat(64)) },
        Event::ServiceReady { listen: "[::]:5555".parse().unwrap(), repos: 3 },
        Event::ServiceStop { signal: "SIGTERM" },
    ]
}

/// Fills each text of the event that is not a word of gwg's own with what would break out of a record. Gives the
/// texts, by the names of their fields.
pub fn poison(event: &mut Event, random: &mut Random) -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    let mut fill = |name, text: &mut String| {
        *text = random.text();
        texts.push((name, text.clone()));
    };
    match event {
        Event::DeliveryAccepted { delivery, pusher, .. } => {
            of_request(delivery, &mut fill);
            let mut claimed = "ada".to_owned();
            fill("claimed_pusher", &mut claimed);
            *pusher = Claim::of(&claimed);
        }
        Event::DeliveryIgnored { delivery, .. } | Event::DeliveryRejected { delivery, .. } => of_request(delivery, &mut fill),
        Event::UpdateStart(update)
        | Event::UpdateEnd { update, .. }
        | Event::UpdateAwaits { update, .. }
        | Event::UpdateFailed { update, .. }
        | Event::HookFailed { update, .. } => fill("repo", &mut update.repo),
        Event::HostKeyRefused { repo, host, fingerprint, .. } => {
            [("repo", repo), ("host", host), ("fingerprint", fingerprint)].into_iter().for_each(|(name, text)| fill(name, text));
        }
        Event::TriggerTouched { repo, .. } => fill("repo", repo),
        Event::HookStart { hook, .. } | Event::HookEnd { hook, .. } => fill("repo", &mut hook.repo),
        Event::TreePruned { repo, directory, .. } => {
            fill("repo", repo);
            fill("directory", directory);
        }
        Event::ConfigLoaded { file, .. } => fill("file", file),
        Event::ConfigRejected { file, key, reason, .. } => {
            file.iter_mut().for_each(|file| fill("file", file));
            key.iter_mut().for_each(|key| fill("key", key));
            fill("reason", reason);
        }
        Event::ProcessStart { child, .. } | Event::ProcessExit { child, .. } => child.repo.iter_mut().for_each(|repo| fill("repo", repo)),
        Event::ConfinementLevel { level: Level { uid, gid, capabilities, no_new_privs, seccomp, network, mac, .. }, .. } => {
            let mut of_log_only = |text: &mut String| fill("gid", text);
            of_log_only(gid);
            let rest = [("uid", uid), ("caps", capabilities), ("no_new_privs", no_new_privs), ("seccomp", seccomp), ("network", network)];
            rest.into_iter().for_each(|(name, text)| fill(name, text));
            mac.iter_mut().for_each(|mac| fill("mac", mac));
        }
        Event::ServiceStart { chain } => chain.iter_mut().for_each(|chain| fill("chain", chain)),
        Event::ServiceUpgrade { from, chain } => {
            fill("from", from);
            chain.iter_mut().for_each(|chain| fill("chain", chain));
        }
        Event::ProcessThrottled { not_started, .. } => {
            not_started.iter_mut().for_each(|error| fill("error", error));
        }
        // Words of gwg's own, and numbers.
        Event::RejectSummary(_)
        | Event::ConfinementViolation { .. }
        | Event::ReconcileStart { .. }
        | Event::ReconcileEnd { .. }
        | Event::LogGap { .. }
        | Event::ServiceReady { .. }
        | Event::ServiceStop { .. } => {}
    }
    texts
}

fn of_request(delivery: &mut Delivery, fill: &mut impl FnMut(&'static str, &mut String)) {
    delivery.repo.iter_mut().for_each(|repo| fill("repo", repo));
    let mut header = String::new();
    fill("header", &mut header);
    // What is no UUID is none: no letter of it gets any further.
    delivery.id = DeliveryId::from_uuid(&header).or(delivery.id);
}

/// Numbers that are the same in each run: splitmix64.
pub struct Random(u64);

impl Random {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % bound
    }

    /// The same as a text. One letter at least.
    pub fn text(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.hostile()).into_owned();
        if text.is_empty() { "\"".to_owned() } else { text }
    }

    /// A text made of what might break out of a record, and of bytes at random.
    pub fn hostile(&mut self) -> Vec<u8> {
        const PIECES: &[&[u8]] = &[
            b"\"",
            b"\\",
            b"]",
            b"[",
            b"\n",
            b"\r\n",
            b"\0",
            b"\x1b[2J",
            b" ",
            b"=",
            b"\\\"",
            b"\\x0a",
            b"\xc2\x9b",
            b"\xff",
            b"\xef\xbb\xbf",
            b"\"] gwg forged",
            b"\" repo=\"/other",
            b"\n<86>1 - - gwg - delivery.accepted - ",
            b"%0a",
            b"plain",
            b"\",\"hash\":\"",
            b"}\n{",
            b"\xf0\x9f\x92\xa9",
        ];
        let mut text = Vec::new();
        for _ in 0..self.below(24) {
            if self.below(4) == 0 {
                text.push(self.below(256) as u8);
            } else {
                text.extend_from_slice(PIECES[self.below(PIECES.len() as u64) as usize]);
            }
        }
        text
    }
}
