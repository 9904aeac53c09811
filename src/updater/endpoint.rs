//! Whom a URL connects to. Pure; runs in the updater. The URL is the supervisor's, checked there.

/// How git talks to the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `ssh://` and the scp form.
    Ssh,
    /// `https://`, `http://` and `git://`.
    Other,
}

/// Whom a URL connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// How.
    pub scheme: Scheme,
    /// The login that the URL names.
    pub user: Option<String>,
    /// Name or address in lower case, IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `scheme://[user@]host[:port]/path` and the scp forms `[user@]host:path`,
    /// `[user@][host]:path` and `[user@host:port]:path`, as libgit2 does.
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, usual, authority) = match url.split_once("://") {
            Some(("ssh" | "ssh+git" | "git+ssh", rest)) => (Scheme::Ssh, 22, rest.split('/').next()?),
            Some(("git", rest)) => (Scheme::Other, 9418, rest.split('/').next()?),
            Some(("http", rest)) => (Scheme::Other, 80, rest.split('/').next()?),
            Some((_, rest)) => (Scheme::Other, 443, rest.split('/').next()?),
            None => (Scheme::Ssh, 22, scp_authority(url)?),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.split(':').next()?.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place)?;
        if host.is_empty() {
            return None;
        }
        Some(Self { scheme, user, host: host.to_ascii_lowercase(), port: port.unwrap_or(usual) })
    }
}

/// What stands before the path of an scp form. `[host:port]` loses its brackets, `[v6]` keeps them.
fn scp_authority(url: &str) -> Option<&str> {
    let Some(end) = url.find("]:") else { return url.split_once(':').map(|(place, _)| place) };
    let inner = url.strip_prefix('[').and_then(|rest| rest.get(..end.checked_sub(1)?));
    match inner {
        Some(inner) if inner.matches(':').count() <= 1 => Some(inner),
        _ => url.get(..=end),
    }
}

fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return Some((host, port.strip_prefix(':').map(str::parse).transpose().ok()?));
    }
    match place.split_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((place, None)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_form_names_its_endpoint() {
        let cases = [
            ("git@GitHub.com:a/b.git", Some("git"), "github.com", 22),
            ("github.com:a/b.git", None, "github.com", 22),
            ("ssh://git@example.com/a/b", Some("git"), "example.com", 22),
            ("ssh://example.com:2222/a/b", None, "example.com", 2222),
            ("ssh://u@[::1]:2222/a/b", Some("u"), "::1", 2222),
            ("ssh://[::1]/a", None, "::1", 22),
            ("u@[fe80::1]:a/b", Some("u"), "fe80::1", 22),
            ("[fe80::1]:a/b", None, "fe80::1", 22),
            ("[u@example.com:2222]:a/b", Some("u"), "example.com", 2222),
            ("[example.com]:a/b", None, "example.com", 22),
        ];
        for (url, user, host, port) in cases {
            let endpoint = Endpoint { scheme: Scheme::Ssh, user: user.map(Into::into), host: host.into(), port };
            assert_eq!(Endpoint::of(url), Some(endpoint), "{url}");
        }
        for (url, port) in [
            ("https://example.com/a", 443),
            ("https://example.com:8443/a", 8443),
            ("http://127.0.0.1:8080/a", 8080),
            ("http://127.0.0.1/a", 80),
            ("git://127.0.0.1/a", 9418),
        ] {
            let endpoint = Endpoint::of(url).unwrap();
            assert_eq!((endpoint.scheme, endpoint.port), (Scheme::Other, port), "{url}");
        }
        for bad in ["", "x", "ssh:///a", "ssh://h:99999/a", "ssh://[::1/a"] {
            assert_eq!(Endpoint::of(bad), None, "{bad}");
        }
    }
}
