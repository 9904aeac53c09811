//! Is a delivery authentic? HMAC over the raw body, computed while the body arrives.
//!
//! Runs in `gwg-listener`. Holds the secrets, as keyed hash states only: the secrets themselves are
//! wiped at start. A request says [`Claim`] with its headers; [`Check`] hashes and compares, in
//! constant time. The header's form is that of GitHub (`X-Hub-Signature-256: sha256=HEX`):
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>.

use crate::audit::Rejected;
use crate::brief::listener::Proof;
use crate::ids::decode_hex;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::Sha256;

/// The header with the SHA-256 signature.
pub const SHA256_HEADER: HeaderName = HeaderName::from_static("x-hub-signature-256");
/// The header with the SHA-1 signature, of old senders.
pub const SHA1_HEADER: HeaderName = HeaderName::from_static("x-hub-signature");

/// How the requests of one path prove that they are authentic.
pub enum Verifier {
    /// They need not: the configuration says `unsigned: true`.
    Unsigned,
    /// With a signature made with any of the keys.
    Signed {
        /// One for each secret.
        sha256: Vec<Hmac<Sha256>>,
        /// The same for SHA-1; empty where it is not accepted.
        sha1: Vec<Hmac<Sha1>>,
    },
}

/// What a request's headers claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Sha256([u8; 32]),
    Sha1([u8; 20]),
}

/// A running check of one body.
pub enum Check {
    /// Nothing to check.
    Unsigned,
    /// Against what the header says.
    Sha256(Vec<Hmac<Sha256>>, [u8; 32]),
    /// Against what the older header says.
    Sha1(Vec<Hmac<Sha1>>, [u8; 20]),
}

impl Verifier {
    /// Makes keys out of secrets. A key of any length is a key to HMAC.
    pub fn new(proof: &Proof) -> Self {
        match proof {
            Proof::Unsigned => Self::Unsigned,
            Proof::Signed { secrets, sha1 } => {
                let sha1_secrets = if *sha1 { secrets.as_slice() } else { &[] };
                Self::Signed {
                    sha256: secrets.iter().filter_map(|secret| Hmac::new_from_slice(secret.expose()).ok()).collect(),
                    sha1: sha1_secrets.iter().filter_map(|secret| Hmac::new_from_slice(secret.expose()).ok()).collect(),
                }
            }
        }
    }

    /// Whether a signature is asked for.
    pub const fn is_signed(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }

    /// Starts the check of one body, with what the request's headers claim.
    ///
    /// # Errors
    /// A signature is asked for, and there is none or it can't be one. Nothing is computed then.
    pub fn check(&self, headers: &HeaderMap) -> Result<Check, Rejected> {
        let Self::Signed { sha256, sha1 } = self else { return Ok(Check::Unsigned) };
        Ok(match claim(headers, !sha1.is_empty())? {
            Claim::Sha256(code) => Check::Sha256(sha256.clone(), code),
            Claim::Sha1(code) => Check::Sha1(sha1.clone(), code),
        })
    }
}

impl Check {
    /// Hashes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Unsigned => {}
            Self::Sha256(keys, _) => keys.iter_mut().for_each(|key| key.update(piece)),
            Self::Sha1(keys, _) => keys.iter_mut().for_each(|key| key.update(piece)),
        }
    }

    /// Compares, in constant time. Takes as long whichever of the keys it was.
    pub fn holds(self) -> bool {
        match self {
            Self::Unsigned => true,
            Self::Sha256(keys, code) => any(keys, &code),
            Self::Sha1(keys, code) => any(keys, &code),
        }
    }
}

fn any<M: Mac>(keys: Vec<M>, code: &[u8]) -> bool {
    keys.into_iter().fold(false, |holds, key| holds | key.verify_slice(code).is_ok())
}

/// Reads the claim. Where a SHA-256 header came it must hold: nobody falls back to the weaker one.
fn claim(headers: &HeaderMap, sha1: bool) -> Result<Claim, Rejected> {
    if let Some(value) = only(headers, &SHA256_HEADER)? {
        return parse(value, b"sha256=").map(Claim::Sha256);
    }
    match only(headers, &SHA1_HEADER)? {
        Some(value) if sha1 => parse(value, b"sha1=").map(Claim::Sha1),
        _ => Err(Rejected::NoSignature),
    }
}

/// The value of a header that may come once: of two, nobody can say which one was meant.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Rejected> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Rejected::BadSignature),
    }
}

