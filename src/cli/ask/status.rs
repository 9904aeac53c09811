//! `gwg status`: how it stands with the gateway and its repositories.

use super::connect::{Gateway, Where};
use super::paint::{Paint, Tone};
use super::state::{self, State};
use super::table::Table;
use super::time::{ago, span, stamp, took};
use super::unexpected;
use crate::audit::{DeliveryResult, UpdateResult};
use crate::cli::exit::{Exit, Failure};
use crate::ids::Moment;
use crate::wire::control::{self, Answer, Process, Repo, Request};
use nix::unistd::{Uid, User};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// Only these repositories, with details; each is named by the path of its webhook.
    #[arg(value_name = "REPO")]
    repos: Vec<String>,

    /// As JSON, for programs.
    #[arg(long)]
    json: bool,

    /// As Prometheus reads it.
    #[arg(long, conflicts_with_all = ["json", "watch", "repos"])]
    prometheus: bool,

    /// Again each second, until it is interrupted.
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    gateway: Where,
}

/// What the gateway says.
struct Status {
    gateway: control::Gateway,
    repos: Vec<Repo>,
}

/// Prints it, once or again and again.
///
/// # Errors
/// No gateway, or it refuses.
pub fn show(wishes: &Wishes) -> Result<String, Failure> {
    if wishes.prometheus {
        return prometheus(&wishes.gateway);
    }
    let paint = Paint::of_stdout();
    loop {
        let status = ask(wishes)?;
        let text = match wishes.json {
            true => json(&status)?,
            false => text(&status, !wishes.repos.is_empty(), paint, Moment::now()),
        };
        if !wishes.watch {
            return Ok(text);
        }
        let clear = if paint.is_on() { "\x1b[H\x1b[2J" } else { "" };
        let mut out = std::io::stdout();
        out.write_all(format!("{clear}{text}").as_bytes()).and_then(|()| out.flush())?;
        std::thread::sleep(WATCH);
    }
}

fn prometheus(place: &Where) -> Result<String, Failure> {
    let mut gateway = Gateway::open(place)?;
    gateway.ask(&Request::Metrics)?;
    let mut text = String::new();
    loop {
        match gateway.next()? {
            Answer::Text(piece) => text.push_str(&piece),
            Answer::Done => return Ok(text),
            other => return Err(unexpected(&other)),
        }
    }
}

fn ask(wishes: &Wishes) -> Result<Status, Failure> {
    let mut gateway = Gateway::open(&wishes.gateway)?;
    gateway.ask(&Request::Status { repos: wishes.repos.clone() })?;
    let mut repos = Vec::new();
    let head = match gateway.next()? {
        Answer::Gateway(head) => *head,
        other => return Err(unexpected(&other)),
    };
    loop {
        match gateway.next()? {
            Answer::Repos(more) => repos.extend(more),
            Answer::Done => return Ok(Status { gateway: head, repos }),
            other => return Err(unexpected(&other)),
        }
    }
}

fn json(status: &Status) -> Result<String, Failure> {
    let failed = |error: serde_json::Error| Failure::new(Exit::Failed, error.to_string());
    let now = Moment::now();
    let repos = status.repos.iter().map(|repo| Shown { state: state::of(repo, now).word, repo }).collect();
    let whole = Whole { gateway: &status.gateway, repos };
    Ok(serde_json::to_string_pretty(&whole).map_err(failed)? + "\n")
}

/// All of it, as programs get it.
#[derive(serde::Serialize)]
struct Whole<'a> {
    gateway: &'a control::Gateway,
    repos: Vec<Shown<'a>>,
}

/// A repository, with its state in one word.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    repo: &'a Repo,
    state: &'static str,
}

fn text(status: &Status, details: bool, paint: Paint, now: Moment) -> String {
    if details {
        return status.repos.iter().map(|repo| detail(repo, paint, now)).collect::<Vec<_>>().join("\n");
    }
    let mut text = head(&status.gateway, now);
    text.push_str(&processes(&status.gateway.processes, now).text(paint));
    let states: Vec<State> = status.repos.iter().map(|repo| state::of(repo, now)).collect();
    // Writing to a String can't fail.
    let _ = writeln!(text, "\n{}", summary(&states));
    let mut table = Table::new(&["REPOSITORY", "STATE", "COMMIT", "SINCE", "PROVED"]);
    for (repo, state) in status.repos.iter().zip(states) {
        let commit = repo.deployed.map_or_else(|| "-".to_owned(), |commit| commit.short().to_string());
        table.row(vec![
            (Tone::Plain, repo.name.to_string()),
            (state.tone, state.line),
            (Tone::Plain, commit),
            (Tone::Plain, ago(repo.deployed_since, now)),
            (Tone::Plain, ago(repo.proved, now)),
        ]);
    }
    text + &table.text(paint)
}

fn head(gateway: &control::Gateway, now: Moment) -> String {
    let mut text = format!("gwg {} listens on {}, up {}\n", gateway.version, gateway.listen, span(now.since(gateway.since)));
    if !gateway.worker_answers {
        text.push_str("gwg-worker is not there, or does not answer: what is due is not known\n");
    }
    if gateway.records_lost > 0 {
        let _ = writeln!(text, "{} records of the history were not written: is the disk full?", gateway.records_lost);
    }
    text.push('\n');
    text
}

