//! `audit`: where audit records go. Runs in the supervisor.

use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes};
use super::files::Files;
use super::nearest::nearest;
use super::owner::{Owner, name_of};
use super::raw::RawAudit;
use super::{Audit, OutputFile, directories};
use crate::audit::Facility;
use std::path::PathBuf;

const SOCKET: &str = "/dev/log";
/// Characters of RFC 5424's APP-NAME.
const TAG: usize = 48;

/// As root a gateway is a service, which syslog is told of; elsewhere it is somebody's own affair.
pub fn check(raw: RawAudit, owner: Owner, files: &Files, env: &Environment, notes: &mut Notes) -> Option<Audit> {
    let path = |key: &str| KeyPath::global("audit").key(key);
    let syslog = raw.syslog.unwrap_or(env.is_root());
    if raw.syslog == Some(false) && notes.variable(&path("syslog")).is_none() {
        notes.take(path("syslog"), allowed(owner, env, "switch syslog off"));
    }
    let socket = raw.socket.filter(|text| !text.trim().is_empty());
    if socket.is_some() && notes.variable(&path("socket")).is_none() {
        notes.take(path("socket"), allowed(owner, env, "choose another socket"));
    }
    let socket = notes.take(path("socket"), directories::absolute(socket.as_deref().unwrap_or(SOCKET)));
    let facility = notes.take(path("facility"), facility(raw.facility.unwrap_or_default().trim()));
    let tag = notes.take(path("tag"), tag(raw.tag.unwrap_or_default().trim()));
    let file = notes.take(path("file"), file(raw.file.unwrap_or_default().trim(), files, env.dry));
    Some(Audit { syslog: syslog.then_some(socket?), facility: facility?, tag: tag?, file: file? })
}

/// Whoever could take the gateway over by its configuration must not be able to hide that.
fn allowed(owner: Owner, env: &Environment, what: &str) -> Result<(), Fault> {
    match owner {
        Owner::Other(uid) if env.is_root() => Err(Fault::new(
            format!("{} can write this configuration, so it may not {what}", name_of(uid)),
            "let root own it and every directory above it",
        )),
        Owner::Trusted | Owner::Other(_) => Ok(()),
    }
}

fn facility(word: &str) -> Result<Option<Facility>, Fault> {
    if word.is_empty() {
        return Ok(None);
    }
    Facility::of_word(word).map(Some).ok_or_else(|| {
        let remedy = nearest(word, Facility::WORDS)
            .map_or_else(|| format!("write one of {}", Facility::WORDS.join(", ")), |meant| format!("did you mean {meant}?"));
        Fault::new(format!("there is no facility {word:?}"), remedy)
    })
}

fn tag(text: &str) -> Result<String, Fault> {
    match text {
        "" => Ok("gwg".to_owned()),
        _ if text.len() <= TAG && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(Fault::new("this is no tag", format!("write at most {TAG} printable ASCII characters without spaces"))),
    }
}

fn file(text: &str, files: &Files, dry: bool) -> Result<Option<OutputFile>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let path: PathBuf = directories::absolute(text).map_err(|fault| Fault::new(fault.what, "write the whole path of a file"))?;
    files.open_output(&path, dry).map(Some)
}
