//! Signals: held while nobody would hear them, and heard by the loop. Runs in the supervisor.
//!
//! A mask and what waits behind it go through exec, and threads inherit the mask of who starts them. So what comes
//! while one gwg takes the place of another waits for its loop; no other thread takes it meanwhile.

use nix::sys::signal::{SigSet, Signal as Number};
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those that do not mean to end gwg, and would.
const HARMLESS: [Number; 3] = [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2];
/// Those that do.
const ENDS: [Number; 2] = [Number::SIGTERM, Number::SIGINT];

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The end. The signal's name.
    End(&'static str),
    /// That the configuration is read again.
    Reload,
    /// That the executable that is installed now takes over.
    Upgrade,
}

/// From now on those that do not mean the end wait. Call it first.
pub fn hold_harmless() {
    hold_all(&HARMLESS);
}

/// From now on all wait. What is started meanwhile never takes one.
pub fn hold() {
    hold_all(&HARMLESS);
    hold_all(&ENDS);
}

fn hold_all(signals: &[Number]) {
    // It fails for no mask that can be written down.
    let _ = signals.iter().copied().collect::<SigSet>().thread_block();
}

/// Does something whose threads never take a signal.
pub fn held<T>(act: impl FnOnce() -> T) -> T {
    let before = SigSet::thread_get_mask();
    hold();
    let done = act();
    if let Ok(before) = before {
        // As above.
        let _ = before.thread_set_mask();
    }
    done
}

/// Those that the loop hears.
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr2: Signal,
}

impl Signals {
    /// Hears what comes from now on, and what waits when [`release`](Self::release) is called.
    ///
    /// # Errors
    /// Those of sigaction(2).
    pub fn hear() -> io::Result<Self> {
        let [term, int, hup, usr2] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::user_defined2()].map(signal);
        Ok(Self { term: term?, int: int?, hup: hup?, usr2: usr2? })
    }

    /// None is held any more, not even what a parent held.
    ///
    /// # Errors
    /// Those of sigprocmask(2).
    pub fn release(&self) -> io::Result<()> {
        Ok(SigSet::all().thread_unblock()?)
    }

    /// The next one.
    pub async fn next(&mut self) -> Wish {
        // The end comes first, however many others there are.
        tokio::select! {
            biased;
            _ = self.term.recv() => Wish::End("SIGTERM"),
            _ = self.int.recv() => Wish::End("SIGINT"),
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr2.recv() => Wish::Upgrade,
        }
    }

    /// Holds all again, for who comes after this process's exec. Some: the end was asked for before.
    pub async fn hold_again(&mut self) -> Option<&'static str> {
        hold();
        // One turn of the event loop, which hears what came before.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        tokio::select! {
            biased;
            _ = self.term.recv() => Some("SIGTERM"),
            _ = self.int.recv() => Some("SIGINT"),
            () = std::future::ready(()) => None,
        }
    }
}
