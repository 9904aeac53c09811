//! The process `gwg-owned-updater`: the real start, then whatever a hostile remote commands.

use super::{Held, command};
use crate::brief::updater::Brief;
use crate::updater::run_past;
use crate::wire::frame;
use crate::wire::order::Order;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// The label with which commands come on the link to the worker.
const OBEY: &str = "owned";
/// Before the attack's name, in a label: the one command.
const ATTACK: &str = "owned/";

/// Starts as an updater does, and obeys.
pub fn main() -> ExitCode {
    match run_past(obey) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg-owned-updater: {error}");
            ExitCode::FAILURE
        }
    }
}

fn obey(brief: &Brief, supervisor: &UnixStream, worker: &UnixStream) {
    let held = Held { supervisor: supervisor.as_raw_fd(), worker: worker.as_raw_fd(), listening: None, accepted: None };
    if brief.label.name == OBEY {
        // The end of the link, or of this process, is the end.
        drop(obey_lines(worker, &held));
    } else if let Some(name) = brief.label.name.strip_prefix(ATTACK) {
        say(&command::obey(&name.replace(',', "\t"), &held));
    }
}

fn say(answer: &str) {
    let _nobody_listens = std::io::stderr().write_all(format!("owned: {answer}").as_bytes());
}

fn obey_lines(mut worker: &UnixStream, held: &Held) -> std::io::Result<()> {
    // As for every update.
    let _order: Order = frame::read(&mut worker)?;
    let mut lines = BufReader::new(worker);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        worker.write_all(command::obey(&line, held).as_bytes())?;
        line.clear();
    }
    Ok(())
}
