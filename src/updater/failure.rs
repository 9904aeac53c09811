//! Why an update failed: a reason from a closed list for programs, a line of text for people.
//! Runs in the updater.
//!
//! libgit2 tells what happened partly by class and code, partly only by text; the tables below are
//! the one place that reads its text. A remote can choose some of that text: it decides at most
//! which word the log shows.

use crate::audit::{Failure, HostKey, Reason, Step};
use crate::brief::updater::Limits;
use git2::{ErrorClass, ErrorCode};
use nix::errno::Errno;

/// Where, why, and what the operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", step.word())]
pub struct Fault {
    /// What the update was doing.
    pub step: Step,
    /// Why it failed.
    pub reason: Reason,
    /// The detail, without the step.
    pub message: String,
    /// The host key, where it is that which was refused.
    pub host_key: Option<HostKey>,
}

impl Fault {
    /// A fault that this program found itself.
    pub fn new(step: Step, reason: Reason, message: impl Into<String>) -> Self {
        Self { step, reason, message: message.into(), host_key: None }
    }

    /// The server's host key is not the one that was meant.
    pub fn host_key(key: HostKey, message: String) -> Self {
        Self { host_key: Some(key), ..Self::new(Step::Fetch, Reason::HostKey, message) }
    }

    /// The kernel refused something; `what` names the object, a path mostly.
    pub fn errno(step: Step, what: impl std::fmt::Display, errno: Errno) -> Self {
        Self::new(step, of_errno(errno), format!("{what}: {}", errno.desc()))
    }

    /// libgit2 refused something.
    pub fn git(step: Step, error: &git2::Error) -> Self {
        let message = match error.message().trim() {
            "" | "no error" => "it failed, and libgit2 gives no reason",
            message => message,
        };
        Self::new(step, of_git(step, error), message)
    }

    /// Says which limit it was, where libgit2 or the kernel found it.
    pub fn explained(self, limits: &Limits) -> Self {
        let said = |needle: &str| self.message.contains(needle);
        if said("directory nesting too deep") {
            let message = format!("the work tree holds a directory that is too deep for libgit2: remove it ({})", self.message);
            return Self { message, ..self };
        }
        let what = if said("overly large object") {
            format!("an object has more than {} bytes: raise limits.object", limits.object)
        } else if self.step == Step::Fetch && said("too many objects") {
            format!("the remote sent more than {} objects: raise limits.files, of which it is twenty times as many", limits.objects())
        } else if self.reason == Reason::Memory {
            format!(
                "it needs more than {} bytes of memory, or the machine has none left: raise limits.object or limits.files",
                limits.memory()
            )
        } else if self.step == Step::Fetch && said("File too large") {
            format!("the pack is larger than the {} bytes that may be written: raise limits.pack", limits.file_size())
        } else {
            return self;
        };
        Self::new(self.step, Reason::Limit, format!("{what} ({})", self.message))
    }

    /// What the worker is told.
    pub const fn failure(&self) -> Failure {
        Failure { step: self.step, reason: self.reason }
    }
}

/// `map_err` for libgit2's calls.
pub fn git(step: Step) -> impl Fn(git2::Error) -> Fault {
    move |error| Fault::git(step, &error)
}

fn of_errno(errno: Errno) -> Reason {
    match errno {
        Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Reason::NoSpace,
        Errno::ENOMEM => Reason::Memory,
        Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EISDIR | Errno::ENXIO => {
            Reason::Directory
        }
        Errno::EIO | Errno::EUCLEAN => Reason::Corrupt,
        _ => Reason::Other,
    }
}

fn of_git(step: Step, error: &git2::Error) -> Reason {
    let text = error.message();
    let says = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if says(&["No space left on device", "Disk quota exceeded", "File too large"]) {
        return Reason::NoSpace;
    }
    if error.class() == ErrorClass::NoMemory || says(&["Cannot allocate memory", "Out of memory"]) {
        return Reason::Memory;
    }
    // [`Fault::explained`] says which limit.
    if says(&["overly large object", "too many objects"]) {
        return Reason::Limit;
    }
    // A name in the remote's tree that git forbids: fetching it again would not help.
    if says(&["invalid path", "contains an invalid"]) {
        return Reason::Other;
    }
    match error.code() {
        ErrorCode::Locked => return if says(&["Permission denied", "Read-only"]) { Reason::Directory } else { Reason::Locked },
        ErrorCode::Owner => return Reason::Directory,
        ErrorCode::Auth => return Reason::Auth,
        ErrorCode::Certificate => return Reason::Certificate,
        ErrorCode::Timeout => return Reason::Network,
        _ => {}
    }
    if step == Step::Fetch && is_from_the_network(error.class()) {
        return of_remote(&text.to_ascii_lowercase());
    }
    match error.class() {
        ErrorClass::Indexer
        | ErrorClass::Odb
        | ErrorClass::Object
        | ErrorClass::Zlib
        | ErrorClass::Tree
        | ErrorClass::Tag
        | ErrorClass::Reference
        | ErrorClass::Index
        | ErrorClass::Config
        | ErrorClass::Invalid => Reason::Corrupt,
        _ if says(&["Permission denied", "Read-only file system", "Not a directory"]) => Reason::Directory,
        _ if error.code() == ErrorCode::NotFound => Reason::Corrupt,
        _ => Reason::Other,
    }
}

