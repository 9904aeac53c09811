//! What is wrong with a configuration: which file, which line, which key, and what to do.
//!
//! Checks of meaning are pure functions that return a [`Fault`]; the caller knows the place, and
//! [`Notes`] collects, so that an operator sees all mistakes at once. Runs in the supervisor.

use super::sources::Sources;
use std::fmt;
use std::path::{Path, PathBuf};

/// More problems than this are counted, not shown: one typing mistake may hit 10,000 repositories.
const SHOWN: usize = 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named and none was found.
    #[error("there is no config.yaml, config.yml, config.toml or config.json in {}: write one, or name it with --config FILE", places(.0))]
    NotFound(Vec<PathBuf>),
    /// The file can't be used.
    #[error("{}", shown(.file, .problems))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, in the file's order where that is known. Never empty.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The line, from 1, where the parser knows it.
    pub line: Option<usize>,
    /// What, and what to do about it.
    pub fault: Fault,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A key.
    Key(KeyPath),
    /// A variable of the environment.
    Variable(String),
}

/// What is wrong, and what to do about it. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong: no capital, no full stop.
    pub what: String,
    /// What the operator can do.
    pub remedy: String,
}

impl Fault {
    /// What is wrong, and what to do about it.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// The way to a value: `repos[1].url`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPath(Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

impl KeyPath {
    /// A global key.
    pub fn global(key: &str) -> Self {
        Self::default().key(key)
    }

    /// A key of the repository at `index`.
    pub fn repo(index: usize, key: &str) -> Self {
        Self::global("repos").index(index).key(key)
    }

    /// One step further into a map.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.to_owned()));
        self
    }

    /// One step further into a list.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// The steps from the file's top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, step)| match step {
            Step::Key(key) if place == 0 => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

impl From<KeyPath> for Place {
    fn from(path: KeyPath) -> Self {
        Self::Key(path)
    }
}

/// What a check has found so far.
#[derive(Debug, Default)]
pub struct Notes {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<String>,
    /// The keys whose values came from a variable of the environment, and that one's name.
    pub overridden: Vec<(KeyPath, String)>,
    /// The files that were read.
    pub sources: Sources,
}

impl Notes {
    /// Notes a fault at its place: that of the variable, where one overrides the key.
    pub fn wrong(&mut self, place: impl Into<Place>, fault: Fault) {
        let place = match place.into() {
            Place::Key(path) => self.variable(&path).map_or(Place::Key(path), Place::Variable),
            place @ (Place::File | Place::Variable(_)) => place,
        };
        self.problems.push(Problem { place, line: None, fault });
    }

    /// The variable that overrides a key.
    pub fn variable(&self, path: &KeyPath) -> Option<String> {
        self.overridden.iter().find(|(key, _)| key == path).map(|(_, name)| name.clone())
    }

    /// The value, or `None` and a note of what is wrong with it.
    pub fn take<T>(&mut self, place: impl Into<Place>, checked: Result<T, Fault>) -> Option<T> {
        checked.map_err(|fault| self.wrong(place, fault)).ok()
    }

    /// Notes a warning about a key.
    pub fn warn(&mut self, path: &KeyPath, text: impl fmt::Display) {
        self.warnings.push(format!("{path}: {text}"));
    }
}

fn places(directories: &[PathBuf]) -> String {
    let names: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
    names.join(" or ")
}

/// One line for each problem, as compilers write them: `FILE:LINE: KEY: WHAT; REMEDY`.
fn shown(file: &Path, problems: &[Problem]) -> String {
    let mut lines: Vec<_> = problems.iter().take(SHOWN).map(|problem| one_line(file, problem)).collect();
    if problems.len() > SHOWN {
        lines.push(format!("{}: and {} more", file.display(), problems.len() - SHOWN));
    }
    lines.join("\n")
}

fn one_line(file: &Path, problem: &Problem) -> String {
    let place = match (&problem.place, problem.line) {
        (Place::Variable(name), _) => format!("{name} (environment)"),
        (Place::File, None) => file.display().to_string(),
        (Place::File, Some(line)) => format!("{}:{line}", file.display()),
        (Place::Key(path), None) => format!("{}: {path}", file.display()),
        (Place::Key(path), Some(line)) => format!("{}:{line}: {path}", file.display()),
    };
    printable(&format!("{place}: {}", problem.fault))
}

/// A key or value of the file may hold what a terminal obeys.
fn printable(text: &str) -> String {
    let one = |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() };
    text.chars().map(one).collect()
}
