//! `gwg secret`: a webhook secret that nobody can guess.

use super::exit::{Exit, Failure};

/// Bytes of a secret: as many as HMAC-SHA-256 can use.
const BYTES: usize = 32;

/// 32 bytes of the kernel's random generator as 64 hexadecimal digits: any forge and any shell takes
/// them as they are.
///
/// # Errors
/// The kernel gives none.
pub fn make() -> Result<String, Failure> {
    let bytes: [u8; BYTES] = random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bytes of the kernel's random generator.
///
/// # Errors
/// The kernel gives none.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Failure::new(Exit::Failed, format!("the kernel gives no random bytes: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn secrets_are_64_digits_and_never_the_same() {
        let made: BTreeSet<String> = (0..1000).map(|_| make().unwrap()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|secret| secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_hexdigit())));
        // Every digit turns up: 32,000 of them would lack one by chance less than once in 10^80.
        let digits: BTreeSet<char> = made.iter().flat_map(|secret| secret.chars()).collect();
        assert_eq!(digits.len(), 16);
    }
}
