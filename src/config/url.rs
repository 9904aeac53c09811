//! The remote's URL: which transports are used, and which are refused.

use super::error::Fault;
use crate::brief::RemoteName;
use std::net::IpAddr;

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// How it is reached.
    pub transport: Transport,
    /// The repository that it names.
    pub name: RemoteName,
    /// The host, lower case, an IPv6 address without brackets.
    pub host: String,
}

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `ssh://` or the scp form: takes a key.
    Ssh,
    /// `https://`
    Https,
    /// `http://` or `git://`, to this machine itself.
    Loopback,
}

const FORMS: &str = "write git@HOST:PATH, ssh://git@HOST/PATH or https://HOST/PATH";

/// Judges a URL. No message repeats it: it might hold a password.
pub fn check(url: &str) -> Result<Remote, Fault> {
    if url.chars().any(|letter| letter.is_control() || letter.is_whitespace()) || url.starts_with('-') || url.contains(['?', '#', '\\']) {
        return Err(Fault::new("the URL holds characters that have no place there", FORMS));
    }
    let (transport, host) = match url.split_once("://") {
        Some((scheme, rest)) => with_scheme(scheme, rest)?,
        None => scp(url)?,
    };
    let name = RemoteName::from_url(url).ok_or_else(|| Fault::new("the URL names no host or no repository", FORMS))?;
    Ok(Remote { transport, name, host })
}

fn with_scheme(scheme: &str, rest: &str) -> Result<(Transport, String), Fault> {
    let transport = match scheme {
        "ssh" => Transport::Ssh,
        "https" => Transport::Https,
        "http" | "git" => Transport::Loopback,
        "file" => return Err(local()),
        _ => return Err(Fault::new("the URL's scheme is not supported", FORMS)),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, address) = split_user(authority);
    check_user(transport, user)?;
    let host = host_of(address)?;
    if transport == Transport::Loopback && !is_loopback(&host) {
        let fault = format!("{scheme}:// is neither encrypted nor authenticated, so it is allowed to this machine only");
        return Err(Fault::new(fault, "use https:// or ssh://"));
    }
    Ok((transport, host))
}

/// `user@host:path`; everything without `://` that is not a path on this machine.
fn scp(url: &str) -> Result<(Transport, String), Fault> {
    if url.starts_with(['/', '.', '~']) {
        return Err(local());
    }
    let split = match url.find(']') {
        Some(end) => url.split_at_checked(end + 1).and_then(|(host, rest)| Some((host, rest.strip_prefix(':')?))),
        None => url.split_once(':'),
    };
    let Some((authority, _)) = split.filter(|(authority, _)| !authority.contains('/')) else { return Err(local()) };
    let (user, address) = split_user(authority);
    check_user(Transport::Ssh, user)?;
    Ok((Transport::Ssh, host_of(address)?))
}

fn local() -> Fault {
    Fault::new(
        "the URL is a path on this machine, and an updater sees no directory but its own",
        "serve the repository by ssh, https or git://localhost",
    )
}

fn split_user(authority: &str) -> (Option<&str>, &str) {
    authority.rsplit_once('@').map_or((None, authority), |(user, address)| (Some(user), address))
}

fn check_user(transport: Transport, user: Option<&str>) -> Result<(), Fault> {
    match (transport, user) {
        (_, Some(user)) if user.contains(':') => Err(Fault::new(
            "the URL holds a password, and URLs end up in logs and in .git/config",
            "use an ssh URL with sshPrivKey, a deploy key for instance",
        )),
        (Transport::Ssh, Some("")) => Err(Fault::new("the URL's user is empty", "write git@HOST, as the forge shows it")),
        (Transport::Ssh, Some(_)) => Ok(()),
        (Transport::Ssh, None) => Err(Fault::new("the URL names no user", "write git@HOST, as the forge shows it")),
        (Transport::Https | Transport::Loopback, Some(_)) => Err(Fault::new(
            "the URL names a user, which may be a token, and URLs end up in logs",
            "remove it; for a private repository use an ssh URL with sshPrivKey",
        )),
        (Transport::Https | Transport::Loopback, None) => Ok(()),
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_of(address: &str) -> Result<String, Fault> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or((rest, ""), |(host, port)| (host, port)),
        None => address.find(':').and_then(|colon| address.split_at_checked(colon)).unwrap_or((address, "")),
    };
    let fine = match address.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => {
            !host.is_empty()
                && !host.starts_with('-')
                && host.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
        }
    };
    if !fine {
        return Err(Fault::new("the URL's host is not a name or address", FORMS));
    }
    let port_fine = port.is_empty() || port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port != 0);
    if !port_fine {
        return Err(Fault::new("the URL's port is not a number from 1 to 65535", FORMS));
    }
    Ok(host.to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_that_are_used() {
        use Transport::{Https, Loopback, Ssh};
        for (url, transport, host) in [
            ("git@github.com:ns/repo-1.git", Ssh, "github.com"),
            ("ssh://git@Git.Example.org:2222/ns/repo.git", Ssh, "git.example.org"),
            ("ssh://git@[2001:db8::1]:22/r", Ssh, "2001:db8::1"),
            ("git@[::1]:r.git", Ssh, "::1"),
            ("deploy@host:~/r.git", Ssh, "host"),
            ("https://github.com/ns/repo.git", Https, "github.com"),
            ("https://git.example.org:8443/r", Https, "git.example.org"),
            ("http://127.0.0.1:3000/r.git", Loopback, "127.0.0.1"),
            ("http://[::1]/r", Loopback, "::1"),
            ("git://localhost:9418/r", Loopback, "localhost"),
            ("git://127.8.9.10/r", Loopback, "127.8.9.10"),
        ] {
            let remote = check(url).unwrap();
            assert_eq!((remote.transport, remote.host.as_str()), (transport, host), "{url}");
        }
    }

    #[test]
    fn urls_that_are_refused_and_why() {
        for (url, why) in [
            ("", "path on this machine"),
            ("/srv/git/r.git", "path on this machine"),
            ("./r.git", "path on this machine"),
            ("~/r.git", "path on this machine"),
            ("srv/git:r", "path on this machine"),
            ("file:///srv/git/r.git", "path on this machine"),
            ("http://git.example.org/r", "neither encrypted"),
            ("git://github.com/ns/r", "neither encrypted"),
            ("http://localhost.evil.example/r", "neither encrypted"),
            ("http://127.0.0.1.evil.example/r", "neither encrypted"),
            ("ftp://host/r", "scheme"),
            ("git+ssh://git@host/r", "scheme"),
            ("ext::sh -c id", "no place there"),
            ("https://user:canary@host/r", "password"),
            ("ssh://git:canary@host/r", "password"),
            ("https://canary@host/r", "a token"),
            ("ssh://host/r", "names no user"),
            ("host:r", "names no user"),
            ("ssh://@host/r", "user is empty"),
            ("https://host", "no host or no repository"),
            ("https:///r", "not a name or address"),
            ("https://ho st/r", "no place there"),
            ("https://host/r?x=canary", "no place there"),
            ("https://host:0/r", "port"),
            ("https://host:99999/r", "port"),
            ("https://host:x/r", "port"),
            ("ssh://git@-oProxyCommand=x/r", "not a name"),
            ("-oProxyCommand=x:r", "no place there"),
            ("git@[host]:r", "not a name or address"),
        ] {
            let fault = check(url).err();
            assert!(fault.as_ref().is_some_and(|fault| fault.what.contains(why)), "{url:?}: {fault:?}");
            assert!(!fault.unwrap().to_string().contains("canary"), "{url}");
        }
    }
}
