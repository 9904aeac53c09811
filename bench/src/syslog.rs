//! What a syslog that is missing, restarted or stuck costs deliveries: nothing, it should be. A steady load far
//! below what gwg can do, so that what is measured is waiting and not the want of a processor.

use crate::ground::Ground;
use crate::push::{PATH, Push};
use crate::table::{self, Goal};
use crate::{Effort, Result, gwg, machine};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 4;
/// Deliveries a second, all clients together.
const RATE: u64 = 800;

/// What becomes of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Daemons {
    Works,
    Missing,
    Restarts,
    Stuck,
}

const ALL: [Daemons; 4] = [Daemons::Works, Daemons::Missing, Daemons::Restarts, Daemons::Stuck];

impl Daemons {
    const fn name(self) -> &'static str {
        match self {
            Self::Works => "syslog takes each record",
            Self::Missing => "there is no syslog",
            Self::Restarts => "syslog is restarted five times a second",
            Self::Stuck => "syslog takes none, and its socket is full",
        }
    }

    /// Plays the daemon until told to stop.
    fn play(self, socket: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _gone = std::fs::remove_file(&socket);
                if self == Self::Missing {
                    return;
                }
                let Ok(open) = UnixDatagram::bind(&socket) else { return };
                let until = Instant::now() + if self == Self::Restarts { Duration::from_millis(200) } else { Duration::from_secs(3600) };
                let _timeout = open.set_read_timeout(Some(Duration::from_millis(50)));
                while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                    if self == Self::Stuck {
                        thread::sleep(Duration::from_millis(50));
                    } else {
                        let _record = open.recv(&mut [0; 2048]);
                    }
                }
            }
        })
    }
}

/// Measures and prints.
pub fn measure(effort: Effort) -> Result<()> {
    println!(
        "\nMicroseconds to the answer, {RATE} deliveries a second, by what syslog does; {} rounds of {} s",
        effort.rounds, effort.seconds
    );
    let ground = Ground::new()?;
    let (mut middles, mut ends) = (BTreeMap::<Daemons, Vec<f64>>::new(), BTreeMap::<Daemons, Vec<f64>>::new());
    for _ in 0..effort.rounds {
        for daemons in ALL {
            let mut took = take_turn(daemons, &ground, effort.seconds)?;
            took.sort_by(f64::total_cmp);
            let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
            middles.entry(daemons).or_default().push(at(50));
            ends.entry(daemons).or_default().push(at(99));
        }
    }
    let of = |all: &BTreeMap<Daemons, Vec<f64>>, daemons| all.get(&daemons).cloned().unwrap_or_default();
    for daemons in ALL {
        println!(
            "  {:<44} p50 {:<24} p99 {}",
            daemons.name(),
            table::spread(&of(&middles, daemons), 0),
            table::spread(&of(&ends, daemons), 0)
        );
    }
    for daemons in [Daemons::Missing, Daemons::Restarts, Daemons::Stuck] {
        let ratios = |all| table::ratios(&of(all, daemons), &of(all, Daemons::Works));
        table::tell(&format!("p50: {} / it works", daemons.name()), &ratios(&middles), 2);
        table::judge(&format!("p99: {} / it works", daemons.name()), &ratios(&ends), 2, Goal::AtMost(1.1));
    }
    println!("  load average at the end {}", machine::load());
    Ok(())
}

fn take_turn(daemons: Daemons, ground: &Ground, seconds: u64) -> Result<Vec<f64>> {
    let Ground { scratch, url, push, .. } = ground;
    let socket = scratch.path().join("log.sock");
    let stop = Arc::new(AtomicBool::new(false));
    let playing = daemons.play(socket.clone(), Arc::clone(&stop));
    let running = gwg::start(scratch, &gwg::Site { url, key: None, repos: 1, syslog: Some(socket) })?;
    // Once for each, so that what a start costs is not in it; then as much as fills what may wait for a stuck one.
    load(running.port, push, 1)?;
    let took = load(running.port, push, seconds)?;
    stop.store(true, Ordering::Relaxed);
    drop(running);
    let _ended = playing.join();
    Ok(took)
}

/// Microseconds of each delivery.
fn load(port: u16, push: &Push, seconds: u64) -> Result<Vec<f64>> {
    let request = push.request(PATH, "keep-alive");
    let client =
        |request: Vec<u8>| thread::spawn(move || pace(port, &request, RATE * seconds / CLIENTS).map_err(|error| error.to_string()));
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(request.clone())).collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.join().map_err(|_| "a client died")??);
    }
    Ok(took)
}

/// One client: a kept connection, one delivery after the other at a steady pace.
fn pace(port: u16, request: &[u8], count: u64) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let begin = Instant::now();
    let mut took = Vec::new();
    for number in 0..count {
        thread::sleep(
            (begin + Duration::from_secs(1) * u32::try_from(number * CLIENTS)? / u32::try_from(RATE)?)
                .saturating_duration_since(Instant::now()),
        );
        let sent = Instant::now();
        stream.write_all(request)?;
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer)?;
        if !answer.get(..length).unwrap_or_default().starts_with(b"HTTP/1.1 202") {
            return Err(format!("answered {:?}", String::from_utf8_lossy(answer.get(..length).unwrap_or_default())).into());
        }
        took.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

/// The audit's part of a configuration.
pub fn audit(socket: Option<&Path>) -> serde_json::Value {
    socket.map_or_else(|| serde_json::json!({"syslog": false}), |socket| serde_json::json!({"syslog": true, "socket": socket}))
}
