//! Keys in DER: PKCS#1 (RFC 8017), SEC 1 (RFC 5915) and PKCS#8 (RFC 5958), as OpenSSL and
//! ssh-keygen -m write them.

use super::{KeyFault, bits, long_enough};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::der::asn1::{AnyRef, ContextSpecific, OctetStringRef, UintRef};
use pkcs8::der::{Decode, Reader, SliceReader, TagNumber};
use pkcs8::{EncryptedPrivateKeyInfo, ObjectIdentifier, PrivateKeyInfo};
use zeroize::Zeroizing;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
/// NIST P-256, P-384 and P-521: the curves that ssh has (RFC 5656).
const CURVES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    ObjectIdentifier::new_unwrap("1.3.132.0.34"),
    ObjectIdentifier::new_unwrap("1.3.132.0.35"),
];

/// The bytes of a PEM body without headers.
pub fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let letters: Zeroizing<Vec<u8>> = Zeroizing::new(body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    STANDARD.decode(&*letters).map(Zeroizing::new).map_err(|_| KeyFault::Damaged)
}

/// An unencrypted PKCS#8 key. Says that it was not encrypted.
pub fn plain(body: &str) -> Result<bool, KeyFault> {
    let der = decode(body)?;
    info(PrivateKeyInfo::from_der(&der).map_err(|_| KeyFault::Damaged)?).map(|()| false)
}

/// An encrypted PKCS#8 key. Says that it was encrypted.
pub fn encrypted(body: &str, passphrase: &[u8]) -> Result<bool, KeyFault> {
    let der = decode(body)?;
    // Of a method that it does not know the crate can't even read the description.
    let sealed = EncryptedPrivateKeyInfo::from_der(&der).map_err(|_| KeyFault::Method)?;
    let open = sealed.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => KeyFault::Method,
        _ => KeyFault::WrongPassphrase,
    })?;
    info(open.decode_msg().map_err(|_| KeyFault::WrongPassphrase)?).map(|()| true)
}

fn info(key: PrivateKeyInfo<'_>) -> Result<(), KeyFault> {
    match key.algorithm.oid {
        RSA => rsa(key.private_key),
        EC => ec(key.private_key, key.algorithm.parameters_oid().ok()),
        ED25519 => Ok(()),
        DSA => Err(KeyFault::Dsa),
        _ => Err(KeyFault::Kind),
    }
}

/// `RSAPrivateKey`: version, modulus, …
pub fn rsa(der: &[u8]) -> Result<(), KeyFault> {
    let read = |der| {
        SliceReader::new(der)?.sequence(|inner| {
            let (_version, modulus) = (UintRef::decode(inner)?, UintRef::decode(inner)?);
            skip(inner)?;
            Ok(bits(modulus.as_bytes()))
        })
    };
    long_enough(read(der).map_err(|_| KeyFault::Damaged)?)
}

/// `ECPrivateKey`: version, key, `[0]` curve, `[1]` public key. Inside PKCS#8 the curve stands outside.
pub fn ec(der: &[u8], outside: Option<ObjectIdentifier>) -> Result<(), KeyFault> {
    let read = |der| {
        SliceReader::new(der)?.sequence(|inner| {
            let (_version, _key) = (UintRef::decode(inner)?, OctetStringRef::decode(inner)?);
            let curve = ContextSpecific::<ObjectIdentifier>::decode_explicit(inner, TagNumber::N0)?;
            skip(inner)?;
            Ok(curve.map(|curve| curve.value))
        })
    };
    let inside = read(der).map_err(|_| KeyFault::Damaged)?;
    let curve = inside.or(outside).ok_or(KeyFault::Damaged)?;
    if CURVES.contains(&curve) { Ok(()) } else { Err(KeyFault::Kind) }
}

fn skip<'a>(rest: &mut impl Reader<'a>) -> pkcs8::der::Result<()> {
    while !rest.is_finished() {
        AnyRef::decode(rest)?;
    }
    Ok(())
}
