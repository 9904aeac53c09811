//! What survives a restart, for each work tree that gwg has ever begun to write: what was last deployed, for
//! which commit the trigger was last touched and the hook last ended well.
//!
//! Whether a tree is half written stands nowhere: the next worker has every known tree compared with its
//! remote, and an update writes whatever is not as the commit has it.
//!
//! Runs in the worker, on a file that the supervisor opened: the worker opens none. The file is a
//! redb database, which is whole after a crash at any moment. All records are kept in memory
//! too, so that a full disk costs at most a trigger that runs twice after a restart.

use crate::ids::{CommitId, DirectoryId};
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::HashMap;
use std::fs::File;

/// Bytes of redb's page cache: the records stand in memory anyway.
const CACHE: usize = 256 << 10;
/// Deployed, triggered.
type Record = (Option<&'static [u8; 20]>, Option<&'static [u8; 20]>);
const TREES: TableDefinition<'_, &[u8; 32], Record> = TableDefinition::new("trees");

/// Of those trees that have a hook. A table of its own: a file of an older version has none.
const HOOKED: TableDefinition<'_, &[u8; 32], &[u8; 20]> = TableDefinition::new("hooked");

type Opener = Box<dyn Fn() -> Result<Database, redb::Error>>;

/// What is known of one work tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tree {
    /// The commit that was last deployed in full.
    pub deployed: Option<CommitId>,
    /// The commit for which the trigger was last touched.
    pub triggered: Option<CommitId>,
    /// The commit for which the hook last ended well.
    pub hooked: Option<CommitId>,
}

/// Every known work tree.
pub struct State {
    open: Opener,
    /// None after a write failed: redb refuses every other until the file is opened again.
    database: Option<Database>,
    trees: HashMap<DirectoryId, Tree>,
}

impl State {
    /// Reads the file, or begins it where it is empty.
    ///
    /// # Errors
    /// The file is damaged, or not ours; it must be set aside.
    pub fn open(file: File) -> Result<Self, redb::Error> {
        Self::open_with(Box::new(move || {
            let backend = FileBackend::new(file.try_clone().map_err(redb::StorageError::Io)?)?;
            Ok(Database::builder().set_cache_size(CACHE).create_with_backend(backend)?)
        }))
    }

    fn open_with(open: Opener) -> Result<Self, redb::Error> {
        let database = open()?;
        let begin = database.begin_write()?;
        begin.open_table(TREES)?;
        begin.open_table(HOOKED)?;
        begin.commit()?;
        let mut trees = HashMap::new();
        let read = database.begin_read()?;
        let hooked = read.open_table(HOOKED)?;
        for record in read.open_table(TREES)?.iter()? {
            let (directory, tree) = record?;
            let (deployed, triggered) = tree.value();
            let commit = |bytes: &[u8; 20]| CommitId::from_bytes(*bytes);
            let hooked = hooked.get(directory.value())?.map(|bytes| commit(bytes.value()));
            let tree = Tree { deployed: deployed.map(commit), triggered: triggered.map(commit), hooked };
            trees.insert(DirectoryId::from_digest(*directory.value()), tree);
        }
        drop((hooked, read));
        Ok(Self { open, database: Some(database), trees })
    }

    /// What is known of a work tree; all empty where nothing is.
    pub fn tree(&self, directory: DirectoryId) -> Tree {
        self.trees.get(&directory).copied().unwrap_or_default()
    }

    /// Says whether gwg has ever begun to write this work tree.
    pub fn knows(&self, directory: DirectoryId) -> bool {
        self.trees.contains_key(&directory)
    }

    /// An update begins, or is promised: the work tree is known from now on.
    ///
    /// # Errors
    /// The record could not be written; it counts in memory all the same.
    pub fn begin(&mut self, directory: DirectoryId) -> Result<(), redb::Error> {
        // A known one is written down already, unless the disk did not take it.
        if self.knows(directory) && self.database.is_some() { Ok(()) } else { self.put(directory, self.tree(directory)) }
    }

    /// An update ended well, its trigger included.
    ///
    /// # Errors
    /// As [`State::begin`].
    pub fn deployed(&mut self, directory: DirectoryId, commit: CommitId) -> Result<(), redb::Error> {
        let hooked = self.tree(directory).hooked;
        self.put(directory, Tree { deployed: Some(commit), triggered: Some(commit), hooked })
    }

    /// The hook for this commit ended well.
    ///
    /// # Errors
    /// As [`State::begin`].
    pub fn hooked(&mut self, directory: DirectoryId, commit: CommitId) -> Result<(), redb::Error> {
        let tree = self.tree(directory);
        self.put(directory, Tree { hooked: Some(commit), ..tree })
    }

