//! ssh keys: can this file be used with this passphrase? Better known at start than at the first push.
//!
//! What libssh2 will be given later is the file as it is; here it is only opened and put away again.

mod legacy;
mod openssh;
mod pkcs;

use super::error::Fault;
use super::files::{Files, KEY_MAX};
use crate::brief::{Key, Secret, worker};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Bits of the shortest RSA key: what OpenSSH and the forges accept.
const RSA_LEAST: usize = 2048;

/// Why a key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not a key at all.
    #[error("the file holds no private key")]
    NotAKey,
    /// The half that everybody may know.
    #[error("this is a public key")]
    Public,
    /// Another program's format.
    #[error("this is a PuTTY key")]
    Putty,
    /// DSA: no server takes it any more.
    #[error("this is a DSA key, which ssh servers no longer accept")]
    Dsa,
    /// The key's secret is in a piece of hardware.
    #[error("this key lives in a security key, which wants a touch for every use")]
    Hardware,
    /// RSA with too few bits.
    #[error("this RSA key has {0} bits, fewer than 2048")]
    ShortRsa(usize),
    /// A kind of key, or a file format of it, that libssh2 can't use.
    #[error("this kind of key is not supported")]
    Kind,
    /// Encrypted by a method that can't be opened.
    #[error("the key is encrypted by a method that is not supported")]
    Method,
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// A passphrase is needed.
    #[error("the key is encrypted and there is no passphrase")]
    NoPassphrase,
    /// Something that begins as a key and does not go on as one.
    #[error("the key is damaged")]
    Damaged,
}

impl KeyFault {
    fn remedy(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::NotAKey => "name a private key, as ssh-keygen -t ed25519 makes it".to_owned(),
            Self::Public => "name the private one: the file without .pub".to_owned(),
            Self::Putty => format!("convert it: puttygen {path} -O private-openssh -o NEW"),
            Self::Dsa | Self::Hardware | Self::ShortRsa(_) => "make a deploy key for gwg: ssh-keygen -t ed25519".to_owned(),
            Self::Kind => "use an ed25519, ECDSA (NIST) or RSA key, as ssh-keygen makes it".to_owned(),
            Self::Method => format!("write it anew in OpenSSH's format: ssh-keygen -p -f {path}"),
            Self::WrongPassphrase => "correct sshPassPhrase or sshPassPhraseFile".to_owned(),
            Self::NoPassphrase => "add sshPassPhrase or sshPassPhraseFile".to_owned(),
            Self::Damaged => format!("copy it again; this should show its public half: ssh-keygen -y -f {path}"),
        }
    }
}

/// The distinct keys of a configuration.
#[derive(Default)]
pub struct Keys {
    /// In the order in which they were met.
    pub list: Vec<Key>,
    seen: HashMap<Known, Result<Added, Fault>>,
}

/// What makes a key the same: its file and the digest of its passphrase.
type Known = (PathBuf, Option<[u8; 32]>);

/// A key's place, and a warning about it.
type Added = (worker::KeyIndex, Option<String>);

impl Keys {
    /// Reads and tries a key, unless it is known with this passphrase. A warning is given once.
    pub fn add(&mut self, path: &Path, passphrase: Option<Secret>, files: &mut Files) -> Result<Added, Fault> {
        let known = (path.to_owned(), passphrase.as_ref().map(|phrase| Sha256::digest(phrase.expose()).into()));
        if let Some(added) = self.seen.get(&known) {
            return added.clone().map(|(index, _)| (index, None));
        }
        let added = self.add_new(path, passphrase, files);
        self.seen.insert(known, added.clone());
        added
    }

    fn add_new(&mut self, path: &Path, passphrase: Option<Secret>, files: &mut Files) -> Result<Added, Fault> {
        let content = files.read(path, KEY_MAX)?;
        let encrypted = inspect(&content.bytes, passphrase.as_ref().map(Secret::expose))
            .map_err(|fault| Fault::new(format!("{}: {fault}", path.display()), fault.remedy(path)))?;
        let warning = match (content.public, encrypted, &passphrase) {
            (true, _, _) => Some(format!("{} can be read by everybody: chmod go= {0}", path.display())),
            (false, false, Some(_)) => Some(format!("{} is not encrypted, so its passphrase does nothing", path.display())),
            (false, true, _) | (false, false, None) => None,
        };
        let index = worker::KeyIndex(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        self.list.push(Key { pem: Secret::new(content.bytes.to_vec()), passphrase });
        Ok((index, warning))
    }
}

/// Opens a private key. Says whether it was encrypted.
fn inspect(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<bool, KeyFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyFault::NotAKey)?;
    if text.trim_start().starts_with("PuTTY-User-Key-File") {
        return Err(KeyFault::Putty);
    }
    let Some((label, body)) = pem(text) else {
        return Err(if is_public(text) { KeyFault::Public } else { KeyFault::NotAKey });
    };
    match label {
        "OPENSSH PRIVATE KEY" => openssh::open(body, passphrase),
        "RSA PRIVATE KEY" => legacy::open(body, passphrase, pkcs::rsa),
        "EC PRIVATE KEY" => legacy::open(body, passphrase, |der| pkcs::ec(der, None)),
        "PRIVATE KEY" => pkcs::plain(body),
        "ENCRYPTED PRIVATE KEY" => pkcs::encrypted(body, passphrase.ok_or(KeyFault::NoPassphrase)?),
        "DSA PRIVATE KEY" => Err(KeyFault::Dsa),
        label if label.contains("PUBLIC KEY") => Err(KeyFault::Public),
        _ => Err(KeyFault::NotAKey),
    }
}

/// The label and the body of the first block in PEM form (RFC 7468).
fn pem(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    Some((label, body))
}

fn is_public(text: &str) -> bool {
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| first.starts_with(kind)) || text.contains("BEGIN SSH2 PUBLIC KEY")
}

fn long_enough(bits: usize) -> Result<(), KeyFault> {
    if bits < RSA_LEAST { Err(KeyFault::ShortRsa(bits)) } else { Ok(()) }
}

/// Bits of a number, its highest byte first.
fn bits(bytes: &[u8]) -> usize {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let first = bytes.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (bytes.len() - zeros) * 8 - first
}

/// A file in OpenSSH's format that opens and holds no key worth the name, for tests.
#[cfg(test)]
pub fn container(kind: &[u8]) -> String {
    use base64::Engine;
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes(), bytes].concat();
    let blob = [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        vec![0, 0, 0, 1],
        string(&string(kind)),
        string(&[7; 16]),
    ];
    let text = base64::engine::general_purpose::STANDARD.encode(blob.concat());
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n")
}

#[cfg(test)]
mod tests;
