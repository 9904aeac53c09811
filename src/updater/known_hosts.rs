//! What known_hosts files say about a host's key, as `sshd(8)` describes their format. Pure; runs in
//! the updater.
//!
//! libgit2's own check ignores `@revoked`, gives up on a file with one bad line and has no
//! wildcards. So this one decides. It follows OpenSSH:
//! - the key is good if any line of any file has it; `@revoked` anywhere beats that;
//! - lines for the host with other keys only: refused;
//! - on another port than 22 lines for `[host]:port` count; only where there is none, those for
//!   `host` may vouch for the key.
//!
//! `@cert-authority` lines are skipped: libssh2 does not know host certificates. Bad lines are skipped.

use crate::brief::updater::KnownHosts;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A line of a known_hosts file, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, or "built in".
    pub source: String,
    /// From 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} line {}", self.source, self.line)
    }
}

/// What the files say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's key.
    Known,
    /// No line is about this host.
    Unknown,
    /// A line says that the host's key of this kind is another one.
    Changed(Place),
    /// There are keys for this host, of other kinds only.
    OtherKind(Place),
    /// The key must not be used any more.
    Revoked(Place),
}

/// A plain entry: the kind of key and the key as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As in `ssh-ed25519`.
    pub kind: String,
    /// Base64.
    pub key: String,
}

/// What `files` say about `key`, which is a public key as the server sent it (RFC 4253, 6.6).
pub fn check(files: &[KnownHosts], host: &str, port: u16, key: &[u8]) -> Verdict {
    let verdict = check_name(files, &name(host, port), key);
    if verdict != Verdict::Unknown || port == 22 {
        return verdict;
    }
    match check_name(files, &name(host, 22), key) {
        good_or_revoked @ (Verdict::Known | Verdict::Revoked(_)) => good_or_revoked,
        Verdict::Unknown | Verdict::Changed(_) | Verdict::OtherKind(_) => Verdict::Unknown,
    }
}

/// The plain entries that are about this host: of its port, or else those without a port.
pub fn entries(files: &[KnownHosts], host: &str, port: u16) -> Vec<Entry> {
    let of = |name: String| -> Vec<Entry> {
        let plain = lines(files).filter(|(_, line)| line.marker.is_none() && hosts_match(line.hosts, &name));
        plain.map(|(_, line)| Entry { kind: line.kind.to_owned(), key: STANDARD.encode(&line.key) }).collect()
    };
    let exact = of(name(host, port));
    if exact.is_empty() && port != 22 { of(name(host, 22)) } else { exact }
}

/// What a host is called in these files.
pub fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The kind that a public key says it is of. libgit2 confuses two of the ECDSA kinds.
pub fn kind(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let kind = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    std::str::from_utf8(kind).ok().filter(|kind| kind.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn check_name(files: &[KnownHosts], name: &str, key: &[u8]) -> Verdict {
    let (mut known, mut changed, mut other) = (false, None, None);
    for (place, line) in lines(files).filter(|(_, line)| hosts_match(line.hosts, name)) {
        let same = line.key == key;
        match line.marker {
            Some("@revoked") if same => return Verdict::Revoked(place),
            Some(_) => {}
            None if same => known = true,
            None if Some(line.kind) == kind(key) => changed = changed.or(Some(place)),
            None => other = other.or(Some(place)),
        }
    }
    match (known, changed, other) {
        (true, _, _) => Verdict::Known,
        (false, Some(place), _) => Verdict::Changed(place),
        (false, None, Some(place)) => Verdict::OtherKind(place),
        (false, None, None) => Verdict::Unknown,
    }
}

struct Line<'a> {
    marker: Option<&'a str>,
    hosts: &'a str,
    kind: &'a str,
    key: Vec<u8>,
}

fn lines(files: &[KnownHosts]) -> impl Iterator<Item = (Place, Line<'_>)> {
    files.iter().flat_map(|file| {
        file.text.lines().enumerate().filter_map(|(at, text)| Some((Place { source: file.source.clone(), line: at + 1 }, parse(text)?)))
    })
}

fn parse(text: &str) -> Option<Line<'_>> {
    let mut fields = text.split_ascii_whitespace();
    let first = fields.next().filter(|first| !first.starts_with('#'))?;
    let (marker, hosts) = if first.starts_with('@') { (Some(first), fields.next()?) } else { (None, first) };
    let (declared, base64) = (fields.next()?, fields.next()?);
    let key = STANDARD.decode(base64).or_else(|_| STANDARD_NO_PAD.decode(base64)).ok()?;
    // OpenSSH skips a line whose key is not of the kind that it declares.
    (kind(&key) == Some(declared)).then_some(Line { marker, hosts, kind: declared, key })
}

