//! What a running gwg wrote. Tests look for words, not for whole lines, and don't mind quotes, so
//! that a line may become more readable without breaking them.

use super::wait;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Lines, collected by threads.
#[derive(Debug, Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    /// Collects the lines of a pipe until its end.
    pub fn collect(&self, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.lines.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        })
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many lines there are: a place for [`wait_after`](Self::wait_after).
    pub fn mark(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// The lines that contain all of the words.
    pub fn matching(&self, words: &[&str]) -> Vec<String> {
        self.lines().into_iter().filter(|line| has_all(line, words)).collect()
    }

    /// Waits for a line that contains all of the words.
    pub fn wait(&self, words: &[&str]) -> String {
        self.wait_after(0, words)
    }

    /// Waits for such a line after a place.
    pub fn wait_after(&self, mark: usize, words: &[&str]) -> String {
        wait::until(&format!("the log has a line with {words:?}"), || self.lines().into_iter().skip(mark).find(|line| has_all(line, words)))
    }
}

fn has_all(line: &str, words: &[&str]) -> bool {
    let line = line.replace('"', "");
    words.iter().all(|word| line.contains(word))
}
