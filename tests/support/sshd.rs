//! The real OpenSSH server on loopback, with a host key and an `authorized_keys` of its own.
//!
//! It runs once for each connection (`sshd -i`, as from inetd) on a socket that the test accepted:
//! no port is guessed and nothing is waited for. The login user is whoever runs the tests, root or not.

use super::loopback::Loopback;
use super::{keys, need};
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running server.
pub struct Sshd {
    server: Loopback,
    directory: PathBuf,
}

impl Sshd {
    /// Starts it; its files go to `directory`. None, and a word on stderr, where sshd is missing.
    pub fn start(directory: &Path) -> Option<Self> {
        let program = need::sshd()?;
        fs::create_dir_all(directory).unwrap();
        keys::generate(directory, "host_key", &["-t", "ed25519"], "");
        fs::write(directory.join("authorized_keys"), "").unwrap();
        fs::write(directory.join("sshd_config"), configuration(directory)).unwrap();
        let ours = directory.to_owned();
        let server = Loopback::start(move |stream| drop(serve(stream, &program, &ours)));
        Some(Self { server, directory: directory.to_owned() })
    }

    /// The connections.
    pub fn server(&self) -> &Loopback {
        &self.server
    }

    /// Lets a key in.
    pub fn authorize(&self, public: &str) {
        let path = self.directory.join("authorized_keys");
        let lines = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{lines}{public}\n")).unwrap();
    }

    /// The URL of a repository on this machine.
    pub fn url(&self, repository: &Path) -> String {
        let user = need::user().unwrap();
        format!("ssh://{user}@127.0.0.1:{}{}", self.server.port(), repository.display())
    }

    /// The name that known_hosts has for it.
    pub fn host(&self) -> String {
        format!("[127.0.0.1]:{}", self.server.port())
    }

    /// The known_hosts line of the host key that it has now.
    pub fn known_hosts_line(&self) -> String {
        let public = fs::read_to_string(self.directory.join("host_key.pub")).unwrap();
        let mut fields = public.split_whitespace();
        format!("{} {} {}", self.host(), fields.next().unwrap(), fields.next().unwrap())
    }

    /// That line with the host's name hashed, as `HashKnownHosts` has it.
    pub fn hashed_known_hosts_line(&self) -> String {
        let file = self.directory.join("to_hash");
        fs::write(&file, self.known_hosts_line() + "\n").unwrap();
        let output = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "ssh-keygen -H: {}", String::from_utf8_lossy(&output.stderr));
        let line = fs::read_to_string(&file).unwrap().trim_end().to_owned();
        assert!(line.starts_with("|1|"), "not hashed: {line}");
        line
    }

    /// Gives it another host key of the same type.
    pub fn change_host_key(&self) {
        fs::remove_file(self.directory.join("host_key")).unwrap();
        keys::generate(&self.directory, "host_key", &["-t", "ed25519"], "");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    let path = std::env::var("PATH").unwrap_or_default();
    format!(
        "HostKey {directory}/host_key\nAuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nUsePAM no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
         LogLevel VERBOSE\nSetEnv PATH={path} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*\n"
    )
}

fn serve(stream: TcpStream, program: &Path, directory: &Path) -> std::io::Result<()> {
    let log = File::options().append(true).create(true).open(directory.join("log"))?;
    let mut command = Command::new(program);
    command.args(["-i", "-e", "-f"]).arg(directory.join("sshd_config"));
    command.stdin(OwnedFd::from(stream.try_clone()?)).stdout(OwnedFd::from(stream)).stderr(log);
    command.spawn()?.wait()?;
    Ok(())
}
