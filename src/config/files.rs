//! Reads the files that a configuration names, each once, with no more than its owner's rights.

use super::error::Fault;
use super::owner::{Owner, Rights, reach};
use super::sources::Sources;
use nix::fcntl::OFlag;
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zeroize::Zeroizing;

/// Bytes of the longest key, secret or passphrase file.
pub const KEY_MAX: u64 = 64 << 10;
/// Bytes of the longest known_hosts or certificate file: an updater's brief holds four of them.
pub const TEXT_MAX: u64 = 900 << 10;

/// What is in a file, and what its mode says.
#[derive(Debug)]
pub struct Content {
    /// The bytes: they may be a secret.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether everybody can read it.
    pub public: bool,
    /// What it was when it was read.
    pub found: Metadata,
}

/// A file that is appended to, opened with no more rights than the configuration's owner has.
#[derive(Debug)]
pub struct OutputFile {
    /// Its path.
    pub path: PathBuf,
    /// The open file, for reading too.
    pub file: File,
    rights: Option<Rights>,
}

impl OutputFile {
    /// Opens what the path leads to now, with the same rights; makes it where it is missing. Call it from
    /// the main thread.
    ///
    /// # Errors
    /// Those of opening, or it is no regular file.
    pub fn reopen(&self) -> io::Result<File> {
        open_with(self.rights.as_ref(), &self.path, false)
    }
}

/// The reader: keeps what it has read, so that thousands of repositories may share a key.
pub struct Files {
    rights: Option<Rights>,
    seen: HashMap<PathBuf, Result<Rc<Content>, Fault>>,
    /// What was read so far.
    pub sources: Sources,
}

impl Files {
    /// Reads with the rights of whoever can write the configuration.
    pub fn new(owner: Owner) -> Self {
        let rights = match owner {
            Owner::Trusted => None,
            Owner::Other(uid) => Some(Rights::of(uid)),
        };
        Self { rights, seen: HashMap::new(), sources: Sources::default() }
    }

    /// The content of a regular file of at most `longest` bytes.
    pub fn read(&mut self, path: &Path, longest: u64) -> Result<Rc<Content>, Fault> {
        if let Some(known) = self.seen.get(path) {
            return known.clone();
        }
        let read = read_as(self.rights.as_ref(), path, longest);
        match &read {
            Ok(content) => self.sources.note(path, &content.found),
            Err(_) => self.sources.note_unread(path),
        }
        let content = read.map(Rc::new).map_err(|error| self.unreadable(path, &error));
        self.seen.insert(path.to_owned(), content.clone());
        content
    }

    /// Every file that could be read.
    pub fn names(&self) -> BTreeSet<PathBuf> {
        self.seen.iter().filter(|(_, read)| read.is_ok()).map(|(path, _)| path.clone()).collect()
    }

    /// Opens a log or audit file for appending; makes it where it is missing, unless `dry`.
    pub fn open_output(&self, path: &Path, dry: bool) -> Result<OutputFile, Fault> {
        let opened = open_with(self.rights.as_ref(), path, dry);
        opened.map(|file| OutputFile { path: path.to_owned(), file, rights: self.rights.clone() }).map_err(|error| {
            let who = self.rights.as_ref().map_or(String::new(), |_| " by the configuration's owner".to_owned());
            Fault::new(
                format!("{} can't be opened for writing{who} ({error})", path.display()),
                "make its directory, or check their owners and modes",
            )
        })
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> Fault {
        match &self.rights {
            None => Fault::new(format!("{} can't be read ({error})", path.display()), "check the path, the owner and the mode"),
            Some(_) => Fault::new(
                format!("{} can't be read with the rights of the configuration's owner ({error})", path.display()),
                "let that user read it, or let root own the configuration and every directory above it",
            ),
        }
    }
}

/// Reads a file with the rights of another user, where some are given.
pub fn read_as(rights: Option<&Rights>, path: &Path, longest: u64) -> io::Result<Content> {
    with(rights, path, || read(path, longest))
}

fn with<T>(rights: Option<&Rights>, path: &Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match rights {
        Some(rights) => rights.with(act),
        None => reach(path, act),
    }
}

fn read(path: &Path, longest: u64) -> io::Result<Content> {
    // Without O_NONBLOCK a fifo would hang here.
    let mut file = OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)?;
    let about = regular(&file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len().min(longest)).unwrap_or_default() + 1));
    let length = Read::by_ref(&mut file).take(longest + 1).read_to_end(&mut bytes)?;
    if length as u64 > longest {
        return Err(io::Error::other(format!("it is longer than {} KiB", longest >> 10)));
    }
    Ok(Content { bytes, public: about.mode() & 0o004 != 0, found: about })
}

fn open_with(rights: Option<&Rights>, path: &Path, dry: bool) -> io::Result<File> {
    with(rights, path, || open_output(path, dry))
}

fn open_output(path: &Path, dry: bool) -> io::Result<File> {
    let opened = OpenOptions::new()
        .append(true)
        // The end of an audit file is read, for its chain to go on.
        .read(true)
        .create(!dry)
        .mode(0o640)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path);
    let file = match opened {
        Err(error) if dry && error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => {
            return OpenOptions::new().append(true).read(true).open("/dev/null");
        }
        opened => opened?,
    };
    regular(&file).map(|_| file)
}

fn regular(file: &File) -> io::Result<Metadata> {
    let about = file.metadata()?;
    if about.is_file() { Ok(about) } else { Err(io::Error::other("it is not a regular file")) }
}
