//! docs/cve-ledger.md: each id that gwg must answer has a line, and each line names tests that exist,
//! or says why the fault can't apply. docs/faults.md: the same for what may fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What has to be answered.
const CVES: &str = "
    2017-1000117 2018-11235 2018-17456 2019-1348 2019-1349 2019-1350 2019-1351 2019-1352 2019-1353 2019-1354 2019-1387
    2019-19604 2020-5260 2020-11008 2021-21300 2022-23521 2022-24765 2022-29187 2022-39253 2022-41903 2023-22490
    2023-23946 2023-25652 2023-29007 2024-32002 2024-32004 2024-32020 2024-32021 2024-32465 2024-50349 2024-52006
    2025-48384 2025-48385
    2023-22742 2024-24575 2024-24577 2026-5917 2026-53583 2026-53584 2026-53585 2026-53586 2026-53587
    2023-48795 2025-15661 2026-7598 2026-55199 2026-55200 2026-58050 2026-58051
    2024-40634 2025-59538 2022-43411 2022-43412";

/// One that has no number of its own.
const UNNUMBERED: &str = "adnanh/webhook#756";

/// A line of the ledger.
struct Line {
    id: String,
    answer: String,
}

fn lines(ledger: &str) -> Vec<Line> {
    let rows = ledger.lines().filter(|line| line.starts_with("| CVE-") || line.contains(UNNUMBERED));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _what, answer] = cells.as_slice() else { panic!("not three cells: {row}") };
        Line { id: (*id).to_owned(), answer: (*answer).to_owned() }
    })
    .collect()
}

/// The pairs of file and test that an answer names: `` `file.rs`: `test` ``.
fn tests(answer: &str) -> Vec<(&str, &str)> {
    let words: Vec<_> = answer.split('`').collect();
    words
        .iter()
        .zip(words.iter().skip(2))
        .zip(words.iter().skip(1))
        .filter(|(_, between)| **between == ": ")
        .map(|((file, test), _)| (*file, *test))
        .collect()
}

/// What is wrong with an answer.
fn fault(root: &Path, line: &Line) -> Option<String> {
    let named = tests(&line.answer);
    if named.is_empty() && !line.answer.starts_with("can't apply: ") {
        return Some(format!("{}: neither a test nor a reason why it can't apply", line.id));
    }
    named.into_iter().find_map(|(file, test)| {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        let is_there = text.lines().any(|line| line.trim_start().starts_with(&format!("fn {test}()")));
        (!is_there || !text.contains("#[test]")).then(|| format!("{}: {file} has no test {test}", line.id))
    })
}

#[test]
fn each_id_has_an_answer_that_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = lines(&fs::read_to_string(root.join("docs/cve-ledger.md")).unwrap());
    let wanted: BTreeSet<_> = CVES.split_whitespace().map(|id| format!("CVE-{id}")).chain([UNNUMBERED.to_owned()]).collect();
    let found: BTreeSet<_> = lines.iter().map(|line| line.id.clone()).collect();
    assert_eq!(found.len(), lines.len(), "an id stands there twice");
    assert_eq!(wanted.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "ids without a line");
    let faults: Vec<_> = lines.iter().filter_map(|line| fault(root, line)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What may fail, and must have a test that says so in its name.
const NUMBERED: [u32; 18] = [1, 2, 3, 5, 6, 14, 15, 16, 17, 18, 19, 25, 26, 27, 28, 29, 30, 32];

/// The lines of docs/faults.md.
fn faults(page: &str) -> Vec<Line> {
    let rows = page.lines().filter(|line| line.starts_with("| F") && line.chars().nth(3).is_some_and(|letter| letter.is_ascii_digit()));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _what, _promise, answer] = cells.as_slice() else { panic!("not four cells: {row}") };
        Line { id: (*id).to_owned(), answer: (*answer).to_owned() }
    })
    .collect()
}

#[test]
fn each_fault_has_tests_that_are_there_and_bear_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = faults(&fs::read_to_string(root.join("docs/faults.md")).unwrap());
    for number in NUMBERED {
        let line = lines.iter().find(|line| line.id == format!("F{number}"));
        let named = line.map(|line| tests(&line.answer)).unwrap_or_default();
        assert!(named.iter().any(|(_, test)| test.contains(&format!("f{number}_"))), "F{number}: {named:?}");
    }
    // A guest is no test of cargo's.
    let wrong: Vec<_> = lines.iter().filter(|line| line.id != "F4").filter_map(|line| fault(root, line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_line_without_an_answer_is_seen() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |answer: &str| {
        let [line] = lines(&format!("| CVE-1-1 | x | {answer} |")).try_into().ok().unwrap();
        fault(root, &line)
    };
    assert!(read("we are careful").unwrap().contains("neither"));
    assert!(read("`tests/ledger.rs`: `no_such_test`").unwrap().contains("has no test"));
    assert!(read("`tests/no-such-file.rs`: `x`").unwrap().contains("has no test"));
    assert_eq!(read("can't apply: Linux only"), None);
    assert_eq!(read("`tests/ledger.rs`: `a_line_without_an_answer_is_seen`"), None);
}
