//! Every event's name, facility, severity and fields: the one table, from which docs/audit-events.md is
//! generated. Runs in the supervisor.

/// Whom a record is for, as syslog sorts it (RFC 5424, 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    /// Decisions about strangers, and security.
    Authpriv,
    /// All else.
    Daemon,
    /// What `audit.facility` may say instead, for all records.
    Auth,
    /// See [`Facility::Auth`].
    User,
    /// `local0` to `local7`; the number is below eight.
    Local(u8),
}

impl Facility {
    /// What `audit.facility` may say.
    pub const WORDS: [&'static str; 12] =
        ["authpriv", "auth", "daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

    /// Reads one of [`WORDS`](Self::WORDS).
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "authpriv" => Some(Self::Authpriv),
            "daemon" => Some(Self::Daemon),
            "auth" => Some(Self::Auth),
            "user" => Some(Self::User),
            _ => word.strip_prefix("local")?.parse().ok().filter(|number| *number < 8).map(Self::Local),
        }
    }

    /// As syslog's configurations have it.
    pub fn word(self) -> &'static str {
        Self::WORDS.into_iter().find(|word| Self::of_word(word) == Some(self)).unwrap_or_default()
    }
}

/// How grave it is (RFC 5424, 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody must act at once.
    Alert,
    /// An attack, or what can be nothing else.
    Critical,
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Normal, and worth seeing.
    Notice,
    /// Normal.
    Info,
}

impl Severity {
    /// As syslog's configurations have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Critical => "crit",
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        }
    }
}

/// One kind of event.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// The MSGID.
    pub name: &'static str,
    /// Whom it is for.
    pub facility: Facility,
    /// How grave it is.
    pub severity: Severity,
    /// When it is written.
    pub when: &'static str,
    /// Its fields and what they say, in their order. One without a value is left out.
    pub fields: &'static [(&'static str, &'static str)],
}

/// The fields that every record begins with.
pub const STAMPS: &[(&str, &str)] = &[
    (
        "seq",
        "number of the event since `gwg` started, from 1, and on over `gwg upgrade`; a number that is missing was lost, and a `log.gap` counts it",
    ),
    ("by", "the process that said it; `gwg` itself stamps this, so that no child can speak for another"),
    ("by_pid", "that process's pid"),
];

const REPO: (&str, &str) = ("repo", "the repository, by its configured `path`");
const UPDATE: (&str, &str) = (
    "update",
    "the update's number: it answers each delivery of its repository whose `update` is not above its own; tries after a failure have the same",
);
const DELIVERY: (&str, &str) = ("delivery", "the forge's id of the delivery (not signed: a name, and no proof)");
const SRC: (&str, &str) = ("src", "the client's address; with `trusted_proxies`, the one that the proxy named");
const CAUSE: (&str, &str) = ("cause", "`delivery`, `reconcile` or `retry`");
const MS: (&str, &str) = ("ms", "milliseconds from its start to its end");
const ROLE: (&str, &str) = ("role", "`gwg-listener`, `gwg-worker`, `gwg-updater` or `gwg-hook`");
const PID: (&str, &str) = ("pid", "that process's pid");
const UID: (&str, &str) = ("uid", "the user that it runs as");
const COMMIT: (&str, &str) = ("commit", "the commit that is deployed");
const ON: (&str, &str) = ("on", "`success`: for a commit that was deployed; `failure`: for an update whose tries are used up");
const EXIT: (&str, &str) = ("exit", "its exit status, where it ended by itself");
const SIGNAL: (&str, &str) = ("signal", "the signal that ended it; `deadline` where gwg did because its time was up");
const NEW: (&str, &str) = ("new", "the commit that the work tree is at");
const OLD: (&str, &str) = ("old", "the commit before; none after a clone");
const FORCED: (&str, &str) = ("forced", "history was rewritten: `old` is no ancestor of `new`");
const BYTES: (&str, &str) = ("bytes", "bytes received");
const ATTEMPT: (&str, &str) = ("attempt", "which try this was, from 1");
const NEXT: (&str, &str) = ("next_ms", "milliseconds until the next try");
const EVENT: (&str, &str) = ("event", "`push`, `ping` or `other`");
const FILE: (&str, &str) = ("file", "the configuration's file");
const RECONCILE: (&str, &str) = ("cause", "`start`, `timer`, `listener_crash` or `reload`");
const DETAIL: (&str, &str) = ("detail", "what it did");
const VERSION: (&str, &str) = ("version", "gwg's version");

use Facility::{Authpriv, Daemon};
use Severity::{Alert, Critical, Error, Info, Notice, Warning};

macro_rules! schemas {
    ($($constant:ident = $name:literal, $facility:ident.$severity:ident, $when:literal, $fields:expr;)*) => {
        $(#[doc = $when] pub const $constant: Schema =
            Schema { name: $name, facility: $facility, severity: $severity, when: $when, fields: $fields };)*
        /// All of them.
        pub const ALL: &[&Schema] = &[$(&$constant),*];
    };
}

