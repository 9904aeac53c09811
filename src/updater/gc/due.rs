//! When it is time to make an object store smaller. Runs in the updater, at the end of each good update.

use super::{DAY_S, DONE, TRIED, now, stamp};
use crate::updater::beneath;
use crate::updater::tree::Tree;
use nix::errno::Errno;
use std::ffi::{CStr, CString};

/// More packs than git's `gc.autoPackLimit`.
const PACKS: usize = 50;
/// git's `gc.auto`, 6700 loose objects, as git counts them: in one of 256 directories.
const LOOSE: usize = 6_700 / 256 + 1;
/// After so many seconds two packs are enough: there may be something to remove.
const PERIOD_S: u64 = 7 * DAY_S;
/// One that did not get to its end is not tried again for so long.
const PAUSE_S: u64 = 3_600;

/// Whether the store should be made smaller. Two directories are listed, and no file is read. From the first time that
/// this is asked the week counts.
///
/// # Errors
/// Those of looking.
pub fn is_due(tree: &Tree) -> nix::Result<bool> {
    let packs = names(tree, c"objects/pack")?;
    let count = |ending: &[u8]| packs.iter().filter(|name| name.to_bytes().ends_with(ending)).count();
    let packs = count(b".pack").saturating_sub(count(b".keep"));
    let loose = names(tree, c"objects/17")?.len();
    let done = beneath::look(&tree.private, DONE)?;
    if done.is_none() {
        stamp(&tree.private, DONE)?;
    }
    let now = now();
    let tried = beneath::look(&tree.private, TRIED)?;
    Ok(decide(packs, loose, tried.map(|stat| age(stat.st_mtime, now)), done.map(|stat| age(stat.st_mtime, now))))
}

fn names(tree: &Tree, path: &CStr) -> nix::Result<Vec<CString>> {
    match beneath::open_directory(&tree.git, path) {
        Ok(directory) => Ok(beneath::list(&directory)?.into_iter().map(|(name, _)| name).collect()),
        Err(Errno::ENOENT) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// A stamp of the future is of a clock that was set back since, and holds nothing up: it counts as very old.
fn age(stamped: i64, now: u64) -> u64 {
    now.checked_sub(u64::try_from(stamped).unwrap_or_default()).unwrap_or(u64::MAX)
}

/// `tried`: seconds since one began that did not end. `done`: since one ended.
fn decide(packs: usize, loose: usize, tried: Option<u64>, done: Option<u64>) -> bool {
    let rests = tried.is_some_and(|age| age < PAUSE_S);
    let is_long_ago = done.is_some_and(|age| age >= PERIOD_S);
    !rests && (packs > PACKS || loose > LOOSE || (packs > 1 && is_long_ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f17_a_clock_that_was_set_back_holds_it_up_no_longer() {
        assert_eq!((age(1_000, 1_000), age(900, 1_000), age(1_001, 1_000)), (0, 100, u64::MAX));
        assert!(decide(51, 0, Some(age(i64::MAX, 1_000)), Some(0)) && decide(2, 0, None, Some(age(i64::MAX, 1_000))));
    }

    #[test]
    fn it_is_due_where_there_are_many_or_it_was_long_ago() {
        let cases = [
            (50, 27, None, Some(0), false),
            (51, 0, None, Some(0), true),
            (51, 0, None, None, true),
            (0, 28, None, Some(0), true),
            (1, 0, None, Some(PERIOD_S), false),
            (2, 0, None, Some(PERIOD_S), true),
            (2, 0, None, Some(PERIOD_S - 1), false),
            (2, 0, None, None, false),
            (51, 0, Some(PAUSE_S - 1), Some(0), false),
            (51, 0, Some(PAUSE_S), Some(0), true),
        ];
        for (packs, loose, tried, done, due) in cases {
            assert_eq!(decide(packs, loose, tried, done), due, "{packs} {loose} {tried:?} {done:?}");
        }
    }
}
