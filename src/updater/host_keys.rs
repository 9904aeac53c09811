//! Is this server the one that was meant? Runs in the updater, in a callback of libgit2; distrusts
//! the server. An unknown or changed key is refused with the line to add, and never learnt.

use super::endpoint::Endpoint;
use super::failure::Fault;
use super::known_hosts::{self, Place, Verdict};
use crate::audit::{HostKey, KeyKind};
use crate::brief::updater::KnownHosts;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// Accepts the key that the server showed, or says why not.
///
/// # Errors
/// [`Reason::HostKey`] with what the operator can do.
pub fn check(files: &[KnownHosts], endpoint: &Endpoint, key: &[u8]) -> Result<(), Fault> {
    let Endpoint { host, port, .. } = endpoint;
    let name = known_hosts::name(host, *port);
    let digest: [u8; 32] = Sha256::digest(key).into();
    let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(digest));
    let line = format!("{name} {} {}", known_hosts::kind(key).unwrap_or("?"), STANDARD.encode(key));
    let if_it_is_right = format!(
        "if {fingerprint} is its fingerprint, add this line to the repository's knownHosts file or to /etc/ssh/ssh_known_hosts, and run `gwg reload`: {line}"
    );
    let message = match known_hosts::check(files, host, *port, key) {
        Verdict::Known => return Ok(()),
        Verdict::Unknown => format!("host key of {name} is unknown; {if_it_is_right}"),
        Verdict::Changed(Place { source, line: at }) => format!(
            "host key of {name} is not the one in {source} line {at}: someone may be in between; \
             if the key was changed on purpose, remove that line; {if_it_is_right}"
        ),
        Verdict::OtherKind(place) => format!("{place} knows {name} by a key of another kind only; {if_it_is_right}"),
        Verdict::Revoked(place) => format!("host key of {name}, {fingerprint}, is revoked by {place}"),
    };
    let kind = known_hosts::kind(key).map_or(KeyKind::Other, KeyKind::of_name);
    Err(Fault::host_key(HostKey { kind, fingerprint: digest }, message))
}

/// The file by which libgit2 chooses the kind of host key to ask for: only what is about this host,
/// in the plainest form. It decides nothing else.
pub fn preferences(files: &[KnownHosts], endpoint: &Endpoint) -> String {
    let name = known_hosts::name(&endpoint.host, endpoint.port);
    known_hosts::entries(files, &endpoint.host, endpoint.port)
        .into_iter()
        .map(|entry| format!("{name} {} {}\n", entry.kind, entry.key))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::audit::Reason;

    #[test]
    fn the_line_to_add_is_one_that_is_accepted() {
        let key = STANDARD.decode("AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl").unwrap();
        for url in ["git@Example.com:a/b", "ssh://git@example.com:2222/a", "ssh://[::1]:2222/a"] {
            let endpoint = Endpoint::of(url).unwrap();
            let fault = check(&[], &endpoint, &key).unwrap_err();
            assert_eq!(fault.reason, Reason::HostKey);
            // ssh-keygen -lf says this of the key above.
            assert!(fault.message.contains("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"), "{fault}");
            let (_, line) = fault.message.split_once("`gwg reload`: ").unwrap();
            let files = [KnownHosts { source: "new".into(), text: line.into() }];
            assert_eq!(check(&files, &endpoint, &key), Ok(()), "{line}");
            assert_eq!(preferences(&files, &endpoint), format!("{line}\n"));
        }
    }
}