fn summary(states: &[State]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    states.iter().for_each(|state| *counts.entry(state.word).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let noun = if states.len() == 1 { "repository" } else { "repositories" };
    format!("{} {noun}: {}", states.len(), counts.join(", "))
}

fn processes(all: &[Process], now: Moment) -> Table {
    let mut table = Table::new(&["PROCESS", "PID", "USER", "UP", "RESTARTS", "CONFINED BY"]);
    for process in all {
        let user = process.uid.parse().ok().and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
        table.row(vec![
            (Tone::Plain, process.name.clone()),
            (Tone::Plain, process.pid.to_string()),
            (Tone::Plain, user.map_or_else(|| process.uid.clone(), |user| user.name)),
            (Tone::Plain, span(now.since(process.since))),
            (Tone::Plain, process.restarts.to_string()),
            confinement(process),
        ]);
    }
    table
}

fn confinement(process: &Process) -> (Tone, String) {
    if process.name == "gwg" {
        return (Tone::Plain, supervisor(&process.capabilities));
    }
    if process.capabilities != "none" || process.no_new_privs != "1" {
        return (Tone::Bad, "HAS PRIVILEGES".to_owned());
    }
    let landlock = process.landlock.filter(|version| *version > 0).map(|version| format!("Landlock {version}"));
    let layers = [
        (process.seccomp == "2").then(|| "seccomp".to_owned()),
        landlock,
        (process.network == "own").then(|| "no network".to_owned()),
        process.repo.as_ref().map(|repo| format!("for {repo}")),
    ];
    (Tone::Plain, layers.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The effective set is the third of those that the kernel shows.
fn supervisor(capabilities: &str) -> String {
    let effective = capabilities.split('/').nth(2).and_then(|set| u64::from_str_radix(set, 16).ok());
    effective.map_or_else(|| "no capability".to_owned(), |set| format!("{} capabilities", set.count_ones()))
}

fn detail(repo: &Repo, paint: Paint, now: Moment) -> String {
    let state = state::of(repo, now);
    let mut text = format!("{}  {}\n", paint.paint(Tone::Title, &repo.name), paint.paint(state.tone, &state.line));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<10} {value}\n"));
    line("follows", format!("{} of {}", repo.label, repo.url));
    line("directory", repo.directory.to_string());
    line(
        "deployed",
        match (repo.deployed, repo.deployed_since) {
            (None, _) => "nothing yet".to_owned(),
            (Some(commit), None) => commit.to_string(),
            (Some(commit), Some(since)) => format!("{commit}, {} ago ({})", span(now.since(since)), stamp(since)),
        },
    );
    line(
        "proved",
        repo.proved
            .map_or_else(|| "not since gwg started".to_owned(), |at| format!("{} ago to be at its remote's tip", span(now.since(at)))),
    );
    if let Some(announced) = repo.announced {
        line("announced", format!("{announced}, not known to be deployed"));
    }
    if let Some(delivery) = repo.delivery {
        let id = delivery.id.map_or_else(String::new, |id| format!(" ({id})"));
        line("delivery", format!("{} ago: {}{id}", span(now.since(delivery.at)), delivery_words(delivery.result)));
    }
    if let Some(update) = repo.update {
        line("update", format!("{} ago, by {}: {}", span(now.since(update.at)), update.cause.word(), update_words(update.result)));
    }
    if let Some(failing) = repo.failing {
        let tries = if failing.tries == 1 { "try" } else { "tries" };
        line("failing", format!("for {}, {} {tries}; the log has the reason", span(now.since(failing.since)), failing.tries));
    }
    text
}

/// What came of a delivery.
pub fn delivery_words(result: DeliveryResult) -> String {
    match result {
        DeliveryResult::Accepted { coalesced, announced, update: _ } => {
            let what = announced.map_or_else(String::new, |commit| format!(", {} is announced", commit.short()));
            let also = if coalesced { ", it was due already" } else { "" };
            format!("accepted{what}{also}")
        }
        DeliveryResult::Ignored(reason) => format!("ignored: {}", reason.word()),
        DeliveryResult::Rejected(reason) => format!("rejected: {} ({})", reason.word(), reason.status()),
    }
}

/// How an update ended.
pub fn update_words(result: UpdateResult) -> String {
    match result {
        UpdateResult::Started => "started".to_owned(),
        UpdateResult::Current { old, new, ms, .. } if old == Some(new) => format!("nothing new, {} ({})", new.short(), took(ms)),
        UpdateResult::Current { old: None, new, ms, .. } => format!("cloned at {} ({})", new.short(), took(ms)),
        UpdateResult::Current { old: Some(old), new, forced, ms, .. } => {
            let forced = if forced { ", history was rewritten" } else { "" };
            format!("{} to {}{forced} ({})", old.short(), new.short(), took(ms))
        }
        UpdateResult::Failed { failure, attempt, ms, .. } => {
            format!("failed at {}: {}, try {attempt} ({})", failure.step.word(), failure.reason.word(), took(ms))
        }
        UpdateResult::HookFailed { new, attempt, .. } => format!("deployed {}, and its hook failed, try {attempt}", new.short()),
        UpdateResult::AnnouncedNotSeen { announced, new, .. } => {
            format!("deployed {}, which does not contain {} yet", new.short(), announced.short())
        }
    }
}
