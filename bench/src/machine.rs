//! What can be said of the machine, and of processes on it, from /proc.

use crate::Result;
use std::fs;
use std::path::PathBuf;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// Its name, as it was called.
    pub name: String,
}

/// One line about the machine: figures without it say little.
pub fn describe() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (cpu, kernel) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"));
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches([':', ' ', '\t']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} × {model}, kernel {}, load average {}", kernel.trim(), load());
}

/// The load average over the last minute: this machine may have other things to do.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// Where a program is, `sbin` included.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

/// A process and all its descendants.
pub fn family(pid: u32) -> Vec<Process> {
    let Ok(arguments) = fs::read_to_string(format!("/proc/{pid}/cmdline")) else { return Vec::new() };
    let name = arguments.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let mut found = vec![Process { pid, name: name.to_owned() }];
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family));
    }
    found
}

/// The processor time that a process has used, in microseconds. None: it is gone.
pub fn cpu_micros(pid: u32) -> Option<f64> {
    // stat counts in hundredths of a second, schedstat in nanoseconds, but only for one thread.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanos = |path: PathBuf| fs::read_to_string(path).ok()?.split(' ').next()?.parse::<f64>().ok();
    Some(threads.flatten().filter_map(|thread| nanos(thread.path().join("schedstat"))).sum::<f64>() / 1000.0)
}

/// Proportional set size in KiB: memory, with what several processes share counted once.
pub fn pss_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss in smaps_rollup")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
