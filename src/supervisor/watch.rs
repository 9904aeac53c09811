//! Hears when the configuration, or a file that it names, has changed, and asks for a reload. Runs in the
//! supervisor, on its main thread; the library has a thread of its own, which only hears the kernel
//! and never forks.
//!
//! Events say no more than "look": whether a file has changed is asked of the file system, so noise in
//! a directory (a log that lies beside the configuration, say) starts nothing.

use super::outcome::Cause;
use super::run::Heard;
use crate::config::{Since, Sources};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::{Notify, mpsc, watch};

/// After what makes a file whole: a close, a rename. Others may follow in the same breath.
const WHOLE: Duration = Duration::from_millis(50);
/// After what may be a beginning: a truncation, a deletion. The rest is given time.
const PART: Duration = Duration::from_millis(400);
/// Before what has changed is read: another writer may have begun just now, and its event be on its way.
const SURE: Duration = Duration::from_millis(20);
/// Whatever goes on and on is looked at so often.
const MOST: Duration = Duration::from_millis(700);

/// Watches from now on what each reading was made of, as `sources` says.
///
/// # Errors
/// The kernel gives no watch at all.
pub fn start(sources: watch::Receiver<Sources>, ears: mpsc::Sender<Heard>) -> Result<(), notify::Error> {
    let noise = Arc::<Noise>::default();
    let heard = Arc::clone(&noise);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if let Some(touch) = event.map_or(Some(Touch::Whole), |event| touch(event.kind)) {
            heard.make(touch);
        }
    })?;
    let watching = Watching { watcher, places: BTreeSet::new(), failed: BTreeSet::new(), noise, mounts: mounts().ok() };
    tokio::spawn(watching.run(sources, ears));
    Ok(())
}

/// What an event may mean for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// It may be whole now.
    Whole,
    /// It may have begun to change.
    Part,
}

fn touch(event: EventKind) -> Option<Touch> {
    match event {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Touch::Whole),
        // Reading it is one of these.
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Touch::Whole),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Some(Touch::Part),
        EventKind::Modify(ModifyKind::Name(_)) => Some(Touch::Whole),
        EventKind::Modify(_) | EventKind::Create(_) | EventKind::Remove(_) => Some(Touch::Part),
        // The kernel had more to tell than it could keep.
        EventKind::Any | EventKind::Other => Some(Touch::Whole),
    }
}

/// What the library's thread has heard and the loop has not: bounded, however busy a directory is.
#[derive(Default)]
struct Noise {
    whole: AtomicBool,
    part: AtomicBool,
    made: Notify,
}

impl Noise {
    fn make(&self, touch: Touch) {
        match touch {
            Touch::Whole => self.whole.store(true, Ordering::Release),
            Touch::Part => self.part.store(true, Ordering::Release),
        }
        self.made.notify_one();
    }

    async fn next(&self) -> Touch {
        loop {
            // A whole one last: it is the one that counts.
            if self.part.swap(false, Ordering::Acquire) && !self.whole.load(Ordering::Acquire) {
                return Touch::Part;
            }
            if self.whole.swap(false, Ordering::Acquire) {
                return Touch::Whole;
            }
            self.made.notified().await;
        }
    }
}

/// When to look. Pure.
#[derive(Debug, Default)]
struct Settle {
    first: Option<Instant>,
    at: Option<Instant>,
    /// A change was seen, and nothing was heard since.
    sure: bool,
}

impl Settle {
    fn touched(&mut self, touch: Touch, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.sure &= now >= first + MOST;
        let wait = match touch {
            Touch::Whole => WHOLE,
            Touch::Part => PART,
        };
        self.at = Some((now + wait).min(first + MOST));
    }

    /// Something has changed: says whether it may be read, or looked at once more.
    fn is_sure(&mut self, now: Instant) -> bool {
        if !self.sure {
            self.at = Some(now + SURE);
        }
        std::mem::replace(&mut self.sure, true)
    }

    /// A file is missing: gives whoever is replacing it all the time that there is. Says whether some is left.
    fn waits_on(&mut self) -> bool {
        let last = self.first.map(|first| first + MOST);
        let left = last > self.at;
        self.at = last;
        left
    }
}

struct Watching {
    watcher: RecommendedWatcher,
    places: BTreeSet<PathBuf>,
    /// Those of which it was said that they can't be watched.
    failed: BTreeSet<PathBuf>,
    noise: Arc<Noise>,
    mounts: Option<AsyncFd<File>>,
}

