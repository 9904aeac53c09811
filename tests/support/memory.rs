//! What stands in a process's memory, as `/proc/PID/mem` shows it to root: every map that can be
//! read, the stack, the heap and what was freed of it included.

use super::processes::Process;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Bytes to look for, and what they are.
#[derive(Debug, Clone)]
pub struct Needle {
    /// For messages.
    pub what: String,
    /// Four at least: fewer stand anywhere.
    pub bytes: Vec<u8>,
}

impl Needle {
    /// Looks for these bytes.
    pub fn new(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let (what, bytes) = (what.into(), bytes.into());
        assert!(bytes.len() >= 4, "{what} is too short to be looked for");
        Self { what, bytes }
    }
}

/// Many needles, found in one pass: tests are built without optimisation.
pub struct Search {
    needles: Vec<Needle>,
    /// Which pairs of bytes begin one.
    begins: Vec<bool>,
}

impl Search {
    /// Looks for all of them.
    pub fn new(needles: Vec<Needle>) -> Self {
        let mut begins = vec![false; 1 << 16];
        for needle in &needles {
            begins[pair(needle.bytes[0], needle.bytes[1])] = true;
        }
        Self { needles, begins }
    }

    /// What is in these bytes.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for (place, two) in bytes.windows(2).enumerate() {
            if self.begins[pair(two[0], two[1])] {
                found.extend(
                    self.needles.iter().filter(|needle| bytes[place..].starts_with(&needle.bytes)).map(|needle| needle.what.as_str()),
                );
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What is in the memory of the process, and in which of its maps.
    pub fn memory(&self, process: Process) -> Vec<(&str, String)> {
        let maps = fs::read_to_string(process.path("maps")).unwrap();
        let memory = File::open(process.path("mem")).unwrap();
        let mut found = Vec::new();
        let mut heap = false;
        for line in maps.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.get(5).copied().unwrap_or("anonymous");
            // No memory of the process's own: the kernel's, the same for all.
            if !fields[1].starts_with('r') || name.starts_with("[vvar") || name == "[vsyscall]" {
                continue;
            }
            let (start, end) = fields[0].split_once('-').unwrap();
            let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            memory.read_exact_at(&mut bytes, start).unwrap_or_else(|error| panic!("{line}: {error}"));
            heap |= name == "[heap]";
            found.extend(self.bytes(&bytes).into_iter().map(|what| (what, name.to_owned())));
        }
        assert!(heap, "{} has no heap: {maps}", process.name());
        found
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}
