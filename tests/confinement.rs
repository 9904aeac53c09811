//! The layers on the running gateway: what the kernel says of each child, and what happens on a
//! machine that lacks a layer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::config::{Config, Repo};
use support::gateway::{self, Gateway};
use support::hook::Notes;
use support::log::Log;
use support::loopback::Mode;
use support::need;
use support::processes::Process;
use support::scratch::{self, INVOKER, Scratch};
use support::site::{Ground, PATH, Site};
use support::wait;

const OFFLINE: &[&str] = &["gwg-listener", "gwg-worker"];

/// A file that each network namespace has of its own: whoever may read nothing else of a process
/// that can't be dumped may compare these.
fn network(process: Process) -> (u64, String) {
    use std::os::unix::fs::MetadataExt;
    let file = process.path("net/dev");
    let interfaces = fs::read_to_string(&file).unwrap();
    let names: Vec<_> = interfaces.lines().skip(2).map(|line| line.split(':').next().unwrap().trim()).collect();
    (fs::metadata(&file).unwrap().ino(), names.join(" "))
}

fn assert_offline(site: &Gateway, child: Process) {
    let name = child.name();
    let (theirs, interfaces) = network(child);
    assert_ne!(theirs, network(site.process()).0, "{name} is in the supervisor's network");
    assert_eq!(interfaces, "lo", "{name}");
    // Nothing is up in there: no route below the table's head, no address.
    assert_eq!(fs::read_to_string(child.path("net/route")).unwrap().lines().skip(1).count(), 0, "{name}");
    assert_eq!(fs::read_to_string(child.path("net/if_inet6")).unwrap_or_default(), "", "{name}");
}

fn assert_filtered(child: Process) {
    assert_eq!(child.status("Seccomp").as_deref(), Some("2"), "{}", child.name());
}

#[test]
fn every_child_is_filtered_and_those_that_need_no_network_have_none() {
    let site = Ground::held_up();
    for name in OFFLINE {
        let child = site.gateway.child(name);
        assert_filtered(child);
        assert_offline(&site.gateway, child);
    }
    let updater = site.gateway.child("gwg-updater");
    assert_filtered(updater);
    assert_eq!(network(updater).0, network(site.gateway.process()).0, "an updater talks to its remote");
    if need::is_root() {
        for space in ["net", "ipc", "uts"] {
            let link = |process: Process| fs::read_link(process.path(&format!("ns/{space}"))).unwrap();
            let children = OFFLINE.iter().map(|name| site.gateway.child(name));
            children.for_each(|child| assert_ne!(link(child), link(site.gateway.process()), "{} {space}", child.name()));
        }
    }
    site.daemon.set(Mode::Serve);
}

#[test]
fn the_log_says_of_each_child_what_the_kernel_says() {
    let site = Site::new();
    for name in OFFLINE {
        let line = site.gateway.log().wait(&["process confined", &format!("role={name}"), "capabilities=none", "no_new_privs=1"]);
        for part in ["seccomp=2", "network=own", &format!("pid={}", site.gateway.child(name).pid())] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        let landlock = line.split("landlock=").nth(1).unwrap().split_whitespace().next().unwrap().parse::<u32>().unwrap();
        assert!(landlock >= 2, "{line}");
    }
}

#[test]
fn an_ordinary_user_gets_namespaces_and_filters_too() {
    let Some(()) = need::root() else { return };
    let Some(()) = need::executables_for_all() else { return };
    let ground = Ground::new();
    let repo = ground.repo();
    for name in ["trees", "triggers"] {
        scratch::give_to(&ground.scratch.directory(name), INVOKER);
    }
    let config = Config::new().without("user").without("worker_user").without("listener_user");
    let gateway = Gateway::start_as(&ground.scratch, config.set("confinement", "require").repo(repo), Some(INVOKER));
    gateway.tree(PATH).wait_for(&ground.remote.head(), None);
    for name in OFFLINE {
        let child = gateway.child(name);
        assert_filtered(child);
        assert_offline(&gateway, child);
        assert_eq!(child.status("CapBnd").as_deref(), Some("0000000000000000"), "{name}");
        gateway.log().wait(&["process confined", &format!("role={name}"), "network=own"]);
    }
    gateway.deploy(PATH, &ground.remote.publish(&[("README", "second\n")]));
}

