//! `gwg setup REPO-URL`: all that a new repository needs, to paste: the configuration's block, the
//! deploy key, the host key, the webhook. Writes nothing but the key file that it was asked for.

mod forge;
mod key;

use super::exit::{Exit, Failure};
use super::secret;
use crate::config::{self, RemoteUrl, Transport};
use std::fmt::Write;
use std::path::PathBuf;

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// Where to fetch from: git@HOST:PATH, ssh://git@HOST/PATH or https://HOST/PATH.
    #[arg(value_name = "REPO-URL")]
    url: String,

    /// Makes an ed25519 key in this file, for nobody else to read. A file that is there is never overwritten.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The path of the webhook's payload URL.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// The work tree.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// The branch to follow.
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    label: String,

    /// The name by which the forge reaches this machine.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// The gateway's port.
    #[arg(long, value_name = "PORT", default_value_t = 5555)]
    port: u16,
}

/// The whole text.
///
/// # Errors
/// A URL that gwg does not fetch from; a key file that can't be made.
pub fn text(wishes: &Wishes) -> Result<String, Failure> {
    let remote = config::check_url(&wishes.url).map_err(|fault| Failure::new(Exit::Failed, format!("this URL can't be used: {fault}")))?;
    let name = short_name(&remote);
    let ssh = remote.transport == Transport::Ssh;
    if wishes.key.is_some() && !ssh {
        return Err(Failure::new(Exit::Failed, "a key serves an ssh remote only; write git@HOST:PATH, or leave --key away"));
    }
    let secret = secret::make()?;
    let key = wishes.key.as_deref().map(|file| key::make(file, &format!("gwg {name}"))).transpose()?;
    let key_file = match &key {
        Some(made) => made.file.clone(),
        None => PathBuf::from(format!("/etc/gwg/keys/{name}")),
    };
    let path = wishes.path.clone().unwrap_or_else(|| format!("/hooks/{name}"));

    let mut text = String::new();
    title(&mut text, "1. Add this to the configuration, below `repos:`");
    let directory = wishes.directory.clone().unwrap_or_else(|| PathBuf::from(format!("/srv/{name}")));
    line(&mut text, &format!("  - url: {}", quoted(&wishes.url)));
    line(&mut text, &format!("    path: {}", quoted(&path)));
    line(&mut text, &format!("    directory: {}", quoted(&directory.to_string_lossy())));
    line(&mut text, &format!("    label: {}", quoted(&wishes.label)));
    line(&mut text, &format!("    secret: {secret}"));
    if ssh {
        line(&mut text, &format!("    sshPrivKey: {}", quoted(&key_file.to_string_lossy())));
    }
    let built_in = config::built_in_host_keys(&remote.host);
    if ssh && built_in.is_empty() {
        line(&mut text, "    knownHosts: /etc/gwg/known_hosts");
    }
    line(&mut text, "\nThen `gwg check` says whether all of it is right.");

    let place = forge::Place::of(&remote);
    title(&mut text, "2. The deploy key");
    match (ssh, &key) {
        (false, _) => line(&mut text, "None: https reads public repositories. For a private one give an ssh URL, git@HOST:PATH."),
        (true, Some(made)) => {
            line(
                &mut text,
                &format!("The private key is in {}. Add its public half{}, to read only:\n", made.file.display(), place.keys()),
            );
            line(&mut text, &made.public);
        }
        (true, None) => {
            line(&mut text, &format!("Make one, and add its public half{}, to read only:\n", place.keys()));
            line(&mut text, &format!("  gwg setup {} --key {}", wishes.url, key_file.display()));
            line(&mut text, "\n(which prints these pages again, with another secret).");
        }
    }
    title(&mut text, "3. The host key");
    host_key(&mut text, &remote, port_of(&wishes.url), &built_in);
    title(&mut text, "4. The webhook");
    webhook(&mut text, wishes, &path, &secret, &place);
    Ok(text)
}

fn host_key(text: &mut String, remote: &RemoteUrl, port: Option<&str>, built_in: &[&str]) {
    let host = &remote.host;
    if remote.transport != Transport::Ssh {
        return line(text, "None: https is proved by its certificate.");
    }
    if built_in.is_empty() {
        let scan = port.map_or_else(|| host.clone(), |port| format!("-p {port} {host}"));
        line(text, &format!("gwg does not know {host}. Ask it for its keys, and compare their fingerprints with"));
        line(text, "those that its administrator publishes; what you don't compare, you don't know.\n");
        line(text, &format!("  ssh-keyscan {scan} >> /etc/gwg/known_hosts"));
        line(text, "  ssh-keygen -l -f /etc/gwg/known_hosts");
        return line(text, "\nA line in /etc/ssh/ssh_known_hosts does as well; then leave `knownHosts` away.");
    }
    line(text, &format!("The keys that {host} publishes are built in; nothing is to be done. They are:\n"));
    for known in built_in {
        line(text, &format!("  {}", key::fingerprint(known)));
    }
}

fn webhook(text: &mut String, wishes: &Wishes, path: &str, secret: &str, place: &forge::Place) {
    line(text, &format!("Add one{}:\n", place.hooks()));
    let host = wishes.host.clone().unwrap_or_else(own_name);
    line(text, &format!("  Payload URL   http://{host}:{}{path}", wishes.port));
    line(text, "  Content type  application/json");
    line(text, &format!("  Secret        {secret}"));
    line(text, "  Events        the push event only");
    if let Some(note) = place.note() {
        line(text, &format!("\n{note}"));
    }
    line(text, "\nThe secret proves a delivery and http hides nothing: with a proxy for TLS in front, give its URL.");
    line(text, &format!("When gwg runs, `gwg send {path}` makes a delivery as the forge would."));
}

/// The port of an `ssh://` URL that was judged.
fn port_of(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|digit| digit.is_ascii_digit()).then_some(port)
}

fn title(text: &mut String, words: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    line(text, &format!("{words}\n"));
}

fn line(text: &mut String, words: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{words}");
}

/// The last part of the repository's path, as a file may be called.
fn short_name(remote: &RemoteUrl) -> String {
    let name = remote.name.to_string();
    let last = name.rsplit('/').next().unwrap_or_default();
    let fine: String =
        last.chars().map(|letter| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' }).collect();
    fine.trim_start_matches(['.', '-']).to_owned()
}

/// A YAML scalar: as it is where nothing in it means anything, else in single quotes.
fn quoted(word: &str) -> String {
    let plain = word.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-@:".contains(letter));
    let starts = word.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/');
    let is_word = plain && starts && !word.contains(": ") && !word.ends_with(':');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&word.to_ascii_lowercase().as_str());
    if is_word && !reserved { word.to_owned() } else { format!("'{}'", word.replace('\'', "''")) }
}

fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "YOUR.HOST".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_scalar_that_would_mean_something_else_is_quoted() {
        for plain in ["main", "git@github.com:octo/site.git", "/srv/site", "https://h/r.git"] {
            assert_eq!(quoted(plain), plain);
        }
        for (word, written) in [("1.0", "'1.0'"), ("no", "'no'"), ("it's", "'it''s'"), ("a b", "'a b'"), ("#x", "'#x'"), ("", "''")] {
            assert_eq!(quoted(word), written);
        }
    }

    #[test]
    fn a_name_never_leads_to_another_directory() {
        for (url, name) in [("git@h:a/Site.git", "site"), ("git@h:a/..", ""), ("https://h/a/b%2f..", "b-2f.."), ("git@h:a/.x", "x")] {
            if let Ok(remote) = config::check_url(url) {
                assert_eq!(short_name(&remote), name, "{url}");
            }
        }
    }
}
