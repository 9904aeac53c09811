//! What a killed predecessor, a bad disk or a clumsy hand left: the next update heals it.

use super::world::{World, sh, skip};
use crate::audit::{Reason, Step};
use crate::wire::order::Outcome;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

fn cloned() -> World {
    let mut world = World::new();
    world.updates_to(world.tip("main"));
    world.order.known = true;
    world
}

#[test]
fn locks_of_a_killed_predecessor_are_removed() {
    let world = cloned();
    world.sh_tree("touch -d '1 minute ago' .git/gwg/running; cd .git; touch index.lock HEAD.lock config.lock packed-refs.lock shallow.lock refs/heads/main.lock refs/remotes/origin/main.lock");
    world.write("a", "2");
    world.updates_to(world.commit("second"));
}

#[test]
fn locks_of_others_are_respected() {
    let world = cloned();
    // No predecessor died.
    world.sh_tree("touch .git/index.lock");
    world.fails(Step::Open, Reason::Locked, ".git/index.lock is another program's lock");
    world.sh_tree("rm .git/index.lock; touch .git/refs/heads/x.lock");
    world.fails(Step::Open, Reason::Locked, "refs/heads/x.lock");
    // One died, but the lock is older.
    world.sh_tree("touch .git/gwg/running; touch -d '1 hour ago' .git/refs/heads/x.lock");
    world.fails(Step::Open, Reason::Locked, "refs/heads/x.lock");
    world.sh_tree("rm .git/refs/heads/x.lock");
    world.updates_to(world.tip("main"));
}

#[test]
fn one_updater_at_a_time() {
    let world = cloned();
    let lock = fs::File::open(world.tree().join(".git/gwg/lock")).unwrap();
    lock.lock().unwrap();
    world.fails(Step::Open, Reason::Locked, "another updater works here");
    drop(lock);
    world.updates_to(world.tip("main"));
}

#[test]
fn half_written_packs_are_swept() {
    let world = cloned();
    world.sh_tree("echo x > .git/objects/pack/pack_git2_abcdef; echo x > .git/objects/pack/tmp_pack_of_git");
    world.updates_to(world.tip("main"));
    assert_eq!(sh(&world.tree(), "ls .git/objects/pack | grep -c tmp_pack_of_git"), "1");
}

#[test]
fn a_lost_or_damaged_part_of_the_repository_is_made_anew() {
    for damage in [
        "rm -r .git",
        "rm .git/HEAD",
        ": > .git/HEAD",
        "rm -r .git/refs",
        "rm .git/config",
        "echo '[broken' > .git/config",
        ": > .git/index",
        "printf garbage > .git/index",
        "printf X | dd of=.git/index bs=1 seek=40 conv=notrunc status=none",
        "rm .git/index",
        "rm -r .git/objects",
        ": > .git/refs/heads/main",
        ": > .git/refs/remotes/origin/main",
        "echo 0123456789012345678901234567890123456789 > .git/refs/remotes/origin/main",
        "echo 0123456789012345678901234567890123456789 > .git/refs/heads/main",
        "for f in .git/objects/pack/*.pack; do chmod u+w $f; truncate -s 20 $f; done",
        "for f in .git/objects/pack/*.idx; do chmod u+w $f; : > $f; done",
        "rm .git/objects/pack/*.pack",
        "for f in .git/objects/pack/*.pack; do chmod u+w $f; printf XXXX | dd of=$f bs=1 seek=60 conv=notrunc status=none; done",
    ] {
        let world = cloned();
        world.sh_tree(damage);
        world.sh_tree("echo untracked > u");
        eprintln!("{damage}");
        world.updates_to(world.tip("main"));
        world.write("a", "2");
        world.sh_remote("git rm -q dir/b");
        world.updates_to(world.commit("second"));
        assert!(!world.tree().join("dir").exists(), "{damage}");
        assert!(world.tree().join("u").exists());
        assert!(!world.tree().join(".git/gwg/damaged").exists());
    }
}

#[test]
fn damage_that_comes_with_a_new_commit_is_healed_in_one_run() {
    let world = cloned();
    world.sh_tree("for f in .git/objects/pack/*.pack; do chmod u+w $f; printf XXXX | dd of=$f bs=1 seek=60 conv=notrunc status=none; done");
    world.write("b", "2");
    world.sh_remote("git rm -q dir/b");
    world.updates_to(world.commit("second"));
    assert!(!world.tree().join("dir").exists());
}

