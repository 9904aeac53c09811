//! Fires every system call that there is under each role's filter, and each rule with arguments that
//! it allows and arguments that it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::calls::{self, Condition, Rule};
use super::{Role, enter, filter, reach};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

/// Those that have a table of what they may call.
const ROLES: [Role; 3] = [Role::Listener, Role::Worker, Role::Updater];
/// Above the newest call of any kernel so far, and far below x32's.
const LAST: libc::c_long = 600;
/// An invalid descriptor, pointer, size and flag: a call that is let through does nothing.
const BAD: u64 = u64::MAX;

/// A number that no rule names.
const OTHER: u64 = 0x7fff_fff0;

type Arguments = [u64; 6];

/// How a process ended that loaded a role's filter and made one call: the signal, or nothing and the
/// call's errno.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Signal(i32),
    Answered(i32),
}

const KILLED: Ended = Ended::Signal(libc::SIGSYS);

/// The arguments may depend on the pid of the process that makes the call.
fn fire(role: Role, call: libc::c_long, arguments: impl Fn(u64) -> Arguments) -> Ended {
    let mut status = 0;
    // SAFETY: the child is a copy of this thread alone. It allocates (glibc keeps its allocator usable
    // across fork) and makes system calls; it takes no other lock, and never returns into the test.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            let [a, b, c, d, e, f] = arguments(u64::from(std::process::id()));
            if filter::load(role).is_err() {
                libc::_exit(254);
            }
            let failed = libc::syscall(call, a, b, c, d, e, f) == -1;
            libc::_exit(if failed { *libc::__errno_location() } else { 0 });
        }
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
    }
    if libc::WIFSIGNALED(status) { Ended::Signal(libc::WTERMSIG(status)) } else { Ended::Answered(libc::WEXITSTATUS(status)) }
}

/// Arguments with which all conditions hold.
fn fitting(conditions: &[Condition], pid: u64) -> Arguments {
    let mut arguments = [BAD; 6];
    for condition in conditions {
        match *condition {
            Condition::Is(at, value) | Condition::Has(at, _, value) => arguments[usize::from(at)] = value.into(),
            Condition::IsNot(at, value) => {
                arguments[usize::from(at)] = OTHER;
                assert_ne!(OTHER, u64::from(value));
            }
            Condition::Lacks(at, _) | Condition::Null(at) => arguments[usize::from(at)] = 0,
            Condition::NotNull(at) => arguments[usize::from(at)] = BAD,
            Condition::OwnPid(at) => arguments[usize::from(at)] = pid,
        }
    }
    arguments
}

/// The same, but for one condition that does not hold.
fn broken(conditions: &[Condition], which: usize, pid: u64) -> Arguments {
    let mut arguments = fitting(conditions, pid);
    let (at, value) = match conditions[which] {
        Condition::Is(at, _) => (at, OTHER),
        Condition::IsNot(at, value) => (at, value.into()),
        Condition::Lacks(at, bits) => (at, bits.into()),
        Condition::Has(at, bits, _) => (at, bits.into()),
        Condition::Null(at) => (at, 1),
        Condition::NotNull(at) => (at, 0),
        // Of no process: the highest pid is lower.
        Condition::OwnPid(at) => (at, OTHER),
    };
    arguments[usize::from(at)] = value;
    arguments
}

/// They would end the child, or lead it astray, although they are allowed.
const END: &[libc::c_long] = &[libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn];

/// uretprobe and uprobe of x86-64: newer kernels ask no filter for these two, and answer so to whoever
/// calls them from elsewhere than a trampoline of the kernel's own.
const UPROBES: &[(libc::c_long, Ended)] =
    if cfg!(target_arch = "x86_64") { &[(335, Ended::Signal(libc::SIGILL)), (336, Ended::Answered(libc::ENXIO))] } else { &[] };

fn rules(role: Role) -> Vec<Rule> {
    calls::allowed(role).unwrap()
}

