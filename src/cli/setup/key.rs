//! An ssh key for one repository, and how keys are shown.

use crate::cli::exit::{Exit, Failure};
use crate::cli::secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// A key that was just made.
pub struct Made {
    /// Where its private half is, as a configuration may name it.
    pub file: PathBuf,
    /// Its public half, one line.
    pub public: String,
}

/// Makes an ed25519 key in a file that must not be there, mode 0600.
///
/// # Errors
/// The file is there, or can't be made.
pub fn make(file: &Path, comment: &str) -> Result<Made, Failure> {
    let mut seed: [u8; 32] = secret::random()?;
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
    seed.zeroize();
    let unmade = |error: ssh_key::Error| Failure::new(Exit::Failed, format!("the key can't be made: {error}"));
    let key = PrivateKey::new(pair, comment).map_err(unmade)?;
    let text = key.to_openssh(LineEnding::LF).map_err(unmade)?;
    let public = key.public_key().to_openssh().map_err(unmade)?;
    write_new(file, text.as_bytes()).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AlreadyExists => "it is left as it is (its public half: ssh-keygen -y -f FILE); name another one",
            io::ErrorKind::NotFound => "make its directory first",
            _ => "name a file that you can make",
        };
        Failure::new(Exit::CantCreate, format!("{}: {error}; {remedy}", file.display()))
    })?;
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    Ok(Made { file, public })
}

fn write_new(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut made = File::options().write(true).create_new(true).mode(0o600).open(file)?;
    let written = made.write_all(text).and_then(|()| made.sync_all());
    if written.is_err() {
        // Half a key is no key; the error that is told is the one of writing.
        let _ = std::fs::remove_file(file);
    }
    written
}

/// A line of known hosts, as `ssh-keygen -l` would show it.
pub fn fingerprint(line: &str) -> String {
    let mut words = line.split(' ').skip(1);
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let digest = STANDARD.decode(blob).map(|blob| STANDARD_NO_PAD.encode(Sha256::digest(blob)));
    digest.map_or_else(|_| line.to_owned(), |digest| format!("SHA256:{digest} ({kind})"))
}
