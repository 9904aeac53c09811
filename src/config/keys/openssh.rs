//! OpenSSH's own format (its source's PROTOCOL.key). The container is read here, because ssh-key 0.6
//! refuses ECDSA keys whose number is short, which is every second P-521 key; the ciphers are that crate's.

use super::{KeyFault, bits, long_enough, pkcs};
use ssh_key::{Cipher, Kdf};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"openssh-key-v1\0";
/// bcrypt rounds that take some ten seconds: more would look like a hang.
const MOST_ROUNDS: u32 = 2_000;

/// Opens a key and judges its kind. Says whether it was encrypted.
pub fn open(body: &str, passphrase: Option<&[u8]>) -> Result<bool, KeyFault> {
    let bytes = pkcs::decode(body)?;
    let container = Container::read(&bytes).ok_or(KeyFault::Damaged)?;
    container.judge_kind()?;
    let encrypted = container.cipher != b"none";
    let private = match encrypted {
        false => Zeroizing::new(container.private.to_vec()),
        true => container.decrypt(passphrase.ok_or(KeyFault::NoPassphrase)?)?,
    };
    // The same random number twice: right only after the right passphrase.
    match private.split_at_checked(4) {
        Some((first, rest)) if rest.get(..4) == Some(first) => Ok(encrypted),
        Some(_) | None if encrypted => Err(KeyFault::WrongPassphrase),
        Some(_) | None => Err(KeyFault::Damaged),
    }
}

/// The file's parts.
struct Container<'a> {
    cipher: &'a [u8],
    kdf: &'a [u8],
    kdf_options: &'a [u8],
    public: &'a [u8],
    private: &'a [u8],
    /// What authenticates the private part, for ciphers that do.
    tag: &'a [u8],
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let (cipher, kdf, kdf_options) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
        let keys = number(&mut rest)?;
        let (public, private) = (string(&mut rest)?, string(&mut rest)?);
        (keys == 1).then_some(Self { cipher, kdf, kdf_options, public, private, tag: rest })
    }

    fn judge_kind(&self) -> Result<(), KeyFault> {
        let mut rest = self.public;
        match string(&mut rest).ok_or(KeyFault::Damaged)? {
            b"ssh-ed25519" | b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521" => Ok(()),
            b"ssh-rsa" => {
                let _exponent = string(&mut rest);
                long_enough(bits(string(&mut rest).ok_or(KeyFault::Damaged)?))
            }
            b"ssh-dss" => Err(KeyFault::Dsa),
            name if name.starts_with(b"sk-") => Err(KeyFault::Hardware),
            _ => Err(KeyFault::Kind),
        }
    }

    fn decrypt(&self, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        // libssh2 knows 3des-cbc no more than the crate does.
        let name = std::str::from_utf8(self.cipher).ok().filter(|name| *name != "3des-cbc");
        let cipher = name.and_then(|name| Cipher::new(name).ok()).filter(|_| self.kdf == b"bcrypt").ok_or(KeyFault::Method)?;
        let mut options = self.kdf_options;
        let (salt, rounds) = string(&mut options).zip(number(&mut options)).ok_or(KeyFault::Damaged)?;
        if !(1..=MOST_ROUNDS).contains(&rounds) {
            return Err(KeyFault::Method);
        }
        let kdf = Kdf::Bcrypt { salt: salt.to_vec(), rounds };
        let (key, iv) = kdf.derive_key_and_iv(cipher, passphrase).map_err(|_| KeyFault::Method)?;
        let tag = match cipher.has_tag() {
            true => Some(self.tag.try_into().map_err(|_| KeyFault::Damaged)?),
            false => None,
        };
        let mut private = Zeroizing::new(self.private.to_vec());
        cipher.decrypt(&key, &iv, &mut private, tag).map_err(|_| KeyFault::WrongPassphrase)?;
        Ok(private)
    }
}

/// RFC 4251: four bytes of length, then as many bytes.
fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(bytes)?;
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (taken, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*taken))
}