    /// The work tree is deleted.
    ///
    /// # Errors
    /// The record could not be removed; it is gone from memory all the same, until the worker's next start.
    pub fn forget(&mut self, directory: DirectoryId) -> Result<(), redb::Error> {
        self.trees.remove(&directory);
        // Without a database: all that is known is written when there is one again, and nothing removed.
        let Some(database) = self.database.take() else { return Ok(()) };
        remove(&database, &directory)?;
        self.database = Some(database);
        Ok(())
    }

    fn put(&mut self, directory: DirectoryId, tree: Tree) -> Result<(), redb::Error> {
        self.trees.insert(directory, tree);
        let database = match self.database.take() {
            Some(database) => write(&database, [(&directory, &tree)]).map(|()| database),
            // What could not be written meanwhile is written too.
            None => (self.open)().and_then(|database| write(&database, &self.trees).map(|()| database)),
        };
        self.database = Some(database?);
        Ok(())
    }
}

fn write<'a>(database: &Database, trees: impl IntoIterator<Item = (&'a DirectoryId, &'a Tree)>) -> Result<(), redb::Error> {
    let begin = database.begin_write()?;
    {
        let mut table = begin.open_table(TREES)?;
        let mut hooked = begin.open_table(HOOKED)?;
        for (directory, tree) in trees {
            if let Some(commit) = &tree.hooked {
                hooked.insert(directory.as_bytes(), commit.as_bytes())?;
            }
            let (deployed, triggered) = (tree.deployed.as_ref().map(CommitId::as_bytes), tree.triggered.as_ref().map(CommitId::as_bytes));
            table.insert(directory.as_bytes(), (deployed, triggered))?;
        }
    }
    Ok(begin.commit()?)
}

fn remove(database: &Database, directory: &DirectoryId) -> Result<(), redb::Error> {
    let begin = database.begin_write()?;
    begin.open_table(TREES)?.remove(directory.as_bytes())?;
    begin.open_table(HOOKED)?.remove(directory.as_bytes())?;
    Ok(begin.commit()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use redb::StorageBackend;
    use std::io::{self, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn open(path: &std::path::Path) -> Result<State, redb::Error> {
        State::open(File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap())
    }

    #[test]
    fn what_was_deployed_survives_and_so_does_a_begun_update_which_changes_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (one, two) = (DirectoryId::from_digest([1; 32]), DirectoryId::from_digest([2; 32]));
        let commit = CommitId::from_bytes([7; 20]);
        let mut state = open(&path).unwrap();
        assert!(!state.knows(one));
        state.begin(one).unwrap();
        state.deployed(one, commit).unwrap();
        state.begin(two).unwrap();
        drop(state);
        let mut state = open(&path).unwrap();
        assert_eq!(state.tree(one), Tree { deployed: Some(commit), triggered: Some(commit), hooked: None });
        assert!(state.knows(two));
        assert_eq!(state.tree(two), Tree::default());
        state.hooked(one, commit).unwrap();
        state.begin(one).unwrap();
        state.forget(two).unwrap();
        drop(state);
        let state = open(&path).unwrap();
        assert!(!state.knows(two));
        assert_eq!(state.tree(one), Tree { deployed: Some(commit), triggered: Some(commit), hooked: Some(commit) });
    }

    #[test]
    fn f6_when_the_disk_has_room_again_all_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let full = Arc::new(AtomicBool::new(false));
        let disk = (path.clone(), Arc::clone(&full));
        let mut state = State::open_with(Box::new(move || {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&disk.0).unwrap();
            let backend = Disk { file: FileBackend::new(file)?, full: Arc::clone(&disk.1) };
            Ok(Database::builder().create_with_backend(backend)?)
        }))
        .unwrap();
        let (one, two) = (DirectoryId::from_digest([1; 32]), DirectoryId::from_digest([2; 32]));
        let commit = CommitId::from_bytes([7; 20]);
        full.store(true, Relaxed);
        assert!(state.deployed(one, commit).is_err());
        assert!(state.begin(two).is_err());
        full.store(false, Relaxed);
        state.begin(two).unwrap();
        drop(state);
        let state = open(&path).unwrap();
        assert_eq!(state.tree(one).deployed, Some(commit));
        assert!(state.knows(two));
    }

    /// A file on a disk that may be full.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn room(&self) -> io::Result<()> {
            if self.full.load(Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room().and_then(|()| self.file.set_len(len))
        }
        fn sync_data(&self) -> io::Result<()> {
            self.room().and_then(|()| self.file.sync_data())
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room().and_then(|()| self.file.write(offset, data))
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        File::create(&path).unwrap().write_all(&[0x5a; 4096]).unwrap();
        assert!(open(&path).is_err());
    }
}
