//! supervisor → listener and back.

use super::Message;
use crate::audit::DeliveryEvent;
use serde::{Deserialize, Serialize};

/// What the supervisor says to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToListener {
    /// A worker has started. A descriptor comes with this message: the listener's end of the job
    /// link. What the worker before it did not acknowledge is sent again.
    Worker,
    /// Accept connections from now on. Until then it has only shown that it could: a listener that a
    /// reload starts must not answer before the whole of the new configuration is in force.
    Serve,
    /// Accept nothing more, answer what was asked, end.
    Drain(Waiting),
    /// Answer with [`FromListener::Alive`].
    Ping,
}

/// What becomes of connections that wait in the socket of a listener that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// Another listener has the socket too, and takes them.
    Leave,
    /// Nobody else will take them: they are accepted first.
    Take,
}

impl Message for ToListener {
    const MAX: usize = 16;
    const DESCRIPTORS: bool = true;
}

/// What a listener says to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromListener {
    /// It serves from now on. Said once.
    Ready {
        /// The version of Landlock that holds, which `/proc` does not tell; 0 for none.
        landlock: u8,
    },
    /// It is draining, and accepts nothing more.
    Closed,
    /// It hears: the answer to a ping.
    Alive,
    /// A request was answered.
    Delivery(DeliveryEvent),
    /// This many events were lost because the supervisor did not keep up.
    Lost(u64),
}

impl Message for FromListener {
    const MAX: usize = 256;
    const MAY_WAIT: bool = true;
}
