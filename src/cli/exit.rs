//! Exit statuses, as sysexits(3) numbers them. Every command uses these and no others.

use std::process::ExitCode;

/// One way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done,
    /// It was tried, and failed; the message says why.
    Failed,
    /// No repository has that name, or no delivery that id.
    Unknown,
    /// No gateway runs here.
    NotRunning,
    /// A file can't be made, or is there already.
    CantCreate,
    /// The gateway does not answer in time, or has too many clients.
    TryAgain,
    /// The gateway refuses: this user may not.
    Refused,
    /// Something is wrong with the configuration.
    Config,
}

impl Exit {
    /// The number.
    pub const fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unknown => 66,
            Self::NotRunning => 69,
            Self::CantCreate => 73,
            Self::TryAgain => 75,
            Self::Refused => 77,
            Self::Config => 78,
        }
    }

    /// What it means, for the manual.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "It was done.",
            Self::Failed => "It was tried, and failed; the message says why.",
            Self::Unknown => "No repository has that name, or no delivery that id.",
            Self::NotRunning => "No gateway runs here.",
            Self::CantCreate => "A file can't be made, or is there already.",
            Self::TryAgain => "The gateway does not answer in time, or has too many clients.",
            Self::Refused => "The gateway refuses: this user may not.",
            Self::Config => "Something is wrong with the configuration.",
        }
    }

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Done, Self::Failed, Self::Unknown, Self::NotRunning, Self::CantCreate, Self::TryAgain, Self::Refused, Self::Config];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

/// Why a command ends otherwise than well: what to say, and the status.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// One message that says what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A message, and how to end with it.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
