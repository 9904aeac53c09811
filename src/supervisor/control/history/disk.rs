//! The history's files: two halves of a ring, a JSON object a line. Written by a thread of the
//! supervisor's; read at its start.

use crate::wire::control::Record;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Bytes of one half.
const HALF: u64 = 2 << 20;
/// Records that may wait for the disk.
const QUEUE: usize = 4096;
/// Bytes that are read of each half at start.
const READ: u64 = 1 << 20;
/// So long after the first record others may gather, to share one waking of the thread and one write.
const GATHER: Duration = Duration::from_millis(5);
/// How long the end waits for what is queued.
const END: Duration = Duration::from_millis(300);

/// The writing end.
pub struct Disk {
    queue: Option<SyncSender<Record>>,
    ended: Receiver<()>,
    lost: Arc<AtomicU64>,
}

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// Those of starting it.
    pub fn begin(directory: &Path) -> io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(0);
        let lost = Arc::new(AtomicU64::new(0));
        let mut ring = Ring { directory: directory.to_owned(), open: None, lost: Arc::clone(&lost) };
        thread::Builder::new().name("history".into()).spawn(move || {
            ring.work(&records);
            drop(end);
        })?;
        Ok(Self { queue: Some(queue), ended, lost })
    }

    /// Queues a record, or counts it as lost.
    pub fn write(&self, record: &Record) {
        if self.queue.as_ref().is_none_or(|queue| queue.try_send(record.clone()).is_err()) {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Records that were not written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue = None;
        // Disconnected means that all is written.
        let _ = self.ended.recv_timeout(END);
    }
}

/// The writing thread's.
struct Ring {
    directory: PathBuf,
    open: Option<(File, u64)>,
    lost: Arc<AtomicU64>,
}

impl Ring {
    fn work(&mut self, records: &Receiver<Record>) {
        while let Ok(first) = records.recv() {
            thread::sleep(GATHER);
            let mut lines = Vec::new();
            let mut count = 0;
            for record in std::iter::once(first).chain(records.try_iter()).take(QUEUE) {
                if serde_json::to_writer(&mut lines, &record).is_ok() {
                    lines.push(b'\n');
                    count += 1;
                }
            }
            if self.write(&lines).is_err() {
                // The next one tries again, in a file opened anew.
                self.open = None;
                self.lost.fetch_add(count, Relaxed);
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, length)| *length >= HALF) {
            self.open = None;
            fs::rename(newer(&self.directory), older(&self.directory))?;
        }
        let (file, length) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&newer(&self.directory))?),
        };
        // A line that a full disk cut short must not spoil the next one.
        if let Err(error) = file.write_all(lines) {
            let _ = file.set_len(*length);
            return Err(error);
        }
        *length += lines.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn newer(directory: &Path) -> PathBuf {
    directory.join("history.jsonl")
}

fn older(directory: &Path) -> PathBuf {
    directory.join("history.1.jsonl")
}

/// What earlier runs wrote, the oldest first. What can't be read is left out.
pub fn read(directory: &Path) -> impl Iterator<Item = Record> {
    [older(directory), newer(directory)].into_iter().filter_map(|path| lines(&path).ok()).flatten()
}

fn lines(path: &Path) -> io::Result<impl Iterator<Item = Record> + use<>> {
    let mut file = File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ)))?;
    // The first line may be a half: it is no record then.
    Ok(BufReader::new(file.take(READ)).split(b'\n').map_while(Result::ok).filter_map(|line| serde_json::from_slice(&line).ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::audit::{Cause, UpdateResult};
    use crate::ids::Moment;
    use crate::wire::control::What;

    fn record(at: u64) -> Record {
        let what = What::Update { update: None, cause: Cause::Delivery, delivery: None, result: UpdateResult::Started };
        Record { at: Moment::from_millis(at), repo: Some("/a/repository/with/a/name/of/some/length".into()), what }
    }

    fn ring(directory: &Path) -> Ring {
        Ring { directory: directory.to_owned(), open: None, lost: Arc::default() }
    }

    fn line(at: u64) -> Vec<u8> {
        let mut line = serde_json::to_vec(&record(at)).unwrap();
        line.push(b'\n');
        line
    }

    #[test]
    fn the_files_stay_bounded_and_hold_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = ring(folder.path());
        for at in 0..60_000 {
            ring.write(&line(at)).unwrap();
        }
        let size: u64 = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(size > HALF && size < 2 * HALF + 1024, "{size} bytes");
        let back: Vec<u64> = read(folder.path()).map(|record| record.at.millis()).collect();
        assert_eq!(back.last(), Some(&59_999));
        assert!(back.is_sorted() && back.len() > 5_000, "{} records", back.len());
    }

    #[test]
    fn a_damaged_line_costs_itself_only() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = [line(1), b"{\"at\":\"20".to_vec(), b"\n\xff\n\n{}\n".to_vec(), line(2)].concat();
        fs::write(newer(folder.path()), bytes).unwrap();
        assert_eq!(read(folder.path()).collect::<Vec<_>>(), [record(1), record(2)]);
    }

    #[test]
    fn f6_what_can_not_be_written_is_counted_and_later_records_are_written() {
        let folder = tempfile::tempdir().unwrap();
        // A directory stands where the file belongs.
        fs::create_dir(newer(folder.path())).unwrap();
        let disk = Disk::begin(folder.path()).unwrap();
        disk.write(&record(1));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while disk.lost() == 0 {
            assert!(std::time::Instant::now() < deadline, "nothing was counted as lost");
            thread::sleep(Duration::from_millis(2));
        }
        fs::remove_dir(newer(folder.path())).unwrap();
        disk.write(&record(2));
        drop(disk);
        assert_eq!(read(folder.path()).collect::<Vec<_>>(), [record(2)]);
    }
}
