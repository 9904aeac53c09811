//! How bytes of unknown origin become text for a log: printable ASCII, all else as `\xNN`.

use std::fmt::Write;

/// No byte outside of 0x20–0x7e is left, so no line can be forged and no terminal be steered. A
/// backslash is doubled, so that what is shown can be told from what was escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                // Writing to a String can't fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
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
}
