//! What one repository trusts and is trusted by: secrets of deliveries, the key for the remote, the
//! remote's host keys and certificates.

use super::{Place, Repos, given};
use crate::brief::listener::Proof;
use crate::brief::updater::KnownHosts;
use crate::brief::{Secret, worker};
use crate::config::directories;
use crate::config::error::Fault;
use crate::config::files::{Files, KEY_MAX, TEXT_MAX};
use crate::config::raw::{RawRepo, Secrets};
use crate::config::url::{Remote, Transport};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A secret with fewer bytes can be guessed: 16 random ones can't.
const SHORT_SECRET: usize = 16;

impl Repos<'_> {
    /// How a delivery to the repository proves that it is authentic.
    pub(super) fn proof(&mut self, raw: &mut RawRepo, at: &mut Place) -> Option<Proof> {
        let inline = raw.secret.take().map(|Secrets(list)| list).filter(|list| !list.is_empty());
        let file = given(raw.secret_file.take());
        let signature = given(raw.signature.take());
        let unsigned = raw.unsigned.unwrap_or_default();
        if unsigned && (inline.is_some() || file.is_some() || signature.is_some()) {
            at.wrong("unsigned", "the repository is unsigned and has a secret or a signature", "remove unsigned, or the other");
            return None;
        }
        let (key, secrets) = match (inline, file) {
            (Some(_), Some(_)) => {
                at.wrong("secretFile", "there is a secret as well", "keep one of them; for several secrets make secret a list");
                return None;
            }
            (Some(list), None) => ("secret", list),
            (None, Some(path)) => ("secretFile", vec![at.take("secretFile", self.secret_in(&path))?]),
            (None, None) if unsigned => {
                at.warn("unsigned", "whoever can reach the path can start an update");
                return Some(Proof::Unsigned);
            }
            (None, None) => {
                at.wrong(
                    "secret",
                    "this is missing",
                    "write the webhook's secret as the forge has it, or secretFile; unsigned: true if anybody may start an update",
                );
                return None;
            }
        };
        if secrets.iter().any(|secret| secret.expose().is_empty()) {
            at.wrong(key, "the secret is empty, so anybody could sign with it", "make one, for instance with: openssl rand -hex 32");
            return None;
        }
        if secrets.iter().any(|secret| secret.expose().len() < SHORT_SECRET) {
            at.warn(key, "the secret is shorter than 16 bytes; make a longer one, for instance with: openssl rand -hex 32");
        }
        let sha1 = at.take("signature", signature_kind(signature.as_deref()))?;
        Some(Proof::Signed { secrets, sha1 })
    }

    fn secret_in(&mut self, written: &str) -> Result<Secret, Fault> {
        let content = self.files.read(&directories::absolute(written)?, KEY_MAX)?;
        let bytes = content.bytes.strip_suffix(b"\n").unwrap_or(&content.bytes);
        Ok(Secret::new(bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec()))
    }

    /// The key, or the knowledge that none is needed.
    pub(super) fn key(
        &mut self,
        raw: &mut RawRepo,
        transport: Option<Transport>,
        at: &mut Place,
    ) -> Option<Option<(worker::KeyIndex, PathBuf)>> {
        let file = given(raw.ssh_priv_key.take());
        let passphrase = self.passphrase(raw, at)?;
        match (file, transport) {
            (Some(file), Some(Transport::Ssh) | None) => {
                let path = at.take("sshPrivKey", directories::absolute(&file))?;
                let (index, warning) = at.take("sshPrivKey", self.keys.add(&path, passphrase, &mut self.files))?;
                if let Some(warning) = warning {
                    at.warn("sshPrivKey", &warning);
                }
                Some(Some((index, path)))
            }
            (Some(_), Some(Transport::Https | Transport::Loopback)) => {
                at.wrong("sshPrivKey", "the URL is not an ssh URL, so the key would do nothing", "remove it, or write an ssh URL");
                None
            }
            (None, Some(Transport::Ssh)) => {
                at.wrong(
                    "sshPrivKey",
                    "this is missing, and an ssh remote always wants a key",
                    "name a private key; for a public repository write its https URL",
                );
                None
            }
            (None, Some(Transport::Https | Transport::Loopback) | None) if passphrase.is_some() => {
                at.wrong("sshPassPhrase", "there is no sshPrivKey, so it would do nothing", "remove it, or name the key");
                None
            }
            (None, Some(Transport::Https | Transport::Loopback) | None) => Some(None),
        }
    }

    fn passphrase(&mut self, raw: &mut RawRepo, at: &mut Place) -> Option<Option<Secret>> {
        let inline = raw.ssh_pass_phrase.take().map(|phrase| phrase.0).filter(|phrase| !phrase.expose().is_empty());
        match (inline, given(raw.ssh_pass_phrase_file.take())) {
            (Some(_), Some(_)) => {
                at.wrong("sshPassPhraseFile", "there is a sshPassPhrase as well", "keep one of them");
                None
            }
            (None, Some(path)) => at.take("sshPassPhraseFile", self.secret_in(&path)).map(Some),
            (inline, None) => Some(inline),
        }
    }

    /// What is known about the host of an ssh remote.
    pub(super) fn known_hosts(&mut self, raw: &mut RawRepo, remote: Option<&Remote>, at: &mut Place) -> Option<Arc<[KnownHosts]>> {
        let written = given(raw.known_hosts.take());
        match remote?.transport {
            Transport::Ssh => {
                let file = match written {
                    Some(written) => Some(at.take("knownHosts", directories::absolute(&written))?),
                    None => None,
                };
                at.take("knownHosts", self.hosts.of(&remote?.host, file, &mut self.files))
            }
            Transport::Https | Transport::Loopback if written.is_some() => {
                at.wrong(
                    "knownHosts",
                    "the URL is not an ssh URL, so it would do nothing",
                    "remove it; certificates of https remotes go into caFile",
                );
                None
            }
            Transport::Https | Transport::Loopback => Some(Arc::new([])),
        }
    }

    /// Certificates to trust beside the system's.
    pub(super) fn ca(&mut self, raw: &mut RawRepo, transport: Option<Transport>, at: &mut Place) -> Option<Option<Arc<str>>> {
        let Some(written) = given(raw.ca_file.take()) else { return Some(None) };
        if matches!(transport, Some(Transport::Ssh | Transport::Loopback)) {
            at.wrong("caFile", "the URL is not an https URL, so it would do nothing", "remove it; keys of ssh hosts go into knownHosts");
            return None;
        }
        let path = at.take("caFile", directories::absolute(&written))?;
        let files = &mut self.files;
        let read = self.certificates.entry(path).or_insert_with_key(|path| certificates(path, files)).clone();
        at.take("caFile", read).map(Some)
    }
}

fn certificates(path: &Path, files: &mut Files) -> Result<Arc<str>, Fault> {
    let content = files.read(path, TEXT_MAX)?;
    match std::str::from_utf8(&content.bytes) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Ok(Arc::from(text)),
        Ok(_) | Err(_) => {
            Err(Fault::new(format!("{} holds no PEM certificate", path.display()), "name a file with -----BEGIN CERTIFICATE-----"))
        }
    }
}

/// Whether SHA-1 is accepted.
fn signature_kind(written: Option<&str>) -> Result<bool, Fault> {
    match written {
        None | Some("sha256") => Ok(false),
        Some("sha1") => Ok(true),
        Some(_) => Err(Fault::new("this is no kind of signature", "write sha256, or sha1 for a forge that sends no better one")),
    }
}
