//! ssh keys: can this file be used with this passphrase? Better known at start than at the first push.
//!
//! What libssh2 will be given later is the file as it is; here it is only opened and put away again.

mod legacy;
mod openssh;
mod pkcs;

use super::error::Fault;
use super::files::Files;
use crate::brief::{Secret, worker};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use super::files::KEY_MAX;

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
    pub list: Vec<worker::Key>,
    seen: HashMap<(PathBuf, Option<[u8; 32]>), Result<Added, Fault>>,
}

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
        self.list.push(worker::Key { pem: Secret::new(content.bytes.to_vec()), passphrase });
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use std::process::Command;

    /// Runs a program that makes a key; `None`, said aloud, where it is missing.
    fn make(test: &str, program: &str, arguments: &[&str], out: &Path) -> Option<Vec<u8>> {
        let run = Command::new(program).args(arguments).output();
        let Ok(run) = run else {
            assert!(std::env::var("GWG_TEST_REQUIRE").as_deref() != Ok("all"), "{program} is missing");
            eprintln!("SKIPPED {test}: {program} is missing");
            return None;
        };
        assert!(run.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
        Some(std::fs::read(out).unwrap())
    }

    fn keygen(test: &str, arguments: &[&str], passphrase: &str) -> Option<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("key");
        let all = [&["-q", "-N", passphrase, "-f", out.to_str().unwrap()], arguments].concat();
        make(test, "ssh-keygen", &all, &out)
    }

    #[test]
    fn every_key_that_ssh_keygen_makes_opens_with_its_passphrase_only() {
        let kinds: [&[&str]; 5] = [
            &["-t", "ed25519"],
            &["-t", "rsa", "-b", "2048"],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "384"],
            &["-t", "ecdsa", "-b", "521"],
        ];
        for (kind, form) in kinds.iter().flat_map(|kind| ["RFC4716", "PEM", "PKCS8"].map(|form| (*kind, form))) {
            let arguments = [kind, &["-m", form, "-a", "1"]].concat();
            for passphrase in ["", "right passphrase"] {
                let Some(key) = keygen("every_key", &arguments, passphrase) else { return };
                let encrypted = !passphrase.is_empty();
                assert_eq!(inspect(&key, Some(passphrase.as_bytes()).filter(|_| encrypted)), Ok(encrypted), "{arguments:?} {passphrase:?}");
                // As some editors save it.
                let dos = String::from_utf8(key.clone()).unwrap().trim_end().replace('\n', "\r\n");
                assert_eq!(
                    inspect(dos.as_bytes(), Some(passphrase.as_bytes()).filter(|_| encrypted)),
                    Ok(encrypted),
                    "{arguments:?} with CRLF"
                );
                if encrypted {
                    assert_eq!(inspect(&key, Some(b"wrong")), Err(KeyFault::WrongPassphrase), "{arguments:?}");
                    assert_eq!(inspect(&key, None), Err(KeyFault::NoPassphrase), "{arguments:?}");
                }
            }
        }
    }

    #[test]
    fn every_cipher_of_openssh_but_3des_opens() {
        for (cipher, opens) in [
            ("aes128-ctr", Ok(true)),
            ("aes256-ctr", Ok(true)),
            ("aes256-cbc", Ok(true)),
            ("aes256-gcm@openssh.com", Ok(true)),
            ("chacha20-poly1305@openssh.com", Ok(true)),
            ("3des-cbc", Err(KeyFault::Method)),
        ] {
            let Some(key) = keygen("every_cipher", &["-t", "ed25519", "-a", "1", "-Z", cipher], "right passphrase") else { return };
            assert_eq!(inspect(&key, Some(b"right passphrase")), opens, "{cipher}");
        }
    }

    #[test]
    fn a_p521_key_opens_whether_its_number_is_short_or_not() {
        // Every second one is short: ten are enough to meet both.
        for _ in 0..10 {
            let Some(key) = keygen("a_p521_key", &["-t", "ecdsa", "-b", "521"], "") else { return };
            assert_eq!(inspect(&key, None), Ok(false));
        }
    }

    #[test]
    fn what_openssl_writes_opens_or_says_why_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let plain = at("plain");
        let from = plain.to_str().unwrap();
        if make("what_openssl_writes", "openssl", &["genrsa", "-traditional", "-out", from, "2048"], &plain).is_none() {
            return;
        }
        for (name, arguments, opens) in [
            ("aes128", &["rsa", "-traditional", "-aes128"][..], Ok(true)),
            ("aes192", &["rsa", "-traditional", "-aes192"], Ok(true)),
            ("aes256", &["rsa", "-traditional", "-aes256"], Ok(true)),
            ("des3", &["rsa", "-traditional", "-des3"], Err(KeyFault::Method)),
            ("pbes2", &["pkcs8", "-topk8", "-v2", "aes-256-cbc"], Ok(true)),
            ("scrypt", &["pkcs8", "-topk8", "-scrypt"], Ok(true)),
            ("pbes1", &["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"], Err(KeyFault::Method)),
            ("pbes2-des3", &["pkcs8", "-topk8", "-v2", "des3"], Err(KeyFault::Method)),
        ] {
            let out = at(name);
            let all = [arguments, &["-in", from, "-passout", "pass:right", "-out", out.to_str().unwrap()]].concat();
            let key = make("what_openssl_writes", "openssl", &all, &out).unwrap();
            assert_eq!(inspect(&key, Some(b"right")), opens, "{name}");
            if opens.is_ok() {
                assert_eq!(inspect(&key, None), Err(KeyFault::NoPassphrase), "{name}");
                assert_eq!(inspect(&key, Some(b"wrong")), Err(KeyFault::WrongPassphrase), "{name}");
            }
        }
        for (name, arguments, opens) in [
            ("ed25519", &["genpkey", "-algorithm", "ed25519"][..], Ok(false)),
            ("secp256k1", &["ecparam", "-name", "secp256k1", "-genkey", "-noout"], Err(KeyFault::Kind)),
            ("rsa1024", &["genrsa", "-traditional", "1024"], Err(KeyFault::ShortRsa(1024))),
        ] {
            let out = at(name);
            // An output file stands before a number of bits.
            let (first, last) = arguments.split_at(arguments.len() - usize::from(name == "rsa1024"));
            let key = make("what_openssl_writes", "openssl", &[first, &["-out", out.to_str().unwrap()], last].concat(), &out).unwrap();
            assert_eq!(inspect(&key, None), opens, "{name}");
        }
    }

    #[test]
    fn what_is_no_usable_key_says_what_it_is() {
        for (text, fault) in [
            (String::new(), KeyFault::NotAKey),
            ("hello".into(), KeyFault::NotAKey),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".into(), KeyFault::NotAKey),
            ("-----BEGIN RSA PRIVATE KEY-----\nAAAA".into(), KeyFault::NotAKey),
            ("ssh-ed25519 AAAAC3Nz me@host".into(), KeyFault::Public),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA".into(), KeyFault::Public),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(), KeyFault::Public),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n".into(), KeyFault::Putty),
            ("-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----".into(), KeyFault::Dsa),
            (container(b"ssh-dss"), KeyFault::Dsa),
            (container(b"sk-ssh-ed25519@openssh.com"), KeyFault::Hardware),
            (container(b"ssh-ed448"), KeyFault::Kind),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----".into(), KeyFault::Damaged),
            ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----".into(), KeyFault::Damaged),
            ("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----".into(), KeyFault::Damaged),
        ] {
            assert_eq!(inspect(text.as_bytes(), None), Err(fault), "{text}");
            assert!(!fault.remedy(Path::new("/k")).is_empty());
        }
        assert_eq!(inspect(b"\xff\xfe", None), Err(KeyFault::NotAKey));
    }
}
