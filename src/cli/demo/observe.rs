//! What /proc says of processes: the demo believes nothing else about them.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The children of a process: pid and name.
pub fn children(parent: u32) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| field(*pid, "PPid").as_deref() == Some(&parent.to_string())).filter_map(|pid| Some((pid, name(pid)?))).collect()
}

/// A process's name: the first word of its command line.
pub fn name(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let word = line.split(|byte| *byte == 0).next()?;
    let word = String::from_utf8_lossy(word).into_owned();
    (!word.is_empty()).then(|| word.rsplit('/').next().unwrap_or_default().to_owned())
}

/// Whether the pid is still that process, and not a zombie.
pub fn is_running(pid: u32, expected: &str) -> bool {
    name(pid).as_deref() == Some(expected)
}

/// The user that a process runs as, by name where there is one.
pub fn user(pid: u32) -> Option<String> {
    let uid: u32 = field(pid, "Uid")?.split_whitespace().next()?.parse().ok()?;
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    Some(user.map_or_else(|| format!("uid {uid}"), |user| user.name))
}

/// Whether it can gain nothing: no capability, no-new-privs, closed to its own user's other processes.
pub fn restraint(pid: u32) -> String {
    let mut words = Vec::new();
    if field(pid, "CapEff").is_some_and(|set| set.bytes().all(|digit| digit == b'0')) {
        words.push("no capabilities");
    }
    if field(pid, "NoNewPrivs").as_deref() == Some("1") {
        words.push("no-new-privs");
    }
    // The kernel gives the files of a non-dumpable process to root.
    let own: Option<u32> = field(pid, "Uid").and_then(|uids| uids.split_whitespace().next()?.parse().ok());
    if fs::metadata(format!("/proc/{pid}/environ")).is_ok_and(|file| Some(file.uid()) != own && file.uid() == 0) {
        words.push("non-dumpable");
    }
    if field(pid, "Seccomp").as_deref() == Some("2") {
        words.push("seccomp");
    }
    // Each network has files of its own below /proc/PID/net.
    let network = |pid: &str| fs::metadata(format!("/proc/{pid}/net/dev")).map(|file| file.ino()).ok();
    if network(&pid.to_string()).is_some_and(|theirs| network("self").is_some_and(|ours| ours != theirs)) {
        words.push("no network");
    }
    words.join(", ")
}

fn field(pid: u32, wanted: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}
