//! Hostile git content: whoever can push to one repository, or write in its work tree, against the
//! real, confined gwg-updater. Each case of the tables is run the same way: an honest commit is
//! deployed, something is planted, something is pushed, one update runs. Then all files outside of the
//! work tree must be as they were, nothing may have been executed, memory and disk stay in bounds, what
//! was said is plain text, the outcome is the table's; and the next honest commit is deployed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod bed;
mod bombs;
mod names;
mod objects;
mod planted;
mod refs;
mod settings;

use bed::{Bed, LIMITS, deployed, reason};
use gwg::audit::Reason;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use support::pack::Script;
use support::{manifest, need};

/// One attack.
pub struct Case {
    name: &'static str,
    /// What someone who may write in the work tree does there before the update.
    plant: &'static str,
    push: Push,
    expect: Expect,
}

/// What the remote's owner does.
enum Push {
    /// An honest change.
    Honest,
    /// This, in the remote.
    Script(&'static str),
    /// This, in the remote; and the tag `t` is followed.
    Tag(&'static str),
    /// This is served instead of the remote.
    Serve(fn() -> Script),
}

/// What must come of it.
enum Expect {
    /// It is deployed, harmlessly, and git agrees.
    Deployed,
    /// It is deployed, harmlessly, each file as the commit has it; git finds this in `status` or `fsck`.
    DeployedWith(&'static str),
    /// It is refused for this reason, with these words, and the work tree stays as it was.
    Refused(Reason, &'static str),
    /// The same, until whoever planted it takes it away; files that the commit lacks may be gone by then.
    Stuck(Reason, &'static str),
}

use Expect::{Deployed, DeployedWith, Refused, Stuck};

/// KiB of memory that no update takes, whatever the case: address space is a multiple of it.
const PEAK_KIB: u64 = 64 << 10;

const HONEST: &str = "git update-ref refs/heads/main honest";

fn run(case: &Case, ground: &Bed) {
    let name = case.name;
    let mut bed = ground.copy();
    bed.plant(case.plant);
    match &case.push {
        Push::Honest => bed.push(HONEST),
        Push::Script(script) => bed.push(script),
        Push::Tag(script) => {
            bed.push(script);
            bed.follow_tag("t");
        }
        Push::Serve(make) => bed.serve(make()),
    }
    let (before, files, precious) = (bed.manifest(), bed.files(), bed.precious());
    let end = bed.update(true);
    manifest::assert_same(name, &before, &bed.manifest());
    let said = &end.said;
    assert!(end.status.success() && end.report.is_some(), "{name}: {:?}, {said}", end.status);
    assert!(said.chars().all(|letter| letter == '\n' || !letter.is_control()), "{name}: {said:?}");
    assert!(said.len() < 4_096, "{name}: {said}");
    match end.peak_kib {
        // With less it would not be an updater.
        Some(peak) => assert!((4 << 10..PEAK_KIB).contains(&peak), "{name}: {peak} KiB"),
        None => assert!(!need::is_root(), "{name}: nobody saw how much memory it had"),
    }
    let disk = bed.disk();
    assert!(disk < LIMITS.tree + 2 * LIMITS.pack, "{name}: {disk} bytes of disk");
    match &case.expect {
        Deployed | DeployedWith(_) => {
            assert_eq!(reason(&end), None, "{name}: {said}");
            let tip = match &case.push {
                Push::Honest | Push::Script(_) | Push::Tag(_) => bed.tip(),
                // A commit of the test's making.
                Push::Serve(_) => deployed(&end).unwrap(),
            };
            assert_eq!(deployed(&end).as_ref(), Some(&tip), "{name}: {said}");
            match &case.expect {
                DeployedWith(words) => {
                    let complaint = bed.complaint();
                    assert!(complaint.contains(words), "{name}: {complaint:?}");
                    bed.assert_content(name, &tip);
                }
                Deployed | Refused(..) | Stuck(..) => {
                    bed.assert_healthy(name, &tip);
                    assert_eq!(bed.complaint(), "", "{name}");
                }
            }
        }
        Refused(why, words) | Stuck(why, words) => {
            assert_eq!(reason(&end), Some(*why), "{name}: {said}");
            assert!(said.contains(words), "{name}: {said}");
            if matches!(case.expect, Refused(..)) {
                manifest::assert_same(&format!("{name} (work tree)"), &files, &bed.files());
            }
        }
    }
    match case.expect {
        Deployed | Refused(..) => bed.heals(name, true),
        // What git complains of may stay.
        DeployedWith(_) => bed.heals(name, false),
        Stuck(..) => {}
    }
    manifest::assert_same(name, &precious, &bed.precious());
}

/// Runs a table, and says of each case that fails which it was.
fn run_all(cases: &[Case]) {
    let (ground, mut failed) = (Bed::new(), Vec::new());
    for case in cases {
        if catch_unwind(AssertUnwindSafe(|| run(case, &ground))).is_err() {
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), cases.len());
}

#[test]
fn p3_names_that_no_tree_should_hold() {
    run_all(names::CASES);
}

#[test]
fn p3_objects_and_packs_that_no_git_would_make() {
    run_all(objects::CASES);
}

#[test]
fn p3_more_than_the_limits_allow() {
    run_all(bombs::CASES);
}

#[test]
fn p3_p6_planted_in_the_deployed_tree() {
    run_all(planted::CASES);
}

#[test]
fn p3_refs_tags_and_messages() {
    run_all(refs::CASES);
}

#[test]
fn p3_attributes_filters_and_submodules() {
    run_all(settings::CASES);
}

/// The name that the updater writes to is a hard link: what else bears that file's content keeps it.
#[test]
fn p6_a_hard_link_is_not_written_through() {
    let bed = Bed::new();
    bed.plant("ln -f ../../outside/a a; ln -f ../../outside/b dir/b");
    bed.push("git update-ref refs/heads/main honest");
    let end = bed.update(true);
    assert_eq!(deployed(&end), Some(bed.tip()), "{}", end.said);
    bed.assert_healthy("hard links", &bed.tip());
    for name in ["a", "b"] {
        assert_eq!(std::fs::read_to_string(bed.outside().join(name)).unwrap(), "precious\n", "{name}");
    }
}

/// Someone swaps a directory and a symlink that leads out, as fast as they can, while updates run.
#[test]
fn p3_p6_a_symlink_swapped_in_during_the_checkout_leads_nowhere() {
    let bed = Bed::new();
    let precious = bed.precious();
    let (tree, over) = (bed.tree().to_owned(), AtomicBool::new(false));
    let mut swaps = 0_u64;
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut swaps = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let [directory, aside] = ["dir", "aside"].map(|name| tree.join(name));
                // Each may fail: the updater puts things in order meanwhile.
                let moved = std::fs::rename(&directory, &aside).is_ok();
                let linked = std::os::unix::fs::symlink("../../outside", &directory).is_ok();
                swaps += u64::from(moved && linked);
                let _swapped_by_the_updater = std::fs::remove_file(&directory);
                let _gone = std::fs::rename(&aside, &directory);
            }
            swaps
        });
        for round in 0..20 {
            bed.push(&format!("git update-ref refs/heads/main {}", if round % 2 == 0 { "honest" } else { "first" }));
            let end = bed.update(true);
            assert!(end.report.is_some(), "{:?} {}", end.status, end.said);
        }
        over.store(true, Ordering::Relaxed);
        swaps = swapping.join().unwrap();
    });
    assert!(swaps > 10, "only {swaps} swaps");
    manifest::assert_same("swapped", &precious, &bed.precious());
}

#[test]
fn the_corpus_is_large_and_each_name_is_there_once() {
    let tables = [names::CASES, objects::CASES, bombs::CASES, planted::CASES, refs::CASES, settings::CASES];
    let mut names: Vec<_> = tables.iter().flat_map(|table| table.iter().map(|case| case.name)).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    for case in tables.into_iter().flatten() {
        let (Deployed | DeployedWith(_) | Refused(..) | Stuck(..)) = &case.expect;
        if let DeployedWith(words) | Refused(_, words) | Stuck(_, words) = &case.expect {
            assert!(!words.is_empty(), "{}: anything would do", case.name);
        }
    }
    assert!(all >= 100, "{all}");
}
