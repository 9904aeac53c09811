//! The remote: a bare repository on this machine, and the servers of the machine's own git and
//! OpenSSH in front of it.

use crate::Result;
use crate::machine;
use crate::running::{self, Running};
use crate::scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "lantern-works/harbour.git";

/// A bare repository, and a clone in which commits are made.
pub struct Remote {
    bare: PathBuf,
    work: PathBuf,
}

impl Remote {
    /// With one commit of so many files on `main`.
    pub fn new(scratch: &Scratch, files: usize) -> Result<Self> {
        let remote = Self { bare: scratch.directory(&format!("remotes/{NAME}"))?, work: scratch.directory("work")? };
        git(&remote.bare, &["init", "--quiet", "--bare", "--initial-branch=main", "."])?;
        git(&remote.work, &["init", "--quiet", "--initial-branch=main", "."])?;
        for file in 0..files {
            let path = remote.work.join(format!("src/{}/{file}.txt", file % 16));
            fs::create_dir_all(path.parent().unwrap_or(&remote.work))?;
            fs::write(path, format!("file {file}\n").repeat(64))?;
        }
        remote.publish("first")?;
        Ok(remote)
    }

    /// Commits a change of one file and pushes it. Gives the commit.
    pub fn publish(&self, text: &str) -> Result<String> {
        fs::write(self.work.join("CHANGED"), text)?;
        git(&self.work, &["add", "--all"])?;
        git(&self.work, &["commit", "--quiet", "--message", text])?;
        git(&self.work, &["push", "--quiet", &self.bare.display().to_string(), "HEAD:main"])?;
        self.head()
    }

    /// Its tip.
    pub fn head(&self) -> Result<String> {
        git(&self.bare, &["rev-parse", "main"])
    }
}

/// `git daemon`, for anyone on loopback.
pub struct Daemon(Running);

impl Daemon {
    pub fn start(scratch: &Scratch) -> Result<Self> {
        let port = running::free_port()?;
        let base = scratch.directory("remotes")?;
        let mut daemon = git_command(&base);
        daemon
            .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", &format!("--port={port}"), "--base-path=."])
            .stderr(Stdio::null());
        Ok(Self(Running::start(&mut daemon, port)?))
    }

    /// The remote's URL.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/{NAME}", self.0.port)
    }
}

/// The real OpenSSH server, with a host key and a client key of its own.
pub struct Sshd {
    running: Running,
    directory: PathBuf,
    repository: PathBuf,
}

impl Sshd {
    /// How to get it, where it is missing.
    pub fn missing() -> Option<&'static str> {
        let all = ["sshd", "ssh", "ssh-keygen"].into_iter().all(|program| machine::program(program).is_some());
        (!all).then_some("sshd or ssh is missing: apt-get install openssh-server openssh-client")
    }

    pub fn start(scratch: &Scratch) -> Result<Self> {
        let directory = scratch.directory("ssh")?;
        for key in ["host_key", "key"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(directory.join(key)))?;
        }
        fs::copy(directory.join("key.pub"), directory.join("authorized_keys"))?;
        let port = running::free_port()?;
        let host_key = fs::read_to_string(directory.join("host_key.pub"))?;
        fs::write(directory.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}"))?;
        fs::write(directory.join("sshd_config"), configuration(&directory, port))?;
        if crate::scratch::is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        let program = machine::program("sshd").ok_or("no sshd")?;
        let running = Running::start(
            Command::new(program)
                .args(["-D", "-e", "-f"])
                .arg(directory.join("sshd_config"))
                .stderr(fs::File::create(directory.join("log"))?),
            port,
        )?;
        Ok(Self { running, repository: scratch.path().join("remotes").join(NAME), directory })
    }

    /// The remote's URL.
    pub fn url(&self) -> Result<String> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.ok_or("no such user")?.name;
        Ok(format!("ssh://{user}@127.0.0.1:{}{}", self.running.port, self.repository.display()))
    }

    /// The client's key, and the file of known hosts.
    pub fn credentials(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("key"), self.directory.join("known_hosts"))
    }
}

/// With a home of its own: what this machine's user has in their `.bashrc` is no part of a git server.
fn configuration(directory: &Path, port: u16) -> String {
    let directory = directory.display();
    let path = std::env::var("PATH").unwrap_or_default();
    format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host_key\nAuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\nSetEnv PATH={path} HOME={directory}\n"
    )
}

/// Runs git and gives its output without the last line end.
pub fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    run(git_command(directory).args(arguments))
}

/// git with an identity, and without any configuration of the machine's.
fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    for name in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{name}_NAME"), "A. U. Thor").env(format!("GIT_{name}_EMAIL"), "author@example.com");
    }
    command.args(["-c", "gc.auto=0", "-c", "safe.directory=*"]);
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
