//! Reads an audit file back: is each record as it was written, and in its place? Pure. Runs in the
//! operator's commands.
//!
//! What it can't see by itself: a file whose last records were all removed, and a chain that someone
//! who can write the file has made anew from some record on. Both show beside another copy: syslog has the
//! same records, and `service.start` carries the last hash.

use super::chain::{self, Hash, Line};
use std::io::{self, BufRead};

/// Faults that are told one by one.
const SHOWN: usize = 20;

/// What was found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whole records.
    pub records: u64,
    /// The hash that the first record goes on from.
    pub begins: Option<String>,
    /// The last record's hash.
    pub ends: Option<String>,
    /// The last record's `seq`.
    pub last: Option<u64>,
    /// What is wrong: the line, from 1, and the words. At most twenty.
    pub faults: Vec<(u64, &'static str)>,
    /// Lines that are no records although the chain goes on over them: a full disk or a crash cut them
    /// off.
    pub cut: Vec<u64>,
}

const CHANGED: &str = "this record was changed after it was written";
const MISSING: &str = "a record before this one is missing, or this one is not in its place";
const NO_RECORD: &str = "this is no record any more";

/// Verifies the records of a file. `before`: the hash that the first must go on from, where another file
/// comes before it.
///
/// # Errors
/// Those of reading.
pub fn verify(mut from: impl BufRead, before: Option<&str>) -> io::Result<Report> {
    let mut report = Report::default();
    let mut last: Option<Hash> = before.and_then(Hash::read);
    let mut odd: Vec<u64> = Vec::new();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let (prev, hash) = match chain::judge(bytes.strip_suffix(b"\n").unwrap_or(&bytes)) {
            Line::Whole { prev, hash } => (Some(prev), hash),
            Line::Changed { claims } => (None, claims),
            Line::Other => {
                odd.push(number);
                continue;
            }
        };
        report.last = chain::seq(&bytes);
        let goes_on = prev.is_none() || last.is_none() || prev == last;
        match (&prev, goes_on) {
            (None, _) => report.wrong(number, CHANGED),
            (Some(_), true) => report.cut.append(&mut odd),
            // A line in between that is no record may be the one that is missing.
            (Some(_), false) if !odd.is_empty() => odd.drain(..).for_each(|line| report.wrong(line, NO_RECORD)),
            (Some(_), false) => report.wrong(number, MISSING),
        }
        if report.records == 0 {
            report.begins = prev.map(|prev| prev.digits().to_owned());
        }
        report.records += 1;
        report.ends = Some(hash.digits().to_owned());
        last = Some(hash);
    }
    report.cut.append(&mut odd);
    Ok(report)
}

impl Report {
    fn wrong(&mut self, line: u64, what: &'static str) {
        if self.faults.len() < SHOWN {
            self.faults.push((line, what));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::render::Entry;
    use crate::audit::samples;
    use std::time::SystemTime;

    fn file() -> Vec<String> {
        let mut last = Hash::zero();
        let events = samples::all().into_iter().take(9).enumerate();
        let write = |(seq, event)| {
            let (line, hash) = chain::line(&Entry { seq: seq as u64, when: SystemTime::now(), by: "gwg", by_pid: 1, event }, &last);
            last = hash;
            line
        };
        events.map(write).collect()
    }

    fn report(lines: &[String]) -> Report {
        verify(lines.concat().as_bytes(), None).unwrap()
    }

    #[test]
    fn a_file_as_it_was_written_is_whole() {
        let lines = file();
        let whole = report(&lines);
        assert_eq!((whole.records, whole.faults.len(), whole.cut.len()), (9, 0, 0));
        assert_eq!(whole.begins.as_deref(), Some(Hash::zero().digits()));
        assert!(lines[8].contains(&whole.ends.unwrap()));
    }

    #[test]
    fn each_removed_changed_or_moved_record_is_found_with_its_line() {
        for at in 0..8 {
            let mut removed = file();
            removed.remove(at);
            let found = report(&removed);
            // The first record's absence shows in what the file begins with.
            match at {
                0 => assert_ne!(found.begins.as_deref(), Some(Hash::zero().digits())),
                _ => assert_eq!(found.faults, [(at as u64 + 1, MISSING)]),
            }

            let mut changed = file();
            changed[at] = changed[at].replacen("\"by_pid\":1", "\"by_pid\":2", 1);
            assert_eq!(report(&changed).faults, [(at as u64 + 1, CHANGED)]);

            let mut spoilt = file();
            spoilt[at] = "{}\n".into();
            match at {
                0 => assert_eq!(report(&spoilt).cut, [1]),
                _ => assert_eq!(report(&spoilt).faults, [(at as u64 + 1, NO_RECORD)]),
            }

            let mut moved = file();
            moved.swap(at, at + 1);
            let first = report(&moved).faults[0];
            assert_eq!(first, (at.max(1) as u64 + 1, MISSING));

            let mut twice = file();
            twice.insert(at, twice[at].clone());
            assert_eq!(report(&twice).faults[0].0, at as u64 + 2);
        }
    }

    #[test]
    fn a_record_hashed_anew_is_found_by_the_next() {
        let mut lines = file();
        let other = Entry { seq: 3, when: SystemTime::now(), by: "gwg", by_pid: 1, event: samples::all().swap_remove(1) };
        let Line::Whole { prev, .. } = chain::judge(lines[3].trim_end().as_bytes()) else { panic!("no record") };
        lines[3] = chain::line(&other, &prev).0;
        assert_eq!(report(&lines).faults, [(5, MISSING)]);
    }

    #[test]
    fn what_a_full_disk_cut_off_is_told_and_is_no_fault() {
        let mut lines = file();
        let half = lines[4][..70].to_owned() + "\n";
        lines.insert(4, half);
        let found = report(&lines);
        assert_eq!((found.records, found.faults, found.cut), (9, Vec::new(), vec![5]));
    }

    #[test]
    fn a_chain_goes_on_from_file_to_file() {
        let lines = file();
        let (old, new) = lines.split_at(5);
        let ends = report(old).ends.unwrap();
        assert_eq!(verify(new.concat().as_bytes(), Some(&ends)).unwrap().faults, []);
        let missing = verify(new[1..].concat().as_bytes(), Some(&ends)).unwrap();
        assert_eq!(missing.faults, [(1, MISSING)]);
    }
}
