//! What the attacks from inside need: the stand-in, which starts owned processes, and a world in which there
//! is something to get.

pub mod matrix;
pub mod servers;
pub mod world;

use super::owned;
use super::processes::Process;
use super::scratch::{LISTENER, UPDATER, WORKER};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use world::World;

/// An attack, as the owned executables list it.
#[derive(Debug, Clone)]
pub struct Attack {
    /// `listener`, `updater`, or `both`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// How it is proved, and by what.
    pub proof: (String, String),
    /// What the attacker wants.
    pub wants: String,
}

impl Attack {
    /// Whether a process of that role tries it.
    pub fn is_for(&self, role: &str) -> bool {
        self.role == "both" || self.role == role
    }
}

/// All attacks that the executables know.
pub fn list(house: &Path) -> Vec<Attack> {
    let output = Command::new(house.join("gwg-owned")).arg("list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
            [role, name, proof, of, wants] => {
                Attack { role: (*role).into(), name: (*name).into(), proof: ((*proof).into(), (*of).into()), wants: (*wants).into() }
            }
            other => panic!("no attack: {other:?}"),
        })
        .collect()
}

/// What came of an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the world shows: the attacker has what it wanted.
    pub succeeded: bool,
    /// `succeeded`, `refused`, `killed`, `ended`, `silent`.
    pub word: String,
    /// An errno, a signal, an answer.
    pub detail: String,
}

/// The stand-in for the supervisor, running with some layers left out.
pub struct StandIn {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl StandIn {
    /// Starts it. `without`: layers with commas between them, `all`, or nothing.
    pub fn start(house: &Path, without: &str, world: &World) -> Self {
        let mut command = Command::new(house.join("gwg-owned"));
        command.arg("run");
        if super::need::is_root() {
            command.arg(format!("--users={UPDATER},{WORKER},{LISTENER}"));
        }
        if !without.is_empty() {
            command.arg(format!("--without={without}"));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut stand_in = Self { child, answers };
        stand_in.say(&world.planted());
        stand_in
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process::of(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Has an owned process of that role try the attack, and looks at the world.
    pub fn attempt(&mut self, role: &str, attack: &Attack, world: &World) -> Outcome {
        world.plant();
        if attack.name.contains("new-trigger") {
            world.remove_trigger();
        }
        let before = world.look(&attack.proof);
        self.say(&format!("{role}\t{}\t{}", attack.name, world.told()));
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let parts: Vec<_> = line.trim_end_matches('\n').split('\t').collect();
        let [word, detail, deaf, hurt] = parts.as_slice() else { panic!("{role} {}: {line:?}", attack.name) };
        let succeeded = match attack.proof.0.as_str() {
            "gives" => *word == "succeeded" && detail.contains(&world.secret(&attack.proof.1)),
            "says" => (*word, *detail) == ("succeeded", &attack.proof.1),
            "hurts" => hurt.split(',').any(|name| name == attack.proof.1),
            "deafens" => *deaf == "deaf",
            "writes" | "makes" | "removes" | "changes" | "reaches" => before != world.look(&attack.proof),
            other => panic!("no proof: {other}"),
        };
        Outcome { succeeded, word: (*word).into(), detail: (*detail).into() }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It hears the end of its commands, and clears away what the kernel would keep: shared memory.
        let _ = self.child.wait();
    }
}

/// The owned executables, laid out for the stand-in.
pub fn house(scratch: &super::scratch::Scratch) -> Option<std::path::PathBuf> {
    owned::house(scratch, &["gwg-listener", "gwg-updater"])
}
