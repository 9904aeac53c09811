//! gwg-hook: runs one command of the administrator's, and ends all that it started.
//!
//! Holds the hook's variables and nothing else: no key, no secret of gwg's, no descriptor but the log's. It
//! confines itself before it starts the command, which inherits all of that. It parses nothing but
//! its brief, and distrusts the command, which runs as the same user.

mod environment;
mod run;
mod shepherd;
mod sweep;

use crate::confine::Role;
use crate::confine::enter::{ConfineError, Entered, enter, told_version};
use crate::wire::frame;
use crate::wire::hook::{Brief, FromHook};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Runs one hook. How it went goes to the supervisor; what it says, to the log.
pub fn main() -> ExitCode {
    if told_version(Role::Hook) {
        return ExitCode::SUCCESS;
    }
    match hook() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn hook() -> Result<(), StartError> {
    let Entered { supervisor, doors } = enter(Role::Hook)?;
    let mut supervisor = UnixStream::from(supervisor);
    let brief: Brief = frame::read(&mut supervisor).map_err(StartError::Brief)?;
    let level = doors.close_but_writing(brief.hook.write.as_deref())?;
    let end = run::run(&brief, &supervisor, level.landlock).map_err(StartError::Watch)?;
    frame::write(&mut supervisor, &FromHook::Ended(end)).map_err(StartError::Report)
}

/// One line for the log.
fn say(message: &str) {
    let _nobody_listens = io::stderr().write_all(format!("{message}\n").as_bytes());
}

/// Why no command was started, or its end could not be told.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error("the supervisor's brief did not come: {0}")]
    Brief(io::Error),
    #[error("the command could not be watched: {0}")]
    Watch(io::Error),
    #[error("the supervisor did not take the report: {0}")]
    Report(io::Error),
}
