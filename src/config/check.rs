//! Meaning: from what is written to what is meant. Collects every mistake before it gives up.

use super::environment::Environment;
use super::error::{ConfigError, Fault, KeyPath, Notes, Place, Problem};
use super::file::Source;
use super::files::Files;
use super::nearest::nearest;
use super::raw::{Raw, RawLogging, Span};
use super::repo::Repos;
use super::{
    Config, LogFormat, LogLevel, LogOutput, Logging, accounts, audit, confinement, directories, gc, hook, limits, locate, operate, proxies,
};
use crate::brief::updater::Limits;
use crate::brief::worker::Schedule;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
const DAY_MS: u64 = 86_400_000;
const ALERT_DEFAULT: Span = Span(15 * 60_000);
const RECONCILE_DEFAULT: Span = Span(6 * 3_600_000);

/// Checks the whole configuration.
pub fn check(raw: Raw, source: &Source, env: &Environment, notes: &mut Notes) -> Result<Config, ConfigError> {
    let checked = check_all(raw, source, env, notes);
    match checked {
        Some(config) if notes.problems.is_empty() => Ok(Config { warnings: std::mem::take(&mut notes.warnings), ..config }),
        Some(_) | None => Err(located(source, std::mem::take(&mut notes.problems))),
    }
}

/// Adds the lines, and sorts by them.
fn located(source: &Source, mut problems: Vec<Problem>) -> ConfigError {
    // A second reading for each: enough for what is shown.
    for problem in problems.iter_mut().take(100) {
        if let Place::Key(path) = &problem.place {
            problem.line = locate::line(source.format, &source.text, path);
        }
    }
    problems.sort_by_key(|problem| problem.line.unwrap_or_default());
    ConfigError::Wrong { file: source.path.clone(), problems }
}

fn check_all(raw: Raw, source: &Source, env: &Environment, notes: &mut Notes) -> Option<Config> {
    let named = accounts::Named { updater: raw.user, worker: raw.worker_user, listener: raw.listener_user };
    let accounts = accounts::check(named, source.owner, env, notes);
    let confinement = confinement::check(raw.confinement, source.owner, env, notes);
    let listen = notes.take(KeyPath::global("listen"), listen(raw.listen.as_deref().unwrap_or_default()));
    let port = number(raw.port, 5555, 1..=65_535, "port", notes);
    let retry_count = number(raw.retry_count, 10, 1..=1_000_000, "retry_count", notes);
    let threads = number(raw.threads, 5, 1..=1_000, "threads", notes);
    let retry_delay = span(raw.retry_delay.unwrap_or(Span(1_000)), DAY_MS, "retry_delay", notes);
    let reconcile = span(raw.reconcile.unwrap_or(RECONCILE_DEFAULT), 365 * DAY_MS, "reconcile", notes);
    let initialise = raw.initialise.unwrap_or(true);
    let control = operate::control(raw.control.unwrap_or_default(), env, notes);
    let metrics = operate::metrics(raw.metrics.unwrap_or_default(), notes);
    let alert_after = span(raw.alert_after.unwrap_or(ALERT_DEFAULT), 365 * DAY_MS, "alert_after", notes);

    let limits = limits::check(raw.limits.unwrap_or_default(), &Limits::default(), &KeyPath::global("limits"), notes);
    let gc = gc::check(raw.gc.unwrap_or_default(), notes);
    let proxies = proxies::check(raw.trusted_proxies, raw.proxy_protocol, notes);
    let files = Files::new(source.owner);
    let logging = logging(raw.logging.unwrap_or_default(), &files, env, notes);
    let audit = audit::check(raw.audit.unwrap_or_default(), source.owner, &files, env, notes);
    let updater = accounts.as_ref().map_or(env.uid, |accounts| accounts.updater.uid);
    let hooks = hook::Ground { owner: source.owner, env, accounts: accounts.as_ref() };
    let mut checker = Repos::new(files, env, updater, hooks, initialise, limits.unwrap_or_default());
    let written = raw.repos.unwrap_or_default();
    if written.is_empty() {
        // A fresh installation must start: it says what to do next.
        let next = "no repository is configured, so nothing is deployed; write at least one, with url, path, directory and secret";
        notes.warn(&KeyPath::global("repos"), next);
    }
    let (repos, keys) = checker.check_all(written, notes);
    let files = checker.files();
    config_outside(source, &repos, notes);

    Some(Config {
        file: source.path.clone(),
        warnings: Vec::new(),
        listen: SocketAddr::new(listen?, port?),
        accounts,
        confinement: confinement?,
        control: control?,
        metrics: metrics?,
        alert_after_s: alert_after?.div_ceil(1_000),
        proxies: proxies?,
        logging: logging?,
        audit: audit?,
        schedule: Schedule {
            threads: threads?,
            retry_count: retry_count?,
            retry_delay_ms: retry_delay?,
            reconcile_s: reconcile?.div_ceil(1_000),
        },
        gc: gc?,
        initialise,
        files,
        keys,
        repos,
    })
}

