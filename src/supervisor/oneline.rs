//! Whoever's words are in it, a line of the log is printable ASCII and one newline. Runs in the supervisor,
//! between what formats a line and the queue in which it waits; distrusts what was formatted, also what
//! libraries say.
//!
//! What children write is escaped long before. This is the one place that no line gets around.

use crate::config::LogFormat;
use std::fmt::Write as _;
use std::io::{self, Write};

/// How bytes that are not printable are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As `\xNN`.
    Text,
    /// The same, but for the colours of a terminal. The formatter has escaped those of others.
    Coloured,
    /// As JSON has it, so that it is still JSON, and says the same.
    Json,
}

impl Form {
    /// Of a log that is written so.
    pub const fn of(format: LogFormat, colour: bool) -> Self {
        match (format, colour) {
            (LogFormat::Text, false) => Self::Text,
            (LogFormat::Text, true) => Self::Coloured,
            (LogFormat::Json, _) => Self::Json,
        }
    }
}

/// Takes whole lines, and hands them on as [`Form`] says.
pub struct OneLine<W> {
    to: W,
    form: Form,
}

impl<W> OneLine<W> {
    /// To there.
    pub const fn new(to: W, form: Form) -> Self {
        Self { to, form }
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        if body.iter().all(|byte| is_plain(*byte)) {
            self.to.write_all(line)?;
        } else {
            self.to.write_all(escaped(body, self.form).as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// In one line, with its newline.
fn escaped(body: &[u8], form: Form) -> String {
    let mut line = String::with_capacity(body.len() * 2);
    for letter in String::from_utf8_lossy(body).chars() {
        match (form, letter) {
            (_, ' '..='~') | (Form::Coloured, '\x1b') => line.push(letter),
            (Form::Text | Form::Coloured, _) => {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String can't fail.
                    let _ = write!(line, "\\x{byte:02x}");
                }
            }
            (Form::Json, _) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(form: Form, line: &str) -> String {
        let mut to = Vec::new();
        OneLine::new(&mut to, form).write_all(line.as_bytes()).unwrap();
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn a_line_stays_one_line_of_printable_letters() {
        let forged = "a\nINFO forged\r\x7f\u{9b}31m \u{e9}\n";
        assert_eq!(written(Form::Text, forged), "a\\x0aINFO forged\\x0d\\x7f\\xc2\\x9b31m \\xc3\\xa9\n");
        assert_eq!(written(Form::Text, "all is \\ well\n"), "all is \\ well\n");
        assert_eq!(written(Form::Coloured, "\x1b[32mINFO\x1b[0m a\nb\n"), "\x1b[32mINFO\x1b[0m a\\x0ab\n");
    }

    #[test]
    fn json_says_the_same_as_before() {
        let before = "{\"a\":\"\u{7f}\u{9b}\u{e9}\u{1f4a9}\"}\n";
        let after = written(Form::Json, before);
        assert!(after.trim_end().is_ascii() && !after.contains('\u{7f}'), "{after}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&after), read(before));
    }
}
