//! The commands that need no running gateway, through the real executable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use support::gateway::{self, GWG};
use support::need;
use support::scratch::Scratch;

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn works(scratch: &Scratch, arguments: &[&str]) -> String {
    let (status, out, err) = said(&gateway::run(scratch, arguments));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    out
}

#[test]
fn a_secret_is_one_line_of_64_digits_and_another_one_each_time() {
    let scratch = Scratch::new();
    let secrets: BTreeSet<String> = (0..3).map(|_| works(&scratch, &["secret"])).collect();
    assert_eq!(secrets.len(), 3);
    for secret in secrets {
        let digits = secret.strip_suffix('\n').unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret:?}");
    }
}

/// The lines of `gwg setup` that belong into the configuration.
fn block(page: &str) -> String {
    let lines = page.lines().skip_while(|line| !line.starts_with("  - url"));
    lines.take_while(|line| line.starts_with("  ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_setup_prints_is_a_configuration_that_check_takes() {
    let scratch = Scratch::new();
    let (key, tree) = (scratch.path().join("key"), scratch.path().join("tree"));
    let (key, tree) = (key.to_str().unwrap(), tree.to_str().unwrap());
    let page = works(
        &scratch,
        &["setup", "git@github.com:octo/Site.git", "--key", key, "--directory", tree, "--label", "1.0", "--host", "hooks.example"],
    );
    let mut users = String::new();
    if need::is_root() {
        users = "user: 64001\nworker_user: 64002\nlistener_user: 64003\n".to_owned();
    }
    let config = scratch.file("config.yaml", &format!("{users}repos:\n{}", block(&page)));
    let report = works(&scratch, &["check", "--config", config.to_str().unwrap()]);
    for wanted in ["/hooks/site", "git@github.com:octo/Site.git (branch 1.0)", tree, key] {
        assert!(report.contains(wanted), "{wanted} is not in:\n{report}");
    }
    assert!(!report.contains("warning"), "{report}");
    for wanted in [
        "http://hooks.example:5555/hooks/site",
        "https://github.com/octo/site/settings/hooks/new",
        "https://github.com/octo/site/settings/keys/new",
        "application/json",
        "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU (ssh-ed25519)",
    ] {
        assert!(page.contains(wanted), "{wanted} is not in:\n{page}");
    }
    let secret = page.lines().find_map(|line| line.trim().strip_prefix("secret: ")).unwrap();
    assert!(page.contains(&format!("Secret        {secret}\n")), "the forge is told another secret:\n{page}");
}

#[test]
fn a_key_is_made_for_its_owner_only_and_never_over_another_file() {
    let scratch = Scratch::new();
    let file = scratch.path().join("key");
    let arguments = ["setup", "git@github.com:octo/site.git", "--key", file.to_str().unwrap()];
    let page = works(&scratch, &arguments);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let first = fs::read(&file).unwrap();
    let (status, out, err) = said(&gateway::run(&scratch, &arguments));
    assert_eq!((status, out.as_str()), (Some(73), ""));
    assert!(err.contains("left as it is"), "{err}");
    assert_eq!(fs::read(&file).unwrap(), first);
    // A dangling symlink is something that is there, too.
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(scratch.path().join("elsewhere"), &link).unwrap();
    let (status, ..) = said(&gateway::run(&scratch, &["setup", "git@github.com:octo/site.git", "--key", link.to_str().unwrap()]));
    assert_eq!(status, Some(73));
    assert!(!scratch.path().join("elsewhere").exists());

    let Some(keygen) = need::ssh_keygen() else { return };
    let output = Command::new(keygen).args(["-y", "-P", "", "-f"]).arg(&file).output().unwrap();
    let public = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = public.split_whitespace().take(2).collect();
    assert!(page.contains(&words.join(" ")), "ssh-keygen says {public:?}:\n{page}");
}

#[test]
fn a_host_that_is_not_built_in_is_never_trusted_by_setup() {
    let scratch = Scratch::new();
    let page = works(&scratch, &["setup", "ssh://git@git.example.org:2222/a/b.git"]);
    for wanted in ["knownHosts: /etc/gwg/known_hosts", "ssh-keyscan -p 2222 git.example.org", "compare their fingerprints"] {
        assert!(page.contains(wanted), "{wanted} is not in:\n{page}");
    }
    assert!(!page.contains("built in"), "{page}");
}

#[test]
fn a_url_that_is_not_fetched_from_is_refused_with_a_reason() {
    let scratch = Scratch::new();
    for (url, why) in
        [("/srv/git/a", "a path on this machine"), ("https://u:canary@h/r", "password"), ("http://example.org/r", "neither encrypted")]
    {
        let (status, out, err) = said(&gateway::run(&scratch, &["setup", url]));
        assert_eq!((status, out.as_str()), (Some(1), ""), "{url}");
        assert!(err.contains(why) && !err.contains("canary") && err.lines().count() == 1, "{url}: {err}");
    }
}

#[test]
fn every_shell_that_is_there_takes_its_completions() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = works(&scratch, &["completions", shell]);
        assert!(script.contains("gwg") && script.contains("setup"), "{shell}: {script}");
    }
    let script = scratch.file("gwg.bash", &works(&scratch, &["completions", "bash"]));
    let asked = format!(". {} && COMP_WORDS=(gwg se) COMP_CWORD=1 && _gwg gwg se gwg && echo \"${{COMPREPLY[@]}}\"", script.display());
    let output = Command::new("bash").args(["--norc", "-c", &asked]).stdin(Stdio::null()).output();
    let Some(output) = output.ok().or_else(|| need::missing("bash")) else { return };
    let (_, out, err) = said(&output);
    assert!(out.contains("secret") && out.contains("setup") && !out.contains("check"), "{out}{err}");
}

#[test]
fn the_manual_is_whole_and_man_takes_it_without_a_word() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("man");
    assert_eq!(works(&scratch, &["man", "--output", directory.to_str().unwrap()]), "");
    let pages: BTreeSet<String> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for wanted in ["gwg.1", "gwg-check.1", "gwg-setup.1", "gwg-secret.1", "gwg.yaml.5"] {
        assert!(pages.contains(wanted), "{wanted} is not in {pages:?}");
    }
    assert!(!pages.contains("gwg-help.1"), "{pages:?}");
    // The help names each command that has a page.
    let help = said(&Command::new(GWG).arg("--help").output().unwrap()).1;
    for command in pages.iter().filter_map(|page| page.strip_prefix("gwg-")?.strip_suffix(".1")) {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in:\n{help}");
    }
    let Some(groff) = need::program("groff", "groff-base") else { return };
    for page in &pages {
        let output = Command::new(&groff).args(["-man", "-Tutf8", "-ww", "-z"]).arg(directory.join(page)).output().unwrap();
        assert_eq!(said(&output), (Some(0), String::new(), String::new()), "{page}");
    }
}
