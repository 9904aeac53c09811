//! What an operator does to a gateway with 10,000 repositories while deliveries come: a reload, a listener
//! that dies, `gwg status`.

use crate::ground::Ground;
use crate::machine;
use crate::push::PATH;
use crate::running::Running;
use crate::steady::{self, Senders};
use crate::table::{self, Goal};
use crate::{Effort, Result, gwg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Repositories configured.
const REPOS: usize = 10_000;

/// Measures and prints.
pub fn measure(effort: Effort) -> Result<()> {
    println!("\nOperations: {REPOS} repositories, {} signed requests a second meanwhile; {} rounds", steady::RATE, effort.rounds);
    let ground = Ground::new()?;
    for format in [gwg::Format::Yaml, gwg::Format::Json] {
        ground.reloads(format, effort.rounds)?;
    }
    ground.deaths(effort.rounds)?;
    ground.status(effort.rounds)?;
    println!("  load average at the end {}", machine::load());
    Ok(())
}

impl Ground {
    fn site(&self) -> gwg::Site<'_> {
        gwg::Site { url: &self.url, key: None, repos: REPOS, syslog: None }
    }

    /// A gateway that has served, and come to rest.
    fn start(&self, format: gwg::Format) -> Result<Running> {
        let running = gwg::start_from(&self.scratch, &self.site(), format)?;
        let status = self.push.send(running.port, PATH)?;
        if status != 202 {
            return Err(format!("gwg answered {status}").into());
        }
        std::thread::sleep(Duration::from_millis(1500));
        Ok(running)
    }

    fn ask(&self, arguments: &[&str]) -> Command {
        let mut gwg = Command::new(gwg::executable());
        gwg.args(arguments).arg("--socket").arg(self.scratch.path().join("run/control.sock")).stdin(Stdio::null());
        gwg
    }

    /// Each reload rotates a secret and adds a repository.
    fn reloads(&self, format: gwg::Format, rounds: usize) -> Result<()> {
        let running = self.start(format)?;
        let senders = Senders::start(running.port, &self.push);
        let (mut in_force, mut slowest, mut at_rest) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(500));
            let quiet = Instant::now();
            std::thread::sleep(Duration::from_millis(500));
            let changed = gwg::config_changed(&self.scratch, &self.site(), running.port, round)?;
            let file = gwg::write(&self.scratch, &changed, format, "gwg.new")?;
            let asked = Instant::now();
            fs::rename(&file, gwg::file(&self.scratch, format))?;
            let status = self.ask(&["reload"]).stdout(Stdio::null()).status()?;
            let done = Instant::now();
            if !status.success() {
                return Err("the reload was refused".into());
            }
            // The added repository is served: authentic, and about another remote than its own, or accepted.
            if self.push.send(running.port, &gwg::added(round))? == 404 {
                return Err("the configuration is not in force".into());
            }
            in_force.push(millis(done - asked));
            std::thread::sleep(Duration::from_millis(300));
            at_rest.push(millis(senders.slowest(quiet, asked)?));
            slowest.push(millis(senders.slowest(asked, done)?));
        }
        let lost = senders.end().iter().filter(|sent| sent.status != Some(202)).count();
        if lost > 0 {
            return Err(format!("{lost} requests were not answered 202 while the configuration was reloaded").into());
        }
        let name = format.name();
        table::judge(&format!("ms until a reload is in force, {name}"), &in_force, 0, Goal::AtMost(300.0));
        table::judge(&format!("ms of the slowest answer meanwhile, {name}"), &slowest, 1, Goal::AtMost(50.0));
        table::tell("ms of the slowest answer without a reload", &at_rest, 1);
        Ok(())
    }

    /// The listener is killed, as the kernel does when memory is short.
    fn deaths(&self, rounds: usize) -> Result<()> {
        let running = self.start(gwg::Format::Yaml)?;
        let senders = Senders::start(running.port, &self.push);
        let (mut back, mut refused) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            std::thread::sleep(Duration::from_millis(1000));
            let listener = running.family().into_iter().find(|process| process.name == "gwg-listener").ok_or("no listener runs")?;
            let killed = Instant::now();
            kill(Pid::from_raw(i32::try_from(listener.pid)?), Signal::SIGKILL)?;
            std::thread::sleep(Duration::from_millis(1500));
            back.push(millis(senders.first_answer_after(killed).ok_or("the listener did not come back within 1.5 s")?));
        }
        let sent = senders.end();
        refused.push(sent.iter().filter(|sent| sent.refused).count() as f64);
        table::judge("ms from the listener's death to an answer", &back, 0, Goal::AtMost(100.0));
        table::judge("connections refused, in all rounds", &refused, 0, Goal::AtMost(0.0));
        Ok(())
    }

    fn status(&self, rounds: usize) -> Result<()> {
        let _running = self.start(gwg::Format::Yaml)?;
        for (what, arguments, goal) in [
            ("ms of `gwg status`", vec!["status"], true),
            ("ms of `gwg status --json`", vec!["status", "--json"], true),
            ("ms of `gwg status` of one repository", vec!["status", PATH], false),
        ] {
            let mut took = Vec::new();
            for _ in 0..rounds {
                let since = Instant::now();
                let output = self.ask(&arguments).output()?;
                took.push(millis(since.elapsed()));
                if !output.status.success() || !output.stdout.windows(PATH.len()).any(|part| part == PATH.as_bytes()) {
                    return Err(format!("gwg status: {}", String::from_utf8_lossy(&output.stderr)).into());
                }
            }
            match goal {
                true => table::judge(what, &took, 0, Goal::AtMost(100.0)),
                false => table::tell(what, &took, 0),
            }
        }
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
