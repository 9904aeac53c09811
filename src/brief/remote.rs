//! Which repository a URL names, whatever the form of the URL.
//!
//! A forge's payload tells several URLs of its repository, the configuration one; all forms of one
//! repository have one [`RemoteName`]. Ports, users and schemes are left out: they differ
//! between the forms of one repository, and the secret already binds the sender to the path.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Host and path of a repository: lower case, without user, port, `.git` and outer slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteName(String);

impl RemoteName {
    /// Reads `scheme://[user@]host[:port]/path` and the scp form `[user@]host:path`.
    /// `None` where there is no host or no path.
    pub fn from_url(url: &str) -> Option<Self> {
        let (host, path) = match url.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.split_once('/')?;
                (without_port(without_user(authority)), path)
            }
            None => {
                let (host, path) = split_scp(url)?;
                (without_user(host), path)
            }
        };
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
        if host.is_empty() || path.is_empty() {
            return None;
        }
        Some(Self(format!("{host}/{path}").to_ascii_lowercase()))
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

/// `git@host:path`, with an IPv6 host in brackets.
fn split_scp(url: &str) -> Option<(&str, &str)> {
    let colon = match url.find(']') {
        Some(end) => end + url.get(end..)?.find(':')?,
        None => url.find(':')?,
    };
    let (host, path) = (url.get(..colon)?, url.get(colon + 1..)?);
    (!host.contains('/')).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str) -> Option<String> {
        RemoteName::from_url(url).map(|n| n.to_string())
    }

    #[test]
    fn every_form_of_one_repository_has_one_name() {
        for url in [
            "git@github.com:octo/Hello-World.git",
            "ssh://git@github.com/octo/hello-world.git",
            "ssh://git@github.com:22/octo/hello-world",
            "https://github.com/octo/hello-world.git",
            "https://github.com/octo/hello-world",
            "https://GitHub.com/octo/hello-world/",
            "git://github.com/octo/hello-world.git",
            "github.com:/octo/hello-world.git",
        ] {
            assert_eq!(name(url).as_deref(), Some("github.com/octo/hello-world"), "{url}");
        }
        assert_eq!(name("ssh://git@[::1]:2222/a/b.git"), name("git@[::1]:a/b"));
    }

    #[test]
    fn other_repositories_have_other_names() {
        assert_ne!(name("git@github.com:a/b"), name("git@github.com:a/bb"));
        assert_ne!(name("git@github.com:a/b"), name("git@github.org:a/b"));
        assert_ne!(name("https://evil.example/github.com/a/b"), name("https://github.com/a/b"));
        assert_ne!(name("https://github.com@evil.example/a/b"), name("https://github.com/a/b"));
        for bad in ["", "github.com", "https://", "https://github.com", "https://github.com/", "https:///a/b", "/srv/git/a.git", ":a"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
