//! Profiles of AppArmor, labels of SELinux and units, held against the sources: an executable, a directory
//! or a socket that gwg knows and they don't would be a denial on somebody's server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The executables of gwg's house, from its manifest; not those with which its tests attack it.
fn executables() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let names = manifest.lines().filter_map(|line| line.strip_prefix("path = \"bin/")?.strip_suffix(".rs\"").map(str::to_owned));
    let names: Vec<_> = names.filter(|name| !name.contains("owned")).collect();
    assert!(names.len() >= 4, "the manifest was not read: {names:?}");
    names
}

fn installed(executable: &str) -> String {
    let place = if executable == "gwg" { "/usr/bin" } else { "/usr/libexec/gwg" };
    format!("{place}/{executable}")
}

/// The file rules of a profile with its own abstraction: path and rights.
fn rules(profile: &str) -> Vec<(String, String)> {
    let text = read(&format!("apparmor/{profile}")) + &read("apparmor/abstractions/gwg-process");
    let rule = |line: &str| {
        let line = line.trim().trim_start_matches("owner ").strip_suffix(',')?;
        let (path, rights) = line.strip_prefix(['/', '@']).map(|_| line)?.split_once(' ')?;
        Some((path.replace("@{PROC}", "/proc").replace("@{HOME}", "/home/*"), rights.split(' ').next()?.to_owned()))
    };
    text.lines().filter_map(rule).collect()
}

/// Whether AppArmor's pattern matches all of the path.
fn matches(pattern: &str, path: &str) -> bool {
    if let Some((before, rest)) = pattern.split_once('{')
        && !before.contains('*')
    {
        let (choices, after) = rest.split_once('}').expect("a closing brace");
        return choices.split(',').any(|choice| matches(&format!("{before}{choice}{after}"), path));
    }
    match pattern.strip_prefix('*') {
        Some(deeper) if deeper.starts_with('*') => {
            let rest = deeper.trim_start_matches('*');
            (0..=path.len()).any(|at| path.is_char_boundary(at) && matches(rest, &path[at..]))
        }
        Some(rest) => {
            let most = path.find('/').unwrap_or(path.len());
            (0..=most).any(|at| path.is_char_boundary(at) && matches(rest, &path[at..]))
        }
        None => match (pattern.chars().next(), path.chars().next()) {
            (None, None) => true,
            (Some(one), Some(other)) if one == other => matches(&pattern[one.len_utf8()..], &path[other.len_utf8()..]),
            _ => false,
        },
    }
}

/// Whether a profile lets the path, or what lies in it, be reached.
fn knows(profile: &str, path: &str) -> bool {
    let inside = format!("{path}/x");
    rules(profile).iter().any(|(pattern, _)| matches(pattern, path) || matches(pattern, &inside))
}

/// Absolute paths of the system that the sources name, without comments and tests.
fn paths_in(files: &[PathBuf]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let literals = line.split('"').skip(1).step_by(2);
            let path =
                |text: &&str| ["/etc/", "/var/", "/run/", "/usr/", "/dev/", "/sys/", "/proc/sys"].iter().any(|top| text.starts_with(top));
            found.extend(literals.filter(path).filter(|text| !text.contains(['{', ' '])).map(str::to_owned));
        }
    }
    found
}