#[test]
fn what_is_not_in_the_table_ends_the_process() {
    for role in ROLES {
        let rules = rules(role);
        for call in 0..LAST {
            if !rules.iter().any(|rule| rule.call == call) {
                let ended = fire(role, call, |_| [BAD; 6]);
                let by_kernel = UPROBES.iter().any(|(uprobe, answer)| *uprobe == call && *answer == ended);
                assert!(ended == KILLED || by_kernel, "{role:?}: call {call}: {ended:?}");
            }
        }
        // The 32-bit personality of x86-64 has numbers of its own.
        assert_eq!(fire(role, libc::SYS_read | 0x4000_0000, |_| [BAD; 6]), KILLED, "{role:?}: x32");
    }
}

#[test]
fn each_rule_lets_through_what_it_says_and_nothing_else() {
    for role in ROLES {
        for rule in rules(role).iter().filter(|rule| !END.contains(&rule.call)) {
            let call = rule.call;
            if rule.when.is_empty() {
                let ended = fire(role, call, |_| [BAD; 6]);
                assert!(matches!(ended, Ended::Answered(errno) if errno != 254), "{role:?}: call {call}: {ended:?}");
            }
            for conditions in rule.when {
                let ended = fire(role, call, |pid| fitting(conditions, pid));
                assert!(matches!(ended, Ended::Answered(errno) if errno != 254), "{role:?}: call {call} {conditions:?}: {ended:?}");
                for which in 0..conditions.len() {
                    let ended = fire(role, call, |pid| broken(conditions, which, pid));
                    assert_eq!(ended, KILLED, "{role:?}: call {call} {conditions:?} without {:?}", conditions[which]);
                }
            }
        }
    }
}

#[test]
fn the_resolver_s_local_sockets_are_refused_and_end_nobody() {
    for family in [libc::AF_UNIX, libc::AF_NETLINK] {
        let arguments = [u64::from(family.cast_unsigned()), 1, 0, 0, 0, 0];
        assert_eq!(fire(Role::Updater, libc::SYS_socket, |_| arguments), Ended::Answered(libc::EACCES));
        assert_eq!(fire(Role::Listener, libc::SYS_socket, |_| arguments), KILLED);
    }
}

/// Landlock knows no times and no modes: by a path an updater would change those of its user's other files.
#[test]
fn an_updater_sets_times_and_modes_by_descriptor_only() {
    let path = c"/nonexistent".as_ptr().expose_provenance() as u64;
    let time = |path: u64| fire(Role::Updater, libc::SYS_utimensat, |_| [BAD, path, 0, 0, 0, 0]);
    assert_eq!(time(path), Ended::Answered(libc::EACCES));
    // A pointer whose lower half is null is none.
    assert_eq!(time(1 << 32), Ended::Answered(libc::EACCES));
    assert_eq!(time(0), Ended::Answered(libc::EBADF));
    assert_eq!(fire(Role::Updater, libc::SYS_fchmodat, |_| [BAD, path, 0, 0, 0, 0]), KILLED);
    assert_eq!(fire(Role::Updater, libc::SYS_fchmod, |_| [BAD, 0, 0, 0, 0, 0]), Ended::Answered(libc::EBADF));
}

/// By name, so that nobody adds one to a table without meeting this list.
#[test]
fn no_table_has_what_an_attacker_wants() {
    let nobody = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_setuid,
        libc::SYS_setresuid,
        libc::SYS_setgroups,
        libc::SYS_capset,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_chroot,
        libc::SYS_pivot_root,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_open_by_handle_at,
        libc::SYS_memfd_create,
        libc::SYS_seccomp,
        libc::SYS_setrlimit,
        libc::SYS_setpriority,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_socketpair,
        libc::SYS_sendmsg,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_shmat,
        libc::SYS_mq_open,
        libc::SYS_finit_module,
        libc::SYS_personality,
        libc::SYS_mknodat,
        libc::SYS_fchmodat,
    ];
    let offline = [libc::SYS_socket, libc::SYS_connect, libc::SYS_openat, libc::SYS_openat2, libc::SYS_unlinkat, libc::SYS_mkdirat];
    for role in ROLES {
        let has = |call: &libc::c_long| rules(role).iter().any(|rule| rule.call == *call);
        assert_eq!(nobody.iter().filter(|call| has(call)).count(), 0, "{role:?}");
        assert!(!role.is_offline() || !offline.iter().any(has), "{role:?}");
    }
}

