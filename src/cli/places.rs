//! `gwg check --apparmor`, `--selinux`, `--systemd`: what those must be told of the places that a
//! configuration names, because the package can't know them. Pure: a checked configuration in, text out.

use crate::config::{Config, LogOutput, Repo};
use std::collections::BTreeSet;
use std::path::Path;

/// Below these the package's profiles and units let work trees lie.
const TREES: [&str; 2] = ["/srv", "/var/www"];
/// And triggers.
const TRIGGERS: &str = "/run/gwg-triggers";
/// Here lies what the supervisor may read: the configuration, keys, secrets, certificates.
const CONFIGURATION: &str = "/etc/gwg";
/// Here it may write its log.
const LOG: &str = "/var/log/gwg";

/// Lines of AppArmor's local files, by file.
pub fn apparmor(config: &Config) -> String {
    let mut updater = BTreeSet::new();
    for repo in trees(config) {
        let tree = quoted(&repo.directory);
        updater.insert(format!("\"{tree}/\" rw,"));
        updater.insert(format!("\"{tree}/**\" rwlk,"));
    }
    updater.extend(triggers(config).map(|trigger| format!("\"{}\" rw,", quoted(trigger))));
    let mut supervisor: BTreeSet<_> = read(config).map(|file| format!("\"{}\" r,", quoted(file))).collect();
    supervisor.extend(log(config).map(|file| format!("\"{}\" rw,", quoted(file))));
    let both: BTreeSet<_> = supervisor.union(&updater).cloned().collect();
    let mut text = String::new();
    for (name, lines) in [("gwg", supervisor), ("gwg-updater", updater), ("gwg-rootless", both)] {
        if !lines.is_empty() {
            section(&mut text, &format!("# /etc/apparmor.d/local/{name}"), lines);
        }
    }
    or_nothing(text, "AppArmor's profiles know every place that this configuration names", "# then: systemctl reload apparmor")
}

/// Commands that label the places.
pub fn selinux(config: &Config) -> String {
    let mut lines = BTreeSet::new();
    let mut label = |kind: &str, path: &Path, below: &str| {
        let path = path.display();
        lines.insert(format!("semanage fcontext -a -t {kind} '{}{below}'", escaped(&path.to_string())));
        lines.insert(format!("restorecon -RF '{path}'"));
    };
    // No place is labelled for work trees from the start.
    config.repos.iter().for_each(|repo| label("gwg_content_t", &repo.directory, "(/.*)?"));
    triggers(config).for_each(|trigger| label("gwg_trigger_t", trigger, ""));
    read(config).for_each(|file| label("gwg_conf_t", file, ""));
    log(config).for_each(|file| label("gwg_log_t", file, ""));
    if config.listen.port() != 5555 {
        lines.insert(format!("semanage port -a -t gwg_port_t -p tcp {}", config.listen.port()));
    }
    let mut text = String::new();
    // Labels are named before they are given.
    let (names, gives): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("semanage"));
    names.into_iter().chain(gives).for_each(|line| add(&mut text, &line));
    or_nothing(text, "SELinux knows every place that this configuration names", "")
}

/// Lines of a drop-in of the unit.
pub fn systemd(config: &Config) -> String {
    let mut lines = BTreeSet::new();
    // Of what is made or replaced, the directory.
    let parents = triggers(config).chain(log(config)).filter_map(Path::parent);
    for path in trees(config).map(|repo| repo.directory.as_path()).chain(parents) {
        lines.insert(format!("ReadWritePaths=\"-{}\"", path.display().to_string().replace('%', "%%")));
    }
    if config.listen.port() < 1024 {
        lines.insert("CapabilityBoundingSet=CAP_NET_BIND_SERVICE".to_owned());
    }
    let home = config.repos.iter().any(|repo| repo.directory.starts_with("/home") || repo.directory.starts_with("/root"));
    if home {
        lines.insert("ProtectHome=no".to_owned());
    }
    let mut text = String::new();
    if !lines.is_empty() {
        section(&mut text, "# systemctl edit gwg\n[Service]", lines);
    }
    or_nothing(text, "the unit knows every place that this configuration names", "# then: systemctl restart gwg")
}

fn section(text: &mut String, head: &str, lines: BTreeSet<String>) {
    add(text, head);
    lines.iter().for_each(|line| add(text, line));
}

