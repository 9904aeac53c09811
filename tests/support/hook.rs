//! Hooks of tests: shell scripts, a place where they leave notes, and processes that can be found again.

use super::gateway::Gateway;
use super::need;
use super::processes::Process;
use super::scratch::{self, HOOK, Scratch};
use super::site::PATH;
use super::wait;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a hook may write. Scripts know it as `$NOTES`, their own name for a process as `$MARK`.
pub struct Notes {
    directory: PathBuf,
    mark: String,
}

impl Notes {
    /// For hooks of [`HOOK`], or of whoever runs the tests.
    pub fn new(scratch: &Scratch) -> Self {
        Self::of(scratch, HOOK)
    }

    /// For hooks of that user.
    pub fn of(scratch: &Scratch, user: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let directory = scratch.directory("notes");
        scratch::give_to(&directory, user);
        // A sleep of so many seconds is nobody else's.
        let mark = format!("86400.{}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { directory, mark }
    }

    /// The part of a configuration: a shell script. As root it runs as [`HOOK`].
    pub fn hook(&self, script: &str) -> Value {
        let mut hook = json!({
            "command": ["/bin/sh", "-c", script],
            "env": {"NOTES": self.directory, "MARK": self.mark},
        });
        if need::is_root() {
            hook["user"] = HOOK.into();
        }
        hook
    }

    /// A note's lines; none where it is not there.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a note has so many lines, and gives them.
    pub fn wait(&self, name: &str, count: usize) -> Vec<String> {
        wait::until(&format!("the note {name} has {count} lines"), || Some(self.lines(name)).filter(|lines| lines.len() >= count))
    }

    /// Leaves a note for a hook that waits for it.
    pub fn leave(&self, name: &str) {
        fs::write(self.directory.join(name), "").unwrap();
    }

    /// Processes that bear the mark.
    pub fn marked(&self) -> Vec<Process> {
        let is_marked = |process: &Process| {
            let line = fs::read(process.path("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == self.mark.as_bytes())
        };
        Process::all().into_iter().filter(is_marked).collect()
    }

    /// Waits until so many do.
    pub fn wait_for_marked(&self, count: usize) -> Vec<Process> {
        wait::until(&format!("{count} marked processes run"), || Some(self.marked()).filter(|found| found.len() >= count))
    }
}

/// Waits for the end of a hook of the site; gives the line of the log.
pub fn wait_for_end(gateway: &Gateway, mark: usize, how: &str) -> String {
    gateway.wait_for_log(mark, PATH, &["hook ended", &format!("how={how}")])
}
