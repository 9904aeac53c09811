//! Known hosts of ssh remotes: the configuration's, the user's, the system's, then those built in.
//!
//! An updater is given only the lines that may be about its host, so that briefs stay small; all
//! repositories of one host share them.

use super::environment::Environment;
use super::error::Fault;
use super::files::{Files, TEXT_MAX, read_as};
use super::owner::Rights;
use crate::brief::updater::KnownHosts;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// Host keys that the large forges publish.
const BUILT_IN: &str = include_str!("forge_hosts");

/// The lines that are built in for a host.
pub fn built_in(host: &str) -> Vec<&'static str> {
    BUILT_IN.lines().filter(|line| line.split(' ').next() == Some(host)).collect()
}

/// The known hosts of all remotes.
pub struct HostFiles<'a> {
    /// What could not be read and is not needed by name.
    pub warnings: Vec<String>,
    env: &'a Environment,
    updater: u32,
    standing: Option<Vec<KnownHosts>>,
    seen: HashMap<(String, Option<PathBuf>), Arc<[KnownHosts]>>,
}

impl<'a> HostFiles<'a> {
    /// Reads nothing yet. `updater` is the user whose `~/.ssh/known_hosts` counts.
    pub fn new(env: &'a Environment, updater: u32) -> Self {
        Self { warnings: Vec::new(), env, updater, standing: None, seen: HashMap::new() }
    }

    /// What is known about a host, with the file that its repository names, if it does.
    pub fn of(&mut self, host: &str, explicit: Option<PathBuf>, files: &mut Files) -> Result<Arc<[KnownHosts]>, Fault> {
        let key = (host.to_owned(), explicit);
        if let Some(known) = self.seen.get(&key) {
            return Ok(known.clone());
        }
        let mut all = Vec::new();
        if let Some(path) = &key.1 {
            let content = files.read(path, TEXT_MAX)?;
            all.push(KnownHosts { source: path.display().to_string(), text: about(host, &String::from_utf8_lossy(&content.bytes)) });
        }
        if self.standing.is_none() {
            self.standing = Some(self.read_standing());
        }
        let standing = self.standing.iter().flatten();
        all.extend(standing.map(|file| KnownHosts { source: file.source.clone(), text: about(host, &file.text) }));
        let shared: Arc<[KnownHosts]> = all.into();
        self.seen.insert(key, shared.clone());
        Ok(shared)
    }

    /// The files that count for every repository.
    fn read_standing(&mut self) -> Vec<KnownHosts> {
        let user = (self.env.home)(self.updater).map(|home| home.join(".ssh/known_hosts"));
        // The user decides what its file is a symlink to, and the updater is told what is in it.
        let rights = self.env.is_root().then(|| Rights::of(self.updater));
        let files = [user.map(|path| (path, rights)), Some((self.env.system_known_hosts.clone(), None))];
        let mut all: Vec<_> = files.into_iter().flatten().filter_map(|(path, rights)| self.read(path, rights.as_ref())).collect();
        all.push(KnownHosts { source: "built in".to_owned(), text: BUILT_IN.to_owned() });
        all
    }

    /// A file that need not exist.
    fn read(&mut self, path: PathBuf, rights: Option<&Rights>) -> Option<KnownHosts> {
        match read_as(rights, &path, TEXT_MAX) {
            Ok(content) => {
                Some(KnownHosts { source: path.display().to_string(), text: String::from_utf8_lossy(&content.bytes).into_owned() })
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(error) => {
                self.warnings.push(format!("{} is not used, because it can't be read ({error})", path.display()));
                None
            }
        }
    }
}

/// The lines that may be about the host; the others are left empty, so that numbers of lines stay.
fn about(host: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| if may_match(line, host) { line.trim() } else { "" }).collect();
    lines.join("\n").trim_end().to_owned()
}

/// Whether a line is about the host, or about hosts that only a closer look can tell: hashed ones
/// and patterns.
fn may_match(line: &str, host: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let names = match words.next() {
        Some(marker) if marker.starts_with('@') => words.next(),
        first => first,
    };
    let Some(names) = names.filter(|names| !names.starts_with('#')) else { return false };
    names.starts_with('|') || names.contains(['*', '?']) || names.to_ascii_lowercase().contains(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use sha2::{Digest, Sha256};

    /// The fingerprints as the forges publish them, on the pages that `forge_hosts` names.
    const PUBLISHED: [(&str, &str, &str); 12] = [
        ("github.com", "ssh-ed25519", "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"),
        ("github.com", "ecdsa-sha2-nistp256", "p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM"),
        ("github.com", "ssh-rsa", "uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s"),
        ("gitlab.com", "ssh-ed25519", "eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8"),
        ("gitlab.com", "ecdsa-sha2-nistp256", "HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw"),
        ("gitlab.com", "ssh-rsa", "ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ"),
        ("bitbucket.org", "ssh-ed25519", "ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM"),
        ("bitbucket.org", "ecdsa-sha2-nistp256", "FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0"),
        ("bitbucket.org", "ssh-rsa", "46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E"),
        ("codeberg.org", "ssh-ed25519", "mIlxA9k46MmM6qdJOdMnAQpzGxF4WIVVL+fj+wZbw0g"),
        ("codeberg.org", "ecdsa-sha2-nistp256", "T9FYDEHELhVkulEKKwge5aVhVTbqCW0MIRwAfpARs/E"),
        ("codeberg.org", "ssh-rsa", "6QQmYi4ppFS4/+zSZ5S4IU+4sa6rwvQ4PbhCtPEBekQ"),
    ];

    #[test]
    fn every_built_in_key_has_the_published_fingerprint() {
        let lines = BUILT_IN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let found: Vec<_> = lines
            .map(|line| {
                let words: Vec<_> = line.split(' ').collect();
                assert_eq!(words.len(), 3, "{line}");
                let blob = STANDARD.decode(words[2]).unwrap();
                // The kind stands in the blob as well.
                assert!(blob[4..].starts_with(words[1].as_bytes()), "{line}");
                (words[0], words[1], STANDARD_NO_PAD.encode(Sha256::digest(&blob)))
            })
            .collect();
        assert_eq!(found, PUBLISHED.map(|(host, kind, print)| (host, kind, print.to_owned())));
    }

    #[test]
    fn only_lines_that_may_be_about_the_host_are_kept_and_stay_where_they_are() {
        let file = "# comment\nother.org ssh-rsa A\nGit.Example.org,10.0.0.1 ssh-rsa B\n\n|1|salt|hash ssh-rsa C\n*.example.org ssh-rsa D\n@revoked git.example.org ssh-rsa E\n[git.example.org]:2222 ssh-rsa F\n@cert-authority other.org ssh-rsa G\n";
        let kept = about("git.example.org", file);
        assert_eq!(
            kept,
            "\n\nGit.Example.org,10.0.0.1 ssh-rsa B\n\n|1|salt|hash ssh-rsa C\n*.example.org ssh-rsa D\n@revoked git.example.org ssh-rsa E\n[git.example.org]:2222 ssh-rsa F"
        );
        assert_eq!(about("nowhere.net", "other.org ssh-rsa A\n"), "");
    }
}