fn is_from_the_network(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Net | ErrorClass::Ssh | ErrorClass::Ssl | ErrorClass::Http | ErrorClass::Os | ErrorClass::Callback)
}

/// What the large forges and git's own servers say, in lower case.
fn of_remote(text: &str) -> Reason {
    let says = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if says(&["ssl certificate", "does not match certificate", "failed to load certificates"]) {
        Reason::Certificate
    } else if says(&["failed to authenticate", "authentication", "status code: 401", "status code: 403", "permission denied (publickey"]) {
        Reason::Auth
    } else if says(&["does not appear to be a git repository", "repository not found", "not be found", "not exported", "status code: 404"])
    {
        Reason::NoRepository
    } else {
        Reason::Network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_answers_have_reasons() {
        let cases = [
            (Errno::ENOSPC, Reason::NoSpace),
            (Errno::EDQUOT, Reason::NoSpace),
            (Errno::EACCES, Reason::Directory),
            (Errno::EROFS, Reason::Directory),
            (Errno::ENOENT, Reason::Directory),
            (Errno::ENOMEM, Reason::Memory),
            (Errno::EIO, Reason::Corrupt),
            (Errno::EMFILE, Reason::Other),
        ];
        for (errno, reason) in cases {
            assert_eq!(Fault::errno(Step::Open, "/x", errno).reason, reason, "{errno}");
        }
    }

    #[test]
    fn a_limit_that_libgit2_or_the_kernel_found_is_named_with_its_key() {
        let limits = Limits { pack: 1, object: 2, files: 3, tree: 4, deadline_ms: 5 };
        for (step, reason, text, says) in [
            (Step::Fetch, Reason::Limit, "failed to apply delta: overly large object", "raise limits.object"),
            (Step::Fetch, Reason::Limit, "too many objects", "more than 60 objects: raise limits.files"),
            (Step::Reset, Reason::Memory, "out of memory", "raise limits.object or limits.files"),
            (Step::Fetch, Reason::NoSpace, "cannot extend packfile: File too large", "raise limits.pack"),
        ] {
            let fault = Fault::new(step, reason, text).explained(&limits);
            assert_eq!((fault.step, fault.reason), (step, Reason::Limit));
            assert!(fault.message.contains(says) && fault.message.contains(text), "{fault}");
        }
        let other = Fault::new(Step::Fetch, Reason::NoSpace, "No space left on device");
        assert_eq!(other.clone().explained(&limits), other);
    }

    #[test]
    fn libgit2s_answers_have_reasons() {
        use ErrorClass as Class;
        use ErrorCode as Code;
        let cases = [
            (Step::Fetch, Code::GenericError, Class::Os, "failed to connect to 127.0.0.1: Connection refused", Reason::Network),
            (Step::Fetch, Code::GenericError, Class::Net, "failed to resolve address for x: Name or service not known", Reason::Network),
            (Step::Fetch, Code::GenericError, Class::Ssh, "failed to start SSH session: Timed out waiting on socket", Reason::Network),
            (Step::Fetch, Code::Timeout, Class::Net, "could not read from socket: timed out", Reason::Network),
            (Step::Fetch, Code::Eof, Class::Ssh, "fatal: '/x.git' does not appear to be a git repository\n", Reason::NoRepository),
            (Step::Fetch, Code::Eof, Class::Ssh, "ERROR: Repository not found.", Reason::NoRepository),
            (Step::Fetch, Code::GenericError, Class::Http, "unexpected http status code: 404", Reason::NoRepository),
            (Step::Fetch, Code::GenericError, Class::Http, "unexpected http status code: 403", Reason::Auth),
            (Step::Fetch, Code::GenericError, Class::Ssh, "failed to authenticate SSH session: Wrong passphrase", Reason::Auth),
            (Step::Fetch, Code::Auth, Class::Http, "remote authentication required but no callback set", Reason::Auth),
            (Step::Fetch, Code::Certificate, Class::Ssl, "the SSL certificate is invalid", Reason::Certificate),
            (Step::Fetch, Code::GenericError, Class::Ssl, "hostname does not match certificate", Reason::Certificate),
            (Step::Fetch, Code::GenericError, Class::Os, "failed to write pack: No space left on device", Reason::NoSpace),
            (Step::Fetch, Code::GenericError, Class::Indexer, "packfile trailer mismatch", Reason::Corrupt),
            (Step::Verify, Code::GenericError, Class::Invalid, "the reference 'x' cannot be peeled", Reason::Corrupt),
            (Step::Verify, Code::NotFound, Class::Odb, "object not found - no match for id", Reason::Corrupt),
            (Step::Reset, Code::Locked, Class::Index, "the index is locked", Reason::Locked),
            (Step::Reset, Code::Locked, Class::Os, "failed remove - 'x' is locked: Permission denied", Reason::Directory),
            (Step::Reset, Code::GenericError, Class::Os, "could not open 'x' for writing: Permission denied", Reason::Directory),
            (Step::Reset, Code::GenericError, Class::Index, "invalid path: 'git~1'", Reason::Other),
            (Step::Open, Code::Owner, Class::Config, "repository path '/x' is not owned by current user", Reason::Directory),
        ];
        for (step, code, class, text, reason) in cases {
            assert_eq!(of_git(step, &git2::Error::new(code, class, text)), reason, "{text}");
        }
    }
}
