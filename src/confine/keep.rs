//! The capabilities that the supervisor keeps. Runs in the supervisor, as root, before its second
//! thread: capabilities belong to threads.

use caps::{CapSet, Capability, CapsHashSet};

/// What the supervisor's job needs after start. With these it can still become root again by way of
/// any of its users: the supervisor is trusted, and this is against mistakes.
const KEPT: &[(Capability, &str)] = &[
    (Capability::CAP_SETUID, "children become their users"),
    (Capability::CAP_SETGID, "and their groups"),
    (Capability::CAP_SETPCAP, "and lose their bounding set"),
    (Capability::CAP_SYS_ADMIN, "and get namespaces of their own"),
    (Capability::CAP_KILL, "root without it can't end children of another user"),
    (Capability::CAP_NET_BIND_SERVICE, "ports below 1024"),
    (Capability::CAP_DAC_READ_SEARCH, "a reload reads the configuration and its keys again, whoever owns them"),
];

/// Gives all others up, for good.
///
/// # Errors
/// The kernel's, as `caps` words it.
pub fn only_needed() -> Result<(), caps::errors::CapsError> {
    let kept: CapsHashSet = KEPT.iter().map(|(capability, _)| *capability).collect();
    for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // In a container root may not have all of them.
    let kept = &kept & &caps::read(None, CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
