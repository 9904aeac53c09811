//! What a test needs of the machine. A test that lacks something says so on stderr and ends early;
//! with `GWG_TEST_REQUIRE=all` in the environment that is a failure, so that a gate can't pass by
//! skipping. `GWG_TEST_REQUIRE=all-but-root` is for a second run of the gate, as an ordinary user.

use nix::unistd::User;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The OpenSSH server, and a user whom it would let in.
pub fn sshd() -> Option<PathBuf> {
    let program = program_at(&["/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"]).or_else(|| missing("sshd (package openssh-server)"))?;
    if !may_log_in() {
        return missing("an entry in the user database, with a shell, for whoever runs the tests: sshd logs in as that user");
    }
    if nix::unistd::geteuid().is_root() && std::fs::create_dir_all("/run/sshd").is_err() {
        return missing("/run/sshd, which sshd wants as root");
    }
    ssh_keygen()?;
    Some(program)
}

/// The name of whoever runs the tests.
pub fn user() -> Option<String> {
    Some(entry()?.name)
}

/// sshd runs git by the user's shell.
fn may_log_in() -> bool {
    entry().is_some_and(|user| !user.shell.ends_with("nologin") && !user.shell.ends_with("false"))
}

fn entry() -> Option<User> {
    User::from_uid(nix::unistd::geteuid()).ok().flatten()
}

/// `ssh-keygen`
pub fn ssh_keygen() -> Option<PathBuf> {
    in_path("ssh-keygen").or_else(|| missing("ssh-keygen (package openssh-client)"))
}

/// `nm`
pub fn nm() -> Option<PathBuf> {
    in_path("nm").or_else(|| missing("nm (package binutils)"))
}

/// A program of another package.
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    in_path(name).or_else(|| missing(&format!("{name} (package {package})")))
}

/// `git http-backend`
pub fn http_backend() -> Option<PathBuf> {
    let path = PathBuf::from(super::remote::git(Path::new("/"), &["--exec-path"])).join("git-http-backend");
    if path.exists() { Some(path) } else { missing("git http-backend (package git)") }
}

/// Root, for what only root can do or see.
pub fn root() -> Option<()> {
    match nix::unistd::geteuid().is_root() {
        true => Some(()),
        false if required() == Required::AllButRoot => not_here("needs root"),
        false => missing("root"),
    }
}

/// An ordinary user, for what root may do anyway.
pub fn no_root() -> Option<()> {
    if nix::unistd::geteuid().is_root() { not_here("for an ordinary user only") } else { Some(()) }
}

/// Executables that every user can reach, for a test that lets another user run them.
pub fn executables_for_all() -> Option<()> {
    let passable = |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0);
    if Path::new(env!("CARGO_BIN_EXE_gwg")).ancestors().all(passable) { Some(()) } else { missing("executables that every user can reach") }
}

/// A kernel that writes cores where it may: then one that is not written says something.
pub fn core_dumps() -> Option<()> {
    use std::os::unix::process::ExitStatusExt;
    let scratch = tempfile::tempdir().unwrap();
    let mut crash = std::process::Command::new("sh");
    crash.args(["-c", "ulimit -c unlimited; kill -SEGV $$"]).current_dir(scratch.path());
    if crash.status().is_ok_and(|status| status.core_dumped()) { Some(()) } else { missing("core dumps, which this machine does not make") }
}

/// Whether the tests run as root: children then have users of their own.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

fn program_at(candidates: &[&str]) -> Option<PathBuf> {
    candidates.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Says that the running test is skipped, or fails it where nothing may be skipped.
pub fn missing<T>(what: &str) -> Option<T> {
    assert!(required() == Required::Nothing, "this test needs {what}, and GWG_TEST_REQUIRE allows no skip");
    not_here(&format!("needs {what}"))
}

#[derive(PartialEq, Eq)]
enum Required {
    Nothing,
    AllButRoot,
    All,
}

fn required() -> Required {
    match std::env::var("GWG_TEST_REQUIRE").as_deref() {
        Ok("all") => Required::All,
        Ok("all-but-root") => Required::AllButRoot,
        Ok(other) => panic!("GWG_TEST_REQUIRE={other}: all, or all-but-root"),
        Err(_) => Required::Nothing,
    }
}

/// Straight to the descriptor: the harness swallows what passing tests print with macros.
fn not_here<T>(reason: &str) -> Option<T> {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "SKIPPED {}: {reason}", thread.name().unwrap_or("a test"));
    None
}
