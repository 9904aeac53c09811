//! gwg's benchmark: gwg beside its peers, interleaved, medians of ratios. See README.md.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml [-- [FIGURE…] [--rounds N] [--seconds N]]`

mod bare;
mod deliveries;
mod ground;
mod gwg;
mod machine;
mod memory;
mod operations;
mod push;
mod remote;
mod running;
mod scratch;
mod steady;
mod syslog;
mod table;
mod updates;
mod webhook;
mod wrk;

use std::process::{Command, ExitCode};

/// What can go wrong here ends the run, in the words of whoever saw it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long everything takes.
#[derive(Clone, Copy)]
struct Effort {
    /// Rounds, in each of which every peer has its turn.
    rounds: usize,
    /// Seconds of load in each turn.
    seconds: u64,
}

const FIGURES: [&str; 5] = ["deliveries", "updates", "memory", "syslog", "operations"];
const USAGE: &str = "gwg-bench [deliveries] [updates] [memory] [syslog] [operations] [--rounds N] [--seconds N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program is one of the peers, too.
    if let [first, port, work @ ..] = arguments.as_slice()
        && first == bare::ARGUMENT
    {
        return bare::serve(port, work.first().map(String::as_str));
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gwg-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (figures, effort) = read(arguments)?;
    build()?;
    machine::describe();
    for figure in figures {
        match figure.as_str() {
            "deliveries" => deliveries::measure(effort)?,
            "updates" => updates::measure(effort)?,
            "operations" => operations::measure(effort)?,
            "syslog" => syslog::measure(effort)?,
            _ => memory::measure(effort)?,
        }
    }
    Ok(())
}

fn read(arguments: &[String]) -> Result<(Vec<String>, Effort)> {
    let mut effort = Effort { rounds: 7, seconds: 3 };
    let mut figures = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || rest.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0).ok_or(USAGE);
        match argument.as_str() {
            "--rounds" => effort.rounds = usize::try_from(number()?)?,
            "--seconds" => effort.seconds = number()?,
            figure if FIGURES.contains(&figure) => figures.push(figure.to_owned()),
            _ => return Err(USAGE.into()),
        }
    }
    if figures.is_empty() {
        figures = FIGURES.map(str::to_owned).to_vec();
    }
    Ok((figures, effort))
}

/// What is measured is what the sources say now.
fn build() -> Result<()> {
    let status = Command::new("cargo").args(["build", "--release", "--quiet", "--manifest-path", gwg::MANIFEST]).status()?;
    if status.success() { Ok(()) } else { Err("gwg does not build".into()) }
}
