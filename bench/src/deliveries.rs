//! Deliveries per second: accepted and verified, 7.7 kB each, over 32 keep-alive connections.

use crate::ground::Ground;
use crate::machine::{self, Process};
use crate::push::PATH;
use crate::running::Running;
use crate::table::{self, Goal};
use crate::wrk::Script;
use crate::{Effort, Result, bare, gwg, webhook, wrk};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Who has a turn in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Gwg,
    Gwg10000,
    Bare,
    Verifies,
    WebhookRefuses,
    WebhookRuns,
}

const PEERS: [Peer; 6] = [Peer::Gwg, Peer::Bare, Peer::Verifies, Peer::Gwg10000, Peer::WebhookRefuses, Peer::WebhookRuns];

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Gwg => "gwg, all of it",
            Self::Gwg10000 => "gwg with 10,000 repositories",
            Self::Bare => "bare hyper: reads and answers",
            Self::Verifies => "bare hyper that computes the signature",
            Self::WebhookRefuses => "webhook: verifies and refuses",
            Self::WebhookRuns => "webhook: verifies and runs /bin/true",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Gwg | Self::Gwg10000 => 202,
            Self::Bare | Self::Verifies | Self::WebhookRefuses | Self::WebhookRuns => 200,
        }
    }

    fn missing(self) -> Option<&'static str> {
        match self {
            Self::Gwg | Self::Gwg10000 | Self::Bare | Self::Verifies => None,
            Self::WebhookRefuses | Self::WebhookRuns => webhook::missing(),
        }
    }

    fn start(self, ground: &Ground) -> Result<Running> {
        let site = |repos| gwg::Site { url: &ground.url, key: None, repos, syslog: None };
        match self {
            Self::Gwg => gwg::start(&ground.scratch, &site(1)),
            Self::Gwg10000 => gwg::start(&ground.scratch, &site(10_000)),
            Self::Bare => bare::start(bare::Work::Nothing),
            Self::Verifies => bare::start(bare::Work::Signature),
            Self::WebhookRefuses => webhook::start(&ground.scratch, None),
            Self::WebhookRuns => webhook::start(&ground.scratch, Some(Path::new("/bin/true"))),
        }
    }
}

/// What a turn gave.
struct Turn {
    rate: f64,
    /// Microseconds of processor time for each delivery, by process name.
    cpu: BTreeMap<String, f64>,
}

/// Measures and prints.
pub fn measure(effort: Effort) -> Result<()> {
    println!("\nDeliveries per second: 7.7 kB, signed, 32 keep-alive connections; {} rounds of {} s", effort.rounds, effort.seconds);
    if let Some(missing) = wrk::missing() {
        println!("  NOT MEASURED: {missing}");
        return Ok(());
    }
    let ground = Ground::new()?;
    let script = Script::write(&ground.scratch, &ground.push)?;
    let mut turns = BTreeMap::<Peer, Vec<Turn>>::new();
    for peer in PEERS {
        if let Some(missing) = peer.missing() {
            println!("  NOT MEASURED: {}: {missing}", peer.name());
        }
    }
    for _ in 0..effort.rounds {
        for peer in PEERS.into_iter().filter(|peer| peer.missing().is_none()) {
            turns.entry(peer).or_default().push(take_turn(peer, &ground, &script, effort.seconds)?);
        }
    }
    print(&turns);
    Ok(())
}

fn take_turn(peer: Peer, ground: &Ground, script: &Script, seconds: u64) -> Result<Turn> {
    let running = peer.start(ground)?;
    let status = ground.push.send(running.port, PATH)?;
    if status != peer.status() {
        return Err(format!("{}: answered {status}", peer.name()).into());
    }
    let warm = script.run(running.port, 1)?;
    let (family, before) = times(&running);
    let run = script.run(running.port, seconds)?;
    let after: Vec<f64> = family.iter().map(|process| machine::cpu_micros(process.pid).unwrap_or_default()).collect();
    let spent =
        family.into_iter().zip(before.iter().zip(after)).map(|(process, (before, after))| (process.name, (after - before) / run.requests));
    let cpu = spent.collect();
    drop(running);
    if matches!(peer, Peer::Gwg | Peer::Gwg10000) {
        all_logged(ground, warm.requests + run.requests)?;
    }
    // What the last peer left to do is not to cost the next one.
    std::thread::sleep(Duration::from_millis(500));
    Ok(Turn { rate: run.requests / run.seconds, cpu })
}

/// The processes that were there before the load: those that live only a moment are not counted.
fn times(running: &Running) -> (Vec<Process>, Vec<f64>) {
    let family = running.family();
    let times = family.iter().map(|process| machine::cpu_micros(process.pid).unwrap_or_default()).collect();
    (family, times)
}

/// What was accepted was logged: one line each.
fn all_logged(ground: &Ground, accepted: f64) -> Result<()> {
    let log = fs::read_to_string(gwg::log(&ground.scratch))?;
    let lines = log.lines().filter(|line| line.contains("delivery accepted")).count() as f64;
    if lines < accepted {
        return Err(format!("gwg accepted {accepted} deliveries and logged {lines}").into());
    }
    Ok(())
}

fn print(turns: &BTreeMap<Peer, Vec<Turn>>) {
    let rates = |peer: Peer| turns.get(&peer).map(|turns| turns.iter().map(|turn| turn.rate).collect::<Vec<_>>()).unwrap_or_default();
    for (peer, turns) in turns {
        println!("  {:<44} {:<28} {}", peer.name(), table::spread(&rates(*peer), 0), processors(turns));
    }
    let ours = rates(Peer::Gwg);
    let ratio = |peer| table::ratios(&ours, &rates(peer));
    table::judge("gwg / webhook that refuses", &ratio(Peer::WebhookRefuses), 2, Goal::AtLeast(2.5));
    table::judge("gwg / webhook that runs /bin/true", &ratio(Peer::WebhookRuns), 2, Goal::AtLeast(2.5));
    table::judge("gwg / bare hyper", &ratio(Peer::Bare), 2, Goal::AtLeast(0.7));
    table::tell("bare hyper that computes the signature / bare hyper", &table::ratios(&rates(Peer::Verifies), &rates(Peer::Bare)), 2);
    table::tell("gwg / bare hyper that computes the signature", &ratio(Peer::Verifies), 2);
    table::judge("10,000 repositories / one", &table::ratios(&rates(Peer::Gwg10000), &ours), 2, Goal::AtLeast(0.9));
    println!("  load average at the end {}", machine::load());
}

/// The median processor time for each delivery, by process.
fn processors(turns: &[Turn]) -> String {
    let names = turns.iter().flat_map(|turn| turn.cpu.keys()).collect::<std::collections::BTreeSet<_>>();
    let median = |name: &String| table::median(&turns.iter().filter_map(|turn| turn.cpu.get(name).copied()).collect::<Vec<_>>());
    let spent =
        names.into_iter().filter_map(|name| median(name).filter(|micros| *micros >= 0.05).map(|micros| format!("{name} {micros:.1}")));
    format!("CPU µs each: {}", spent.collect::<Vec<_>>().join(", "))
}
