//! The executable that is to take this one's place: found by its path, since a package upgrade puts another file
//! there; tried as a child before anything is given up; and run, by the descriptor that was tried. Runs in
//! the supervisor, on its main thread.

use super::executables::Executables;
use super::handover::{self, Handover};
use nix::libc::{O_CLOEXEC, O_PATH};
use nix::unistd::execve;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf, absolute};
use std::process::{Output, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::process::Command;

/// What the trial may take: it reads the configuration and all that this names.
const TRIAL: Duration = Duration::from_secs(30);
/// Bytes of what it says against itself that are told.
const REASON: usize = 8192;

/// The trial's word for yes; the version follows.
pub const YES: &str = "can take over:";

/// An executable that was tried, with its children's: what is installed meanwhile does not change them.
pub struct Successor {
    program: OwnedFd,
    executables: Executables,
    /// As it says itself.
    pub version: String,
}

/// Which executable is tried, and with what it must be able to go on.
pub struct Trial {
    /// Where its executable is.
    pub path: PathBuf,
    /// The configuration, where one was named.
    pub config: Option<PathBuf>,
    /// Where this one listens, where the configuration says that.
    pub listen: Option<SocketAddr>,
}

/// Where this executable is, and its successor will be: as it was called, where that is a path, so that
/// a link that leads to another version is followed anew. Ask at start, while that path still leads here.
///
/// # Errors
/// There is no `/proc`.
pub fn place() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let same = |path: &Path| match (fs::metadata(path), fs::metadata("/proc/self/exe")) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    let called = std::env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1 && same(path));
    match called {
        Some(path) => absolute(path),
        // The kernel's mark for a file that was replaced meanwhile.
        None => Ok(own.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map_or(own.clone(), PathBuf::from)),
    }
}

impl Trial {
    /// Opens the executable and tries it: it must run, find its children's of the same version, and accept
    /// the configuration.
    ///
    /// # Errors
    /// Why it can't take over, for people.
    pub async fn run(self) -> Result<Successor, String> {
        let shown = self.path.display().to_string();
        let say = |why: String| format!("{shown}: {why}");
        let (program, executables) = self.open().map_err(|error| say(error.to_string()))?;
        let command = self.command(&program, &executables).map_err(|error| say(error.to_string()));
        let output = match tokio::time::timeout(TRIAL, command?.output()).await {
            Ok(output) => output.map_err(|error| say(format!("it can't be run: {error}")))?,
            Err(_) => return Err(say(format!("its trial takes longer than {} s", TRIAL.as_secs()))),
        };
        let version = judge(&output).map_err(say)?;
        Ok(Successor { program, executables, version })
    }

    fn open(&self) -> io::Result<(OwnedFd, Executables)> {
        Ok((open(&self.path)?, Executables::beside(&self.path.canonicalize()?)?))
    }

    fn command(&self, program: &OwnedFd, executables: &Executables) -> io::Result<Command> {
        let mut command = Command::new(run_path(program));
        // Its environment is this one's, since the configuration may lean on it; but it is no service.
        for name in [handover::VARIABLE, "NOTIFY_SOCKET", "LISTEN_PID"] {
            command.env_remove(name);
        }
        command.arg0("gwg").arg("successor");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(listen) = self.listen {
            command.arg("--listen").arg(listen.to_string());
        }
        for (name, number) in executables.leave()? {
            command.arg(format!("{name}={number}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }
}

/// By descriptor: what was tried is what will be run.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = File::options().read(true).custom_flags(O_PATH | O_CLOEXEC).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let own = nix::unistd::geteuid().as_raw();
    if !(about.uid() == 0 || about.uid() == own) || about.mode() & 0o022 != 0 {
        return Err(io::Error::other("others than root may write it: chown root, chmod 755"));
    }
    Ok(file.into())
}

fn run_path(program: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", program.as_raw_fd())
}

/// The version of an executable that can take over.
fn judge(output: &Output) -> Result<String, String> {
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8_lossy(stdout);
    let yes = said.lines().find_map(|line| line.strip_prefix(YES)).map(|version| version.trim().to_owned());
    match (status.code(), status.signal(), yes) {
        (Some(0), _, Some(version)) if version.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(version),
        (Some(0), _, _) => Err("it does not say that it can take over: is it gwg?".to_owned()),
        (Some(_), _, _) => {
            let why = String::from_utf8_lossy(stderr.get(..REASON).unwrap_or(stderr)).trim().to_owned();
            Err(if why.is_empty() { format!("it ended with {status}, and said nothing") } else { why })
        }
        (None, signal, _) => Err(format!("signal {} ended it", signal.unwrap_or_default())),
    }
}

impl Successor {
    /// Runs it in this process, with these arguments and this environment. Comes back only where that is
    /// impossible, with the reason, after this very executable could not be run either.
    pub fn take_over(self, mut handover: Handover) -> io::Error {
        let mut own = std::mem::replace(&mut handover.executables, Rc::new(self.executables));
        let failed = replace(&run_path(&self.program), &handover);
        // The kernel took what it had tried, and now does not: this gwg goes on, as one that has just started.
        std::mem::swap(&mut handover.executables, &mut own);
        handover.failure = Some(format!("gwg {} could not be run: {failed}", self.version));
        replace("/proc/self/exe", &handover)
    }
}

fn replace(program: &str, handover: &Handover) -> io::Error {
    let run = || {
        let letter = handover.leave()?;
        let arguments = std::env::args_os().map(text).collect::<io::Result<Vec<_>>>()?;
        let ours = std::env::vars_os().filter(|(name, _)| !is_of_this_start(name));
        let named = ours.map(|(name, value)| text([name, value].join("=".as_ref())));
        let letter = text(format!("{}={}", handover::VARIABLE, letter.as_raw_fd()).into());
        let environment = named.chain([letter]).collect::<io::Result<Vec<_>>>()?;
        execve(&text(program.into())?, &arguments, &environment).map_err(io::Error::from)
    };
    match run() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// What was said of descriptors that this process has taken long since.
fn is_of_this_start(name: &OsString) -> bool {
    name == handover::VARIABLE || name.as_bytes().starts_with(b"LISTEN_")
}

fn text(value: OsString) -> io::Result<CString> {
    CString::new(value.into_vec()).map_err(io::Error::other)
}
