//! The borders between the rooms of `src/`: who may name whom, and which room alone may name a crate.
//!
//! Reads every file of `src/` and holds the paths in it against the tables below. Test code inside
//! of `src/` counts too. The checker itself is tested on sources that break each rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/source.rs"]
mod source;

use source::{Named, paths, tokens};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms that it may name. The table in `src/lib.rs` says the same.
const ROOMS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("brief", &["ids"]),
    ("wire", &["ids", "brief", "audit"]),
    ("link", &["wire", "confine", "ids"]),
    ("confine", &[]),
    ("audit", &["ids"]),
    ("config", &["ids", "brief", "audit"]),
    ("supervisor", &["config", "brief", "wire", "link", "confine", "audit", "ids"]),
    ("cli", &["config", "brief", "wire", "supervisor", "audit", "ids"]),
    ("listener", &["brief", "wire", "link", "confine", "audit", "ids"]),
    ("worker", &["brief", "wire", "link", "confine", "audit", "ids"]),
    ("updater", &["brief", "wire", "confine", "audit", "ids"]),
    ("hook", &["brief", "wire", "confine", "ids"]),
    ("owned", &["supervisor", "config", "listener", "updater", "brief", "wire", "confine", "ids"]),
];

/// The rooms that are a process of their own: private, with one door.
const PROCESSES: &[&str] = &["cli", "supervisor", "listener", "worker", "updater", "hook", "owned"];

/// What a child may name of `brief`: its own part, and what it shares with others. The ssh key is no
/// word that the listener knows.
const BRIEFS: &[(&str, &[&str])] = &[
    ("listener", &["listener", "secret", "Secret", "label", "Label", "LabelKind", "remote", "RemoteName"]),
    ("worker", &["worker", "secret", "Secret", "key", "Key"]),
    ("hook", &["hook", "secret", "Secret"]),
    ("updater", &["updater", "secret", "Secret", "key", "Key", "label", "Label", "LabelKind", "remote", "RemoteName"]),
];

/// A crate, and the one room or file that may name it.
const CRATES: &[(&str, &str)] = &[
    ("bincode", "wire/frame.rs"),
    ("syslog", "audit"),
    ("caps", "confine"),
    ("landlock", "confine"),
    ("seccompiler", "confine"),
    ("serde_yaml", "config"),
    ("toml", "config"),
    ("notify", "supervisor"),
    ("interprocess", "supervisor"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("getrandom", "cli"),
    ("hyper", "listener"),
    ("hyper_util", "listener"),
    ("http_body_util", "listener"),
    ("redb", "worker"),
    ("git2", "updater"),
    ("libgit2_sys", "updater"),
];

/// Where unsafe code may stand. What plays the attacker is in no build that can be installed.
const UNSAFE: &[&str] = &["confine", "updater/libgit2.rs", "owned"];

/// What is wrong with a file, given by its place below `src/`.
fn faults(file: &str, code: &str) -> Vec<String> {
    let room = file.split('/').next().unwrap().trim_end_matches(".rs");
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{file}: no such room in the table")];
    };
    let module: Vec<&str> = file.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    let mut found = forbidden_words(file, code);
    for named in paths(code, &module) {
        let fault = naming_fault(room, allowed, file, &named);
        found.extend(fault.map(|fault| format!("{file}:{}: {}: {fault}", named.line, named.path.join("::"))));
    }
    found
}

fn naming_fault(room: &str, allowed: &[&str], file: &str, named: &Named) -> Option<String> {
    let parts: Vec<&str> = named.path.iter().map(String::as_str).collect();
    if let Some((name, home)) = CRATES.iter().find(|(name, _)| parts.first() == Some(name))
        && !is_in(file, home)
    {
        return Some(format!("only {home} may name the crate {name}"));
    }
    match parts.as_slice() {
        ["crate"] | ["crate", "*"] => Some("names the whole crate".into()),
        // Types and traits begin with a capital.
        [name] if named.renamed && name.starts_with(char::is_lowercase) => Some("gives a crate another name".into()),
        ["crate", other, ..] if *other == room => None,
        ["crate", other, ..] if !allowed.contains(other) => Some(format!("{room} may not name {other}")),
        ["crate", other, ..] if named.exported => Some(format!("{room} hands {other} on")),
        ["crate", "brief", rest @ ..] => brief_fault(room, rest),
        _ => None,
    }
}

