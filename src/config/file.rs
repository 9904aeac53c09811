//! Syntax: finds the configuration, reads it and parses it, whatever its format.
//!
//! A parser's message may quote a value, and a value may be a secret: only its words about what
//! was expected are shown, with the key's path and the line.

use super::environment::Environment;
use super::error::{ConfigError, Fault, KeyPath, Notes, Place, Problem};
use super::locate::line_of_offset;
use super::nearest::nearest;
use super::owner::{self, Owner};
use super::raw::Raw;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of the longest configuration: 10,000 repositories need 5 MiB.
const LONGEST: u64 = 64 << 20;

/// The names that are looked for, in this order.
const NAMES: [&str; 4] = ["config.yaml", "config.yml", "config.toml", "config.json"];

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.1, as libyaml reads it.
    Yaml,
    /// TOML 1.1
    Toml,
    /// JSON
    Json,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A file that has been read.
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// Its text: it may hold secrets.
    pub text: Zeroizing<String>,
    /// Who can write it.
    pub owner: Owner,
}

/// The file to read: the one named, or the first that is found.
pub fn find(explicit: Option<&Path>, env: &Environment, notes: &mut Notes) -> Result<PathBuf, ConfigError> {
    if let Some(path) = explicit {
        return Ok(path.to_owned());
    }
    for directory in &env.directories {
        // One that stands before what is found would be found first.
        NAMES.iter().for_each(|name| notes.sources.note_unread(&directory.join(name)));
        // Whatever stands there is meant, also where it can't be read: then the error says so.
        let mut found = NAMES.iter().map(|name| directory.join(name)).filter(|path| owner::reach(path, || path.symlink_metadata()).is_ok());
        if let Some(path) = found.next() {
            notes.warnings.extend(found.map(|other| format!("{} is not read, because {} is", other.display(), path.display())));
            return Ok(path);
        }
    }
    Err(ConfigError::NotFound(env.directories.clone()))
}

/// Reads the file and asks who can write it.
pub fn read(path: PathBuf, env: &Environment, notes: &mut Notes) -> Result<Source, ConfigError> {
    notes.sources.note_main(&path);
    notes.sources.note_unread(&path);
    match read_checked(&path, env, notes) {
        Ok((format, text, owner)) => Ok(Source { path, format, text, owner }),
        Err(fault) => Err(wrong(path, Place::File, None, fault)),
    }
}

fn read_checked(path: &Path, env: &Environment, notes: &mut Notes) -> Result<(Format, Zeroizing<String>, Owner), Fault> {
    let format = Format::of(path)
        .ok_or_else(|| Fault::new("the file's format is not known", "give it a name that ends in .yaml, .yml, .toml or .json"))?;
    // Without O_NONBLOCK a fifo would hang here.
    let unreadable =
        |error: std::io::Error| Fault::new(format!("the file can't be read ({error})"), "check its name, its owner and its mode");
    let open = || File::options().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path);
    let mut file = owner::reach(path, open).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(Fault::new("this is not a regular file", "name the configuration file itself"));
    }
    notes.sources.note(path, &about);
    let owner = owner::of(path, &about, env.uid)?;
    if about.mode() & 0o004 != 0 {
        notes.warnings.push(format!("{} can be read by everybody, secrets included: chmod o= {0}", path.display()));
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(about.len().min(LONGEST)).unwrap_or_default() + 1));
    let read = Read::by_ref(&mut file).take(LONGEST + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 > LONGEST => Err(Fault::new("the file is longer than 64 MiB", "name the configuration file")),
        Ok(_) => Ok((format, text, owner)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(Fault::new("the file is not UTF-8 text", "save it as UTF-8")),
        Err(error) => Err(unreadable(error)),
    }
}

/// Parses the text.
pub fn parse(source: &Source) -> Result<Raw, ConfigError> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        let fault = Fault::new("the file is empty", "write at least one repository under repos; the shipped examples show how");
        return Err(wrong(source.path.clone(), Place::File, None, fault));
    }
    // Keeping the way to each value in mind takes longer, and only where it stops is that of use.
    let parsed = match source.format {
        Format::Yaml => serde_yaml::from_str(text).or_else(|_| yaml(text)),
        Format::Toml => toml(text),
        Format::Json => serde_json::from_str(text).or_else(|_| json(text)),
    };
    parsed.map_err(|stop| {
        let (place, fault) = stop.explain();
        wrong(source.path.clone(), place, stop.line, fault)
    })
}

