//! Keys as the real programs make them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use std::process::Command;

/// Runs a program that makes a key; `None`, said aloud, where it is missing.
fn make(test: &str, program: &str, arguments: &[&str], out: &Path) -> Option<Vec<u8>> {
    let run = Command::new(program).args(arguments).output();
    let Ok(run) = run else {
        assert!(std::env::var("GWG_TEST_REQUIRE").as_deref() != Ok("all"), "{program} is missing");
        eprintln!("SKIPPED {test}: {program} is missing");
        return None;
    };
    assert!(run.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    Some(std::fs::read(out).unwrap())
}

fn keygen(test: &str, arguments: &[&str], passphrase: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("key");
    let all = [&["-q", "-N", passphrase, "-f", out.to_str().unwrap()], arguments].concat();
    make(test, "ssh-keygen", &all, &out)
}

#[test]
fn every_key_that_ssh_keygen_makes_opens_with_its_passphrase_only() {
    let kinds: [&[&str]; 5] = [
        &["-t", "ed25519"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
    ];
    for (kind, form) in kinds.iter().flat_map(|kind| ["RFC4716", "PEM", "PKCS8"].map(|form| (*kind, form))) {
        let arguments = [kind, &["-m", form, "-a", "1"]].concat();
        for passphrase in ["", "right passphrase"] {
            let Some(key) = keygen("every_key", &arguments, passphrase) else { return };
            let encrypted = !passphrase.is_empty();
            assert_eq!(inspect(&key, Some(passphrase.as_bytes()).filter(|_| encrypted)), Ok(encrypted), "{arguments:?} {passphrase:?}");
            // As some editors save it.
            let dos = String::from_utf8(key.clone()).unwrap().trim_end().replace('\n', "\r\n");
            assert_eq!(
                inspect(dos.as_bytes(), Some(passphrase.as_bytes()).filter(|_| encrypted)),
                Ok(encrypted),
                "{arguments:?} with CRLF"
            );
            if encrypted {
                assert_eq!(inspect(&key, Some(b"wrong")), Err(KeyFault::WrongPassphrase), "{arguments:?}");
                assert_eq!(inspect(&key, None), Err(KeyFault::NoPassphrase), "{arguments:?}");
            }
        }
    }
}

#[test]
fn every_cipher_of_openssh_but_3des_opens() {
    for (cipher, opens) in [
        ("aes128-ctr", Ok(true)),
        ("aes256-ctr", Ok(true)),
        ("aes256-cbc", Ok(true)),
        ("aes256-gcm@openssh.com", Ok(true)),
        ("chacha20-poly1305@openssh.com", Ok(true)),
        ("3des-cbc", Err(KeyFault::Method)),
    ] {
        let Some(key) = keygen("every_cipher", &["-t", "ed25519", "-a", "1", "-Z", cipher], "right passphrase") else { return };
        assert_eq!(inspect(&key, Some(b"right passphrase")), opens, "{cipher}");
    }
}

#[test]
fn a_p521_key_opens_whether_its_number_is_short_or_not() {
    // Every second one is short: ten are enough to meet both.
    for _ in 0..10 {
        let Some(key) = keygen("a_p521_key", &["-t", "ecdsa", "-b", "521"], "") else { return };
        assert_eq!(inspect(&key, None), Ok(false));
    }
}

#[test]
fn what_openssl_writes_opens_or_says_why_not() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let plain = at("plain");
    let from = plain.to_str().unwrap();
    if make("what_openssl_writes", "openssl", &["genrsa", "-traditional", "-out", from, "2048"], &plain).is_none() {
        return;
    }
    for (name, arguments, opens) in [
        ("aes128", &["rsa", "-traditional", "-aes128"][..], Ok(true)),
        ("aes192", &["rsa", "-traditional", "-aes192"], Ok(true)),
        ("aes256", &["rsa", "-traditional", "-aes256"], Ok(true)),
        ("des3", &["rsa", "-traditional", "-des3"], Err(KeyFault::Method)),
        ("pbes2", &["pkcs8", "-topk8", "-v2", "aes-256-cbc"], Ok(true)),
        ("scrypt", &["pkcs8", "-topk8", "-scrypt"], Ok(true)),
        ("pbes1", &["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"], Err(KeyFault::Method)),
        ("pbes2-des3", &["pkcs8", "-topk8", "-v2", "des3"], Err(KeyFault::Method)),
    ] {
        let out = at(name);
        let all = [arguments, &["-in", from, "-passout", "pass:right", "-out", out.to_str().unwrap()]].concat();
        let key = make("what_openssl_writes", "openssl", &all, &out).unwrap();
        assert_eq!(inspect(&key, Some(b"right")), opens, "{name}");
        if opens.is_ok() {
            assert_eq!(inspect(&key, None), Err(KeyFault::NoPassphrase), "{name}");
            assert_eq!(inspect(&key, Some(b"wrong")), Err(KeyFault::WrongPassphrase), "{name}");
        }
    }
    for (name, arguments, opens) in [
        ("ed25519", &["genpkey", "-algorithm", "ed25519"][..], Ok(false)),
        ("secp256k1", &["ecparam", "-name", "secp256k1", "-genkey", "-noout"], Err(KeyFault::Kind)),
        ("rsa1024", &["genrsa", "-traditional", "1024"], Err(KeyFault::ShortRsa(1024))),
    ] {
        let out = at(name);
        // An output file stands before a number of bits.
        let (first, last) = arguments.split_at(arguments.len() - usize::from(name == "rsa1024"));
        let key = make("what_openssl_writes", "openssl", &[first, &["-out", out.to_str().unwrap()], last].concat(), &out).unwrap();
        assert_eq!(inspect(&key, None), opens, "{name}");
    }
}

#[test]
fn what_is_no_usable_key_says_what_it_is() {
    for (text, fault) in [
        (String::new(), KeyFault::NotAKey),
        ("hello".into(), KeyFault::NotAKey),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".into(), KeyFault::NotAKey),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA".into(), KeyFault::NotAKey),
        ("ssh-ed25519 AAAAC3Nz me@host".into(), KeyFault::Public),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA".into(), KeyFault::Public),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(), KeyFault::Public),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n".into(), KeyFault::Putty),
        ("-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----".into(), KeyFault::Dsa),
        (container(b"ssh-dss"), KeyFault::Dsa),
        (container(b"sk-ssh-ed25519@openssh.com"), KeyFault::Hardware),
        (container(b"ssh-ed448"), KeyFault::Kind),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----".into(), KeyFault::Damaged),
        ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----".into(), KeyFault::Damaged),
        ("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----".into(), KeyFault::Damaged),
    ] {
        assert_eq!(inspect(text.as_bytes(), None), Err(fault), "{text}");
        assert!(!fault.remedy(Path::new("/k")).is_empty());
    }
    assert_eq!(inspect(b"\xff\xfe", None), Err(KeyFault::NotAKey));
}
