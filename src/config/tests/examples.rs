//! Every configuration that is shipped, and the sample of the original's README, load as they are
//! once the files that they name exist; and the reference has every key.

use super::*;
use std::path::Path;

/// The original gwg 0.0.9 documents this configuration; its keys' names, values and blanks are what
/// a migrating user has.
const ORIGINAL: &str = r#"
listen: localhost                           # a comment
port: 5555
retry_count: 10
retry_delay: 1
threads: 5
initialise: true
logging:
  format: text
  output: stdout
  level: info
  timestamp: true
repos:
    ### required ###
  - url: git@github.com:ns/repo-1.git
    path: /gwg/repo-1
    directory: /path/to/local/repo
    ### optional ###
    label: master
    labelType: branch
    remote: origin
    trigger: /path/to/trigger/file
    secret: webhookPassword
    sshPrivKey: /path/to/private/key
    sshPassPhrase: sshPassPhrase-123
  - url: git@github.com:ns/repo-2.git
    path: /gwg/repo-2
    directory: /path/to/clone/to-2
    branch: master
    trigger: /path/to/trigger/file-2
    secret: superSecret-repo-2
    sshPrivKey: /path/to/priv/key-2
    sshPassPhrase: abc
"#;

/// Makes each file that a configuration names below `bench`, and the text name it there: as root
/// nothing may be written to the places that examples name.
fn moved(text: &str, bench: &Bench) -> String {
    let mut text = text.to_owned();
    let mut files: Vec<(String, &str)> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().trim_start_matches("# ").split_once([':', '=']) else { continue };
        let kind = match key.trim().trim_matches('"') {
            "sshPrivKey" => "key",
            "secretFile" | "sshPassPhraseFile" => "secret",
            "knownHosts" => "hosts",
            "caFile" => "ca",
            "output" => "log",
            _ => continue,
        };
        let value = value.split('#').next().unwrap().trim().trim_end_matches(',').trim_matches('"').to_owned();
        if value.starts_with('/') {
            files.push((value, kind));
        }
    }
    files.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    files.dedup();
    for (number, (path, kind)) in files.iter().enumerate() {
        let name = format!("{kind}-{number}");
        let content = match *kind {
            "key" => keys::container(b"ssh-ed25519"),
            "ca" => "-----BEGIN CERTIFICATE-----\n".to_owned(),
            _ => "0123456789abcdef0123456789abcdef\n".to_owned(),
        };
        fs::write(bench.at(&name), content).unwrap();
        fs::set_permissions(bench.at(&name), fs::Permissions::from_mode(0o600)).unwrap();
        text = text.replace(path.as_str(), bench.at(&name).to_str().unwrap());
    }
    text
}

fn load_moved(name: &str, text: &str, bench: &Bench) -> Config {
    let path = bench.at(name);
    fs::write(&path, moved(text, bench)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    load(Some(&path), &bench.env).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_originals_sample_loads() {
    let bench = Bench::new();
    let config = load_moved("config.yaml", ORIGINAL, &bench);
    assert_eq!(config.listen, "127.0.0.1:5555".parse().unwrap());
    let labels: Vec<_> = config.repos.iter().map(|repo| repo.label.to_string()).collect();
    assert_eq!(labels, ["branch master", "branch master"]);
    let paths: Vec<_> = config.repos.iter().map(|repo| repo.path.as_str()).collect();
    assert_eq!(paths, ["/gwg/repo-1", "/gwg/repo-2"]);
    assert_eq!(config.keys.len(), 2);
    assert!(config.warnings.iter().any(|warning| warning.contains("shorter than 16 bytes")), "webhookPassword has 15");
}

#[test]
fn every_shipped_example_loads_and_says_the_same() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("config.") {
            continue;
        }
        let bench = Bench::new();
        let config = load_moved(&name, &fs::read_to_string(&path).unwrap(), &bench);
        assert_eq!(config.warnings, Vec::<String>::new(), "{name}");
        let repos: Vec<_> = config
            .repos
            .iter()
            .map(|repo| (repo.path.clone(), repo.url.clone(), repo.label.to_string(), repo.directory.clone(), repo.limits))
            .collect();
        seen.push((name, config.listen, config.schedule, repos));
    }
    let names: Vec<_> = seen.iter().map(|(name, ..)| name.as_str()).collect();
    assert!(["config.json", "config.toml", "config.yaml"].iter().all(|name| names.contains(name)), "{names:?}");
    for other in &seen {
        assert_eq!((&other.1, &other.2, &other.3), (&seen[0].1, &seen[0].2, &seen[0].3), "{} and {}", other.0, seen[0].0);
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    let mut documented: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect();
    let bench = Bench::new();
    let mut known = Vec::new();
    for (text, prefix) in [
        ("zzzzzzzzzz: 1\n", ""),
        ("logging: {zzzzzzzzzz: 1}\n", "logging."),
        ("control: {zzzzzzzzzz: 1}\n", "control."),
        ("metrics: {zzzzzzzzzz: 1}\n", "metrics."),
        ("limits: {zzzzzzzzzz: 1}\n", "limits."),
        ("gc: {zzzzzzzzzz: 1}\n", "gc."),
        ("audit: {zzzzzzzzzz: 1}\n", "audit."),
        ("repos: [{zzzzzzzzzz: 1}]\n", ""),
        ("repos: [{hook: {zzzzzzzzzz: 1}}]\n", "hook."),
    ] {
        let error = bench.error("c.yaml", text);
        let (_, keys) = error.split_once("the keys here are ").unwrap_or_else(|| panic!("{error}"));
        known.extend(
            keys.split(", ")
                .filter(|key| !matches!(*key, "logging" | "limits" | "gc" | "audit" | "control" | "metrics" | "repos" | "hook"))
                .map(|key| format!("{prefix}{key}")),
        );
    }
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}