fn add(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn or_nothing(mut text: String, nothing: &str, then: &str) -> String {
    if text.is_empty() {
        return format!("# nothing to add: {nothing}\n");
    }
    if !then.is_empty() {
        add(&mut text, then);
    }
    text
}

/// Repositories whose trees lie elsewhere.
fn trees(config: &Config) -> impl Iterator<Item = &Repo> {
    config.repos.iter().filter(|repo| !is_below(&repo.directory, &TREES))
}

/// Triggers that lie elsewhere, and in no work tree of their own.
fn triggers(config: &Config) -> impl Iterator<Item = &Path> {
    let own = |repo: &&Repo| repo.trigger.as_ref().is_some_and(|trigger| !trigger.starts_with(&repo.directory));
    let triggers = config.repos.iter().filter(own).filter_map(|repo| repo.trigger.as_deref());
    triggers.filter(|trigger| !is_below(trigger, &[TRIGGERS, TREES[0], TREES[1]]))
}

/// Files that the supervisor reads and that lie elsewhere.
fn read(config: &Config) -> impl Iterator<Item = &Path> {
    let files = std::iter::once(config.file.as_path()).chain(config.files.iter().map(AsRef::as_ref));
    // Known hosts and keys of a user stay what they are: the profiles know them where they are the usual ones.
    let usual = |file: &Path| file.components().any(|part| part.as_os_str() == ".ssh") || file == Path::new("/etc/ssh/ssh_known_hosts");
    files.filter(move |file| file.is_absolute() && !usual(file) && !is_below(file, &[CONFIGURATION, "/run/credentials"]))
}

/// The log, where it is a file elsewhere.
fn log(config: &Config) -> impl Iterator<Item = &Path> {
    let file = match &config.logging.output {
        LogOutput::Stdout => None,
        LogOutput::File(file) => Some(file.path.as_path()),
    };
    file.into_iter().filter(|file| !is_below(file, &[LOG]))
}

fn is_below(path: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place) && path != Path::new(place))
}

/// A path inside of quotes, as AppArmor wants it: its patterns stand for themselves.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    text.chars().flat_map(|letter| ("\\\"*?[]{}^@,".contains(letter)).then_some('\\').into_iter().chain([letter])).collect()
}

/// A path as a regular expression.
fn escaped(path: &str) -> String {
    path.chars().flat_map(|letter| (".+*?()[]{}^$|\\".contains(letter)).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Environment, load};
    use std::os::unix::fs::PermissionsExt;

    /// A configuration with these lines, and one repository with this tree and trigger.
    fn config(head: &str, tree: &str, trigger: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.yaml");
        let repos = format!(
            "repos:\n  - url: https://h/r.git\n    path: /hook\n    directory: {tree}\n    trigger: {trigger}\n    unsigned: true\n"
        );
        std::fs::write(&file, format!("{head}{repos}")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut env = Environment::of_process();
        env.uid = if env.is_root() { 1000 } else { env.uid };
        env.variables.clear();
        let mut config = load(Some(&file), &env).unwrap();
        config.file = "/etc/gwg/config.yaml".into();
        config
    }

    #[test]
    fn what_the_package_knows_needs_nothing() {
        for trigger in ["/run/gwg-triggers/site", "/srv/site/tmp/restart.txt", "/var/www/t"] {
            let config = config("", "/srv/site", trigger);
            assert!(apparmor(&config).starts_with("# nothing to add"), "{}", apparmor(&config));
            assert!(systemd(&config).starts_with("# nothing to add"), "{}", systemd(&config));
        }
    }

    #[test]
    fn other_places_are_named_to_each() {
        let mut config = config("port: 80\n", "/data/si te", "/run/app/reload");
        config.files.extend(["/opt/keys/one".into(), "/etc/gwg/keys/two".into(), "/home/x/.ssh/known_hosts".into()]);
        let lines = apparmor(&config);
        for line in ["local/gwg\n\"/opt/keys/one\" r,", "\"/data/si te/**\" rwlk,", "\"/data/si te/\" rw,", "\"/run/app/reload\" rw,"] {
            assert!(lines.contains(line), "{line} is not in\n{lines}");
        }
        assert!(!lines.contains("two") && !lines.contains(".ssh"), "{lines}");
        let lines = systemd(&config);
        for line in ["ReadWritePaths=\"-/data/si te\"", "ReadWritePaths=\"-/run/app\"", "CAP_NET_BIND_SERVICE"] {
            assert!(lines.contains(line), "{line} is not in\n{lines}");
        }
        let lines = selinux(&config);
        for line in [
            "-t gwg_content_t '/data/si te(/.*)?'",
            "-t gwg_trigger_t '/run/app/reload'",
            "-t gwg_conf_t '/opt/keys/one'",
            "gwg_port_t -p tcp 80",
        ] {
            assert!(lines.contains(line), "{line} is not in\n{lines}");
        }
        let last_name = lines.rfind("semanage").unwrap();
        assert!(lines.find("restorecon").unwrap() > last_name, "{lines}");
    }

    #[test]
    fn letters_that_mean_something_stand_for_themselves() {
        assert_eq!(quoted(Path::new("/a*b[c]{d}\"e")), "/a\\*b\\[c\\]\\{d\\}\\\"e");
        assert_eq!(escaped("/a.b(c)"), "/a\\.b\\(c\\)");
        let config = config("", "/data/50%", "/run/gwg-triggers/x");
        assert!(systemd(&config).contains("/data/50%%"), "{}", systemd(&config));
    }
}