#[test]
fn as_root_the_supervisor_keeps_only_what_it_needs() {
    let Some(()) = need::root() else { return };
    let site = Site::new();
    let effective = u64::from_str_radix(&site.gateway.process().status("CapEff").unwrap(), 16).unwrap();
    // dac_read_search, kill, setgid, setuid, setpcap, net_bind_service, sys_admin: capabilities(7).
    let kept = [2, 5, 6, 7, 8, 10, 21].iter().fold(0, |set, number| set | 1_u64 << number);
    assert_eq!(effective & !kept, 0, "{effective:x}");
    for set in ["CapPrm", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&site.gateway.process().status(set).unwrap(), 16).unwrap() & !kept, 0, "{set}");
    }
    // And it still can all that its job wants.
    let worker = site.gateway.child("gwg-worker");
    worker.kill();
    site.gateway.child_other_than("gwg-worker", &[worker]);
    site.deploy(&[("README", "second\n")]);
}

/// A machine without a layer: its calls answer as on a kernel that does not know them.
fn without(calls: &[libc::c_long]) -> BpfProgram {
    let rules: BTreeMap<_, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let errno = SeccompAction::Errno(nix::errno::Errno::ENOSYS as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).unwrap().try_into().unwrap()
}

const LAYERS: &[(&str, &[libc::c_long])] =
    &[("Landlock", &[libc::SYS_landlock_create_ruleset]), ("seccomp", &[libc::SYS_seccomp]), ("namespaces", &[libc::SYS_unshare])];

/// Killed when dropped.
struct Lacking {
    child: Child,
    log: Log,
    _scratch: Scratch,
}

impl Drop for Lacking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts gwg where these calls are not known. Unconfined by the tests, it runs the main job.
fn start_without(calls: &[libc::c_long], confinement: &str, ground: &Ground) -> Lacking {
    start_lacking(calls, confinement, ground, ground.repo())
}

fn start_lacking(calls: &[libc::c_long], confinement: &str, ground: &Ground, repo: Repo) -> Lacking {
    let config = Config::new().set("confinement", confinement).set("port", free_port()).repo(repo);
    let file = ground.scratch.file("gwg.yaml", &config.yaml());
    let mut command: Command = gateway::command(&ground.scratch, None);
    command.arg("--config").arg(Path::new(&file)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = without(calls);
    let before_exec = move || seccompiler::apply_filter(&program).map_err(std::io::Error::other);
    // SAFETY: the filter was made before the fork; loading it makes two system calls.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(before_exec)
    };
    let mut child = command.spawn().unwrap();
    let log = Log::default();
    log.collect(child.stdout.take().unwrap());
    log.collect(child.stderr.take().unwrap());
    Lacking { child, log, _scratch: ground.scratch.clone() }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn f32_where_a_layer_is_required_and_missing_nothing_starts() {
    for (layer, calls) in LAYERS {
        let ground = Ground::new();
        let mut lacking = start_without(calls, "require", &ground);
        let status = wait::until("gwg ends", || lacking.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(1), "{layer}");
        lacking.log.wait(&["this machine can't confine gwg's processes", &format!("it has no {layer}"), "best-effort"]);
        assert!(lacking.log.matching(&["process started"]).is_empty(), "{layer}");
    }
}

#[test]
fn f32_with_best_effort_it_runs_and_says_its_level() {
    for (layer, calls) in LAYERS {
        let ground = Ground::new();
        let lacking = start_without(calls, "best-effort", &ground);
        lacking.log.wait(&["confinement is incomplete", layer]);
        let level = match *layer {
            "Landlock" => "landlock=0",
            "seccomp" => "seccomp=0",
            _ => "network=shared",
        };
        // The filter of this test counts as one for the kernel.
        if *layer != "seccomp" {
            OFFLINE.iter().for_each(|name| drop(lacking.log.wait(&["process confined", &format!("role={name}"), level])));
        }
        lacking.log.wait(&["update ok"]);
    }
}

/// Where nobody gives namespaces: gwg-hook itself finds and kills what its hook leaves behind.
#[test]
fn f29_f32_without_namespaces_a_hook_s_daemons_end_all_the_same_and_the_log_says_how() {
    for (timeout, last, how) in [("60s", "sleep 0.3", "how=exit 0"), ("2s", "sleep $MARK", "how=deadline")] {
        let ground = Ground::new();
        let notes = Notes::new(&ground.scratch);
        let script = format!("(setsid sh -c 'sleep $MARK & sleep $MARK' &) & (trap '' TERM; setsid sleep $MARK) & {last}");
        let mut hook = notes.hook(&script);
        hook["timeout"] = timeout.into();
        let lacking = start_lacking(&[libc::SYS_unshare], "best-effort", &ground, ground.repo().set("hook", hook));
        notes.wait_for_marked(3);
        lacking.log.wait(&["hook started", "pids=shared"]);
        lacking.log.wait(&["hook ended", how]);
        assert_eq!(notes.marked().len(), 0, "{how}");
    }
}