fn brief_fault(room: &str, rest: &[&str]) -> Option<String> {
    let (_, allowed) = BRIEFS.iter().find(|(name, _)| *name == room)?;
    match rest.first() {
        Some(part) if allowed.contains(part) => None,
        Some(part) => Some(format!("{room} may not name {part} of brief")),
        None => Some(format!("{room} may not name all of brief")),
    }
}

/// What would hide a path from this test, and unsafe code.
fn forbidden_words(file: &str, code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let fault = match token.text.as_str() {
            "super" if text(at + 1) == "::" && text(at + 2) == "super" => "climbs out with super::super",
            "extern" if text(at + 1) == "crate" => "extern crate",
            "include" if text(at + 1) == "!" => "include! hides code",
            "path" if at >= 2 && text(at - 1) == "[" && text(at - 2) == "#" => "#[path] hides code",
            "unsafe" | "unsafe_code" if !UNSAFE.iter().any(|home| is_in(file, home)) => "unsafe code",
            _ => continue,
        };
        found.push(format!("{file}:{}: {fault}", token.line));
    }
    found
}

/// Whether a file is that file, or in that room.
fn is_in(file: &str, home: &str) -> bool {
    file == home || file == format!("{home}.rs") || file.starts_with(&format!("{home}/"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory, by their place in it.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn no_room_names_what_it_may_not() {
    let files = files(&root().join("src"));
    assert!(files.len() > ROOMS.len(), "src was not found");
    let found: Vec<String> = files.iter().filter(|(name, _)| name != "lib.rs").flat_map(|(name, code)| faults(name, code)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_room_is_there_and_the_map_says_the_same() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows: Vec<Vec<String>> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches(['[', ']', '`']).to_owned()).collect())
        .filter(|cells: &Vec<String>| ROOMS.iter().any(|(room, _)| *room == cells[0]))
        .collect();
    assert_eq!(rows.len(), ROOMS.len(), "rooms in the map of src/lib.rs");
    for cells in &rows {
        let (room, allowed) = ROOMS.iter().find(|(room, _)| *room == cells[0]).unwrap();
        let said: BTreeSet<&str> = cells[3].split(',').map(str::trim).filter(|name| *name != "–").collect();
        assert_eq!(said, allowed.iter().copied().collect(), "{room} in the map of src/lib.rs");
        let source = root().join("src");
        assert!(source.join(room).is_dir() || source.join(format!("{room}.rs")).is_file(), "src/{room}");
    }
}

#[test]
fn a_process_s_room_is_private_and_has_one_door() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for room in PROCESSES {
        assert!(map.lines().any(|line| line == format!("mod {room};")), "src/lib.rs has no private `mod {room};`");
    }
    for (name, code) in files(&root().join("bin")) {
        assert!(code.lines().count() <= 10, "bin/{name} has more than ten lines");
        // The allocator and the C functions that it defines are a matter of the whole executable: they can't be chosen inside.
        let whole: [&[&str]; 2] = [&["gwg", "confine", "heap", "Wiping"], &["gwg", "answer_for_the_resolver"]];
        let is_door = |path: &[String]| path[0] == "gwg" && !whole.iter().any(|of_it| path == *of_it);
        let doors = paths(&code, &[]).into_iter().filter(|named| is_door(&named.path)).count();
        assert_eq!(doors, 1, "bin/{name} is to call one function");
    }
}

#[test]
fn the_checker_sees_each_kind_of_fault() {
    for (file, code, word) in [
        ("listener/a.rs", "use crate::config::Config;", "may not name config"),
        ("listener/a.rs", "fn f() { crate::worker::main() }", "may not name worker"),
        ("listener/a.rs", "use crate::{ids::RepoId, supervisor::roster};", "may not name supervisor"),
        ("listener/a.rs", "use crate::{ids::{RepoId, self}, wire::{frame, job::{self}}, updater};", "may not name updater"),
        ("listener/mod.rs", "use super::config;", "may not name config"),
        ("listener/a.rs", "mod tests { mod deeper { fn f() { crate::cli::main() } } }", "may not name cli"),
        ("listener/a.rs", "#[cfg(test)] mod tests { use crate::worker::due; }", "may not name worker"),
        ("listener/a.rs", "use super::super::config;", "super::super"),
        ("listener/a.rs", "use crate::brief::worker::Key;", "may not name worker of brief"),
        ("listener/a.rs", "use crate::brief::{listener, updater};", "may not name updater of brief"),
        ("listener/a.rs", "use crate::brief;", "all of brief"),
        ("listener/a.rs", "use crate::brief::{self, listener};", "all of brief"),
        ("listener/a.rs", "use crate::brief::Key;", "may not name Key of brief"),
        ("worker/a.rs", "use crate::brief::*;", "may not name * of brief"),
        ("listener/a.rs", "use crate as c;", "whole crate"),
        ("listener/a.rs", "use crate::*;", "whole crate"),
        ("listener/mod.rs", "use super::*;", "whole crate"),
        ("listener/a.rs", "use git2::Repository;", "only updater"),
        ("listener/a.rs", "fn f() -> ::git2::Oid {}", "only updater"),
        ("listener/a.rs", "fn f(x: Vec<git2::Oid>) {}", "only updater"),
        ("listener/a.rs", "use git2 as serde;", "only updater"),
        ("listener/a.rs", "use serde as s;", "another name"),
        ("listener/a.rs", "use {std::fmt, serde::{self as s}};", "another name"),
        ("listener/a.rs", "extern crate serde as s;", "extern crate"),
        ("wire/job.rs", "use bincode::config;", "only wire/frame.rs"),
        ("worker/hyper.rs", "use hyper::Request;", "only listener"),
        ("updater/fetch.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("updater/libgit2/x.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("ids.rs", "#![allow(unsafe_code)]", "unsafe"),
        ("ids.rs", "use crate::brief::Secret;", "may not name brief"),
        ("link/mod.rs", "pub use crate::wire::Message;", "hands wire on"),
        ("link/mod.rs", "pub(crate) use crate::wire;", "hands wire on"),
        ("link/mod.rs", "include!(\"x.rs\");", "include!"),
        ("link/mod.rs", "#[path = \"../config/mod.rs\"] mod x;", "#[path]"),
        ("cellar/mod.rs", "", "no such room"),
        ("wire/frame.rs", "const A: char = '\"'; use crate::config; const B: char = '\"';", "may not name config"),
        ("wire/frame.rs", "fn f<'a>(x: &'a str) { crate::config::g('\\'', x) }", "may not name config"),
        ("wire/frame.rs", "/* /* */ */ use crate::config; // */", "may not name config"),
        ("wire/frame.rs", "const R: &str = r#\"\"#; use crate::config; const S: &str = r#\"\"#;", "may not name config"),
    ] {
        let found = faults(file, code).join("\n");
        assert!(found.contains(word), "{file}: {code}\nfound: {found:?}");
    }
}

#[test]
fn the_checker_lets_pass_what_is_allowed() {
    for (file, code) in [
        ("listener/a.rs", "use crate::brief::{listener::{self, Repo}, Secret, label::Label}; use super::admit; use crate::listener::http;"),
        (
            "listener/a.rs",
            "mod tests { use super::*; fn f() { self::g(); super::super::h::i } }".replace("super::super::h::i", "super::h()").as_str(),
        ),
        ("listener/mod.rs", "mod tests { use super::*; }"),
        ("listener/a.rs", "// use crate::config;\n/* git2::x /* nested */ crate::worker */ const A: &str = \"crate::cli::main unsafe\";"),
        (
            "listener/a.rs",
            "const A: &str = r#\"crate::cli \"quoted\" unsafe\"#; const B: &[u8] = br\"crate::cli::x\"; const C: char = '\\u{41}';",
        ),
        ("listener/a.rs", "use hyper::{Request, body::Incoming as Body}; fn f() -> impl Fn() + use<> { hyper::x }"),
        ("listener/a.rs", "fn f(config: Config) { config.worker.git2 } struct S { caps: u8 }"),
        ("wire/frame.rs", "use bincode::serde::encode; fn f() { bincode::config::standard() }"),
        ("updater/libgit2.rs", "#![allow(unsafe_code)] fn f() { unsafe { g() } }"),
        ("confine/enter.rs", "use caps::CapSet; fn f() { unsafe { libc::g() } }"),
        ("brief/mod.rs", "pub mod label; pub use label::Label; pub use self::remote::RemoteName;"),
        ("updater/failure.rs", "use git2::ErrorCode; fn f() { use ErrorCode as Code; }"),
        ("cli/mod.rs", "use crate::supervisor::run; use clap::Parser; #[derive(clap::Args)] struct A;"),
    ] {
        assert_eq!(faults(file, code), Vec::<String>::new(), "{file}: {code}");
    }
}
