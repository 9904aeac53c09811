//! A remote: a bare repository, and a clone of it in which commits are made, by the real git.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bare repository and a clone of it.
pub struct Remote {
    bare: PathBuf,
    work: PathBuf,
}

impl Remote {
    /// `DIRECTORY/NAME.git` with one commit on `master`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let remote = Self { bare: directory.join(format!("{name}.git")), work: directory.join(format!("{name}.work")) };
        fs::create_dir_all(directory).unwrap();
        git(directory, &["init", "--quiet", "--bare", "--initial-branch=master", text(&remote.bare)]);
        git(directory, &["init", "--quiet", "--initial-branch=master", text(&remote.work)]);
        remote.git(&["remote", "add", "origin", text(&remote.bare)]);
        remote.commit(&[("README", "first\n"), ("src/main.c", "int main(void) { return 0; }\n")]);
        remote.push("master");
        remote
    }

    /// The bare repository.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The clone, for changes that [`commit`](Self::commit) takes along.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The bare repository's name.
    pub fn name(&self) -> &str {
        self.bare.file_name().and_then(|name| name.to_str()).unwrap()
    }

    /// Runs git in the clone.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work, arguments)
    }

    /// Writes files in the clone and commits all. Gives the commit.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.work.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "a change"]);
        self.head()
    }

    /// [`commit`](Self::commit) and [`push`](Self::push) to `master`.
    pub fn publish(&self, files: &[(&str, &str)]) -> String {
        let commit = self.commit(files);
        self.push("master");
        commit
    }

    /// Pushes the clone's HEAD to a branch, rewriting history where need be.
    pub fn push(&self, branch: &str) {
        self.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/{branch}")]);
    }

    /// Pushes a tag that the clone has, moving it where need be.
    pub fn push_tag(&self, tag: &str) {
        let full = format!("refs/tags/{tag}");
        self.git(&["push", "--quiet", "--force", "origin", &format!("{full}:{full}")]);
    }

    /// Deletes a ref of the bare repository.
    pub fn delete(&self, full_name: &str) {
        git(&self.bare, &["update-ref", "-d", full_name]);
    }

    /// The clone's commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// The commit that a name of the bare repository stands for.
    pub fn tip(&self, name: &str) -> String {
        git(&self.bare, &["rev-parse", &format!("{name}^{{commit}}")])
    }
}

/// Runs git and gives its output without the last line end. Panics where it fails.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory).args(arguments).output().expect("git runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "git {arguments:?} in {}: {}\n{out}{err}", directory.display(), output.status);
    out.trim_end().to_owned()
}

/// git without any configuration but this: the identity is fixed, nothing of the machine's or the
/// user's is read, and trees of other users may be looked at. It leaves no lock and no index behind
/// where it only looks.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (name, value) in [
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "A. U. Thor"),
        ("GIT_AUTHOR_EMAIL", "author@example.com"),
        ("GIT_COMMITTER_NAME", "C. O. Mitter"),
        ("GIT_COMMITTER_EMAIL", "committer@example.com"),
        ("GIT_CONFIG_COUNT", "3"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
        ("GIT_CONFIG_KEY_1", "protocol.file.allow"),
        ("GIT_CONFIG_VALUE_1", "always"),
        ("GIT_CONFIG_KEY_2", "gc.auto"),
        ("GIT_CONFIG_VALUE_2", "0"),
    ] {
        command.env(name, value);
    }
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
