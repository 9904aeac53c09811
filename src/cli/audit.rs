//! `gwg audit verify`: is each record of an audit file as it was written, and in its place?

use crate::audit::verify::{Report, verify};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Verifies files whose chain goes on from one to the next. Exit status 1 where something is wrong.
pub fn main(files: &[PathBuf]) -> ExitCode {
    let (mut text, mut good) = (String::new(), true);
    let mut before: Option<String> = None;
    for file in files {
        match File::open(file).and_then(|open| verify(BufReader::new(open), before.as_deref())) {
            Ok(report) => {
                good &= report.faults.is_empty();
                text += &told(file, &report);
                before = report.ends.or(before);
            }
            Err(error) => {
                good = false;
                text += &format!("{}: {error}; name an audit file that you may read\n", file.display());
            }
        }
    }
    let written = std::io::stdout().write_all(text.as_bytes());
    if good && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(file: &Path, report: &Report) -> String {
    let name = file.display();
    let mut text = String::new();
    for (line, what) in &report.faults {
        text += &format!("{name}:{line}: {what}\n");
    }
    for line in &report.cut {
        text += &format!("{name}:{line}: note: no record; a full disk or a crash cut it off, and the chain goes on over it\n");
    }
    let Report { records, begins, ends, faults, last, .. } = report;
    match (faults.is_empty(), ends) {
        (_, None) => text += &format!("{name}: no records\n"),
        (false, Some(_)) => text += &format!("{name}: {records} records, and not as they were written\n"),
        (true, Some(ends)) => {
            text += &format!("{name}: {records} records, each as it was written and in its place\n");
            text += &format!("  goes on from  {}\n", begins.as_deref().map_or("?", origin));
            let last = last.map_or_else(|| "?".to_owned(), |seq| seq.to_string());
            text += &format!("  ends with     {ends}, seq {last}; records cut off after it show only beside syslog, which has their seq\n");
        }
    }
    text
}

fn origin(hash: &str) -> &str {
    if hash.bytes().all(|digit| digit == b'0') { "nothing: its first record is the first of all" } else { hash }
}
