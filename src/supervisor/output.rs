//! What children write to their standard output and error: read from a pipe, cut into bounded
//! lines, escaped, counted, and logged under the child's name. Runs in the supervisor; distrusts
//! every child: its output can't forge a line, nor fill the disk quickly.

use super::journal;
use crate::audit::text;
use crate::confine::Role;
use crate::confine::spawn::Account;
use nix::unistd::{Uid, setfsuid};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

/// Bytes of a line; the rest of a longer one is the next.
const LINE: usize = 2048;
/// Lines that a child may write in one [`WINDOW`].
const LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Bytes of the log that one run of a hook may fill; each line counts as [`OVERHEAD`] more than its text.
const HOOK: u64 = 64 << 10;
const OVERHEAD: u64 = 64;
/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Makes a pipe: its end for the child, and a task that logs what comes out of the other.
///
/// # Errors
/// Out of descriptors.
pub fn pipe() -> io::Result<(OwnedFd, Reader)> {
    let (reader, writer) = io::pipe()?;
    Ok((writer.into(), Reader(pipe::Receiver::from_owned_fd(reader.into())?)))
}

/// The same, for a child that may open `/dev/stderr` anew, as a script does: the pipe belongs to its user.
///
/// # Errors
/// As [`pipe`].
pub fn pipe_of(account: Option<Account>) -> io::Result<(OwnedFd, Reader)> {
    let Some(account) = account else { return pipe() };
    // For this thread, and for this one call.
    let ours = setfsuid(Uid::from_raw(account.uid));
    let made = pipe();
    setfsuid(ours);
    made
}

/// The supervisor's end.
pub struct Reader(pipe::Receiver);

impl Reader {
    /// Logs until the child's end is closed. `about`: the repository that the child works on.
    pub fn log(self, role: Role, pid: u32, about: Option<String>) {
        let log = move |line: String| journal::child_said(role, pid, about.as_deref(), &line);
        tokio::spawn(self.read(Lines::new(Bound::Rate { window: Instant::now(), written: 0 }), log));
    }

    /// The same for a hook, whose output is bounded in all. The task ends when all of it is logged.
    pub fn log_hook(self, pid: u32, repo: String) -> JoinHandle<()> {
        let log = move |line: String| journal::hook_said(pid, &repo, &line);
        tokio::spawn(self.read(Lines::new(Bound::Total { left: HOOK }), log))
    }

    async fn read(mut self, mut lines: Lines, mut log: impl FnMut(String)) {
        let mut buffer = vec![0; READ];
        while let Ok(count @ 1..) = self.0.read(&mut buffer).await {
            lines.take(buffer.get(..count).unwrap_or_default(), Instant::now(), &mut log);
        }
        lines.end(&mut log);
    }
}

/// How much is logged.
enum Bound {
    /// So many lines in each window.
    Rate { window: Instant, written: u32 },
    /// So many bytes of the log in all.
    Total { left: u64 },
}

/// Cuts bytes into lines. Pure.
struct Lines {
    begun: Vec<u8>,
    bound: Bound,
    /// What was not logged, and not told yet.
    lines: u64,
    bytes: u64,
}

impl Lines {
    fn new(bound: Bound) -> Self {
        Self { begun: Vec::new(), bound, lines: 0, bytes: 0 }
    }

    fn take(&mut self, bytes: &[u8], now: Instant, mut log: impl FnMut(String)) {
        if let Bound::Rate { window, written } = &mut self.bound
            && now >= *window + WINDOW
        {
            *window = now;
            *written = 0;
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
        let text = text::printable(&line);
        if self.bound.has_room(text.len() as u64) {
            log(text);
        } else {
            self.lines += 1;
            self.bytes += line.len() as u64;
        }
    }

    fn tell_dropped(&mut self, log: &mut impl FnMut(String)) {
        if self.lines > 0 {
            log(format!("({} more lines, {} bytes, are not shown)", std::mem::take(&mut self.lines), std::mem::take(&mut self.bytes)));
        }
    }
}

impl Bound {
    /// Whether a line of so many bytes is logged, which it then is.
    fn has_room(&mut self, bytes: u64) -> bool {
        match self {
            Self::Rate { written, .. } => {
                let room = *written < LINES;
                *written += u32::from(room);
                room
            }
            Self::Total { left } => {
                let rest = left.checked_sub(bytes + OVERHEAD);
                // When one line is dropped, so are all after it: no gaps.
                *left = rest.unwrap_or_default();
                rest.is_some()
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn lines(pieces: &[&[u8]]) -> Vec<String> {
        bounded(Bound::Rate { window: Instant::now(), written: 0 }, pieces)
    }

    fn bounded(bound: Bound, pieces: &[&[u8]]) -> Vec<String> {
        let mut got = Vec::new();
        let mut lines = Lines::new(bound);
        for piece in pieces {
            lines.take(piece, Instant::now(), |line| got.push(line));
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
        assert_eq!(flood.last().map(String::as_str), Some("(7 more lines, 7 bytes, are not shown)"));
    }

    #[test]
    fn f29_a_hook_s_output_is_bounded_in_all_and_the_rest_is_counted() {
        let flood = bounded(Bound::Total { left: HOOK }, &[&b"0123456789abcdef\n".repeat(100_000)]);
        let shown = flood.len() as u64 - 1;
        assert_eq!(shown, HOOK / (16 + OVERHEAD));
        let rest = 100_000 - shown;
        assert_eq!(flood.last(), Some(&format!("({rest} more lines, {} bytes, are not shown)", rest * 16)));
        assert_eq!(bounded(Bound::Total { left: 10 }, &[b"long line\nx\n"]), ["(2 more lines, 10 bytes, are not shown)"], "no gap");
    }
}
