//! How bytes of unknown origin become text for a log: printable ASCII, all else as `\xNN`.

use std::fmt::Write;

/// No byte outside of 0x20–0x7e is left, so no line can be forged and no terminal be steered. A
/// backslash is doubled, so that what is shown can be told from what was escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        push(&mut text, *byte);
    }
    text
}

/// What a shortened text ends with.
const CUT: &str = "...";

/// The same in at most `most` bytes; a longer one is cut between two bytes of the original and ends
/// with `...`.
pub fn bounded(bytes: &[u8], most: usize) -> String {
    let mut text = String::new();
    let mut fits = 0;
    for byte in bytes {
        push(&mut text, *byte);
        if text.len() + CUT.len() <= most {
            fits = text.len();
        }
        if text.len() > most {
            text.truncate(fits);
            text.push_str(CUT);
            return text;
        }
    }
    text
}

fn push(text: &mut String, byte: u8) {
    match byte {
        b'\\' => text.push_str("\\\\"),
        0x20..=0x7e => text.push(char::from(byte)),
        _ => {
            // Writing to a String can't fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_out_printable_and_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=u8::MAX {
            let text = printable(&[byte]);
            assert!(text.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{byte}");
            assert!(seen.insert(text), "{byte}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_bytes_and_says_so() {
        assert_eq!(bounded(b"12345678", 8), "12345678");
        assert_eq!(bounded(b"123456789", 8), "12345...");
        assert_eq!(bounded(b"1234\n\n", 8), "1234...");
        assert_eq!(bounded(b"\n\n", 8), "\\x0a\\x0a");
        assert_eq!(bounded(b"\n\n\n", 8), "\\x0a...");
    }
}