fn hosts_match(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return hash_matches(hashed, name).unwrap_or(false);
    }
    let mut matches = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if glob(negated.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => matches |= glob(pattern.as_bytes(), name.as_bytes()),
        }
    }
    matches
}

fn hash_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let mut hmac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    hmac.update(name.as_bytes());
    Some(hmac.verify_slice(&hash).is_ok())
}

/// `*` and `?`, without regard to case. Takes time in proportion to the product of the lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted.eq_ignore_ascii_case(byte) => {
                p += 1;
                n += 1;
            }
            _ => {
                // Let the last star take one byte more.
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(kind: &str, body: u8) -> Vec<u8> {
        let mut key = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        key.extend_from_slice(kind.as_bytes());
        key.extend_from_slice(&[body; 32]);
        key
    }

    fn line(hosts: &str, key: &[u8]) -> String {
        format!("{hosts} {} {}\n", kind(key).unwrap(), STANDARD.encode(key))
    }

    fn file(text: impl Into<String>) -> KnownHosts {
        KnownHosts { source: "/etc/kh".into(), text: text.into() }
    }

    fn place(line: usize) -> Place {
        Place { source: "/etc/kh".into(), line }
    }

    fn hashed(name: &str) -> String {
        let salt = [7; 20];
        let mut hmac = Hmac::<Sha1>::new_from_slice(&salt).unwrap();
        hmac.update(name.as_bytes());
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hmac.finalize().into_bytes()))
    }

    #[test]
    fn hosts_are_found_in_every_form() {
        let good = key("ssh-ed25519", 1);
        let cases = [
            ("git.example.com", 22, true),
            ("GIT.example.COM", 22, true),
            ("other,git.example.com,10.0.0.1", 22, true),
            ("*.example.com", 22, true),
            ("git.example.co?", 22, true),
            ("*", 22, true),
            ("*.example.com,!git.example.com", 22, false),
            ("!git.example.com,*.example.com", 22, false),
            ("!other.example.com,*.example.com", 22, true),
            ("!git.example.com", 22, false),
            ("example.com", 22, false),
            ("git.example.com.evil", 22, false),
            ("[git.example.com]:22", 22, false),
            ("[git.example.com]:2222", 2222, true),
            ("[git.example.com]:2222", 22, false),
            ("[git.example.com]:2223", 2222, false),
            ("[*.example.com]:2222", 2222, true),
            // As OpenSSH: without a line for the port, the one without a port may vouch.
            ("git.example.com", 2222, true),
        ];
        for (hosts, port, found) in cases {
            let verdict = check(&[file(line(hosts, &good))], "git.Example.com", port, &good);
            assert_eq!(verdict, if found { Verdict::Known } else { Verdict::Unknown }, "{hosts} {port}");
        }
        for (name, port) in [("git.example.com", 22), ("[git.example.com]:2222", 2222), ("git.example.com", 2222)] {
            assert_eq!(check(&[file(line(&hashed(name), &good))], "git.example.com", port, &good), Verdict::Known, "hashed {name}");
        }
        assert_eq!(check(&[file(line(&hashed("x"), &good))], "git.example.com", 22, &good), Verdict::Unknown);
        assert_eq!(check(&[file(line("[::1]:2222", &good))], "::1", 2222, &good), Verdict::Known);
        assert_eq!(check(&[file(line("::1", &good))], "::1", 22, &good), Verdict::Known);
    }

    #[test]
    fn another_key_is_refused_and_the_line_is_named() {
        let (good, bad, rsa) = (key("ssh-ed25519", 1), key("ssh-ed25519", 2), key("ssh-rsa", 1));
        let text = format!("# a comment\n\n{}", line("h", &good));
        assert_eq!(check(&[file(text.clone())], "h", 22, &bad), Verdict::Changed(place(3)));
        assert_eq!(check(&[file(text.clone())], "h", 22, &rsa), Verdict::OtherKind(place(3)));
        // A second line, or another file, may have the new key: any line counts.
        assert_eq!(check(&[file(text.clone() + &line("h", &bad))], "h", 22, &bad), Verdict::Known);
        assert_eq!(check(&[file(text.clone()), file(line("h", &bad))], "h", 22, &bad), Verdict::Known);
        // A line for the port that names another key is not overruled by one without a port.
        let both = line("[h]:2222", &good) + &line("h", &bad);
        assert_eq!(check(&[file(both)], "h", 2222, &bad), Verdict::Changed(place(1)));
        assert_eq!(check(&[file(text)], "h", 2222, &bad), Verdict::Unknown);
    }

    #[test]
    fn revoked_beats_every_other_line_in_any_file() {
        let good = key("ssh-ed25519", 1);
        let revoked = format!("@revoked {}", line("*", &good));
        for files in [vec![file(line("h", &good)), file(revoked.clone())], vec![file(revoked.clone() + &line("h", &good))]] {
            assert!(matches!(check(&files, "h", 22, &good), Verdict::Revoked(_)));
        }
        assert_eq!(check(&[file(revoked)], "h", 22, &key("ssh-ed25519", 2)), Verdict::Unknown);
    }

    #[test]
    fn authorities_and_garbage_are_skipped() {
        let good = key("ssh-ed25519", 1);
        let authority = format!("@cert-authority {}", line("h", &good));
        assert_eq!(check(&[file(authority)], "h", 22, &good), Verdict::Unknown);
        let mislabelled = format!("h ssh-rsa {}\n", STANDARD.encode(&good));
        let garbage = format!("\u{0}\nh\nh ssh-ed25519\nh ssh-ed25519 !!!!\n|1|x|y ssh-ed25519 AAAA\n|1| a b\n@x\n{mislabelled}");
        assert_eq!(check(&[file(garbage.clone())], "h", 22, &good), Verdict::Unknown);
        let crlf = format!("{garbage}{}", line("h", &good)).replace('\n', "\r\n");
        assert_eq!(check(&[file(crlf)], "h", 22, &good), Verdict::Known);
        let unterminated = format!("  \t{} with a comment", line("h", &good).trim_end());
        assert_eq!(check(&[file(unterminated)], "h", 22, &good), Verdict::Known);
        for odd in [&b""[..], &[0, 0, 0], &[255, 255, 255, 255, 1], &[0, 0, 0, 2, b'\n', b'x']] {
            assert_eq!(kind(odd), None);
            assert_eq!(check(&[file(line("h", &good))], "h", 22, odd), Verdict::OtherKind(place(1)));
        }
    }

    #[test]
    fn entries_are_the_plain_ones_of_the_port_or_else_without_one() {
        let (a, b) = (key("ssh-ed25519", 1), key("ssh-rsa", 2));
        let text = line("[h]:2222", &a) + &line("*", &b) + &format!("@revoked {}", line("h", &a)) + "rubbish\n";
        let kinds = |port| entries(&[file(text.clone())], "h", port).into_iter().map(|entry| entry.kind).collect::<Vec<_>>();
        assert_eq!(kinds(22), ["ssh-rsa"]);
        assert_eq!(kinds(2222), ["ssh-ed25519", "ssh-rsa"]);
        assert_eq!(kinds(2223), ["ssh-rsa"]);
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        assert!(!glob(&b"*a".repeat(200), &[b'a'; 150]));
        assert!(glob(b"**", b""));
        assert!(!glob(b"?", b""));
    }
}
