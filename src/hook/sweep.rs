//! Ends what a hook left behind where it has no PID namespace of its own. Runs in gwg-hook, which
//! inherits every process below it that loses its parent.
//!
//! Here a race is left: a process may fork while the list is read. So all are stopped first, until a
//! look finds none that is new, and killed then. What only the kernel can do at once, a PID
//! namespace does.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A process that the kernel does not let go (on a dead network file system, say) is left to it.
const LONGEST: Duration = Duration::from_secs(5);

/// Returns when this process has no descendant.
pub fn sweep() {
    let until = Instant::now() + LONGEST;
    while !reap() && Instant::now() < until {
        let all = stop_all();
        all.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Takes in all that have ended; says whether none is left.
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

fn stop_all() -> BTreeSet<i32> {
    let mut stopped = BTreeSet::new();
    loop {
        let found = below(getpid().as_raw(), &parents());
        let new: Vec<i32> = found.difference(&stopped).copied().collect();
        if new.is_empty() {
            return found;
        }
        new.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
        stopped.extend(new);
    }
}

fn signal(pid: i32, signal: Signal) {
    // It may have ended.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Every process that `/proc` shows, and its parent.
fn parents() -> BTreeMap<i32, i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read(entry.path().join("stat")).ok()?;
            Some((pid, parent_in(&String::from_utf8_lossy(&stat))?))
        })
        .collect()
}

/// The parent in a `/proc/PID/stat`. The name before it may hold anything: proc(5).
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// All processes below one. Pure.
fn below(root: i32, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let more: Vec<i32> =
            parents.iter().filter(|(pid, parent)| found.contains(*parent) && !found.contains(*pid)).map(|(pid, _)| *pid).collect();
        if more.is_empty() {
            found.remove(&root);
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parent_in("7 (a) S 9 (b)) S 42 7 7"), Some(42));
        assert_eq!(parent_in("7 (a"), None);
    }

    #[test]
    fn all_generations_are_found_and_no_others() {
        let parents = BTreeMap::from([(1, 0), (5, 1), (9, 5), (3, 9), (8, 1), (7, 3)]);
        assert_eq!(below(5, &parents), BTreeSet::from([3, 7, 9]));
        assert_eq!(below(7, &parents), BTreeSet::new());
    }
}
