//! Reloads as people and commands hear of them: why one is made, and how it ended. Runs in the
//! supervisor; holds no secret.

use crate::config::{ConfigError, Place};
use crate::ids::Generation;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// The file, or one that it names, has changed.
    File,
    /// An operator asked for it.
    Operator,
}

impl Cause {
    /// As the log has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::File => "file",
            Self::Operator => "operator",
        }
    }
}

/// How a reload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The new configuration is in force.
    Loaded {
        /// Its number.
        generation: Generation,
        /// What it changed.
        difference: Difference,
    },
    /// What is written is in force already.
    Unchanged {
        /// The number of the configuration in force.
        generation: Generation,
    },
    /// The configuration that was in force still is, in whole.
    Refused {
        /// Why: never empty.
        reasons: Vec<Reason>,
    },
}

/// Paths of repositories that a reload touched. One whose settings stay the same is in none of the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// New ones.
    pub added: Vec<Arc<str>>,
    /// Those that are gone; their work trees stay on disk.
    pub removed: Vec<Arc<str>>,
    /// Those with another path, secret, URL or anything else.
    pub changed: Vec<Arc<str>>,
}

/// One reason for which a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The file that it is about.
    pub file: Option<PathBuf>,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The key, or the variable of the environment.
    pub key: Option<String>,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl Reason {
    /// A reason that no line of the file is to blame for.
    pub fn of(what: impl Into<String>) -> Self {
        Self { file: None, line: None, key: None, what: what.into() }
    }

    /// A reason about one key.
    pub fn key(file: PathBuf, key: &str, what: impl Into<String>) -> Self {
        Self { file: Some(file), line: None, key: Some(key.to_owned()), what: what.into() }
    }

    /// What is wrong with a configuration, problem by problem.
    pub fn all(error: ConfigError) -> Vec<Self> {
        match error {
            ConfigError::NotFound(_) => vec![Self::of(error.to_string())],
            ConfigError::Wrong { file, problems } => problems
                .into_iter()
                .map(|problem| {
                    let key = match problem.place {
                        Place::File => None,
                        Place::Key(path) => Some(path.to_string()),
                        Place::Variable(name) => Some(format!("{name} (environment)")),
                    };
                    Self { file: Some(file.clone()), line: problem.line, key, what: problem.fault.to_string() }
                })
                .collect(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => {}
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_where_and_why() {
        let reason = Reason { file: Some("/c.yaml".into()), line: Some(3), key: Some("port".into()), what: "out of range".into() };
        assert_eq!(reason.to_string(), "/c.yaml:3: port: out of range");
        assert_eq!(Reason::of("no").to_string(), "no");
    }
}