/// Leads the world's remote through a middleman, who gets each answer whole and sends on what he likes.
fn with_a_middleman(world: &mut World, tamper: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static) {
    let server = world.brief.url.trim_start_matches("git://").trim_end_matches("/remote").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    world.brief.url = format!("git://127.0.0.1:{}/remote", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut server = TcpStream::connect(&server).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
            let mut sent = 0;
            while let Ok(count @ 1..) = server.read(&mut buffer) {
                answer.extend_from_slice(&buffer[..count]);
                let tampered = tamper(answer.clone());
                if client.write_all(tampered.get(sent..).unwrap_or_default()).is_err() || tampered.len() < answer.len() {
                    break;
                }
                sent = answer.len();
            }
            let _gone_already = client.shutdown(std::net::Shutdown::Both);
        }
    });
}

#[test]
fn a_pack_that_is_cut_or_damaged_on_its_way_costs_nothing() {
    let pack = |answer: &[u8]| answer.windows(4).position(|bytes| bytes == b"PACK");
    let cut = move |answer: Vec<u8>| match pack(&answer) {
        Some(at) => answer[..answer.len().min(at + 200)].to_vec(),
        None => answer,
    };
    let damage = move |mut answer: Vec<u8>| {
        if let Some(at) = pack(&answer)
            && let Some(byte) = answer.get_mut(at + 150)
        {
            *byte ^= 0xff;
        }
        answer
    };
    type Tamper = Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send>;
    let tampers: [Tamper; 2] = [Box::new(cut), Box::new(damage)];
    for tamper in tampers {
        let mut world = cloned();
        let first = world.tip("main");
        let direct = world.brief.url.clone();
        with_a_middleman(&mut world, tamper);
        world.updates_to(first);
        for number in 0..20 {
            world.write(&format!("new{number}"), &format!("{number}{}", "x".repeat(number * 7)));
        }
        let second = world.commit("second");
        assert!(matches!(world.update().outcome, Outcome::Failed(failure) if failure.step == Step::Fetch), "{}", world.said());
        assert!(!world.said().contains("fetched anew"), "{}", world.said());
        world.is_healthy_at(first);
        world.brief.url = direct;
        world.updates_to(second);
    }
}

#[test]
fn a_rebuild_that_the_network_interrupts_is_completed_later() {
    let mut world = cloned();
    let direct = world.brief.url.clone();
    world.sh_tree("for f in .git/objects/pack/*.pack; do chmod u+w $f; truncate -s 20 $f; done");
    with_a_middleman(&mut world, |answer| answer.get(..answer.len().min(700)).unwrap_or_default().to_vec());
    assert!(matches!(world.update().outcome, Outcome::Failed(_)));
    assert!(matches!(world.update().outcome, Outcome::Failed(_)));
    world.brief.url = direct;
    world.sh_remote("git rm -q dir/b");
    world.updates_to(world.commit("second"));
    assert!(!world.tree().join("dir").exists() && !world.tree().join(".git/gwg/damaged").exists());
}

#[test]
fn a_full_disk_is_named_and_healed_when_there_is_room() {
    let world = World::new();
    fs::create_dir(world.tree()).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=800k", "tmpfs"]).arg(world.tree()).output().unwrap();
    if !mounted.status.success() {
        return skip("a_full_disk_is_named_and_healed_when_there_is_room", "needs the right to mount");
    }
    let _unmount = Unmount(world.tree());
    let first = world.tip("main");
    world.updates_to(first);
    // The pack fits, the files do not; then not even the pack.
    world.sh_remote("head -c 900000 /dev/zero > zeros");
    let second = world.commit("second");
    world.fails(Step::Reset, Reason::NoSpace, "No space left");
    world.sh_remote("head -c 900000 /dev/urandom > random");
    let third = world.commit("third");
    world.fails(Step::Fetch, Reason::NoSpace, "No space left");
    assert_ne!(second, third);
    sh(&world.tree(), "mount -o remount,size=20m .");
    world.updates_to(third);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _left_to_the_operator = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