#[test]
fn no_call_is_both_always_allowed_and_only_sometimes() {
    for role in ROLES {
        let rules = rules(role);
        for rule in &rules {
            let same: Vec<_> = rules.iter().filter(|other| other.call == rule.call).collect();
            assert!(same.len() == 1 || same.iter().all(|rule| !rule.when.is_empty()), "{role:?}: call {}", rule.call);
        }
    }
}

/// A filter that a panic ran into would hide what the panic was about.
#[test]
fn a_panic_under_the_filter_ends_in_sigabrt_and_says_why() {
    for role in ["listener", "worker", "updater"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "confine::tests::panics_when_told_so", "--ignored", "--nocapture", "--test-threads=1"]);
        // As the children are started: with an empty environment, but for the order to panic.
        let output = command.env_clear().env("GWG_TEST_PANIC", role).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{role}: {:?}", output.status);
        assert!(String::from_utf8_lossy(&output.stderr).contains("as it was told"), "{role}");
    }
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn panics_when_told_so() {
    let Ok(role) = std::env::var("GWG_TEST_PANIC") else { return };
    let role = ROLES.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(&role)).unwrap();
    enter::end_at_panic();
    filter::load(role).unwrap();
    panic!("as it was told");
}

/// Landlock and the filter together: the resolver's files can be read, and what it tries in vain ends
/// nobody. Names that only DNS knows are for a machine with a network.
#[test]
fn names_are_resolved_within_an_updater_s_reach() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "confine::tests::resolves_when_told_so", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env_clear().env("GWG_TEST_RESOLVE", "localhost").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("127.0.0.1:443"), "{:?}: {text}", output.status);
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn resolves_when_told_so() {
    use std::net::ToSocketAddrs;
    use std::os::fd::AsFd;
    let Ok(name) = std::env::var("GWG_TEST_RESOLVE") else { return };
    let tree = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let root = std::fs::File::open(tree.path()).unwrap();
    reach::close_but(&reach::Reach { tree: root.as_fd(), above: None, trigger: None, port: 443 }).unwrap();
    filter::load(Role::Updater).unwrap();
    std::fs::write(tree.path().join("file"), "in reach").unwrap();
    assert_eq!(std::fs::write(outside.path().join("file"), "").unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    let found: Vec<_> = (name.as_str(), 443).to_socket_addrs().unwrap().collect();
    let _line = std::io::Write::write_all(&mut std::io::stdout(), format!("{found:?}\n").as_bytes());
    // The directories are left to the system: this process may not remove what is out of its reach.
    std::mem::forget((tree, outside));
}

/// Under every number that it has: the personality x32 is no way around.
#[test]
fn each_call_that_a_hook_may_not_make_is_answered_with_an_errno() {
    let mut fired = 0;
    for (errno, rules) in calls::refused(Role::Hook) {
        for rule in rules {
            let always: &[&[Condition]] = &[&[]];
            for conditions in if rule.when.is_empty() { always } else { rule.when } {
                let ended = fire(Role::Hook, rule.call, |pid| fitting(conditions, pid));
                assert_eq!(ended, Ended::Answered(errno), "call {} {conditions:?}", rule.call);
                fired += 1;
            }
        }
    }
    assert!(fired > 50, "{fired} rules were fired");
}

#[test]
fn what_programs_need_is_not_refused_to_a_hook() {
    let allowed: &[(libc::c_long, Arguments)] = &[
        (libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, 0, 0, 0, 0]),
        (libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
        (libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
        (libc::SYS_memfd_create, [c"x".as_ptr() as u64, 0, 0, 0, 0, 0]),
        (libc::SYS_setsid, [0; 6]),
    ];
    for (call, arguments) in allowed {
        let ended = fire(Role::Hook, *call, |_| *arguments);
        // The child asks no more than success or failure: an error of setsid is EPERM too.
        assert!(matches!(ended, Ended::Answered(errno) if errno == 0), "call {call}: {ended:?}");
    }
    // A file that is not there: the filter did not answer.
    assert_eq!(fire(Role::Hook, libc::SYS_execve, |_| [BAD; 6]), Ended::Answered(libc::EFAULT));
    assert_eq!(fire(Role::Hook, libc::SYS_ioctl, |_| [BAD, libc::FIONREAD, 0, 0, 0, 0]), Ended::Answered(libc::EBADF));
}
