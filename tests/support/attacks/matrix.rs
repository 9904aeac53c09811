//! Attack × layer: what was tried, and the page that is made of it.

use super::world::World;
use super::{Attack, Outcome, StandIn};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

/// The roles that are owned.
pub const ROLES: [&str; 2] = ["listener", "updater"];

/// The column in which nothing is confined.
pub const NONE: &str = "all";
/// The column with all layers.
pub const ALL: &str = "";
/// The layers that are left out in turn, as the owned builds call them.
pub const LAYERS: [&str; 8] = ["users", "capabilities", "no-new-privs", "non-dumpable", "limits", "namespaces", "landlock", "seccomp"];

/// What came of each attack: by role, name, and what was left out.
#[derive(Default)]
pub struct Matrix(BTreeMap<(String, String, String), Outcome>);

impl Matrix {
    /// Tries all attacks with each of these left out, two at once.
    pub fn of(house: &Path, attacks: &[Attack], columns: &[&'static str]) -> Self {
        let (todo, done) = (Mutex::new(columns.to_vec()), Mutex::new(Self::default()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(without) = { todo.lock().unwrap().pop() } {
                        let column = column(house, attacks, without);
                        done.lock().unwrap().0.extend(column);
                    }
                });
            }
        });
        done.into_inner().unwrap()
    }

    /// What came of one.
    pub fn outcome(&self, role: &str, attack: &str, without: &str) -> &Outcome {
        &self.0[&(role.to_owned(), attack.to_owned(), without.to_owned())]
    }

    /// The attacks of a role that succeeded with this left out.
    pub fn successes(&self, role: &str, without: &str) -> Vec<&str> {
        let those = self.0.iter().filter(|((of, _, left_out), outcome)| of == role && left_out == without && outcome.succeeded);
        those.map(|((_, attack, _), _)| attack.as_str()).collect()
    }

    /// The table of one role: a line for each attack.
    pub fn table(&self, role: &str, attacks: &[Attack]) -> String {
        let mut text = format!("| attack | wanted | none | all |{} |\n", LAYERS.map(|layer| format!(" {layer}")).join(" |"));
        writeln!(text, "|---|---|---|---|{}", LAYERS.map(|_| "---|").concat()).unwrap();
        for attack in attacks.iter().filter(|attack| attack.is_for(role)) {
            let at = |without: &str| self.outcome(role, &attack.name, without);
            let got = |without: &str| if at(without).succeeded { "**got**" } else { "–" };
            let all = if at(ALL).succeeded { "**got**" } else { &at(ALL).word };
            let layers = LAYERS.map(got).join(" | ");
            writeln!(text, "| {} | {} | {} | {all} | {layers} |", attack.name, attack.wants, got(NONE)).unwrap();
        }
        text
    }
}

type Cell = ((String, String, String), Outcome);

fn column(house: &Path, attacks: &[Attack], without: &str) -> Vec<Cell> {
    // An updater refuses another user's tree.
    let world = World::new(without == NONE || without == "users");
    let mut stand_in = StandIn::start(house, without, &world);
    let mut column = Vec::new();
    for role in ROLES {
        for attack in attacks.iter().filter(|attack| attack.is_for(role)) {
            let outcome = stand_in.attempt(role, attack, &world);
            column.push(((role.to_owned(), attack.name.clone(), without.to_owned()), outcome));
        }
    }
    column
}
