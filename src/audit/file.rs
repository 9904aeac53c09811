//! A file that lines are appended to, and that may be renamed or cut off by a full disk. Runs in the
//! supervisor's writing threads. What could not be written is the caller's to count.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often at most the path is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The open file and its path.
pub struct AppendFile {
    path: PathBuf,
    file: File,
    /// The last line was cut off: the next begins on a line of its own.
    torn: bool,
    looked: Option<Instant>,
}

/// Not all could be written.
#[derive(Debug)]
pub struct Unwritten {
    /// Bytes that are in the file.
    pub written: usize,
    /// The kernel's answer.
    pub error: io::Error,
}

impl AppendFile {
    /// A file that has been opened for appending. `torn`: it does not end with a whole line.
    pub fn new(path: PathBuf, file: File, torn: bool) -> Self {
        Self { path, file, torn, looked: None }
    }

    /// Appends lines, which end with a newline.
    ///
    /// # Errors
    /// [`Unwritten`] where the disk does not take all of them.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        if self.torn {
            self.file.write_all(b"\n").map_err(|error| Unwritten { written: 0, error })?;
            self.torn = false;
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(Unwritten { written, error: io::ErrorKind::WriteZero.into() }),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.torn = lines.get(..written).is_some_and(|part| part.last().is_some_and(|byte| *byte != b'\n'));
                    return Err(Unwritten { written, error });
                }
            }
        }
        Ok(())
    }

    /// Whether the path leads to another file by now, or to none: it was renamed, as logrotate does.
    /// Looks at most once a second.
    pub fn is_renamed(&mut self, now: Instant) -> bool {
        if self.looked.is_some_and(|looked| now < looked + LOOK) {
            return false;
        }
        self.looked = Some(now);
        let place = |about: &std::fs::Metadata| (about.dev(), about.ino());
        let named = std::fs::symlink_metadata(&self.path).ok();
        self.file.metadata().is_ok_and(|open| named.as_ref().map(place) != Some(place(&open)))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use std::fs;

    fn open(path: &PathBuf) -> File {
        File::options().append(true).create(true).open(path).unwrap()
    }

    #[test]
    fn a_rename_is_seen_and_writing_goes_on_in_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = AppendFile::new(path.clone(), open(&path), false);
        let mut now = Instant::now();
        file.append(b"one\n").unwrap();
        assert!(!file.is_renamed(now));
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        assert!(!file.is_renamed(now), "looked twice in a second");
        now += LOOK;
        assert!(file.is_renamed(now));
        file.append(b"two\n").unwrap();
        let mut file = AppendFile::new(path.clone(), open(&path), false);
        file.append(b"three\n").unwrap();
        assert!(!file.is_renamed(now + LOOK));
        assert_eq!(fs::read_to_string(folder.path().join("log.1")).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn after_a_line_that_was_cut_off_the_next_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "half of a li").unwrap();
        let mut file = AppendFile::new(path.clone(), open(&path), true);
        file.append(b"whole\n").unwrap();
        file.append(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "half of a li\nwhole\nmore\n");
    }

    #[test]
    fn a_full_disk_is_an_error_and_nothing_else() {
        let mut file = AppendFile::new("/dev/full".into(), File::options().append(true).open("/dev/full").unwrap(), false);
        assert_eq!(file.append(b"line\n").unwrap_err().error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.append(b"line\n").unwrap_err().error.kind(), io::ErrorKind::StorageFull);
    }
}
