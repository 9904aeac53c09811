//! OpenSSL's old form of encrypted PEM: two header lines (RFC 1421's names), a key made of one
//! round of MD5 (EVP_BytesToKey), AES in CBC mode. Weak, and still what `ssh-keygen -m PEM` writes.

use super::{KeyFault, pkcs};
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipher, BlockDecryptMut, BlockSizeUser, KeyInit, KeyIvInit};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

/// Opens a PEM body that may be encrypted, and judges the DER inside. Says whether it was encrypted.
pub fn open(body: &str, passphrase: Option<&[u8]>, judge: impl Fn(&[u8]) -> Result<(), KeyFault>) -> Result<bool, KeyFault> {
    let Some((headers, body)) = split_headers(body) else {
        return judge(&pkcs::decode(body)?).map(|()| false);
    };
    let (method, iv) = dek_info(headers).ok_or(KeyFault::Damaged)?;
    let passphrase = passphrase.ok_or(KeyFault::NoPassphrase)?;
    let sealed = pkcs::decode(body)?;
    let open = match method {
        "AES-128-CBC" => decrypt::<aes::Aes128>(&sealed, passphrase, &iv)?,
        "AES-192-CBC" => decrypt::<aes::Aes192>(&sealed, passphrase, &iv)?,
        "AES-256-CBC" => decrypt::<aes::Aes256>(&sealed, passphrase, &iv)?,
        _ => return Err(KeyFault::Method),
    };
    // One wrong passphrase in 256 leaves a right padding; it leaves no right DER.
    judge(&open).map(|()| true).map_err(|fault| if fault == KeyFault::Damaged { KeyFault::WrongPassphrase } else { fault })
}

/// Headers end with an empty line; a body without one has none.
fn split_headers(body: &str) -> Option<(&str, &str)> {
    body.contains("Proc-Type:").then(|| body.split_once("\n\n").or_else(|| body.split_once("\r\n\r\n"))).flatten()
}

/// `DEK-Info: AES-128-CBC,0123…`: the method and the initial vector.
fn dek_info(headers: &str) -> Option<(&str, [u8; 16])> {
    let line = headers.lines().find_map(|line| line.strip_prefix("DEK-Info:"))?;
    let (method, iv) = line.trim().split_once(',')?;
    match method.starts_with("AES-") {
        true => Some((method, crate::ids::decode_hex(iv.trim().as_bytes())?)),
        false => Some((method, [0; 16])),
    }
}

fn decrypt<C>(sealed: &[u8], passphrase: &[u8], iv: &[u8; 16]) -> Result<Zeroizing<Vec<u8>>, KeyFault>
where
    C: BlockDecryptMut + BlockCipher + KeyInit + BlockSizeUser,
    cbc::Decryptor<C>: KeyIvInit,
{
    let mut key = aes::cipher::Key::<cbc::Decryptor<C>>::default();
    stretch(passphrase, iv, &mut key);
    let opened = cbc::Decryptor::<C>::new_from_slices(&key, iv).map_err(|_| KeyFault::Damaged)?.decrypt_padded_vec_mut::<Pkcs7>(sealed);
    zeroize::Zeroize::zeroize(&mut *key);
    opened.map(Zeroizing::new).map_err(|_| KeyFault::WrongPassphrase)
}

/// EVP_BytesToKey(3) with MD5 and one round; the salt is the vector's first half.
fn stretch(passphrase: &[u8], iv: &[u8; 16], key: &mut [u8]) {
    let mut last: Option<[u8; 16]> = None;
    for part in key.chunks_mut(16) {
        let mut hash = Md5::new();
        if let Some(last) = &last {
            hash.update(last);
        }
        hash.update(passphrase);
        hash.update(iv.first_chunk::<8>().unwrap_or(&[0; 8]));
        let round: [u8; 16] = hash.finalize().into();
        part.iter_mut().zip(round).for_each(|(to, from)| *to = from);
        last = Some(round);
    }
}
