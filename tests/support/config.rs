//! A configuration, as a test wants it: what every test needs is there, a test adds what it is about.

use super::need;
use super::scratch::{self, Scratch};
use super::tree::Tree;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;

/// The webhook secret where a test sets no other.
pub const SECRET: &str = "correct horse battery staple";

/// One repository's part: keys and values in their order.
#[derive(Debug, Clone)]
pub struct Repo {
    keys: Vec<(String, Value)>,
}

impl Repo {
    /// A repository that follows `master`, below `path`, with secret and trigger.
    pub fn new(scratch: &Scratch, path: &str, url: &str) -> Self {
        let name = path.trim_matches('/').replace('/', "-");
        let directory = scratch.updaters_directory("trees").join(&name);
        let trigger = scratch.updaters_directory("triggers").join(&name);
        Self { keys: Vec::new() }
            .set("path", path)
            .set("url", url)
            .set("directory", directory.to_str().unwrap())
            .set("trigger", trigger.to_str().unwrap())
            .set("secret", SECRET)
    }

    /// Sets a key.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.keys, key, value.into());
        self
    }

    /// Leaves a key out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(name, _)| name != key);
        self
    }

    /// The value of a key that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_str())
    }

    /// Where it is deployed to.
    pub fn tree(&self) -> Tree {
        let path = |key| PathBuf::from(self.text(key).unwrap_or("/nonexistent"));
        Tree { directory: path("directory"), trigger: path("trigger") }
    }

    /// The full name of the ref that it follows.
    pub fn ref_name(&self) -> String {
        let kind = if self.text("labelType") == Some("tag") { "tags" } else { "heads" };
        format!("refs/{kind}/{}", self.text("label").unwrap_or("master"))
    }
}

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    keys: Vec<(String, Value)>,
    repos: Vec<Repo>,
    format: &'static str,
}

impl Config {
    /// On loopback; as root with users for the children.
    pub fn new() -> Self {
        let config = Self { keys: Vec::new(), repos: Vec::new(), format: "yaml" }.set("listen", "127.0.0.1").set("port", 0);
        // Never the machine's own syslog.
        let config = config.set("audit", serde_json::json!({"syslog": false}));
        if !need::is_root() {
            return config;
        }
        config.set("user", scratch::UPDATER).set("worker_user", scratch::WORKER).set("listener_user", scratch::LISTENER)
    }

    /// Sets a global key. A value that is an object becomes a nested block.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.keys, key, value.into());
        self
    }

    /// Leaves a global key out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(name, _)| name != key);
        self
    }

    /// Adds a repository.
    #[must_use]
    pub fn repo(mut self, repo: Repo) -> Self {
        self.repos.push(repo);
        self
    }

    /// The repository with this path.
    pub fn repo_at(&self, path: &str) -> &Repo {
        self.repos.iter().find(|repo| repo.text("path") == Some(path)).unwrap()
    }

    /// A global key that is a number.
    pub fn number(&self, key: &str) -> Option<u16> {
        self.keys.iter().find(|(name, _)| name == key)?.1.as_u64()?.try_into().ok()
    }

    /// Leaves a repository out.
    #[must_use]
    pub fn without_repo(mut self, path: &str) -> Self {
        self.repos.retain(|repo| repo.text("path") != Some(path));
        self
    }

    /// Changes a repository.
    #[must_use]
    pub fn change_repo(mut self, path: &str, change: impl FnOnce(Repo) -> Repo) -> Self {
        let repo = self.repo_at(path).clone();
        let place = self.repos.iter().position(|repo| repo.text("path") == Some(path)).unwrap();
        self.repos[place] = change(repo);
        self
    }

    /// All repositories.
    pub fn repos(&self) -> &[Repo] {
        &self.repos
    }

    /// Another format: `yaml`, `toml` or `json`.
    #[must_use]
    pub fn format(self, format: &'static str) -> Self {
        Self { format, ..self }
    }

    /// Its file's name.
    pub fn file_name(&self) -> String {
        format!("gwg.{}", self.format)
    }

    /// As its file has it.
    pub fn text(&self) -> String {
        match self.format {
            "yaml" => self.yaml(),
            "toml" => self.toml(),
            _ => self.json().to_string(),
        }
    }

    fn json(&self) -> Value {
        let object = |keys: &[(String, Value)]| Value::Object(keys.iter().cloned().collect());
        let mut all = object(&self.keys);
        all["repos"] = self.repos.iter().map(|repo| object(&repo.keys)).collect();
        all
    }

    /// Texts, numbers and lists are written alike in JSON and TOML; a nested block becomes dotted keys.
    fn toml(&self) -> String {
        let line = |(key, value): &(String, Value)| match value {
            Value::Object(block) => block.iter().map(|(inner, value)| format!("{key}.{inner} = {value}\n")).collect(),
            value => format!("{key} = {value}\n"),
        };
        let lines = |keys: &[(String, Value)]| keys.iter().map(line).collect::<String>();
        self.repos.iter().fold(lines(&self.keys), |text, repo| text + "[[repos]]\n" + &lines(&repo.keys))
    }

    /// As YAML. Values are written as JSON, which YAML contains.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.keys {
            writeln!(text, "{key}: {value}").unwrap();
        }
        text.push_str(if self.repos.is_empty() { "repos: []\n" } else { "repos:\n" });
        for repo in &self.repos {
            for (place, (key, value)) in repo.keys.iter().enumerate() {
                writeln!(text, "  {} {key}: {value}", if place == 0 { '-' } else { ' ' }).unwrap();
            }
        }
        text
    }
}

fn set(keys: &mut Vec<(String, Value)>, key: &str, value: Value) {
    match keys.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = value,
        None => keys.push((key.to_owned(), value)),
    }
}
