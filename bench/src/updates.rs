//! From a request sent to its trigger touched: one new commit in a repository of 200 files, over
//! ssh on loopback. The peer is what gwg replaces: webhook that runs fetch, reset and touch.

use crate::push::{PATH, Push};
use crate::remote::{Remote, Sshd, git};
use crate::running::Running;
use crate::scratch::{self, Scratch};
use crate::table::{self, Goal};
use crate::{Effort, Result, gwg, machine, webhook};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILES: usize = 200;
/// gwg takes pushes that follow faster for one burst.
const SPACE: Duration = Duration::from_millis(2600);

/// A peer at work.
struct Peer {
    name: &'static str,
    running: Running,
    tree: PathBuf,
    trigger: PathBuf,
    millis: Vec<f64>,
}

impl Peer {
    /// Delivers the commit and waits for the trigger. The tree must be at the commit then.
    fn deliver(&mut self, push: &Push, commit: &str) -> Result<()> {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
        watch.add_watch(&self.trigger, AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE)?;
        let sent = Instant::now();
        let status = push.send(self.running.port, PATH)?;
        if !(200..300).contains(&status) {
            return Err(format!("{}: answered {status}", self.name).into());
        }
        let mut watched = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::from(30_000_u16))? == 0 {
            return Err(format!("{}: the trigger was not touched", self.name).into());
        }
        self.millis.push(sent.elapsed().as_secs_f64() * 1000.0);
        let head = git(&self.tree, &["rev-parse", "HEAD"])?;
        if head != commit {
            return Err(format!("{}: the tree is at {head}", self.name).into());
        }
        Ok(())
    }
}

/// Measures and prints.
pub fn measure(effort: Effort) -> Result<()> {
    println!("\nMilliseconds from request to trigger: one new commit, {FILES} files, ssh on loopback; {} rounds", effort.rounds * 2);
    if let Some(missing) = Sshd::missing() {
        println!("  NOT MEASURED: {missing}");
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let remote = Remote::new(&scratch, FILES)?;
    let sshd = Sshd::start(&scratch)?;
    let url = sshd.url()?;
    let mut peers = vec![start_gwg(&scratch, &sshd, &url)?];
    match webhook::missing() {
        Some(missing) => println!("  NOT MEASURED: webhook: {missing}"),
        None => peers.push(start_webhook(&scratch, &sshd, &url)?),
    }
    // The first round warms up: gwg clones, and every file is in memory from then on.
    for round in 0..=effort.rounds * 2 {
        let commit = remote.publish(&format!("round {round}"))?;
        let push = Push::new(&url, &commit)?;
        let begun = Instant::now();
        for peer in &mut peers {
            peer.deliver(&push, &commit)?;
            // What follows the trigger (states, logs, ends of processes) is not to meet the next peer.
            std::thread::sleep(Duration::from_millis(300));
        }
        std::thread::sleep(SPACE.saturating_sub(begun.elapsed()));
    }
    print(&peers);
    Ok(())
}

fn start_gwg(scratch: &Scratch, sshd: &Sshd, url: &str) -> Result<Peer> {
    let running = gwg::start(scratch, &gwg::Site { url, key: Some(sshd.credentials()), repos: 1, syslog: None })?;
    let (tree, trigger) = gwg::tree(scratch);
    touchable(&trigger)?;
    Ok(Peer { name: "gwg", running, tree, trigger, millis: Vec::new() })
}

fn start_webhook(scratch: &Scratch, sshd: &Sshd, url: &str) -> Result<Peer> {
    let (tree, trigger) = (scratch.path().join("webhook-tree"), scratch.path().join("triggers/webhook"));
    touchable(&trigger)?;
    let (key, known_hosts) = sshd.credentials();
    let ssh = format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o GlobalKnownHostsFile=none",
        key.display(),
        known_hosts.display()
    );
    let script = format!(
        "#!/bin/sh\nexport GIT_SSH_COMMAND='{ssh}'\ncd '{}' && git fetch --quiet && git reset --quiet --hard origin/main && touch '{}'\n",
        tree.display(),
        trigger.display()
    );
    let script = scratch.file("update.sh", &script)?;
    fs::set_permissions(&script, Permissions::from_mode(0o700))?;
    git(scratch.path(), &["-c", &format!("core.sshCommand={ssh}"), "clone", "--quiet", url, &tree.display().to_string()])?;
    let running = webhook::start(scratch, Some(&script))?;
    Ok(Peer { name: "webhook: git fetch && git reset && touch", running, tree, trigger, millis: Vec::new() })
}

/// A trigger that is there already: both peers then only set its time.
fn touchable(trigger: &Path) -> Result<()> {
    fs::write(trigger, "")?;
    if scratch::is_root() {
        std::os::unix::fs::lchown(trigger, Some(scratch::UPDATER), Some(scratch::UPDATER))?;
    }
    Ok(())
}

fn print(peers: &[Peer]) {
    let millis: Vec<&[f64]> = peers.iter().map(|peer| peer.millis.get(1..).unwrap_or_default()).collect();
    for (peer, millis) in peers.iter().zip(&millis) {
        println!("  {:<44} {}", peer.name, table::spread(millis, 0));
    }
    if let [ours, theirs] = millis.as_slice() {
        table::judge("gwg / webhook", &table::ratios(ours, theirs), 2, Goal::AtMost(0.7));
    }
    println!("  load average at the end {}", machine::load());
}
