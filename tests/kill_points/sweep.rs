//! Many trials: which points they take, and what is said of them.

use super::post::{LIMIT, Post, Scene, Victim};
use super::support::need;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// What the parts of [`sweep`] are hundredths of, where the environment says nothing; they sum up to half as much again.
const HUNDRED: usize = 100;

/// Of so many trials at most one may miss its point, because the process made fewer calls this time than when they were
/// counted; each is made up for at another point.
const MISSES: usize = 4;

/// `part`: trials in a hundred.
pub fn sweep(part: usize, victim: Victim, scene: Scene) {
    let Some(()) = need::root() else { return };
    let (asked, seed) = (number("GWG_TEST_TRIALS"), number("GWG_TEST_SEED"));
    let seed = seed.unwrap_or_else(|| asked.map_or(0, |_| std::process::id() as usize));
    let trials = (asked.unwrap_or(HUNDRED) * part).div_ceil(HUNDRED);
    // The harness shows it where the sweep fails.
    eprintln!("GWG_TEST_SEED={seed}");

    let mut post = Post::new(victim, scene);
    // Nobody makes so many calls: it shows how many there are, in each variant. One time there are fewer than another.
    let mut count = || -> Vec<usize> { (0..scene.variants()).map(|_| post.trial(usize::MAX).calls.len()).collect() };
    let calls: Vec<usize> = count().into_iter().zip(count()).map(|(one, other)| one.min(other)).collect();
    assert!(calls.iter().all(|count| *count >= 5), "{victim:?} made few calls: {calls:?}");
    let mut report = Report::default();
    for number in 0..trials {
        if post.is_worn() {
            post.end();
            post = Post::new(victim, scene);
        }
        let nth = point(number, trials, calls[post.variant()], seed);
        let mut trial = post.trial(nth);
        if trial.healed.is_none() {
            report.missed += 1;
            trial = post.trial(nth.div_ceil(2));
        }
        report.add(nth, &trial.calls, trial.healed);
    }
    post.end();
    say(&format!("{victim:?} in {scene:?}: {report}, of {calls:?} calls (GWG_TEST_SEED={seed})"));
    assert!(report.trials >= trials && report.missed <= trials / MISSES + 1, "{report}");
}

/// Evenly spread over all calls, from where the seed says on; each call at least once where there are more trials than calls.
fn point(number: usize, trials: usize, calls: usize, seed: usize) -> usize {
    1 + (number * calls / trials + seed) % calls
}

#[derive(Default)]
struct Report {
    trials: usize,
    missed: usize,
    slowest: Duration,
    slowest_at: usize,
    at: BTreeMap<&'static str, usize>,
}

impl Report {
    fn add(&mut self, nth: usize, calls: &[&'static str], healed: Option<Duration>) {
        let Some(healed) = healed else { return };
        self.trials += 1;
        *self.at.entry(calls.last().copied().unwrap_or("none")).or_default() += 1;
        if healed > self.slowest {
            (self.slowest, self.slowest_at) = (healed, nth);
        }
        assert!(healed <= LIMIT);
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { trials, missed, slowest, slowest_at, at } = self;
        let at: Vec<String> = at.iter().map(|(call, count)| format!("{call} {count}")).collect();
        write!(out, "{trials} trials, {missed} missed, slowest {slowest:.1?} (point {slowest_at}), at {}", at.join(", "))
    }
}

fn number(variable: &str) -> Option<usize> {
    Some(std::env::var(variable).ok()?.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Straight to the descriptor: the harness swallows what passing tests print with macros.
pub fn say(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}