/// A push must not be able to change the configuration.
fn config_outside(source: &Source, repos: &[super::Repo], notes: &mut Notes) {
    let file = directories::Canonical::default().of(&std::path::absolute(&source.path).unwrap_or_default());
    for repo in repos.iter().filter(|repo| file.starts_with(&repo.directory)) {
        let fault =
            Fault::new(format!("the file lies in the work tree of {}, so a push could change it", repo.path), "move it, or the work tree");
        notes.wrong(Place::File, fault);
    }
}

/// An address to listen on; nothing means all.
pub fn listen(text: &str) -> Result<IpAddr, Fault> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare {
        // On a socket for all IPv6 addresses the IPv4 ones arrive as well.
        "" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        address => address.parse().map_err(|_| {
            Fault::new(
                format!("{address:?} is not an address"),
                "write an IP address or localhost (its port has a key of its own, port); nothing for all interfaces",
            )
        }),
    }
}

fn number<T: TryFrom<i64>>(written: Option<i64>, default: i64, range: RangeInclusive<i64>, key: &str, notes: &mut Notes) -> Option<T> {
    let value = written.unwrap_or(default);
    let fitting = Some(value).filter(|value| range.contains(value)).and_then(|value| T::try_from(value).ok());
    let fault = || Fault::new(format!("{value} is out of range"), format!("write a number from {} to {}", range.start(), range.end()));
    notes.take(KeyPath::global(key), fitting.ok_or_else(fault))
}

fn span(span: Span, most: u64, key: &str, notes: &mut Notes) -> Option<u64> {
    let fault = || Fault::new("the time is too long", format!("write at most {} days", most / DAY_MS));
    notes.take(KeyPath::global(key), Some(span.0).filter(|ms| *ms <= most).ok_or_else(fault))
}

fn logging(raw: RawLogging, files: &Files, env: &Environment, notes: &mut Notes) -> Option<Logging> {
    let path = |key: &str| KeyPath::global("logging").key(key);
    let format = match raw.format.unwrap_or_default().trim() {
        "" | "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            notes.warn(&path("format"), format_args!("{other:?} is neither text nor json: json is used"));
            LogFormat::Json
        }
    };
    let level = notes.take(path("level"), level(raw.level.unwrap_or_default().trim()));
    let output = notes.take(path("output"), output(raw.output.unwrap_or_default().trim(), files, env.dry));
    Some(Logging { format, output: output?, level: level?, timestamp: raw.timestamp.unwrap_or(true) })
}

fn level(text: &str) -> Result<LogLevel, Fault> {
    match text.to_lowercase().as_str() {
        "error" => Ok(LogLevel::Error),
        "warn" | "warning" => Ok(LogLevel::Warn),
        "" | "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        other => {
            let remedy = nearest(other, LEVELS)
                .map_or_else(|| format!("write one of {}", LEVELS.join(", ")), |meant| format!("did you mean {meant}?"));
            Err(Fault::new(format!("there is no level {other:?}"), remedy))
        }
    }
}

fn output(text: &str, files: &Files, dry: bool) -> Result<LogOutput, Fault> {
    if text.is_empty() || text == "stdout" {
        return Ok(LogOutput::Stdout);
    }
    let path = directories::absolute(text).map_err(|fault| Fault::new(fault.what, "write stdout or the whole path of a file"))?;
    files.open_output(&path, dry).map(LogOutput::File)
}
