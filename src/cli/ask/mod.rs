//! The commands that ask a running gateway, over its control socket.
//!
//! | file | holds |
//! |---|---|
//! | `connect` | finding the gateway; requests and answers |
//! | `status`, `log`, `update`, `prune`, `send` | a command each |
//! | `state`, `table`, `time`, `paint` | how things are put: pure |

pub mod connect;
pub mod log;
mod paint;
pub mod prune;
pub mod send;
mod state;
pub mod status;
mod table;
mod time;
pub mod update;

use super::exit::{Exit, Failure};
use crate::wire::control::{Answer, Request};
use connect::Gateway;

/// `gwg reload`.
///
/// # Errors
/// No gateway, or it refuses.
pub fn reload(gateway: &connect::Where) -> Result<String, Failure> {
    let mut gateway = Gateway::open(gateway)?;
    gateway.ask(&Request::Reload)?;
    match gateway.next()? {
        Answer::Text(text) => Ok(text + "\n"),
        other => Err(unexpected(&other)),
    }
}

/// `gwg upgrade`.
///
/// # Errors
/// No gateway, it refuses, or nobody is left to answer.
pub fn upgrade(gateway: &connect::Where) -> Result<String, Failure> {
    let mut gateway = Gateway::open(gateway)?;
    gateway.ask(&Request::Upgrade)?;
    // What runs is given time to end.
    gateway.be_patient()?;
    match gateway.next()? {
        Answer::Text(text) => Ok(text + "\n"),
        other => Err(unexpected(&other)),
    }
}

/// Gateways of one build don't say this.
fn unexpected(_: &Answer) -> Failure {
    Failure::new(Exit::Failed, "the gateway answers what was not asked: is it of another build? restart it")
}
