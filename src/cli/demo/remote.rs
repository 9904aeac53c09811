//! The demo's git remote: a bare repository, served over `git://` on loopback by the machine's own
//! `git upload-pack`.

use super::Result;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// A bare repository with a clone to push from.
pub struct Remote {
    clone: PathBuf,
    port: u16,
}

impl Remote {
    /// Makes the repository and serves it until the process ends.
    pub fn new(folder: &Path) -> Result<Self> {
        let (bare, clone) = (folder.join("remote.git"), folder.join("developer"));
        git(folder).args(["init", "-q", "--bare", "-b", "main"]).arg(&bare).run()?;
        git(folder).args(["clone", "-q"]).arg(&bare).arg(&clone).run()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bare = bare.clone();
                thread::spawn(move || serve(stream, &bare));
            }
        });
        Ok(Self { clone, port })
    }

    /// The URL that the gateway fetches from.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/remote.git", self.port)
    }

    /// Commits one file and pushes it. The new commit's id.
    pub fn commit(&self, file: &str, text: &str, message: &str) -> Result<String> {
        std::fs::write(self.clone.join(file), text)?;
        git(&self.clone).args(["add", "."]).run()?;
        git(&self.clone).args(["commit", "-q", "-m", message]).run()?;
        git(&self.clone).args(["push", "-q", "origin", "HEAD:main"]).run()?;
        git(&self.clone).args(["rev-parse", "HEAD"]).run()
    }
}

/// The machine's git, with nobody's configuration.
pub fn git(directory: &Path) -> Git {
    let mut command = Command::new("git");
    command.current_dir(directory).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", directory);
    for (name, value) in [("NAME", "gwg demo"), ("EMAIL", "demo@localhost")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    // The work tree may belong to the updater's user.
    command.args(["-c", "safe.directory=*", "-c", "init.defaultBranch=main"]);
    Git(command)
}

/// One call of git.
pub struct Git(Command);

impl Git {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.0.args(args);
        self
    }

    /// Runs it; its output, without the last newline.
    pub fn run(mut self) -> Result<String> {
        let output = self.0.stdin(Stdio::null()).output().map_err(|error| format!("git can't be run: {error}; install git"))?;
        if !output.status.success() {
            return Err(format!("{:?} failed: {}", self.0, String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

/// One connection: reads the request (one pkt-line) and leaves the rest to `git upload-pack`.
fn serve(mut stream: TcpStream, bare: &Path) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::from_str_radix(std::str::from_utf8(&length).ok()?, 16).ok()?;
    let mut request = vec![0; length.checked_sub(4)?];
    stream.read_exact(&mut request).ok()?;
    let mut git = git(bare.parent()?).args(["upload-pack", "--strict"]).arg(bare).0;
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let (mut to_git, mut from_git) = (child.stdin.take()?, child.stdout.take()?);
    let mut from_client = stream.try_clone().ok()?;
    let up = thread::spawn(move || pump(&mut from_client, &mut to_git));
    std::io::copy(&mut from_git, &mut stream).ok()?;
    stream.flush().ok()?;
    stream.shutdown(std::net::Shutdown::Both).ok();
    child.wait().ok()?;
    up.join().ok()?.ok()
}

/// Not `std::io::copy`: that splices, and a splice that waits for the client locks git's pipe.
fn pump(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let count = from.read(&mut buffer)?;
        let Some(bytes @ [_, ..]) = buffer.get(..count) else { return Ok(()) };
        to.write_all(bytes)?;
    }
}
