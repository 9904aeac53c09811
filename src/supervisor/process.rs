//! A child process and its end. Runs in the supervisor.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A running child, as the one who may end it sees it.
#[derive(Clone)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// When it was started.
    pub since: Instant,
    kill: Arc<Notify>,
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    /// Its status; none where the kernel would not tell.
    pub status: Option<ExitStatus>,
    /// It was killed because its deadline passed.
    pub deadline: bool,
}

impl Exit {
    /// Whether it ended as it was asked to.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Whether the kernel ended it for a system call that its filter does not allow.
    pub fn is_forbidden_call(&self) -> bool {
        self.status.and_then(|status| status.signal()) == Some(nix::libc::SIGSYS)
    }
}

impl Process {
    /// Ends it at once, by SIGKILL.
    pub fn kill(&self) {
        self.kill.notify_one();
    }
}

/// Starts a command. `ended` is called once with its end; a deadline, where there is one, ends it.
///
/// # Errors
/// Those of fork and exec.
pub fn start(command: Command, deadline: Option<Duration>, ended: impl FnOnce(Exit) + Send + 'static) -> io::Result<Process> {
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let process = Process { pid: child.id().unwrap_or_default(), since: Instant::now(), kill: Arc::new(Notify::new()) };
    let kill = Arc::clone(&process.kill);
    tokio::spawn(async move {
        let mut exit = Exit { status: None, deadline: false };
        let timer = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => exit.status = status.ok(),
            () = kill.notified() => exit.status = kill_and_wait(&mut child).await,
            () = timer => {
                exit.deadline = true;
                exit.status = kill_and_wait(&mut child).await;
            }
        }
        ended(exit);
    });
    Ok(process)
}

async fn kill_and_wait(child: &mut tokio::process::Child) -> Option<ExitStatus> {
    // An error means that it has ended already; wait tells.
    let _ = child.start_kill();
    child.wait().await.ok()
}
