//! `gwg prune`: the work trees of repositories that are no longer configured.

use super::connect::{Gateway, Where};
use super::paint::{Paint, Tone};
use super::unexpected;
use crate::audit::Pruned;
use crate::cli::exit::Failure;
use crate::wire::control::{Answer, Request, Tree};
use std::fmt::Write;

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// Delete those that gwg cloned and nobody has changed since..
    #[arg(long)]
    delete: bool,

    #[command(flatten)]
    gateway: Where,
}

/// Does it.
///
/// # Errors
/// No gateway, or it refuses.
pub fn prune(wishes: &Wishes) -> Result<String, Failure> {
    let mut gateway = Gateway::open(&wishes.gateway)?;
    gateway.ask(&Request::Prune { delete: wishes.delete })?;
    gateway.be_patient()?;
    let mut trees = Vec::new();
    loop {
        match gateway.next()? {
            Answer::Tree(tree) => trees.push(tree),
            Answer::Done => break,
            other => return Err(unexpected(&other)),
        }
    }
    Ok(text(&trees, wishes.delete, Paint::of_stdout()))
}

fn text(trees: &[Tree], delete: bool, paint: Paint) -> String {
    let mut text = String::new();
    for Tree { name, url, directory, pruned } in trees {
        let (tone, words) = match pruned {
            Pruned::Unchanged => (Tone::Busy, "as gwg left it".to_owned()),
            Pruned::Deleted => (Tone::Good, "deleted".to_owned()),
            Pruned::Emptied => (Tone::Good, "emptied; the directory itself belongs to somebody else's".to_owned()),
            Pruned::Missing => (Tone::Plain, "gone already".to_owned()),
            Pruned::Kept(kept) => (Tone::Bad, format!("kept: {}", kept.words())),
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{directory}  {}\n  was {name}, a clone of {url}", paint.paint(tone, &words));
    }
    let unchanged = trees.iter().filter(|tree| tree.pruned == Pruned::Unchanged).count();
    if trees.is_empty() {
        text.push_str("every work tree that gwg knows of is configured\n");
    } else if !delete && unchanged > 0 {
        let _ = writeln!(text, "`gwg prune --delete` deletes {unchanged} of {}", trees.len());
    }
    text
}
