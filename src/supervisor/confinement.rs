//! Whether this machine can confine the children as the configuration wants it. Runs in the
//! supervisor, before the first child: so that one clear message stands for what each would say.

use crate::config;
use crate::confine::Confinement;
use crate::confine::host::Host;
use std::io;
use std::sync::OnceLock;

/// This machine offers all layers. Then it is not asked again, for processes are made to find out; where one is
/// missing, somebody may see to that while gwg runs.
static OFFERS_ALL: OnceLock<()> = OnceLock::new();

/// What the children are told.
///
/// # Errors
/// A layer is missing that the configuration requires.
pub fn decide(wanted: config::Confinement) -> io::Result<Confinement> {
    let missing = missing();
    match wanted {
        config::Confinement::Require if missing.is_empty() => Ok(Confinement::Require),
        config::Confinement::Require => {
            let text = format!(
                "this machine can't confine gwg's processes: it has no {}; see `gwg check --host`, or set `confinement: best-effort`",
                missing.join("; no ")
            );
            Err(io::Error::other(text))
        }
        config::Confinement::BestEffort => {
            for layer in missing {
                tracing::warn!(%layer, "confinement is incomplete: this machine does not offer a layer");
            }
            Ok(Confinement::BestEffort)
        }
    }
}

fn missing() -> Vec<&'static str> {
    if OFFERS_ALL.get().is_some() {
        return Vec::new();
    }
    let missing = Host::look().missing();
    if missing.is_empty() {
        OFFERS_ALL.get_or_init(|| ());
    }
    missing
}

/// What this machine offers, for people.
pub fn report() -> String {
    let host = Host::look();
    let missing = host.missing();
    let verdict = match missing.is_empty() {
        true => "every process can be confined in full".to_owned(),
        false => format!("missing: {}", missing.join("; ")),
    };
    format!("this machine, to uid {}: {verdict}\n{host}", nix::unistd::geteuid())
}
