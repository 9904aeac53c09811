//! `gwg update`: has repositories updated, and waits for it where that is wanted.

use super::connect::{Gateway, Where};
use super::paint::{Paint, Tone};
use super::status::update_words;
use super::unexpected;
use crate::audit::UpdateResult;
use crate::cli::exit::{Exit, Failure};
use crate::wire::control::{Answer, Happens, Notice, Request};
use crate::wire::order::Progress;
use std::io::{self, Write};

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// Which repositories; each is named by the path of its webhook.
    #[arg(value_name = "REPO", required_unless_present = "all")]
    repos: Vec<String>,

    /// All of them.
    #[arg(long, conflicts_with = "repos")]
    all: bool,

    /// Wait until each has ended, and say how. Exit status 1 where one failed.
    #[arg(short, long)]
    wait: bool,

    #[command(flatten)]
    gateway: Where,
}

/// Does it.
///
/// # Errors
/// No gateway, it refuses, or an update failed.
pub fn update(wishes: &Wishes) -> Result<String, Failure> {
    let mut gateway = Gateway::open(&wishes.gateway)?;
    gateway.ask(&Request::Update { repos: wishes.repos.clone(), wait: wishes.wait })?;
    let marked = match gateway.next()? {
        Answer::Marked(count) => count,
        other => return Err(unexpected(&other)),
    };
    if !wishes.wait {
        let (noun, verb) = if marked == 1 { ("repository", "is") } else { ("repositories", "are") };
        return Ok(format!("{marked} {noun} {verb} due now; `gwg status` says how it goes on\n"));
    }
    gateway.be_patient()?;
    let mut screen = Screen { paint: Paint::of_stdout(), failed: 0 };
    loop {
        match gateway.next()? {
            Answer::Notice(notice) => screen.show(&notice)?,
            Answer::Done => break,
            other => return Err(unexpected(&other)),
        }
    }
    match screen.failed {
        0 => Ok(String::new()),
        failed => Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {marked} failed, and will be tried again; the gateway's log has the reason"),
        )),
    }
}

/// How far an update is.
fn far(progress: Progress) -> String {
    match progress {
        Progress::Fetch { objects, of, bytes } => format!("fetch: {objects} of {of} objects, {}", size(bytes)),
        Progress::Checkout { files, of } => format!("checkout: {files} of {of} files"),
    }
}

/// At most ten letters.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

struct Screen {
    paint: Paint,
    failed: usize,
}

impl Screen {
    /// On a terminal the line of what is under way is written over.
    fn show(&mut self, notice: &Notice) -> io::Result<()> {
        let Notice { name, what } = notice;
        let (over, end) = if self.paint.is_on() { ("\r\x1b[K", "") } else { ("", "\n") };
        let text = match what {
            Happens::Update(UpdateResult::Started) => return self.progress(format!("{over}{name}  starts")),
            Happens::Step(step) => return self.progress(format!("{over}{name}  {}", step.word())),
            Happens::Progress(progress) => return self.progress(format!("{over}{name}  {}", far(*progress))),
            Happens::Update(result) => {
                let tone = match result {
                    UpdateResult::Current { .. } | UpdateResult::Started => Tone::Good,
                    UpdateResult::AnnouncedNotSeen { .. } => Tone::Busy,
                    UpdateResult::Failed { .. } | UpdateResult::HookFailed { .. } => Tone::Bad,
                };
                self.failed += usize::from(tone == Tone::Bad);
                format!("{over}{name}  {}", self.paint.paint(tone, &update_words(*result)))
            }
        };
        let end = if end.is_empty() { "\n" } else { end };
        let mut out = io::stdout();
        out.write_all(format!("{text}{end}").as_bytes()).and_then(|()| out.flush())
    }

    fn progress(&self, text: String) -> io::Result<()> {
        if !self.paint.is_on() {
            return Ok(());
        }
        let mut out = io::stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_an_update_is_fits_into_a_line() {
        for (progress, words) in [
            (Progress::Fetch { objects: 12, of: 4_000, bytes: 9_999 }, "fetch: 12 of 4000 objects, 9999 bytes"),
            (Progress::Fetch { objects: 12, of: 4_000, bytes: 5 << 20 }, "fetch: 12 of 4000 objects, 5120 KiB"),
            (Progress::Fetch { objects: u32::MAX, of: u32::MAX, bytes: 10 << 30 }, "fetch: 4294967295 of 4294967295 objects, 10240 MiB"),
            (Progress::Checkout { files: 1, of: 200 }, "checkout: 1 of 200 files"),
        ] {
            assert_eq!(far(progress), words);
        }
    }
}
