//! `.git/config`: what gwg writes, and the little that it reads of another's. Runs in the updater.
//!
//! Who can write in the work tree can write here, and a git configuration can lead anywhere
//! (`core.worktree`, `insteadOf`, `include`). So it is not obeyed but replaced; only the remote's URL
//! is looked at, to recognise a clone that was made by hand.

use super::beneath;
use super::failure::Fault;
use crate::audit::{Reason, Step};
use crate::brief::updater::Brief;
use crate::brief::{LabelKind, RemoteName};
use nix::errno::Errno;
use nix::fcntl::renameat;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of the longest configuration that is looked at.
const CONFIG_MAX: u64 = 1 << 20;
/// The configuration that stood there before gwg's first.
const KEPT: &CStr = c"config.before-gwg";

/// Says whether this is a clone of the brief's remote, by its configuration.
///
/// # Errors
/// The configuration can't be read, or names a format that libgit2 does not know.
pub fn is_clone_of(git: &OwnedFd, brief: &Brief) -> Result<bool, Fault> {
    let config = beneath::read(git, c"config", CONFIG_MAX).map_err(|errno| Fault::errno(Step::Open, ".git/config", errno))?;
    let config = String::from_utf8_lossy(&config.unwrap_or_default()).into_owned();
    for (section, key, value) in settings(&config) {
        if section == "extensions" && (key == "objectformat" && value != "sha1" || key == "refstorage" && value != "files") {
            let message = format!(".git/config: {key} = {value} is not supported; clone anew into an empty directory");
            return Err(Fault::new(Step::Open, Reason::ForeignDirectory, message));
        }
    }
    let section = format!("remote {}", quoted(&brief.remote));
    let url = settings(&config).filter(|(at, key, _)| *at == section && key == "url").map(|(_, _, value)| value).last();
    Ok(url.is_some_and(|url| {
        url == brief.url || (RemoteName::from_url(&url).is_some_and(|name| Some(name) == RemoteName::from_url(&brief.url)))
    }))
}

/// The plain settings of a git configuration: section as written, key in lower case, value without
/// quotes and escapes. Enough to recognise a clone; what it does not understand it leaves out.
fn settings(config: &str) -> impl Iterator<Item = (&str, String, String)> {
    let mut section = "";
    config.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.split_once(']').map_or("", |(name, _)| name.trim());
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some((section, key.trim().to_ascii_lowercase(), unquoted(value)))
    })
}

/// Makes `.git/config` say what gwg says and nothing else. What was there is kept once, beside it.
///
/// # Errors
/// Those of writing.
pub fn set(git: &OwnedFd, brief: &Brief) -> nix::Result<()> {
    let wanted = config(brief);
    let found = match beneath::read(git, c"config", CONFIG_MAX) {
        Err(Errno::EFBIG) => Some(Vec::new()),
        found => found?,
    };
    if found.as_deref() == Some(wanted.as_bytes()) {
        return Ok(());
    }
    if found.is_some() && beneath::look(git, KEPT)?.is_none() {
        renameat(git.as_fd(), c"config", git.as_fd(), KEPT)?;
    }
    beneath::write(git, c"config", wanted.as_bytes(), 0o666)
}

/// As `git clone` writes it, and `git status` and `git pull` want it.
fn config(brief: &Brief) -> String {
    let Brief { url, remote, label, .. } = brief;
    let mut config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n\
         \tprotectHFS = true\n\tprotectNTFS = true\n\
         [remote {}]\n\turl = {}\n\tfetch = {}\n",
        quoted(remote),
        quoted(url),
        quoted(&format!("+refs/heads/*:refs/remotes/{remote}/*")),
    );
    match label.kind {
        LabelKind::Branch => {
            let (name, full) = (quoted(&label.name), quoted(&label.full_name()));
            config += &format!("[branch {name}]\n\tremote = {}\n\tmerge = {full}\n", quoted(remote));
        }
        LabelKind::Tag => {}
    }
    config
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unquoted(value: &str) -> String {
    value.trim().trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::brief::Label;
    use crate::ids::RepoId;

    fn brief(url: &str, remote: &str) -> Brief {
        Brief {
            repo: RepoId::new(1),
            url: url.into(),
            label: Label { kind: LabelKind::Branch, name: "main".into() },
            remote: remote.into(),
            directory: "/x".into(),
            trigger: None,
            known_hosts: [].into(),
            ca: None,
            connect_ms: 0,
            silence_ms: 0,
            limits: crate::brief::updater::Limits::default(),
            purpose: crate::brief::updater::Purpose::Update,
        }
    }

    fn recognised(config: &str, brief: &Brief) -> bool {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config"), config).unwrap();
        is_clone_of(&OwnedFd::from(std::fs::File::open(home.path()).unwrap()), brief).unwrap()
    }

    #[test]
    fn a_clone_is_known_by_its_remotes_url_in_any_form() {
        let brief = brief("git@example.com:a/b.git", "origin");
        for url in ["git@example.com:a/b.git", "https://example.com/a/b", "\"ssh://git@example.com/a/b\""] {
            assert!(recognised(&format!("[core]\n[remote \"origin\"]\n\tURL = {url}\r\n"), &brief), "{url}");
        }
        assert!(!recognised("[remote \"other\"]\nurl = git@example.com:a/b.git", &brief));
        assert!(!recognised("[remote \"origin\"]\nurl = git@example.com:a/c.git", &brief));
        assert!(!recognised("url = git@example.com:a/b.git\n[remote \"origin\"]\n", &brief));
        assert!(!recognised("", &brief));
    }

    #[test]
    fn gwg_recognises_what_it_writes() {
        for (url, remote) in [("git@h:a b;#\\\"c", "origin"), ("/srv/x", "a.b\"c\\d"), ("https://h/x", "up")] {
            let brief = brief(url, remote);
            assert!(recognised(&config(&brief), &brief), "{}", config(&brief));
        }
    }
}
