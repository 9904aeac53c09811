//! The README's promises: each names a test, and that test exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

/// The rows of the table: a promise, a file, a test in it.
fn rows(readme: &str) -> Vec<(String, String)> {
    let table = readme.split("| promise | test |").nth(1).expect("the table of promises");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let words: Vec<_> = row.split('`').collect();
        let [.., file, between, test, _end] = words.as_slice() else { panic!("a promise without a test: {row}") };
        assert_eq!(*between, ": ", "{row}");
        ((*file).to_owned(), (*test).to_owned())
    })
    .collect()
}

#[test]
fn each_promise_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = rows(&fs::read_to_string(root.join("README.md")).unwrap());
    assert!(rows.len() >= 15, "the table of promises was not read: {rows:?}");
    for (file, test) in rows {
        let text = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{file} has no test {test}");
    }
}

#[test]
#[should_panic(expected = "a promise without a test")]
fn a_promise_without_a_test_is_seen() {
    rows("| promise | test |\n|---|---|\n| it is good | trust us |\n");
}
