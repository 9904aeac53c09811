//! F1, F2 and F3 as a sweep: each process is killed just before each of the system calls by which it changes
//! anything outside of itself or tells anybody anything, from its first to its last. Nobody lends a hand after that.
//! Each time every acknowledged delivery must be deployed, and all be healthy, within 10 s; no connection is refused.
//!
//! About a hundred and fifty trials, spread evenly over the calls. `GWG_TEST_TRIALS=1000` makes ten times as many;
//! `GWG_TEST_SEED` moves the spread (it is printed, and without it is chosen by chance where trials are asked for).
//! The trials trace processes that can't be dumped, so they need root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod post;
mod sweep;

use post::{Scene, Victim};
use sweep::sweep;

#[test]
fn f1_a_listener_killed_anywhere_while_it_serves() {
    sweep(14, Victim::Listener, Scene::Update);
}

#[test]
fn f1_a_listener_killed_anywhere_while_it_starts() {
    sweep(8, Victim::NextListener, Scene::Update);
}

#[test]
fn f2_a_worker_killed_anywhere_while_it_serves() {
    sweep(14, Victim::Worker, Scene::Update);
}

#[test]
fn f2_a_worker_killed_anywhere_while_it_serves_the_first_push_ever() {
    sweep(8, Victim::Worker, Scene::FirstClone);
}

#[test]
fn f2_a_worker_killed_anywhere_while_it_starts() {
    sweep(8, Victim::NextWorker, Scene::Update);
}

#[test]
fn f2_an_updater_killed_anywhere_in_an_update() {
    sweep(16, Victim::Updater, Scene::Update);
}

#[test]
fn f2_an_updater_killed_anywhere_in_a_clone() {
    sweep(14, Victim::Updater, Scene::FirstClone);
}

#[test]
fn f2_an_updater_killed_anywhere_in_a_repair() {
    sweep(14, Victim::Updater, Scene::Damaged);
}

#[test]
fn f1_a_listener_killed_anywhere_while_a_reload_replaces_it() {
    sweep(6, Victim::Listener, Scene::Reload);
}

#[test]
fn f1_a_listener_killed_anywhere_while_a_reload_starts_it() {
    sweep(8, Victim::NextListener, Scene::Reload);
}

#[test]
fn f2_a_worker_killed_anywhere_in_a_reload() {
    sweep(8, Victim::Worker, Scene::Reload);
}

#[test]
fn f3_a_supervisor_killed_anywhere_in_a_reload() {
    sweep(8, Victim::Supervisor, Scene::Reload);
}

#[test]
fn f1_a_listener_killed_anywhere_in_an_upgrade() {
    sweep(6, Victim::Listener, Scene::Upgrade);
}

#[test]
fn f2_a_worker_killed_anywhere_in_an_upgrade() {
    sweep(8, Victim::Worker, Scene::Upgrade);
}

#[test]
fn f3_a_supervisor_killed_anywhere_in_an_upgrade() {
    sweep(8, Victim::Supervisor, Scene::Upgrade);
}

#[test]
fn f3_a_supervisor_killed_anywhere_leaves_no_process_and_the_next_start_heals() {
    sweep(8, Victim::Supervisor, Scene::Update);
}