schemas! {
    DELIVERY_ACCEPTED = "delivery.accepted", Authpriv.Info, "A signed push was accepted (202).",
        &[SRC, REPO, EVENT, DELIVERY, ("update", "the number of the update that serves it"),
          ("claimed_pusher", "who pushed, by the payload's word: the forge signed it, gwg can't check it, and it decides nothing"),
          ("announced", "the commit that the payload announced: its claim, which decides nothing"), BYTES,
          ("us", "microseconds from header to answer"), ("coalesced", "the repository was due already")];
    DELIVERY_IGNORED = "delivery.ignored", Authpriv.Info, "An authentic delivery with nothing to do (200).",
        &[SRC, REPO, EVENT, DELIVERY, ("reason", "`ping`, `other_event`, `other_ref`, `other_repository`, `deleted` or `gone`")];
    DELIVERY_REJECTED = "delivery.rejected", Authpriv.Notice, "A request was refused (4xx or 503). At most ten a second; the rest is counted in `reject.summary`.",
        &[SRC, REPO, ("status", "the HTTP status"),
          ("reason", "`no_signature`, `bad_signature`, `unknown_path`, `method`, `content_type`, `malformed`, `too_large`, `timeout`, `budget` or `worker_unavailable`")];
    REJECT_SUMMARY = "reject.summary", Authpriv.Notice, "Refused requests that have no record of their own.",
        &[("reason", "as of `delivery.rejected`"), ("count", "how many"), ("sources", "from how many addresses; 1000 means that many or more"),
          ("window_ms", "in how many milliseconds")];
    UPDATE_START = "update.start", Daemon.Info, "An update was ordered.", &[REPO, UPDATE, CAUSE, DELIVERY];
    UPDATE_OK = "update.ok", Daemon.Info, "The work tree was changed.",
        &[REPO, UPDATE, CAUSE, DELIVERY, OLD, NEW, FORCED, BYTES, MS];
    UPDATE_NOOP = "update.noop", Daemon.Info, "The work tree was current already.", &[REPO, UPDATE, CAUSE, DELIVERY, NEW, MS];
    UPDATE_AWAITS = "update.awaits", Daemon.Info, "What was deployed does not contain the announced commit yet (forges replicate lazily); it is tried again.",
        &[REPO, UPDATE, CAUSE, DELIVERY, NEW, ("announced", "the commit that the payload announced"), ATTEMPT, NEXT];
    UPDATE_FAILED = "update.failed", Daemon.Error, "An update failed, and is tried again.",
        &[REPO, UPDATE, CAUSE, DELIVERY, ("step", "`start`, `open`, `fetch`, `verify`, `reset` or `trigger`"),
          ("reason", "`net`, `auth`, `host_key`, `certificate`, `no_repository`, `no_label`, `foreign_directory`, `locked`, `directory`, `no_space`, `limit`, `memory`, `corrupt`, `deadline`, `crashed`, `not_started` or `other`"),
          ATTEMPT, NEXT, MS];
    HOSTKEY_REFUSED = "hostkey.refused", Authpriv.Alert, "A remote showed a host key that is unknown, changed or revoked.",
        &[REPO, ("host", "the host and port that were meant"), ("key_type", "the kind of key that was shown"), ("fingerprint", "its SHA-256, as `ssh-keygen -l` writes it")];
    TRIGGER_TOUCHED = "trigger.touched", Daemon.Info, "A trigger file was touched.", &[REPO, UPDATE, COMMIT];
    HOOK_START = "hook.start", Daemon.Info, "A hook was started.", &[REPO, UPDATE, ON, COMMIT, ATTEMPT, UID];
    HOOK_END = "hook.end", Daemon.Info, "A hook ended, and all that it had started.", &[REPO, UPDATE, ON, COMMIT, ATTEMPT, UID, EXIT, SIGNAL, MS];
    HOOK_FAILED = "hook.failed", Daemon.Error, "A hook failed: it is tried again, or given up for this commit.", &[REPO, UPDATE, CAUSE, DELIVERY, NEW, ATTEMPT, NEXT];
    TREE_PRUNED = "tree.pruned", Authpriv.Notice, "`gwg prune --delete` came to a work tree that is no longer configured.",
        &[("repo", "the repository that it was of, by its `path` then"), ("directory", "the work tree"), ("result", "`deleted`, `emptied`, `missing` or `kept`"),
          ("reason", "why it was kept: `configured`, `unknown`, `not_cloned`, `moved`, `changed`, `untracked`, `busy` or `failed`")];
    CONFIG_LOADED = "config.loaded", Authpriv.Notice, "A configuration is in force.",
        &[FILE, ("generation", "counts configurations since the start, from 1"), ("cause", "`start`, `SIGHUP`, `file` or `operator`"), ("added", "repositories that are new"), ("removed", "repositories that are gone"), ("changed", "repositories that changed"), ("repos", "how many there are"), ("listen", "where gwg listens")];
    CONFIG_REJECTED = "config.rejected", Authpriv.Error, "A configuration was refused; the one before stays in force.",
        &[FILE, ("line", "the line, where it is known"), ("key", "the key"), ("reason", "what is wrong")];
    PROCESS_START = "process.start", Daemon.Notice, "A child was started.", &[ROLE, PID, UID, REPO];
    PROCESS_EXIT = "process.exit", Daemon.Notice, "A child ended; `err` where it died and is started again.",
        &[ROLE, PID, REPO, EXIT, SIGNAL, ("uptime_s", "seconds that it lived"), ("wait_s", "seconds until it is started again")];
    PROCESS_THROTTLED = "process.throttled", Daemon.Error, "A child died too often, or could not be started: the next start waits.",
        &[ROLE, ("wait_s", "seconds until it is started again"), ("reason", "`crashes` or `not_started`")];
    CONFINEMENT_LEVEL = "confinement.level", Authpriv.Notice, "A child serves; what the kernel says of its confinement. `alert` where a layer is missing. Of updaters, the first and each that is confined otherwise than the one before.",
        &[ROLE, PID, UID, ("caps", "`none`, or its sets of capabilities"), ("no_new_privs", "`1`: set"), ("landlock", "the version that holds, 0 for none"),
          ("seccomp", "`2`: filtered"), ("network", "`own`, `shared` or `other`"), ("mac", "its AppArmor profile or SELinux domain"),
          ("missing", "layers that it should have and has not")];
    CONFINEMENT_VIOLATION = "confinement.violation", Authpriv.Critical, "A child broke the rules, and was ended.",
        &[ROLE, PID, ("kind", "`seccomp`: a forbidden system call; `record`: a malformed message; `peer`: a message that no honest process sends"), DETAIL];
    RECONCILE_START = "reconcile.start", Daemon.Info, "Repositories are compared with their remotes.", &[RECONCILE, ("repos", "how many")];
    RECONCILE_END = "reconcile.end", Daemon.Info, "All of them have been compared once.",
        &[RECONCILE, ("repos", "how many"), ("behind", "how many were behind their remotes"), ("failed", "how many could not be compared or updated; they are tried again"), MS];
    LOG_GAP = "log.gap", Daemon.Warning, "Records or lines were lost, and this many.",
        &[("lost", "how many"),
          ("cause", "`syslog`: it was away or full for too long; `file`: the audit file could not be written; `queue`: gwg made more than it could write; `log`: lines of the log; `listener`: requests whose events the listener could not hand over")];
    SERVICE_START = "service.start", Daemon.Notice, "gwg starts.",
        &[VERSION, ("libgit2", "the library's version"), ("libssh2", "the version of its Rust crate"), ("openssl", "the library's version"), PID,
          ("chain", "the last hash in the audit file, where there is one")];
    SERVICE_UPGRADE = "service.upgrade", Daemon.Notice, "gwg goes on as another version in the same process: instead of `service.start`, after `gwg upgrade`.",
        &[("from", "the version before"), VERSION, ("libgit2", "the library's version"), ("libssh2", "the version of its Rust crate"), ("openssl", "the library's version"), PID,
          ("chain", "the last hash in the audit file, where there is one")];
    SERVICE_READY = "service.ready", Daemon.Notice, "gwg serves.", &[VERSION, PID, ("listen", "the address"), ("repos", "how many are configured")];
    SERVICE_STOP = "service.stop", Daemon.Notice, "gwg ends.", &[VERSION, PID, ("signal", "the signal that asked for it")];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_are_names_to_syslog() {
        let mut names = std::collections::BTreeSet::new();
        for schema in ALL {
            assert!(names.insert(schema.name), "{} twice", schema.name);
            // RFC 5424: MSGID has at most 32 printable characters, PARAM-NAME none of `="]` and no space.
            assert!(schema.name.len() <= 32 && schema.name.bytes().all(|byte| byte.is_ascii_graphic()));
            for (field, _) in schema.fields {
                assert!(
                    field.len() <= 32 && field.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                    "{field}"
                );
                assert!(STAMPS.iter().all(|(stamp, _)| stamp != field), "{field} is a stamp");
            }
        }
    }

    #[test]
    fn each_facility_has_one_word() {
        for word in Facility::WORDS {
            assert_eq!(Facility::of_word(word).map(Facility::word), Some(word));
        }
        for word in ["", "kern", "local8", "local", "local-1", "LOCAL0", "local00x"] {
            assert_eq!(Facility::of_word(word), None, "{word}");
        }
    }
}