fn sources(room: &str, without: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![root().join("src").join(room)];
    while let Some(place) = left.pop() {
        if place.is_file() {
            files.push(place);
            continue;
        }
        let entries = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        left.extend(entries.filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs")));
    }
    files.retain(|file| !without.iter().any(|name| file.ends_with(name)));
    files
}

/// Named to say something of them, and never opened by the supervisor.
const NOT_OPENED: &[&str] =
    &["/etc/puppet/code", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local/bin", "/var/lib", "/var/log", "/var/www"];

/// `but`: what another process opens, or nobody.
fn assert_known(profile: &str, files: &[PathBuf], at_least: &str, but: &[&str]) {
    let paths = paths_in(files);
    assert!(paths.contains(at_least), "the sources were not read: {paths:?}");
    for path in paths.iter().filter(|path| !but.contains(&path.as_str())) {
        assert!(knows(profile, path), "apparmor/{profile} does not know {path}, which the sources name");
    }
}

#[test]
fn each_executable_has_a_profile_a_way_into_it_and_a_label() {
    let labels = read("selinux/gwg.fc");
    let policy = read("selinux/gwg.te");
    for executable in executables() {
        let path = installed(&executable);
        let profile = read(&format!("apparmor/{executable}"));
        assert!(profile.contains(&format!("\nprofile {executable} ")), "apparmor/{executable}");
        // The supervisor also becomes its successor.
        let rights = if executable == "gwg" { "mrix" } else { "mr" };
        assert!(rules(&executable).contains(&(path.clone(), rights.to_owned())), "apparmor/{executable}: {path} wants {rights}");
        if executable == "gwg" {
            assert!(
                read("apparmor/gwg-rootless").contains(&format!("\n  {path} mrix,")) && policy.contains("\ncan_exec(gwg_t, gwg_exec_t)\n")
            );
            assert!(read("packaging/systemd/gwg.service").contains("\nAppArmorProfile=-gwg\n"));
            assert!(read("packaging/systemd/gwg-rootless.service").contains("\nAppArmorProfile=-gwg-rootless\n"));
        } else {
            assert!(read("apparmor/gwg").contains(&format!("  {path} px -> {executable},")), "gwg does not change to {executable}");
            assert!(read("apparmor/gwg-rootless").contains(&format!("  {path} mrpix -> &{executable},")), "gwg-rootless: {executable}");
        }
        let kind = executable.replace('-', "_");
        assert!(
            labels.lines().any(|line| line.starts_with(&format!("{path}\t")) && line.contains(&format!("{kind}_exec_t"))),
            "gwg.fc: {path}"
        );
        assert!(policy.contains(&format!("type {kind}_t, gwg_domain;")), "gwg.te: {kind}_t");
    }
}

#[test]
fn each_profile_is_installed_and_loaded() {
    let manifest = read("Cargo.toml");
    let setup = read("packaging/setup");
    let loaded = setup.lines().find_map(|line| line.strip_prefix("profiles=")).unwrap().trim_matches('"');
    let loaded: BTreeSet<_> = loaded.split(' ').map(str::to_owned).collect();
    let files = fs::read_dir(root().join("apparmor")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<_> = files.filter(|name| name.starts_with("gwg")).collect();
    assert_eq!(files, loaded);
    for name in files {
        assert!(manifest.contains(&format!("\"/etc/apparmor.d/{name}\"")), "{name} is no conffile");
        assert!(read(&format!("apparmor/{name}")).contains(&format!("include if exists <local/{name}>")), "{name}");
    }
}

#[test]
fn the_supervisors_profile_knows_every_place_that_its_sources_name() {
    // Work trees of the system are refused by name, and are no place that it opens.
    let files = [sources("supervisor", &[]), sources("config", &["directories.rs"]), sources("confine", &["reach.rs"])].concat();
    assert_known("gwg", &files, "/var/lib/gwg", NOT_OPENED);
}

#[test]
fn the_updaters_profile_knows_every_place_that_its_sources_name() {
    let files = [sources("confine/reach.rs", &[]), sources("updater", &[])].concat();
    assert_known("gwg-updater", &files, "/etc/resolv.conf", &["/dev/full"]);
}

#[test]
fn selinux_labels_what_the_supervisor_makes() {
    let labels = read("selinux/gwg.fc");
    for path in ["/etc/gwg", "/var/lib/gwg", "/var/log/gwg", "/run/gwg", "/run/gwg-triggers"] {
        assert!(labels.contains(&format!("{path}(/.*)?\t")), "gwg.fc has no label for {path}");
    }
}

#[test]
fn a_place_that_a_profile_does_not_know_is_seen() {
    assert!(!knows("gwg", "/var/lib/other"));
    assert!(!knows("gwg-listener", "/etc/resolv.conf"));
    assert!(knows("gwg", "/var/lib/gwg"));
    assert!(matches("/{usr/,}lib{,64}/**.so*", "/lib/x/y.so.6"));
    assert!(!matches("/run/gwg/*", "/run/gwg/a/b"));
}
