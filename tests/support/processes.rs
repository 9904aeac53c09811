//! Processes as `/proc` shows them.

use super::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;

/// A process, by its pid and the time it started, so that a later one with its pid is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    pid: i32,
    started: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat_field(pid, 19)? })
    }

    /// All that there are.
    pub fn all() -> Vec<Self> {
        every()
    }

    /// Its pid.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it is there and no zombie.
    pub fn alive(self) -> bool {
        stat_field(self.pid, 19) == Some(self.started) && self.state() != Some('Z')
    }

    /// Whether it has ended and its parent has not heard of it yet; then its status, as `wait(2)` has it.
    /// Root sees it of every process.
    pub fn unheard_end(self) -> Option<i32> {
        if self.state() != Some('Z') {
            return None;
        }
        stat_field(self.pid, 49).and_then(|status| i32::try_from(status).ok())
    }

    /// Sends a signal.
    pub fn signal(self, signal: Signal) {
        assert!(stat_field(self.pid, 19) == Some(self.started), "process {} is gone already", self.pid);
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    /// Sends a signal to what may be gone by now.
    pub fn try_signal(self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Kills it and waits until it is gone.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.wait_until_gone();
    }

    /// Waits until it is gone.
    pub fn wait_until_gone(self) {
        wait::until_true(&format!("process {} is gone", self.pid), || !self.alive());
    }

    /// Its children.
    pub fn children(self) -> Vec<Self> {
        every().into_iter().filter(|process| process.parent() == Some(self.pid)).collect()
    }

    /// All processes below it.
    pub fn descendants(self) -> Vec<Self> {
        let children = self.children();
        let below: Vec<_> = children.iter().flat_map(|child| child.descendants()).collect();
        children.into_iter().chain(below).collect()
    }

    /// The name that it was started under, without directories.
    pub fn name(self) -> String {
        let line = fs::read(self.path("cmdline")).unwrap_or_default();
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(first).rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// A line of its `/proc/PID/status`, without the key.
    pub fn status(self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.path("status")).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
    }

    /// Whether the signal waits until it is asked for, or is caught.
    pub fn minds(self, signal: Signal) -> bool {
        let mask = |key| self.status(key).and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
        (mask("SigBlk") | mask("SigCgt")) & 1 << (signal as i32 - 1) != 0
    }

    /// What its descriptors are, in their order. Of another user's processes only root sees them.
    pub fn descriptors(self) -> Vec<(u32, String)> {
        let mut found: Vec<_> = fs::read_dir(self.path("fd"))
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.parse().ok()?;
                Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// A file below its `/proc/PID`.
    pub fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    fn state(self) -> Option<char> {
        self.status("State")?.chars().next()
    }

    fn parent(self) -> Option<i32> {
        stat_field(self.pid, 1).and_then(|pid| i32::try_from(pid).ok())
    }
}

fn every() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// A field of `/proc/PID/stat`, counted from the one after the command: 0 the state, 1 the parent,
/// 19 the time of the start, 49 the status at its end (`proc(5)`).
fn stat_field(pid: i32, place: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split_whitespace().nth(place)?.parse().ok()
}
