//! ssh keys, made by the real `ssh-keygen`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A key pair.
pub struct Key {
    /// The file of the private key.
    pub file: PathBuf,
    /// The public key, as `authorized_keys` wants it.
    pub public: String,
}

/// Makes a key pair: `options` are `ssh-keygen`'s (`-t`, `-b`, `-m`), `passphrase` may be empty.
pub fn generate(directory: &Path, name: &str, options: &[&str], passphrase: &str) -> Key {
    let file = directory.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-C", name, "-N", passphrase]).args(options).arg("-f").arg(&file);
    let output = command.output().expect("ssh-keygen runs");
    assert!(output.status.success(), "ssh-keygen {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    let public = fs::read_to_string(directory.join(format!("{name}.pub"))).unwrap().trim_end().to_owned();
    Key { file, public }
}