impl Watching {
    async fn run(mut self, mut sources: watch::Receiver<Sources>, ears: mpsc::Sender<Heard>) {
        let mut settle = Settle::default();
        sources.mark_changed();
        loop {
            let look = settle.at;
            tokio::select! {
                read = sources.changed() => {
                    if read.is_err() {
                        return;
                    }
                    // Something may have changed while it was read, and before it was watched.
                    if self.look(&sources.borrow_and_update()) != Since::Same {
                        settle.touched(Touch::Whole, Instant::now());
                    }
                }
                touch = self.noise.next() => settle.touched(touch, Instant::now()),
                () = mounted(self.mounts.as_ref()) => settle.touched(Touch::Whole, Instant::now()),
                () = tokio::time::sleep_until(look.unwrap_or_else(Instant::now).into()), if look.is_some() => {
                    // Not in one expression: what is borrowed must not be held while this waits.
                    let since = self.look(&sources.borrow());
                    let wait = match since {
                        Since::Same => false,
                        Since::Gone => settle.waits_on(),
                        Since::Changed => !settle.is_sure(Instant::now()),
                    };
                    if wait {
                        continue;
                    }
                    settle = Settle::default();
                    if since != Since::Same && ears.send(Heard::Reload(Cause::File)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Watches what is to be watched now, and then says whether something has changed.
    fn look(&mut self, sources: &Sources) -> Since {
        let places = sources.places();
        for place in self.places.difference(&places) {
            // Where it is gone, so is the watch.
            let _ = self.watcher.unwatch(place);
        }
        for place in &places {
            // Again, also where it was watched: another directory may have its name by now.
            self.watch(place.clone());
        }
        self.places = places;
        sources.since()
    }

    fn watch(&mut self, place: PathBuf) {
        match self.watcher.watch(&place, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.failed.remove(&place)),
            Err(error) if self.failed.insert(place.clone()) => not_watched(&place, &error),
            Err(_) => {}
        }
    }
}

fn not_watched(place: &Path, error: &notify::Error) {
    tracing::warn!(place = %place.display(), %error, "can't be watched: changes of the configuration there want a SIGHUP");
}

/// A file that is mounted over another makes no event in its directory.
#[allow(deprecated, reason = "unsound for types that may close their descriptor early, which `File` does not; its successor is unsafe")]
fn mounts() -> io::Result<AsyncFd<File>> {
    AsyncFd::with_interest(File::open("/proc/self/mountinfo")?, Interest::PRIORITY | Interest::ERROR)
}

/// Something was mounted or unmounted: proc_pid_mountinfo(5).
async fn mounted(mounts: Option<&AsyncFd<File>>) {
    let Some(mounts) = mounts else { return std::future::pending().await };
    match mounts.ready(Interest::PRIORITY | Interest::ERROR).await {
        Ok(mut ready) => ready.clear_ready_matching(Ready::PRIORITY | Ready::ERROR),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(touches: &[(u64, Touch)]) -> Duration {
        let (mut settle, begin) = (Settle::default(), Instant::now());
        for (ms, touch) in touches {
            settle.touched(*touch, begin + Duration::from_millis(*ms));
        }
        settle.at.map_or(Duration::ZERO, |at| at - begin)
    }

    #[test]
    fn a_file_that_is_whole_is_read_soon_and_one_that_may_not_be_is_waited_for() {
        assert_eq!(after(&[(0, Touch::Whole)]), WHOLE);
        assert_eq!(after(&[(0, Touch::Part), (10, Touch::Part)]), PART + Duration::from_millis(10));
        assert_eq!(after(&[(0, Touch::Part), (10, Touch::Whole)]), WHOLE + Duration::from_millis(10));
        // Deleted, then made: the second half comes.
        assert_eq!(after(&[(0, Touch::Whole), (10, Touch::Part)]), PART + Duration::from_millis(10));
    }

    #[test]
    fn what_never_ends_is_looked_at_all_the_same() {
        let endless: Vec<_> = (0..1000).map(|ms| (ms, Touch::Part)).collect();
        assert_eq!(after(&endless), MOST);
    }

    #[test]
    fn what_is_gone_is_waited_for_once() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        settle.touched(Touch::Whole, now);
        assert!(settle.waits_on());
        assert_eq!(settle.at, Some(now + MOST));
        assert!(!settle.waits_on());
    }

    #[test]
    fn a_change_is_read_when_nothing_was_heard_for_a_moment_after_it_was_seen() {
        let (mut settle, begin) = (Settle::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        settle.touched(Touch::Whole, begin);
        assert!(!settle.is_sure(at(50)));
        assert_eq!(settle.at, Some(at(70)));
        settle.touched(Touch::Part, at(60));
        assert!(!settle.is_sure(at(460)), "a writer has begun meanwhile");
        assert!(settle.is_sure(at(480)));
        // One that never ends is read at last.
        settle.touched(Touch::Part, at(710));
        assert!(settle.is_sure(at(720)));
    }

    #[test]
    fn reading_is_no_news() {
        assert_eq!(touch(EventKind::Access(AccessKind::Open(AccessMode::Any))), None);
        assert_eq!(touch(EventKind::Access(AccessKind::Close(AccessMode::Read))), None);
        assert_eq!(touch(EventKind::Access(AccessKind::Close(AccessMode::Write))), Some(Touch::Whole));
    }
}
