//! What to do where the kernel can't confine the children in full. Runs in the supervisor.

use super::Confinement;
use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes};
use super::owner::{Owner, name_of};

/// As root a layer that is missing is a mistake of the machine's; elsewhere it is often the rule.
pub fn check(written: Option<String>, owner: Owner, env: &Environment, notes: &mut Notes) -> Option<Confinement> {
    let key = KeyPath::global("confinement");
    let default = if env.is_root() { Confinement::Require } else { Confinement::BestEffort };
    let wanted = match written.unwrap_or_default().trim() {
        "" => Ok(default),
        "require" => Ok(Confinement::Require),
        // A variable of the environment is root's own word, whoever can write the file.
        "best-effort" if notes.variable(&key).is_some() => Ok(Confinement::BestEffort),
        "best-effort" => allowed(owner, env),
        other => Err(Fault::new(format!("there is no confinement {other:?}"), "write require or best-effort")),
    };
    notes.take(key, wanted)
}

/// Who may be what root's processes are confined against must not loosen it.
fn allowed(owner: Owner, env: &Environment) -> Result<Confinement, Fault> {
    match owner {
        Owner::Other(uid) if env.is_root() => Err(Fault::new(
            format!("{} can write this configuration, so it may not loosen the confinement", name_of(uid)),
            "let root own it and every directory above it",
        )),
        Owner::Trusted | Owner::Other(_) => Ok(Confinement::BestEffort),
    }
}
