//! A local user without privileges (P6): a throw-away number that gwg knows nothing of attacks the
//! running gateway, its processes, its files and its door.
//!
//! Each attack is tried by root too, who may do all of it: an attack that root can't do would prove
//! nothing. Against processes it is tried by another process of the target's own user as well, so that
//! it can be seen what each process's own user is for, and what holds without it: that a process
//! of gwg can't be dumped. A plain process of that user falls to all of it. `layers` leaves one layer out at a time, of the
//! processes, and `files` opens one mode at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod deputy;
mod files;
mod layers;
mod processes;
#[path = "../support/mod.rs"]
mod support;

use files::House;
use processes::Target;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use support::as_user::{STRANGER, as_user};
use support::loopback::Mode;
use support::matrix::Matrix;
use support::need;
use support::processes::Process;
use support::scratch::{LISTENER, UPDATER, WORKER};
use support::site::{Ground, PATH};

const ANYONE: &str = "a stranger";
const SAME: &str = "its own user";
const PLAIN: &str = "same, a plain one";
const ROOT: &str = "root";

#[test]
fn p6_a_stranger_can_do_nothing_to_a_process() {
    let Some(()) = need::root() else { return };
    let site = Ground::held_up();
    let child = |name: &str| Target::of(site.gateway.child(name));
    let supervisor = Target::of(site.gateway.process());
    let targets = [(child("gwg-listener"), LISTENER), (child("gwg-worker"), WORKER), (child("gwg-updater"), UPDATER), (supervisor, 0)];
    // What no layer of gwg's protects: it shows which of them hold by what a process does against them.
    let plain = Plain::of(LISTENER);
    let mut matrix = Matrix::default();
    for attack in processes::ATTACKS {
        for (target, user) in targets {
            matrix.tried(attack.name, ANYONE, as_user(STRANGER, || (attack.run)(target)));
            if user != 0 {
                matrix.tried(attack.name, SAME, as_user(user, || (attack.run)(target)));
            }
        }
        matrix.tried(attack.name, PLAIN, as_user(LISTENER, || (attack.run)(plain.target())));
        matrix.tried(attack.name, ROOT, as_user(0, || (attack.run)(supervisor)));
    }
    matrix.print();
    assert_eq!(matrix.succeeded(ANYONE), Vec::<&str>::new());
    let shared: Vec<&str> = processes::ATTACKS.iter().filter(|attack| attack.same_user).map(|attack| attack.name).collect();
    assert_eq!(matrix.succeeded(SAME), shared, "what a process of the same user can do");
    for by in [PLAIN, ROOT] {
        assert_eq!(matrix.failed(by), Vec::<&str>::new(), "an attack that {by} can't do proves nothing");
    }
    assert!(matrix.len() >= 30, "{} attacks", matrix.len());

    // None of it has hurt: what was held up goes on.
    for (target, _) in targets {
        assert!(target.process.alive(), "{} is gone", target.process.name());
    }
    site.daemon.set(Mode::Serve);
    site.tree().wait_for(&site.remote.head(), None);
    site.gateway.wait_for_log(0, PATH, &["update ok"]);
    assert_eq!(site.gateway.updates(PATH), 1, "it was not what was held up");
}

/// A process that does nothing, for or against anybody.
struct Plain(Child);

impl Plain {
    fn of(user: u32) -> Self {
        Self(Command::new("sleep").arg("600").uid(user).gid(user).stderr(Stdio::null()).spawn().unwrap())
    }

    fn target(&self) -> Target {
        Target::of(Process::of(i32::try_from(self.0.id()).unwrap()).unwrap())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn p6_a_stranger_gets_at_no_file_and_through_no_door() {
    let Some(()) = need::root() else { return };
    let house = House::new();
    let mut matrix = Matrix::default();
    for attack in files::ATTACKS {
        matrix.tried(attack.name, ANYONE, as_user(STRANGER, || (attack.run)(&house, STRANGER)));
    }
    house.assert_unharmed();
    for attack in files::ATTACKS {
        matrix.tried(attack.name, ROOT, as_user(0, || (attack.run)(&house, 0)));
    }
    matrix.print();
    assert_eq!(matrix.failed(ROOT), Vec::<&str>::new(), "what even root can't do proves nothing");
    assert_eq!(matrix.succeeded(ANYONE), Vec::<&str>::new());
}
