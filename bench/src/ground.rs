//! What most figures are measured on: a small remote, its server on loopback, and a push that announces its tip.

use crate::Result;
use crate::push::Push;
use crate::remote::{Daemon, Remote};
use crate::scratch::Scratch;

/// All of it, as long as this lives.
pub struct Ground {
    /// The remote's URL.
    pub url: String,
    /// The push.
    pub push: Push,
    /// gwg's updates are served while it is under load.
    _daemon: Daemon,
    /// Where all of it lies.
    pub scratch: Scratch,
}

impl Ground {
    /// Makes the remote and starts its server.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let remote = Remote::new(&scratch, 1)?;
        let daemon = Daemon::start(&scratch)?;
        let url = daemon.url();
        let push = Push::new(&url, &remote.head()?)?;
        Ok(Self { url, push, _daemon: daemon, scratch })
    }
}
