//! What each layer does against a local user: the attacks on processes, made on listeners and updaters that lack one layer, or
//! all. They are owned builds, which alone can leave a layer out; each waits as the real one does when its doors are closed.
#![allow(clippy::print_stdout)] // The tables are for people.

use super::files::{self, House};
use super::processes::{ATTACKS, Target};
use super::support::as_user::{STRANGER, as_user};
use super::support::attacks::matrix::{ALL, LAYERS, NONE};
use super::support::attacks::world::World;
use super::support::attacks::{self, StandIn};
use super::support::matrix::Matrix;
use super::support::need;
use super::support::processes::Process;
use super::support::scratch::{LISTENER, Scratch, UPDATER};
use std::path::Path;

/// The layer without which a process of the same user can do everything. Without any other it can do what it can with all of them.
const DECIDES: &str = "non-dumpable";

/// The supervisor's pipe, and its mode: no layer of the child's.
const SUPERVISORS: [&str; 1] = ["write to its log pipe (/proc/PID/fd/2)"];

/// A listener and an updater, and their users.
fn victims(stand_in: &mut StandIn, house: &Path, world: &World) -> [(Process, u32); 2] {
    // It starts them as somebody to be met, and whoever attacks first meets them.
    let first = attacks::list(house).into_iter().find(|attack| attack.name == "read-config").unwrap();
    stand_in.attempt("listener", &first, world);
    let children = stand_in.process().children();
    [("gwg-listener", LISTENER), ("gwg-updater", UPDATER)].map(|(name, user)| {
        let child = children.iter().find(|child| child.name() == name && child.alive());
        (*child.unwrap_or_else(|| panic!("no {name} among the stand-in's children")), user)
    })
}

#[test]
fn p6_what_each_layer_does_against_a_local_user() {
    let Some(()) = need::root() else { return };
    let scratch = Scratch::new();
    let Some(house) = attacks::house(&scratch) else { return };
    let (mut strangers, mut same) = (Matrix::default(), Matrix::default());
    for without in [ALL, NONE].into_iter().chain(LAYERS) {
        let name = match without {
            ALL => "all layers",
            NONE => "no layer",
            layer => layer,
        };
        let as_root = without == NONE || without == "users";
        let world = World::new(as_root);
        let mut stand_in = StandIn::start(&house, without, &world);
        for (process, user) in victims(&mut stand_in, &house, &world) {
            let target = Target::of(process);
            for attack in ATTACKS {
                strangers.tried(attack.name, name, as_user(STRANGER, || (attack.run)(target)));
                // Without a user of its own it is root's, and who is root may anyway.
                if !as_root {
                    same.tried(attack.name, name, as_user(user, || (attack.run)(target)));
                }
            }
            assert!(process.alive(), "{} is gone, with {name}", process.name());
        }
    }
    println!("a stranger, with this left out of gwg-listener and gwg-updater:");
    strangers.print();
    println!("another process of the target's own user, the same:");
    same.print();
    let shared: Vec<_> = ATTACKS.iter().filter(|attack| attack.same_user).map(|attack| attack.name).collect();
    for layer in LAYERS.into_iter().chain(["all layers", "no layer"]) {
        // For a stranger the target's user decides, whoever that is.
        assert_eq!(strangers.succeeded(layer), Vec::<&str>::new(), "a stranger, without {layer}");
        match layer {
            "users" | "no layer" => {}
            DECIDES => assert_eq!(same.failed(layer), SUPERVISORS, "its own user, without {layer}"),
            _ => assert_eq!(same.succeeded(layer), shared, "its own user, without {layer}"),
        }
    }
}

/// What is opened to everybody, by its mode, and what a stranger then gets.
const OPENED: &[(&str, u32, &[&str])] = &[
    ("gwg.yaml", 0o666, &["read the configuration", "write the configuration"]),
    ("key", 0o666, &["read the ssh key"]),
    ("phrase", 0o666, &["read the passphrase"]),
    ("secret", 0o666, &["read the webhook secret", "start an update by a delivery of one's own", "change a captured delivery"]),
    ("", 0o777, &["replace the configuration", "replace the webhook secret"]),
    ("state", 0o777, &["replace the state", "replace the state's lock", "plant a link in the state directory"]),
    ("state/state.redb", 0o666, &["read the state", "write the state"]),
    ("log", 0o777, &["replace the log"]),
    ("log/gwg.log", 0o666, &["read the log", "write a line into the log"]),
    ("trees", 0o777, &["plant a tree for a repository to come"]),
    ("trees/site", 0o777, &["plant a link in the tree"]),
    ("trees/site/README", 0o666, &["write a deployed file"]),
    ("trees/site/.git", 0o777, &["plant a hook", "plant a lock in .git"]),
    ("triggers", 0o777, &["replace the trigger"]),
    ("triggers/site", 0o666, &["touch the trigger"]),
];

/// Each file and directory has a mode of its own. None gives more than what it is the mode of: a tree or a directory of gwg's is not
/// moved away by whoever may write above it, since it is not his.
#[test]
fn p6_what_each_mode_does_against_a_local_user() {
    let Some(()) = need::root() else { return };
    let house = House::new();
    let mut matrix = Matrix::default();
    for (name, mode, _) in OPENED {
        house.with_mode(name, *mode, || {
            for attack in files::ATTACKS {
                matrix.tried(attack.name, name, as_user(STRANGER, || (attack.run)(&house, STRANGER)));
            }
        });
    }
    let mut wrong = Vec::new();
    for (name, mode, expected) in OPENED {
        println!("{name:20} {mode:o}: {}", matrix.succeeded(name).join(", "));
        if matrix.succeeded(name) != *expected {
            wrong.push(format!("{name} {mode:o}: {:?}", matrix.succeeded(name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
