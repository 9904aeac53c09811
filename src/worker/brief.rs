//! What the worker was told: keys, repositories, schedule. Runs in the worker; a reload brings another
//! one, which is read beside the one in force.

use crate::brief::worker::{Head, Repo, Schedule};
use crate::brief::{Key, Secret};
use crate::confine::descriptors;
use crate::ids::RepoId;
use crate::wire::Message;
use crate::wire::frame;
use std::collections::BTreeMap;
use std::io;

/// Frames that are read before others have their turn: less than a millisecond.
const AT_ONCE: u32 = 128;

/// One whole brief.
pub struct Brief {
    /// How updates are scheduled.
    pub schedule: Schedule,
    /// The repositories.
    pub repos: BTreeMap<RepoId, Repo>,
    keys: Vec<Key>,
    ids: u32,
}

impl Brief {
    /// Reads the file that the supervisor gave, a part at a time: jobs are answered meanwhile.
    ///
    /// # Errors
    /// It ends early, is none, or names a key that it does not hold.
    pub async fn read(mut from: descriptors::Brief) -> io::Result<Self> {
        let Head { keys, repos, ids, schedule }: Head = frame::read(&mut from)?;
        let keys: Vec<Key> = read_each(&mut from, keys).await?;
        let repos: Vec<Repo> = read_each(&mut from, repos).await?;
        let sound = |repo: &Repo| repo.id.number() < ids && repo.key.is_none_or(|key| (key.0 as usize) < keys.len());
        if !repos.iter().all(sound) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a repository has a key or a number that was not given"));
        }
        Ok(Self { schedule, repos: repos.into_iter().map(|repo| (repo.id, repo)).collect(), keys, ids })
    }

    /// A repository's key.
    pub fn key(&self, repo: &Repo) -> Option<&Key> {
        repo.key.and_then(|index| self.keys.get(index.0 as usize))
    }

    /// The highest number that any listener was ever given, those of earlier briefs included.
    pub fn highest(&self) -> Option<RepoId> {
        self.ids.checked_sub(1).map(RepoId::new)
    }

    /// The repositories that must be compared with their remotes after this brief has followed `before`:
    /// those that the supervisor calls changed, those with another key, those that are now to be cloned, and those
    /// with a hook that is new, which is owed for what is deployed already.
    pub fn renewed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Repo> {
        let differs = |repo: &Repo, old: &Repo| {
            let is_due = |of: fn(&Repo) -> bool| of(repo) && !of(old);
            !is_same(before.key(old), self.key(repo)) || is_due(|repo| repo.reconcile) || is_due(|repo| repo.hooks.success)
        };
        self.repos.values().filter(move |repo| repo.changed || before.repos.get(&repo.id).is_some_and(|old| differs(repo, old)))
    }
}

async fn read_each<M: Message>(from: &mut descriptors::Brief, count: u32) -> io::Result<Vec<M>> {
    let mut all = Vec::new();
    for number in 0..count {
        if number % AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
        all.push(frame::read(from)?);
    }
    Ok(all)
}

fn is_same(one: Option<&Key>, two: Option<&Key>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one.pem.expose() == two.pem.expose() && phrase(one) == phrase(two),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn phrase(key: &Key) -> Option<&[u8]> {
    key.passphrase.as_ref().map(Secret::expose)
}

#[cfg(test)]
impl Brief {
    /// A brief with one repository and no key, for tests.
    pub fn of_one(schedule: Schedule, repo: Repo) -> Self {
        Self { schedule, ids: repo.id.number() + 1, repos: BTreeMap::from([(repo.id, repo)]), keys: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::brief::worker::{Hooks, KeyIndex};
    use crate::ids::DirectoryId;
    use std::fs::File;

    fn file(keys: &[&str], repos: &[(u32, Option<u32>, bool)], ids: u32) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let schedule = Schedule { threads: 1, retry_count: 1, retry_delay_ms: 1, reconcile_s: 0 };
        let count = |length: usize| u32::try_from(length).unwrap();
        frame::write(&mut file, &Head { keys: count(keys.len()), repos: count(repos.len()), ids, schedule }).unwrap();
        for key in keys {
            let key = Key { pem: Secret::new(key.as_bytes().to_vec()), passphrase: None };
            frame::write(&mut file, &key).unwrap();
        }
        for (id, key, changed) in repos {
            let (id, directory) = (RepoId::new(*id), DirectoryId::from_digest([0; 32]));
            frame::write(
                &mut file,
                &Repo { id, directory, key: key.map(KeyIndex), reconcile: true, changed: *changed, hooks: Hooks::default() },
            )
            .unwrap();
        }
        file
    }

    fn read_file(file: File) -> io::Result<Brief> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Brief::read(descriptors::Brief::of(file)))
    }

    fn read(keys: &[&str], repos: &[(u32, Option<u32>, bool)], ids: u32) -> io::Result<Brief> {
        read_file(file(keys, repos, ids))
    }

    #[test]
    fn what_is_new_changed_or_has_another_key_is_compared() {
        let before = read(&["one", "two"], &[(0, Some(0), false), (1, Some(1), false), (2, None, false), (3, Some(0), false)], 4).unwrap();
        // The same key at another place is no other key.
        let after = read(&["two", "one"], &[(0, Some(1), false), (1, Some(1), false), (2, Some(0), false), (4, None, true)], 5).unwrap();
        let renewed: Vec<u32> = after.renewed(&before).map(|repo| repo.id.number()).collect();
        assert_eq!(renewed, [1, 2, 4]);
        assert_eq!(after.highest(), Some(RepoId::new(4)));
    }

    #[test]
    fn a_repository_whose_hook_is_new_is_compared() {
        let before = read(&[], &[(0, None, false), (1, None, false)], 2).unwrap();
        let mut after = read(&[], &[(0, None, false), (1, None, false)], 2).unwrap();
        after.repos.get_mut(&RepoId::new(1)).unwrap().hooks.success = true;
        assert_eq!(after.renewed(&before).map(|repo| repo.id.number()).collect::<Vec<_>>(), [1]);
        assert_eq!(before.renewed(&after).count(), 0, "a hook that is gone is owed nothing");
    }

    #[test]
    fn a_repository_that_is_now_to_be_cloned_is_compared() {
        let after = read(&[], &[(0, None, false), (1, None, false)], 2).unwrap();
        let mut before = read(&[], &[(0, None, false), (1, None, false)], 2).unwrap();
        before.repos.get_mut(&RepoId::new(1)).unwrap().reconcile = false;
        assert_eq!(after.renewed(&before).map(|repo| repo.id.number()).collect::<Vec<_>>(), [1]);
        assert_eq!(before.renewed(&after).count(), 0, "what is there already stays");
    }

    #[test]
    fn a_brief_that_contradicts_itself_is_none() {
        assert!(read(&[], &[(0, Some(0), false)], 1).is_err(), "a key that is not there");
        assert!(read(&[], &[(1, None, false)], 1).is_err(), "a number that was not given");
        let cut = file(&["one"], &[(0, Some(0), false)], 1);
        cut.set_len(cut.metadata().unwrap().len() - 1).unwrap();
        assert!(read_file(cut).is_err(), "it ends early");
    }
}
