//! `gwg log`: what happened.

use super::connect::{Gateway, Where};
use super::paint::{Paint, Tone};
use super::status::{delivery_words, update_words};
use super::time::{stamp, took};
use super::unexpected;
use crate::audit::{DeliveryResult, UpdateResult};
use crate::cli::exit::{Exit, Failure};
use crate::ids::DeliveryId;
use crate::wire::control::{Answer, Record, Request, What};
use crate::wire::hook::End;
use std::io::{self, Write};

/// Records that are shown where nothing else is said.
const LAST: u32 = 20;

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// Only of these repositories; each is named by the path of its webhook.
    #[arg(value_name = "REPO")]
    repos: Vec<String>,

    /// Only this delivery, by the id that the forge shows, and what it led to: the update that answered it,
    /// the tries before, the trigger and the hook.
    #[arg(long, value_name = "ID", value_parser = delivery_id, conflicts_with_all = ["follow", "repos"])]
    delivery: Option<DeliveryId>,

    /// The last so many; 20 if nothing is said, and all of a delivery.
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<u32>,

    /// And what happens from now on, until it is interrupted.
    #[arg(short, long)]
    follow: bool,

    /// As JSON, an object a line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    gateway: Where,
}

/// Prints it.
///
/// # Errors
/// No gateway, or it refuses.
pub fn show(wishes: &Wishes) -> Result<String, Failure> {
    let mut gateway = Gateway::open(&wishes.gateway)?;
    let Wishes { repos, delivery, last, follow, json, .. } = wishes;
    let last = last.unwrap_or(if delivery.is_some() { u32::MAX } else { LAST });
    gateway.ask(&Request::Log { repos: repos.clone(), delivery: *delivery, last, follow: *follow })?;
    if *follow {
        gateway.be_patient()?;
    }
    let paint = Paint::of_stdout();
    let mut out = io::stdout();
    let mut none = true;
    loop {
        let records = match gateway.next()? {
            Answer::Records(records) => records,
            Answer::Done => return end(*delivery, none),
            other => return Err(unexpected(&other)),
        };
        none &= records.is_empty();
        for record in &records {
            let line = if *json { as_json(record)? } else { line(record, paint, delivery.is_some()) };
            // Whoever read this has seen enough.
            if writeln!(out, "{line}").is_err() {
                return Ok(String::new());
            }
        }
        let _ = out.flush();
    }
}

fn delivery_id(text: &str) -> Result<DeliveryId, String> {
    DeliveryId::from_uuid(text).ok_or_else(|| "a delivery's id is a UUID, as in 72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned())
}

fn end(delivery: Option<DeliveryId>, none: bool) -> Result<String, Failure> {
    match delivery.filter(|_| none) {
        Some(id) => Err(Failure::new(
            Exit::Unknown,
            format!(
                "no delivery {id} is remembered: it never came, or so much has happened since that only the audit records in syslog still have it"
            ),
        )),
        None => Ok(String::new()),
    }
}

fn as_json(record: &Record) -> Result<String, Failure> {
    serde_json::to_string(record).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// `numbers`: say of which update it is.
fn line(record: &Record, paint: Paint, numbers: bool) -> String {
    let repo = record.repo.as_deref().unwrap_or("-");
    let (kind, update, tone, words) = match &record.what {
        What::Delivery { source, result, claimed_pusher, .. } => {
            let tone = match result {
                DeliveryResult::Rejected(_) => Tone::Bad,
                DeliveryResult::Accepted { .. } | DeliveryResult::Ignored(_) => Tone::Plain,
            };
            let update = match result {
                DeliveryResult::Accepted { update, .. } => *update,
                DeliveryResult::Ignored(_) | DeliveryResult::Rejected(_) => None,
            };
            let pusher = claimed_pusher.as_ref().map_or_else(String::new, |claim| format!("; the payload claims that {claim} pushed"));
            ("delivery", update, tone, format!("{} (from {source}{pusher})", delivery_words(*result)))
        }
        What::Update { update, cause, result, .. } => {
            let tone = match result {
                UpdateResult::Current { .. } => Tone::Good,
                UpdateResult::Failed { .. } | UpdateResult::HookFailed { .. } => Tone::Bad,
                UpdateResult::AnnouncedNotSeen { .. } => Tone::Busy,
                UpdateResult::Started => Tone::Plain,
            };
            let trigger = if matches!(result, UpdateResult::Current { triggered: true, .. }) { ", trigger touched" } else { "" };
            ("update", *update, tone, format!("{}, by {}{trigger}", update_words(*result), cause.word()))
        }
        What::Hook { update, on, commit, attempt, end, ms } => {
            let tone = if *end == Some(End::Exited(0)) { Tone::Good } else { Tone::Bad };
            let commit = commit.map_or_else(|| "-".to_owned(), |commit| commit.short().to_string());
            ("hook", Some(*update), tone, format!("on {} for {commit}: {}, try {attempt} ({})", on.word(), end_words(*end), took(*ms)))
        }
    };
    let number = update.filter(|_| numbers).map_or_else(String::new, |update| format!("  [update {update}]"));
    format!("{}  {kind:<8}  {repo}  {}{number}", stamp(record.at), paint.paint(tone, &words))
}

fn end_words(end: Option<End>) -> String {
    match end {
        Some(End::Exited(status)) => format!("exit {status}"),
        Some(End::Signal(signal)) => format!("signal {signal}"),
        Some(End::Deadline) => "ended at its deadline".to_owned(),
        Some(End::NotStarted) => "could not be started".to_owned(),
        None => "gwg-hook died".to_owned(),
    }
}
