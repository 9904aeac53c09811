//! Names of branches, tags and remotes, by the rules of git-check-ref-format(1).

use super::error::Fault;
use crate::brief::{Label, LabelKind};

/// A checked branch or tag.
pub fn check(kind: LabelKind, name: &str) -> Result<Label, Fault> {
    if let Some((_, short)) = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?))) {
        return Err(Fault::new("this is a full ref name", format!("write the short one, {short}, and labelType: branch or tag")));
    }
    let label = Label { kind, name: name.to_owned() };
    if name == "HEAD" || name.starts_with('-') || !is_ref_name(&label.full_name()) {
        return Err(Fault::new(format!("git allows no branch or tag to be called {name:?}"), "write its short name, like main or v1.2"));
    }
    Ok(label)
}

/// A checked name of a remote.
pub fn check_remote(name: &str) -> Result<String, Fault> {
    if name.starts_with('-') || name.contains('/') || !is_ref_name(&format!("refs/remotes/{name}/x")) {
        return Err(Fault::new(format!("git allows no remote to be called {name:?}"), "write a simple word, like origin"));
    }
    Ok(name.to_owned())
}

fn is_ref_name(name: &str) -> bool {
    let part_is_fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let forbidden = |letter: char| letter.is_ascii_control() || " ~^:?*[\\".contains(letter);
    name.split('/').all(part_is_fine) && !name.contains(forbidden) && !name.contains("..") && !name.contains("@{") && !name.ends_with('.')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    const NAMES: [&str; 36] = [
        "master",
        "main",
        "feature/x",
        "v1.2",
        "a.b",
        "@",
        "ä",
        "a@b",
        "{",
        "a-b",
        "release/2026.11",
        "x.lock.y",
        "",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "a@{b",
        "a.",
        "a\tb",
        "a\x7fb",
        "a\nb",
        "a/b.",
        "..",
    ];

    #[test]
    fn names_are_judged_as_git_does() {
        if Command::new("git").arg("--version").output().is_err() {
            assert!(std::env::var("GWG_TEST_REQUIRE").as_deref() != Ok("all"), "git is missing");
            eprintln!("SKIPPED names_are_judged_as_git_does: git is missing");
            return;
        }
        for name in NAMES {
            let git = Command::new("git").args(["check-ref-format", &format!("refs/heads/{name}")]).status().unwrap().success();
            assert_eq!(check(LabelKind::Branch, name).is_ok(), git, "{name:?}");
        }
    }

    #[test]
    fn names_that_would_mislead_are_refused() {
        for name in ["HEAD", "-f", "--upload-pack=x", "refs/heads/main", "refs/tags/v1"] {
            assert!(check(LabelKind::Branch, name).is_err(), "{name}");
        }
        assert!(check(LabelKind::Branch, "refs/heads/main").unwrap_err().remedy.contains("main"));
        for name in ["", "-x", "a b", "a..b", "x.lock", "..", "a:b", "a/b"] {
            assert!(check_remote(name).is_err(), "{name}");
        }
        assert_eq!(check_remote("origin"), Ok("origin".to_owned()));
    }
}
