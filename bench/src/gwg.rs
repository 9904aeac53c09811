//! gwg itself: the real executables, all of them, with a log file at the level `info`.

use crate::Result;
use crate::push::{PATH, SECRET};
use crate::running::{self, Running};
use crate::scratch::{self, Scratch};
use crate::syslog;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// gwg's own.
pub const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

/// Where cargo has put it.
pub fn executable() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(beside, PathBuf::from).join("release/gwg")
}

/// What a gateway is to serve.
pub struct Site<'a> {
    /// The remote of the repository that is pushed to.
    pub url: &'a str,
    /// Its key, and the host keys to expect.
    pub key: Option<(PathBuf, PathBuf)>,
    /// How many repositories are configured; that one is in their middle.
    pub repos: usize,
    /// Where records go, where they go to syslog.
    pub syslog: Option<PathBuf>,
}

/// Where the log is.
pub fn log(scratch: &Scratch) -> PathBuf {
    scratch.path().join("gwg.log")
}

/// The work tree and the trigger of the repository that is pushed to.
pub fn tree(scratch: &Scratch) -> (PathBuf, PathBuf) {
    (scratch.path().join("trees/pushed"), scratch.path().join("triggers/gwg"))
}

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Yaml,
    Json,
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        }
    }
}

/// The configuration's file.
pub fn file(scratch: &Scratch, format: Format) -> PathBuf {
    scratch.path().join(match format {
        Format::Yaml => "gwg.yaml",
        Format::Json => "gwg.json",
    })
}

/// Writes a configuration as its format is usually written.
pub fn write(scratch: &Scratch, config: &Value, format: Format, name: &str) -> Result<PathBuf> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(config)?,
        Format::Yaml => yaml(config)?,
    };
    scratch.file(name, &text)
}

/// In blocks, a key a line, as people write it.
fn yaml(config: &Value) -> Result<String> {
    let mut text = String::new();
    let keys = config.as_object().ok_or("the configuration has no keys")?;
    for (key, value) in keys.iter().filter(|(key, _)| *key != "repos") {
        writeln!(text, "{key}: {value}")?;
    }
    text.push_str("repos:\n");
    for repo in keys.get("repos").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        for (place, (key, value)) in repo.iter().enumerate() {
            let begin = if place == 0 { "- " } else { "  " };
            writeln!(text, "  {begin}{key}: {}", value.as_str().ok_or("a value that is no text")?)?;
        }
    }
    Ok(text)
}

/// Starts it, with an empty log.
pub fn start(scratch: &Scratch, site: &Site<'_>) -> Result<Running> {
    start_from(scratch, site, Format::Json)
}

/// Starts it from a file of this format, with an empty log.
pub fn start_from(scratch: &Scratch, site: &Site<'_>, format: Format) -> Result<Running> {
    let port = running::free_port()?;
    write(scratch, &config(scratch, site, port)?, format, "gwg.first")?;
    let config = file(scratch, format);
    fs::rename(scratch.path().join("gwg.first"), &config)?;
    if let Err(error) = fs::remove_file(log(scratch))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let mut gwg = Command::new(executable());
    gwg.arg("--config").arg(config).env("HOME", scratch.directory("home")?);
    gwg.env("STATE_DIRECTORY", scratch.directory("state")?).env("RUNTIME_DIRECTORY", scratch.directory("run")?);
    Running::start(&mut gwg, port)
}

fn config(scratch: &Scratch, site: &Site<'_>, port: u16) -> Result<Value> {
    scratch.updaters("trees")?;
    scratch.updaters("triggers")?;
    let repos: Vec<Value> =
        (0..site.repos).map(|number| if number == site.repos / 2 { pushed(scratch, site) } else { other(scratch, site, number) }).collect();
    let mut config = json!({
        "listen": "127.0.0.1", "port": port, "initialise": false, "repos": repos,
        "logging": {"format": "text", "output": log(scratch), "level": "info"},
    });
    config["audit"] = syslog::audit(site.syslog.as_deref());
    if scratch::is_root() {
        config["user"] = scratch::UPDATER.into();
        config["worker_user"] = scratch::WORKER.into();
        config["listener_user"] = scratch::LISTENER.into();
    }
    Ok(config)
}

/// The configuration after so many changes: one secret is another, and one repository is new.
pub fn config_changed(scratch: &Scratch, site: &Site<'_>, port: u16, round: usize) -> Result<Value> {
    let mut config = config(scratch, site, port)?;
    let new = json!({
        "url": site.url, "path": added(round), "directory": scratch.path().join(format!("trees/added-{round}")),
        "label": "main", "secret": SECRET,
    });
    let repos = config.get_mut("repos").and_then(Value::as_array_mut).ok_or("the configuration has no repositories")?;
    repos.first_mut().ok_or("the configuration has no repository")?["secret"] = format!("{SECRET}-{round}").into();
    repos.push(new);
    Ok(config)
}

/// The path of the repository that a change adds.
pub fn added(round: usize) -> String {
    format!("/hooks/added-{round}")
}

fn pushed(scratch: &Scratch, site: &Site<'_>) -> Value {
    let (tree, trigger) = tree(scratch);
    let mut repo = json!({"url": site.url, "path": PATH, "directory": tree, "trigger": trigger, "label": "main", "secret": SECRET});
    if let Some((key, known_hosts)) = &site.key {
        repo["sshPrivKey"] = json!(key);
        repo["knownHosts"] = json!(known_hosts);
    }
    repo
}

/// One that nobody pushes to.
fn other(scratch: &Scratch, site: &Site<'_>, number: usize) -> Value {
    let directory = scratch.path().join(format!("trees/{number}"));
    let trigger = scratch.path().join(format!("triggers/{number}"));
    let url = if site.key.is_some() { "git://127.0.0.1:9/other.git" } else { site.url };
    json!({"url": url, "path": format!("/hooks/{number}"), "directory": directory, "trigger": trigger, "label": "main", "secret": SECRET})
}
