//! The demo's gateway: a setting in a temporary directory, and the real `gwg` started on it.

use super::delivery::{Answer, Delivery};
use super::remote::{Remote, git};
use super::{PATIENCE, Result, observe, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown, geteuid};
use std::cell::RefCell;
use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Ids that no user of a common system has: as root, the children run as these.
const UPDATER: u32 = 64_201;
const WORKER: u32 = 64_202;
const LISTENER: u32 = 64_203;

/// A temporary directory with all that the gateway needs; gone with the demo.
pub struct Setting {
    folder: PathBuf,
    /// The webhook's secret.
    pub secret: String,
    port: u16,
}

impl Setting {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let folder = nix::unistd::mkdtemp(&std::env::temp_dir().join("gwg-demo-XXXXXX"))?;
        let mut random = [0; 24];
        std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut random)?;
        let secret = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let setting = Self { folder, secret, port };
        fs::create_dir(setting.www())?;
        if geteuid().is_root() {
            fs::set_permissions(&setting.folder, Permissions::from_mode(0o755))?;
            chown(&setting.www(), Some(UPDATER.into()), Some(UPDATER.into()))?;
        }
        Ok(setting)
    }

    /// Where all of it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The work tree.
    pub fn tree(&self) -> PathBuf {
        self.www().join("site")
    }

    /// The trigger file.
    pub fn trigger(&self) -> PathBuf {
        self.www().join("deployed")
    }

    /// When the trigger was last touched.
    pub fn trigger_time(&self) -> Option<SystemTime> {
        fs::metadata(self.trigger()).and_then(|file| file.modified()).ok()
    }

    /// The page that the commits are about.
    pub fn page(&self) -> Result<String> {
        Ok(fs::read_to_string(self.tree().join("index.html"))?.trim_end().to_owned())
    }

    /// The work tree's commit, as the real git tells it.
    pub fn head(&self) -> Result<Option<String>> {
        // Asked all the time, so not by starting git: a branch's tip is a file.
        Ok(fs::read_to_string(self.tree().join(".git/refs/heads/main")).ok().map(|text| text.trim().to_owned()))
    }

    /// Whether the real git finds the work tree at its branch's tip and unchanged.
    pub fn is_clean(&self) -> Result<bool> {
        let tip = git(&self.tree()).args(["rev-parse", "HEAD"]).run()?;
        let status = git(&self.tree()).args(["status", "--porcelain"]).run()?;
        Ok(status.is_empty() && self.head()?.as_deref() == Some(tip.as_str()))
    }

    fn www(&self) -> PathBuf {
        self.folder.join("www")
    }

    /// Best effort, so that the demo runs where a container or an old kernel has not every layer; the
    /// screen says which each process has.
    fn write_config(&self, remote: &Remote) -> Result<PathBuf> {
        let users = if geteuid().is_root() {
            format!("user: {UPDATER}\nworker_user: {WORKER}\nlistener_user: {LISTENER}\n")
        } else {
            String::new()
        };
        let (port, secret, url) = (self.port, &self.secret, remote.url());
        let (tree, trigger) = (self.tree(), self.trigger());
        let text = format!(
            "listen: 127.0.0.1\nport: {port}\nconfinement: best-effort\naudit: {{syslog: false}}\n{users}repos:\n  - path: /site\n    url: {url}\n    label: main\n    secret: {secret}\n    \
             directory: {}\n    trigger: {}\n",
            tree.display(),
            trigger.display()
        );
        let file = self.folder.join("config.yaml");
        fs::write(&file, text)?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        Ok(file)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // What is left behind is a temporary directory.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The running gateway.
pub struct Gateway {
    child: RefCell<Child>,
    pid: u32,
    port: u16,
    log: PathBuf,
}

impl Gateway {
    /// Starts `gwg --config FILE`, the executable that this is.
    pub fn start(setting: &Setting, remote: &Remote) -> Result<Self> {
        let config = setting.write_config(remote)?;
        let log = setting.folder.join("log");
        let child = Command::new(std::env::current_exe()?)
            .arg("--config")
            .arg(config)
            .env("STATE_DIRECTORY", setting.folder.join("state"))
            .env("RUNTIME_DIRECTORY", setting.folder.join("run"))
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()?;
        Ok(Self { pid: child.id(), child: RefCell::new(child), port: setting.port, log })
    }

    /// Waits until connections are taken; an error where the gateway ended instead.
    pub fn wait_until_it_serves(&self) -> Result<()> {
        wait("the start", || match self.child.borrow_mut().try_wait()? {
            Some(status) => Err(format!("the gateway ended with {status}").into()),
            None => Ok(TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.log().contains("ready")),
        })
    }

    /// Each process: pid, user, what it holds, what it can't do.
    pub fn processes(&self) -> Result<Vec<String>> {
        let mut lines = vec![describe(self.pid, "gwg", "the configuration, the listening socket; hears no network")];
        for (pid, name) in self.family()? {
            match name.as_str() {
                "gwg-listener" => lines.push(describe(pid, &name, "the webhook secret; no key, no file, no work tree")),
                "gwg-worker" => lines.push(describe(pid, &name, "the ssh keys and what is due; no secret, no work tree")),
                _ => {}
            }
        }
        Ok(lines)
    }

    /// A running updater, where one is to be seen right now.
    pub fn updater(&self) -> Option<String> {
        let (pid, name) = observe::children(self.pid).into_iter().find(|(_, name)| name == "gwg-updater")?;
        Some(describe(pid, &name, "one URL, one key, one work tree; lived for this update only"))
    }

    /// The children.
    pub fn family(&self) -> Result<Vec<(u32, String)>> {
        Ok(observe::children(self.pid))
    }

    /// The listener's pid, once there is one.
    pub fn listener(&self) -> Result<u32> {
        let find = || observe::children(self.pid).into_iter().find(|(_, name)| name == "gwg-listener").map(|(pid, _)| pid);
        wait("a listener", || Ok(find().is_some()))?;
        find().ok_or_else(|| "there is no listener".into())
    }

    /// Kills a child with -9 and waits until it is gone.
    pub fn kill(&self, pid: u32) -> Result<()> {
        kill(as_pid(pid)?, Signal::SIGKILL)?;
        wait("the kill", || Ok(!observe::is_running(pid, "gwg-listener")))
    }

    /// Sends a delivery.
    pub fn deliver(&self, delivery: &Delivery) -> Result<Answer> {
        delivery.send(self.port, "/site", PATIENCE)
    }

    /// Ends it by SIGTERM; an error where it does not end well. How long it took.
    pub fn end(&self) -> Result<Duration> {
        let begun = Instant::now();
        kill(as_pid(self.pid)?, Signal::SIGTERM)?;
        let status = self.child.borrow_mut().wait()?;
        if status.success() { Ok(begun.elapsed()) } else { Err(format!("the gateway ended with {status}").into()) }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.borrow_mut().kill();
        let _ = self.child.borrow_mut().wait();
    }
}

fn describe(pid: u32, name: &str, holds: &str) -> String {
    let user = observe::user(pid).unwrap_or_default();
    let restraint = observe::restraint(pid);
    let restraint = if restraint.is_empty() { String::new() } else { format!(" ({restraint})") };
    format!("{pid:>7}  {name:<13} {user:<12} holds {holds}{restraint}")
}

fn as_pid(pid: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(pid)?))
}
