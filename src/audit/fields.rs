//! An event as names and values, in the order of its row of the table: what both the syslog record and
//! the line of the audit file are made of. Pure. Runs in the supervisor.

use super::delivery::{Claim, Ignored};
use super::event::{Child, Delivery, End, Event, Hook, Level, Summary, Update};
use super::prune::Pruned;
use super::text;
use std::fmt::Display;

/// Bytes of the longest text.
pub const VALUE: usize = 128;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Printable ASCII, at most [`VALUE`] bytes.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

/// Names and values.
#[derive(Debug, Default)]
pub struct Fields(pub Vec<(&'static str, Value)>);

impl Fields {
    /// Those of an event.
    pub fn of(event: &Event) -> Self {
        let mut fields = Self::default();
        fields.add(event);
        fields
    }

    fn text(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.0.push((name, Value::Text(text::bounded(value.to_string().as_bytes(), VALUE))));
        self
    }

    fn maybe(&mut self, name: &'static str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// What is escaped and bounded already.
    fn claim(&mut self, name: &'static str, claim: Option<&Claim>) -> &mut Self {
        self.0.extend(claim.map(|claim| (name, Value::Text(claim.words().to_owned()))));
        self
    }

    fn number(&mut self, name: &'static str, value: impl Into<u64>) -> &mut Self {
        self.0.push((name, Value::Number(value.into())));
        self
    }

    fn flag(&mut self, name: &'static str, value: bool) -> &mut Self {
        self.0.push((name, Value::Flag(value)));
        self
    }

    fn add(&mut self, event: &Event) {
        match event {
            Event::DeliveryAccepted { delivery, announced, coalesced, update, pusher } => {
                self.delivery(delivery, "push").maybe("update", *update).claim("claimed_pusher", pusher.as_ref());
                self.maybe("announced", *announced).number("bytes", delivery.bytes);
                self.number("us", delivery.micros).flag("coalesced", *coalesced);
            }
            Event::DeliveryIgnored { delivery, reason } => {
                self.delivery(delivery, event_of(*reason)).text("reason", reason.word());
            }
            Event::DeliveryRejected { delivery, reason } => {
                self.text("src", delivery.source).maybe("repo", delivery.repo.as_ref());
                self.number("status", reason.status()).text("reason", reason.word());
            }
            Event::RejectSummary(Summary { reason, count, sources, window_ms }) => {
                self.text("reason", reason.word()).number("count", *count).number("sources", *sources).number("window_ms", *window_ms);
            }
            Event::UpdateStart(update) => {
                self.update(update);
            }
            Event::UpdateEnd { .. } => self.update_end(event),
            Event::UpdateAwaits { update, new, announced, attempt, next_ms } => {
                self.update(update).text("new", new).text("announced", announced);
                self.number("attempt", *attempt).number("next_ms", *next_ms);
            }
            Event::UpdateFailed { update, failure, attempt, last: _, next_ms, ms } => {
                self.update(update).text("step", failure.step.word()).text("reason", failure.reason.word());
                self.number("attempt", *attempt).number("next_ms", *next_ms).number("ms", *ms);
            }
            Event::HostKeyRefused { repo, host, key_type, fingerprint } => {
                self.text("repo", repo).text("host", host).text("key_type", key_type).text("fingerprint", fingerprint);
            }
            Event::TriggerTouched { repo, update, commit } => {
                self.text("repo", repo).text("update", update).text("commit", commit);
            }
            Event::HookStart { hook, own_pids: _, landlock: _ } => {
                self.hook(hook);
            }
            Event::HookEnd { hook, end, ms } => {
                self.hook(hook).end(*end).number("ms", *ms);
            }
            Event::HookFailed { update, new, attempt, last: _, next_ms } => {
                self.update(update).text("new", new).number("attempt", *attempt).number("next_ms", *next_ms);
            }
            Event::TreePruned { repo, directory, pruned } => {
                let reason = match pruned {
                    Pruned::Kept(kept) => Some(kept.word()),
                    Pruned::Unchanged | Pruned::Deleted | Pruned::Emptied | Pruned::Missing => None,
                };
                self.text("repo", repo).text("directory", directory).text("result", pruned.word()).maybe("reason", reason);
            }
            Event::ConfigLoaded { file, generation, cause, added, removed, changed, repos, listen } => {
                self.text("file", file).number("generation", *generation).text("cause", cause);
                self.number("added", *added).number("removed", *removed).number("changed", *changed);
                self.number("repos", *repos).text("listen", listen);
            }
            Event::ConfigRejected { file, line, key, reason } => {
                self.maybe("file", file.as_ref()).maybe("line", *line).maybe("key", key.as_ref()).text("reason", reason);
            }
            Event::ProcessStart { child, uid } => {
                self.child(child).number("uid", *uid).maybe("repo", child.repo.as_ref());
            }
            Event::ProcessExit { child, end, uptime_s, wait_s } => {
                self.child(child).maybe("repo", child.repo.as_ref()).end(*end).number("uptime_s", *uptime_s).maybe("wait_s", *wait_s);
            }
            Event::ProcessThrottled { role, wait_s, not_started } => {
                let reason = if not_started.is_some() { "not_started" } else { "crashes" };
                self.text("role", role).number("wait_s", *wait_s).text("reason", reason);
            }
            Event::ConfinementLevel { child, level } => self.child(child).level(level),
            Event::ConfinementViolation { child, kind, detail } => {
                self.child(child).text("kind", kind.word()).text("detail", detail);
            }
            Event::ReconcileStart { cause, repos } => {
                self.text("cause", cause).number("repos", *repos);
            }
            Event::ReconcileEnd { cause, repos, behind, failed, ms } => {
                self.text("cause", cause).number("repos", *repos).number("behind", *behind).number("failed", *failed).number("ms", *ms);
            }
            Event::LogGap { lost, cause } => {
                self.number("lost", *lost).text("cause", cause.word());
            }
            Event::ServiceStart { chain } => self.build(chain.as_ref()),
            Event::ServiceUpgrade { from, chain } => {
                self.text("from", from);
                self.build(chain.as_ref());
            }
            Event::ServiceReady { listen, repos } => {
                self.service().text("listen", listen).number("repos", *repos);
            }
            Event::ServiceStop { signal } => {
                self.service().text("signal", signal);
            }
        }
    }

    fn delivery(&mut self, delivery: &Delivery, event: &'static str) -> &mut Self {
        self.text("src", delivery.source).maybe("repo", delivery.repo.as_ref()).text("event", event).maybe("delivery", delivery.id)
    }

    fn update(&mut self, update: &Update) -> &mut Self {
        self.text("repo", &update.repo).text("update", update.update).text("cause", update.cause.word()).maybe("delivery", update.delivery)
    }

    fn update_end(&mut self, event: &Event) {
        let Event::UpdateEnd { update, old, new, forced, triggered: _, bytes, ms } = event else { return };
        self.update(update);
        if *old == Some(*new) {
            self.text("new", new);
        } else {
            self.maybe("old", *old).text("new", new).flag("forced", *forced).number("bytes", *bytes);
        }
        self.number("ms", *ms);
    }

    fn child(&mut self, child: &Child) -> &mut Self {
        self.text("role", child.role).number("pid", child.pid)
    }

    fn hook(&mut self, hook: &Hook) -> &mut Self {
        let Hook { repo, update, on, old, new, attempt, pid: _, uid } = hook;
        self.text("repo", repo)
            .text("update", update)
            .text("on", on)
            .maybe("commit", new.or(*old))
            .number("attempt", *attempt)
            .number("uid", *uid)
    }

    fn end(&mut self, end: End) -> &mut Self {
        match end {
            End::Exit(status) => self.text("exit", status),
            End::Signal(signal) => self.text("signal", signal),
            End::Deadline => self.text("signal", "deadline"),
            End::Unknown => self.text("signal", "unknown"),
            End::NotStarted => self.text("exit", "not started"),
        }
    }

    fn level(&mut self, level: &Level) {
        self.text("uid", &level.uid).text("caps", &level.capabilities).text("no_new_privs", &level.no_new_privs);
        self.number("landlock", level.landlock).text("seccomp", &level.seccomp).text("network", &level.network);
        self.maybe("mac", level.mac.as_ref());
        if !level.missing.is_empty() {
            self.text("missing", level.missing.join(" "));
        }
    }

    /// What this is, and where the audit file's chain goes on.
    fn build(&mut self, chain: Option<&String>) {
        self.text("version", env!("CARGO_PKG_VERSION"));
        for (name, version) in linked() {
            self.text(name, version);
        }
        self.number("pid", std::process::id()).maybe("chain", chain);
    }

    fn service(&mut self) -> &mut Self {
        self.text("version", env!("CARGO_PKG_VERSION")).number("pid", std::process::id())
    }
}

/// The forge's event, as far as the listener tells it.
const fn event_of(reason: Ignored) -> &'static str {
    match reason {
        Ignored::Ping => "ping",
        Ignored::OtherEvent => "other",
        Ignored::OtherRef | Ignored::OtherRepository | Ignored::Deleted | Ignored::Gone => "push",
    }
}

/// What the executables are linked with, as build.rs found it: names in lower case, and versions.
fn linked() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |name: &'static str, shown: &str| {
        let all = env!("GWG_LINKED").split(", ");
        all.filter_map(|one| one.split_once(' ')).find(|(found, _)| *found == shown).map(|(_, version)| (name, version))
    };
    [of("libgit2", "libgit2"), of("libssh2", "libssh2-sys"), of("openssl", "OpenSSL")].into_iter().flatten()
}
