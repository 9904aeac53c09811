//! `gwg log`: what happened.

use super::connect::{Gateway, Where};
use super::paint::{Paint, Tone};
use super::status::{delivery_words, update_words};
use super::time::stamp;
use super::unexpected;
use crate::audit::{DeliveryResult, UpdateResult};
use crate::cli::exit::{Exit, Failure};
use crate::wire::control::{Answer, Record, Request, What};
use std::io::{self, Write};

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// Only of these repositories; each is named by the path of its webhook.
    #[arg(value_name = "REPO")]
    repos: Vec<String>,

    /// The last so many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    last: u32,

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
    let Wishes { repos, last, follow, json, .. } = wishes;
    gateway.ask(&Request::Log { repos: repos.clone(), last: *last, follow: *follow })?;
    if *follow {
        gateway.be_patient()?;
    }
    let paint = Paint::of_stdout();
    let mut out = io::stdout();
    loop {
        let records = match gateway.next()? {
            Answer::Records(records) => records,
            Answer::Done => return Ok(String::new()),
            other => return Err(unexpected(&other)),
        };
        for record in &records {
            let line = if *json { as_json(record)? } else { line(record, paint) };
            // Whoever read this has seen enough.
            if writeln!(out, "{line}").is_err() {
                return Ok(String::new());
            }
        }
        let _ = out.flush();
    }
}

fn as_json(record: &Record) -> Result<String, Failure> {
    serde_json::to_string(record).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn line(record: &Record, paint: Paint) -> String {
    let repo = record.repo.as_deref().unwrap_or("-");
    let (kind, tone, words) = match record.what {
        What::Delivery { source, result, .. } => {
            let tone = match result {
                DeliveryResult::Rejected(_) => Tone::Bad,
                DeliveryResult::Accepted { .. } | DeliveryResult::Ignored(_) => Tone::Plain,
            };
            ("delivery", tone, format!("{} (from {source})", delivery_words(result)))
        }
        What::Update { cause, result, .. } => {
            let tone = match result {
                UpdateResult::Current { .. } => Tone::Good,
                UpdateResult::Failed { .. } | UpdateResult::HookFailed { .. } => Tone::Bad,
                UpdateResult::AnnouncedNotSeen { .. } => Tone::Busy,
                UpdateResult::Started => Tone::Plain,
            };
            ("update", tone, format!("{}, by {}", update_words(result), cause.word()))
        }
    };
    format!("{}  {kind:<8}  {repo}  {}", stamp(record.at), paint.paint(tone, &words))
}
