//! A `git://` server on loopback: reads the one line that says which repository, then hands the
//! socket to the real `git upload-pack`.

use super::loopback::{Loopback, Mode};
use super::remote;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Serves every repository below one directory.
pub struct GitDaemon {
    server: Loopback,
}

impl GitDaemon {
    /// Starts it.
    pub fn start(root: &Path) -> Self {
        let root = root.to_owned();
        Self { server: Loopback::start(move |stream| drop(serve(stream, &root))) }
    }

    /// The URL of a repository below its directory.
    pub fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.server.port())
    }

    /// What becomes of connections from now on.
    pub fn set(&self, mode: Mode) {
        self.server.set(mode);
    }

    /// The connections.
    pub fn server(&self) -> &Loopback {
        &self.server
    }
}

/// Serves one connection.
///
/// # Errors
/// The client is gone.
pub fn serve(mut stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let Some(path) = requested(&read_line(&mut stream)?, root) else { return Ok(()) };
    let mut command = remote::command(root);
    command.args(["upload-pack", "--strict", "--timeout=60"]).arg(path);
    command.stdin(OwnedFd::from(stream.try_clone()?)).stdout(OwnedFd::from(stream)).stderr(Stdio::null());
    command.spawn()?.wait()?;
    Ok(())
}

/// One pkt-line, and no byte more: the rest is for `upload-pack`.
fn read_line(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let length = std::str::from_utf8(&header).ok().and_then(|text| usize::from_str_radix(text, 16).ok()).unwrap_or(0);
    let mut line = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut line)?;
    Ok(line)
}

/// `git-upload-pack /NAME\0host=…\0`
fn requested(line: &[u8], root: &Path) -> Option<PathBuf> {
    let text = std::str::from_utf8(line.split(|byte| *byte == 0).next()?).ok()?;
    let name = text.trim_end().strip_prefix("git-upload-pack /")?;
    (!name.contains("..")).then(|| root.join(name))
}
