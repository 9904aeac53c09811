//! What was tried, by whom, and what came of it, as a table on standard output.
#![allow(clippy::print_stdout)] // The table is for people.

use std::collections::BTreeMap;
use std::io;

/// Rows are attacks, columns those who tried them. A cell says how many of the tries held.
#[derive(Default)]
pub struct Matrix {
    columns: Vec<&'static str>,
    rows: Vec<String>,
    cells: BTreeMap<(String, &'static str), Vec<io::Result<()>>>,
}

impl Matrix {
    /// Notes one try: `Ok` where the attacker got what it wanted.
    pub fn tried(&mut self, attack: &str, by: &'static str, came: io::Result<()>) {
        if !self.columns.contains(&by) {
            self.columns.push(by);
        }
        if !self.rows.iter().any(|row| row == attack) {
            self.rows.push(attack.to_owned());
        }
        self.cells.entry((attack.to_owned(), by)).or_default().push(came);
    }

    /// Attacks of which a try by `by` succeeded.
    pub fn succeeded(&self, by: &str) -> Vec<&str> {
        self.rows_where(by, |tries| tries.iter().any(Result::is_ok))
    }

    /// Attacks of which a try by `by` failed, and how.
    pub fn failed(&self, by: &str) -> Vec<&str> {
        self.rows_where(by, |tries| tries.iter().any(Result::is_err))
    }

    fn rows_where(&self, by: &str, holds: impl Fn(&[io::Result<()>]) -> bool) -> Vec<&str> {
        let cell = |row: &String| self.cells.iter().find(|((attack, who), _)| attack == row && *who == by).map(|(_, tries)| tries);
        self.rows.iter().filter(|row| cell(row).is_some_and(|tries| holds(tries))).map(String::as_str).collect()
    }

    /// How many attacks there were.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The table.
    pub fn print(&self) {
        let first = self.rows.iter().map(|row| row.chars().count()).max().unwrap_or_default();
        let columns: Vec<String> = self.columns.iter().map(|column| format!("{column:>22}")).collect();
        println!("{:first$} {}", "attack", columns.concat());
        for row in &self.rows {
            let cells: String = self.columns.iter().map(|column| format!("{:>22}", self.cell(row, column))).collect();
            println!("{row:first$} {cells}");
        }
    }

    fn cell(&self, row: &str, column: &'static str) -> String {
        let Some(tries) = self.cells.get(&(row.to_owned(), column)) else { return "-".to_owned() };
        let got = tries.iter().filter(|came| came.is_ok()).count();
        let why = tries.iter().find_map(|came| came.as_ref().err());
        match (got, why) {
            (0, Some(why)) => format!("held: {}", word(why)),
            (_, Some(_)) => format!("GOT IT {got} of {}", tries.len()),
            (_, None) => "GOT IT".to_owned(),
        }
    }
}

/// The kernel's name for an error where it has one.
fn word(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None => error.to_string(),
    }
}