fn wrong(file: PathBuf, place: Place, line: Option<usize>, fault: Fault) -> ConfigError {
    ConfigError::Wrong { file, problems: vec![Problem { place, line, fault }] }
}

fn yaml(text: &str) -> Result<Raw, Stop> {
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let line = error.inner().location().map(|place| place.line());
        Stop::new(error.path(), line, &error.inner().to_string())
    })
}

fn toml(text: &str) -> Result<Raw, Stop> {
    let place = |error: &toml::de::Error| error.span().map(|span| line_of_offset(text, span.start));
    let parsed = toml::Deserializer::parse(text).map_err(|error| Stop {
        path: KeyPath::default(),
        line: place(&error),
        message: error.message().to_owned(),
    })?;
    serde_path_to_error::deserialize(parsed).map_err(|error| Stop::new(error.path(), place(error.inner()), error.inner().message()))
}

fn json(text: &str) -> Result<Raw, Stop> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let at_end = |error: serde_json::Error| Stop { path: KeyPath::default(), line: Some(error.line()), message: error.to_string() };
    let raw = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let line = Some(error.inner().line());
        Stop::new(error.path(), line, &error.inner().to_string())
    })?;
    parser.end().map_err(at_end).map(|()| raw)
}

/// Where a parser stopped and what it said.
struct Stop {
    path: KeyPath,
    line: Option<usize>,
    message: String,
}

impl Stop {
    fn new(path: &serde_path_to_error::Path, line: Option<usize>, message: &str) -> Self {
        use serde_path_to_error::Segment;
        let path = path.iter().fold(KeyPath::default(), |path, segment| match segment {
            Segment::Seq { index } => path.index(*index),
            Segment::Map { key } => path.key(key),
            Segment::Enum { variant } => path.key(variant),
            Segment::Unknown => path,
        });
        Self { path, line, message: message.to_owned() }
    }

    /// Says it in our words. Of serde's "invalid type: string "VALUE", expected KIND" only KIND is
    /// kept: the value may be a secret.
    fn explain(&self) -> (Place, Fault) {
        let place = if self.path.steps().is_empty() { Place::File } else { Place::Key(self.path.clone()) };
        let message = without_place(&self.message);
        if let Some(names) = message.split_once("unknown field ").map(|(_, rest)| rest) {
            return (place, unknown_key(names));
        }
        let fault = match message.rsplit_once(", expected ") {
            Some((_, kind)) => wrong_kind(kind),
            None if message.contains("invalid type") || message.contains("invalid value") => wrong_kind("something else"),
            None => Fault::new(message, "correct the syntax at or just before this place"),
        };
        (place, fault)
    }
}

/// `kind` is serde's word for what should be there.
fn wrong_kind(kind: &str) -> Fault {
    let (kind, remedy) = match kind {
        "a string" => ("text", "put it in quotes"),
        "a boolean" => ("true or false", "write it without quotes"),
        "i64" => ("a whole number", "write digits, without quotes"),
        "a sequence" => ("a list", "see the shipped examples"),
        kind if kind.starts_with("struct ") => ("keys with values", "see the shipped examples"),
        kind => (kind, "see the shipped examples"),
    };
    Fault::new(format!("this should be {kind}"), remedy)
}

/// The message without the place that some parsers write around it.
fn without_place(message: &str) -> &str {
    let message = message.rsplit_once(" at line ").map_or(message, |(words, _)| words);
    match message.split_once(": ") {
        Some((path, words)) if !path.contains(' ') => words,
        _ => message,
    }
}

/// `names` goes on: "`ulr`, expected one of `url`, `path`, …": first the unknown one, then all that exist.
fn unknown_key(names: &str) -> Fault {
    let mut quoted = names.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let remedy = match nearest(unknown, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the keys here are {}", known.join(", ")),
    };
    Fault::new(format!("there is no key {unknown}"), remedy)
}
