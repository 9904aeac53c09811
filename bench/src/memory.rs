//! What gwg takes while it does nothing, and how soon it serves.

use crate::push::{PATH, Push};
use crate::remote::{Daemon, Remote, Sshd};
use crate::scratch::Scratch;
use crate::table::{self, Goal};
use crate::{Effort, Result, gwg, machine};
use std::time::Duration;

/// Measures and prints.
pub fn measure(effort: Effort) -> Result<()> {
    println!("\nMemory and start; {} rounds", effort.rounds);
    let scratch = Scratch::new()?;
    let remote = Remote::new(&scratch, 1)?;
    let daemon = Daemon::start(&scratch)?;
    let sshd = match Sshd::missing() {
        Some(missing) => {
            println!("  WITHOUT a key among the repositories: {missing}");
            None
        }
        None => Some(Sshd::start(&scratch)?),
    };
    let url = sshd.as_ref().map_or_else(|| Ok(daemon.url()), Sshd::url)?;
    let site = |repos| gwg::Site { url: &url, key: sshd.as_ref().map(Sshd::credentials), repos, syslog: None };
    let push = Push::new(&url, &remote.head()?)?;
    let (mut small, mut large, mut start) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        small.push(idle_mib(&scratch, &site(10))?);
        let running = gwg::start(&scratch, &site(10_000))?;
        // Only 202 says that supervisor, listener and worker all serve.
        let status = push.send(running.port, PATH)?;
        start.push(running.since.elapsed().as_secs_f64() * 1000.0);
        if status != 202 {
            return Err(format!("gwg answered {status}").into());
        }
        drop(running);
        large.push(idle_mib(&scratch, &site(10_000))?);
    }
    table::judge("MiB (PSS), idle with 10 repositories", &small, 1, Goal::AtMost(25.0));
    println!("  {:<44} {}", "MiB (PSS), idle with 10,000 repositories", table::spread(&large, 1));
    table::judge("ms from exec to the first 202, 10,000 repos", &start, 0, Goal::AtMost(1000.0));
    println!("  load average at the end {}", machine::load());
    Ok(())
}

/// All processes together, when they have come to rest.
fn idle_mib(scratch: &Scratch, site: &gwg::Site<'_>) -> Result<f64> {
    let running = gwg::start(scratch, site)?;
    std::thread::sleep(Duration::from_millis(1500));
    let family = running.family();
    let names: Vec<&str> = family.iter().map(|process| process.name.as_str()).collect();
    if names != ["gwg", "gwg-worker", "gwg-listener"] {
        return Err(format!("gwg is not at rest, or not whole: {names:?}").into());
    }
    let mut kib = 0;
    for process in family {
        kib += machine::pss_kib(process.pid)?;
    }
    Ok(kib as f64 / 1024.0)
}