fn parse<const N: usize>(value: &HeaderValue, prefix: &[u8]) -> Result<[u8; N], Rejected> {
    match value.as_bytes().trim_ascii() {
        b"" => Err(Rejected::NoSignature),
        value => match value.strip_prefix(prefix) {
            Some(b"") => Err(Rejected::NoSignature),
            Some(digits) => decode_hex(digits).ok_or(Rejected::BadSignature),
            None => Err(Rejected::BadSignature),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::brief::Secret;

    const BODY: &[u8] = b"Hello, World!";
    // GitHub's published example: the secret, the body above, the signature.
    const SECRET: &str = "It's a Secret to Everybody";
    const SHA256: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    // The same, by `openssl dgst -sha1 -hmac`.
    const SHA1: &str = "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59";

    fn verifier(secrets: &[&str], sha1: bool) -> Verifier {
        let secrets = secrets.iter().map(|text| Secret::new(text.as_bytes().to_vec())).collect();
        Verifier::new(&Proof::Signed { secrets, sha1 })
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    fn verdict(verifier: &Verifier, pairs: &[(HeaderName, &str)], body: &[u8]) -> Result<bool, Rejected> {
        let mut check = verifier.check(&headers(pairs))?;
        body.chunks(5).for_each(|piece| check.update(piece));
        Ok(check.holds())
    }

    #[test]
    fn the_published_vector_holds_and_no_other_body_does() {
        let verifier = verifier(&[SECRET], false);
        assert_eq!(verdict(&verifier, &[(SHA256_HEADER, SHA256)], BODY), Ok(true));
        assert_eq!(verdict(&verifier, &[(SHA256_HEADER, &SHA256.replace("7571", "7572"))], BODY), Ok(false));
        assert_eq!(verdict(&verifier, &[(SHA256_HEADER, SHA256)], b"Hello, World?"), Ok(false));
        assert_eq!(verdict(&verifier, &[(SHA256_HEADER, SHA256)], b""), Ok(false));
    }

    #[test]
    fn any_of_several_secrets_is_accepted() {
        for secrets in [["new", SECRET], [SECRET, "old"]] {
            assert_eq!(verdict(&verifier(&secrets, false), &[(SHA256_HEADER, SHA256)], BODY), Ok(true));
        }
        assert_eq!(verdict(&verifier(&["new", "old"], false), &[(SHA256_HEADER, SHA256)], BODY), Ok(false));
    }

    #[test]
    fn a_signature_that_is_missing_empty_or_malformed_is_refused_before_anything_is_computed() {
        let verifier = verifier(&[SECRET], false);
        assert_eq!(verdict(&verifier, &[], BODY), Err(Rejected::NoSignature));
        for empty in ["", "  ", "sha256="] {
            assert_eq!(verdict(&verifier, &[(SHA256_HEADER, empty)], BODY), Err(Rejected::NoSignature), "{empty:?}");
        }
        for bad in ["sha256", "757107ea", "sha256=zz", "sha1=757107ea", &SHA256[..SHA256.len() - 2], &format!("{SHA256}00")] {
            assert_eq!(verdict(&verifier, &[(SHA256_HEADER, bad)], BODY), Err(Rejected::BadSignature), "{bad:?}");
        }
        let twice = [(SHA256_HEADER, SHA256), (SHA256_HEADER, SHA256)];
        assert_eq!(verdict(&verifier, &twice, BODY), Err(Rejected::BadSignature));
    }

    #[test]
    fn sha1_holds_only_where_the_repository_says_so_and_never_beside_sha256() {
        assert_eq!(verdict(&verifier(&[SECRET], true), &[(SHA1_HEADER, SHA1)], BODY), Ok(true));
        assert_eq!(verdict(&verifier(&[SECRET], false), &[(SHA1_HEADER, SHA1)], BODY), Err(Rejected::NoSignature));
        let wrong_and_right = [(SHA256_HEADER, &*SHA256.replace("7571", "7572")), (SHA1_HEADER, SHA1)];
        assert_eq!(verdict(&verifier(&[SECRET], true), &wrong_and_right, BODY), Ok(false));
        let empty_and_right = [(SHA256_HEADER, ""), (SHA1_HEADER, SHA1)];
        assert_eq!(verdict(&verifier(&[SECRET], true), &empty_and_right, BODY), Err(Rejected::NoSignature));
    }

    #[test]
    fn an_unsigned_repository_asks_for_nothing() {
        assert_eq!(verdict(&Verifier::new(&Proof::Unsigned), &[], BODY), Ok(true));
    }
}
