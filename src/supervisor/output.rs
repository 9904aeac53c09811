//! What children write to their standard output and error: read from a pipe, cut into bounded
//! lines, escaped, counted, and logged under the child's name. Runs in the supervisor; distrusts
//! every child: its output can't forge a line, nor fill the disk quickly.

use super::journal;
use crate::audit::text;
use crate::confine::Role;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Bytes of a line; the rest of a longer one is the next.
const LINE: usize = 2048;
/// Lines that a child may write in one [`WINDOW`].
const LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Makes a pipe: its end for the child, and a task that logs what comes out of the other.
///
/// # Errors
/// Out of descriptors.
pub fn pipe() -> io::Result<(OwnedFd, Reader)> {
    let (reader, writer) = io::pipe()?;
    Ok((writer.into(), Reader(pipe::Receiver::from_owned_fd(reader.into())?)))
}

/// The supervisor's end.
pub struct Reader(pipe::Receiver);

impl Reader {
    /// Logs until the child's end is closed. `about`: the repository that the child works on.
    pub fn log(mut self, role: Role, pid: u32, about: Option<String>) {
        tokio::spawn(async move {
            let mut lines = Lines::new(Instant::now());
            let mut buffer = vec![0; LINE];
            while let Ok(count @ 1..) = self.0.read(&mut buffer).await {
                lines.take(buffer.get(..count).unwrap_or_default(), Instant::now(), |line| {
                    journal::child_said(role, pid, about.as_deref(), &line);
                });
            }
            lines.end(|line| journal::child_said(role, pid, about.as_deref(), &line));
        });
    }
}

/// Cuts bytes into lines. Pure.
struct Lines {
    begun: Vec<u8>,
    window: Instant,
    written: u32,
    dropped: u64,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self { begun: Vec::new(), window: now, written: 0, dropped: 0 }
    }

    fn take(&mut self, bytes: &[u8], now: Instant, mut log: impl FnMut(String)) {
        if now >= self.window + WINDOW {
            self.window = now;
            self.written = 0;
            self.tell_dropped(&mut log);
        }
        for byte in bytes {
            if *byte != b'\n' {
                self.begun.push(*byte);
            }
            if *byte == b'\n' || self.begun.len() == LINE {
                self.line(&mut log);
            }
        }
    }

    fn end(&mut self, mut log: impl FnMut(String)) {
        self.line(&mut log);
        self.tell_dropped(&mut log);
    }

    fn line(&mut self, log: &mut impl FnMut(String)) {
        let line = std::mem::take(&mut self.begun);
        if line.is_empty() {
            return;
        }
        if self.written == LINES {
            self.dropped += 1;
            return;
        }
        self.written += 1;
        log(text::printable(&line));
    }

    fn tell_dropped(&mut self, log: &mut impl FnMut(String)) {
        if self.dropped > 0 {
            log(format!("({} more lines are not shown)", std::mem::take(&mut self.dropped)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut got = Vec::new();
        let now = Instant::now();
        let mut lines = Lines::new(now);
        for piece in pieces {
            lines.take(piece, now, |line| got.push(line));
        }
        lines.end(|line| got.push(line));
        got
    }

    #[test]
    fn lines_are_cut_at_newlines_and_escaped() {
        assert_eq!(lines(&[b"one\ntw", b"o\n\nthree"]), ["one", "two", "three"]);
        assert_eq!(lines(&[b"\x1b[31mred\r\xc3\xa9\n"]), ["\\x1b[31mred\\x0d\\xc3\\xa9"]);
    }

    #[test]
    fn a_child_can_neither_write_an_endless_line_nor_endlessly_many() {
        assert_eq!(lines(&[&[b'x'; LINE * 2 + 1]]).iter().map(String::len).collect::<Vec<_>>(), [LINE, LINE, 1]);
        let flood = lines(&[&b"y\n".repeat(LINES as usize + 7)]);
        assert_eq!(flood.len(), LINES as usize + 1);
        assert_eq!(flood.last().map(String::as_str), Some("(7 more lines are not shown)"));
    }
}
