//! Fires every system call that there is under each role's filter, and each rule with arguments that
//! it allows and arguments that it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::calls::{self, Condition, Rule, Table};
use super::{Confinement, Role, enter, filter, maker, reach, remote};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const LISTENER: Table = Table::Of(Role::Listener);
const WORKER: Table = Table::Of(Role::Worker);
const UPDATER: Table = Table::Of(Role::Updater);
const HOOK: Table = Table::Of(Role::Hook);
/// Those that say what may be called.
const TABLES: [Table; 5] = [LISTENER, WORKER, UPDATER, Table::LookUp, Table::Maker];
/// Above the newest call of any kernel so far, and far below x32's.
const LAST: libc::c_long = 600;
/// An invalid descriptor, pointer, size and flag: a call that is let through does nothing.
const BAD: u64 = u64::MAX;

/// Where the one address lies to which may be connected.
const PLACE: u64 = 0x7fff_0000_1000;

/// A number that no rule names.
const OTHER: u64 = 0x7fff_fff0;

type Arguments = [u64; 6];

/// How a process ended that loaded a table's filter and made one call: the signal, or nothing and the
/// call's errno.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Signal(i32),
    Answered(i32),
}

const KILLED: Ended = Ended::Signal(libc::SIGSYS);

/// The arguments may depend on the pid of the process that makes the call.
fn fire(table: Table, call: libc::c_long, arguments: impl Fn(u64) -> Arguments) -> Ended {
    let mut status = 0;
    // SAFETY: the child is a copy of this thread alone. It allocates (glibc keeps its allocator usable
    // across fork) and makes system calls; it takes no other lock, and never returns into the test.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            // Locks of tests that run beside this one.
            libc::close_range(3, libc::c_uint::MAX, 0);
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            let [a, b, c, d, e, f] = arguments(u64::from(std::process::id()));
            if filter::load(table, if table == UPDATER { &[PLACE] } else { &[] }).is_err() {
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

fn rules(table: Table) -> Vec<Rule> {
    calls::allowed(table).unwrap()
}

#[test]
fn what_is_not_in_the_table_ends_the_process() {
    for table in TABLES {
        let rules = rules(table);
        for call in 0..LAST {
            if call != libc::SYS_connect && !rules.iter().any(|rule| rule.call == call) {
                let ended = fire(table, call, |_| [BAD; 6]);
                let by_kernel = UPROBES.iter().any(|(uprobe, answer)| *uprobe == call && *answer == ended);
                assert!(ended == KILLED || by_kernel, "{table:?}: call {call}: {ended:?}");
            }
        }
        // The 32-bit personality of x86-64 has numbers of its own.
        assert_eq!(fire(table, libc::SYS_read | 0x4000_0000, |_| [BAD; 6]), KILLED, "{table:?}: x32");
    }
}

#[test]
fn each_rule_lets_through_what_it_says_and_nothing_else() {
    for table in TABLES {
        for rule in rules(table).iter().filter(|rule| !END.contains(&rule.call)) {
            let call = rule.call;
            if rule.when.is_empty() {
                let ended = fire(table, call, |_| [BAD; 6]);
                assert!(matches!(ended, Ended::Answered(errno) if errno != 254), "{table:?}: call {call}: {ended:?}");
            }
            for conditions in rule.when {
                let ended = fire(table, call, |pid| fitting(conditions, pid));
                assert!(matches!(ended, Ended::Answered(errno) if errno != 254), "{table:?}: call {call} {conditions:?}: {ended:?}");
                for which in 0..conditions.len() {
                    let ended = fire(table, call, |pid| broken(conditions, which, pid));
                    assert_eq!(ended, KILLED, "{table:?}: call {call} {conditions:?} without {:?}", conditions[which]);
                }
            }
        }
    }
}

#[test]
fn the_resolver_s_local_sockets_are_refused_and_end_nobody() {
    for family in [libc::AF_UNIX, libc::AF_NETLINK] {
        let arguments = [u64::from(family.cast_unsigned()), 1, 0, 0, 0, 0];
        assert_eq!(fire(Table::LookUp, libc::SYS_socket, |_| arguments), Ended::Answered(libc::EACCES));
        assert_eq!(fire(LISTENER, libc::SYS_socket, |_| arguments), KILLED);
    }
}

/// Landlock knows no times and no modes: by a path an updater would change those of its user's other files.
#[test]
fn an_updater_sets_times_and_modes_by_descriptor_only() {
    let path = c"/nonexistent".as_ptr().expose_provenance() as u64;
    let time = |path: u64| fire(UPDATER, libc::SYS_utimensat, |_| [BAD, path, 0, 0, 0, 0]);
    assert_eq!(time(path), Ended::Answered(libc::EACCES));
    // A pointer whose lower half is null is none.
    assert_eq!(time(1 << 32), Ended::Answered(libc::EACCES));
    assert_eq!(time(0), Ended::Answered(libc::EBADF));
    assert_eq!(fire(UPDATER, libc::SYS_fchmodat, |_| [BAD, path, 0, 0, 0, 0]), KILLED);
    assert_eq!(fire(UPDATER, libc::SYS_fchmod, |_| [BAD, 0, 0, 0, 0, 0]), Ended::Answered(libc::EBADF));
}

/// Neither pipes nor devices; and no number of a kind that the kernel takes for a regular file, either.
#[test]
fn a_maker_makes_regular_files_only() {
    let path = c"/nonexistent/file".as_ptr().expose_provenance() as u64;
    let directory = u64::from(maker::DIRECTORY.cast_unsigned());
    let make = |kind: libc::mode_t| fire(Table::Maker, libc::SYS_mknodat, |_| [directory, path, u64::from(kind | 0o644), 0, 0, 0]);
    assert_eq!(make(libc::S_IFREG), Ended::Answered(libc::ENOENT));
    for kind in [0, libc::S_IFIFO, libc::S_IFCHR, libc::S_IFBLK, libc::S_IFSOCK, libc::S_IFDIR, libc::S_IFLNK] {
        assert_eq!(make(kind), KILLED, "{kind:o}");
    }
    let offline = |table| fire(table, libc::SYS_mknodat, |_| [BAD, path, u64::from(libc::S_IFREG), 0, 0, 0]);
    assert_eq!([LISTENER, WORKER, UPDATER].map(offline), [KILLED, KILLED, KILLED]);
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
        libc::SYS_fchmodat,
    ];
    let taking = [libc::SYS_seccomp, libc::SYS_landlock_restrict_self, libc::SYS_mseal];
    let offline = [libc::SYS_socket, libc::SYS_connect, libc::SYS_openat, libc::SYS_openat2, libc::SYS_unlinkat, libc::SYS_mkdirat];
    for table in TABLES {
        let has = |call: &libc::c_long| rules(table).iter().any(|rule| rule.call == *call);
        assert_eq!(nobody.iter().filter(|call| has(call)).count(), 0, "{table:?}");
        assert!(table == Table::LookUp || !taking.iter().any(has), "{table:?}");
        assert!(![LISTENER, WORKER].contains(&table) || !offline.iter().any(has), "{table:?}");
    }
}

#[test]
fn no_call_is_both_always_allowed_and_only_sometimes() {
    for table in TABLES {
        let rules = rules(table);
        for rule in &rules {
            let same: Vec<_> = rules.iter().filter(|other| other.call == rule.call).collect();
            assert!(same.len() == 1 || same.iter().all(|rule| !rule.when.is_empty()), "{table:?}: call {}", rule.call);
        }
    }
}

/// A filter that a panic ran into would hide what the panic was about.
#[test]
fn a_panic_under_the_filter_ends_in_sigabrt_and_says_why() {
    for role in ["Listener", "Worker", "Updater"] {
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
    let table = TABLES.into_iter().find(|known| format!("{known:?}") == format!("Of({role})")).unwrap();
    enter::end_at_panic();
    filter::load(table, &[]).unwrap();
    panic!("as it was told");
}

/// By where the address lies, not by what it says.
#[test]
fn an_updater_connects_to_its_remote_s_addresses_only() {
    let connect = |table, place: u64| fire(table, libc::SYS_connect, |_| [BAD, place, 16, 0, 0, 0]);
    assert_eq!(connect(UPDATER, PLACE), Ended::Answered(libc::EBADF));
    for elsewhere in [0, PLACE + 1, PLACE - 1, PLACE | 1 << 62, PLACE & 0xffff_ffff, BAD] {
        assert_eq!(connect(UPDATER, elsewhere), KILLED, "{elsewhere:x}");
    }
    assert_eq!(connect(Table::LookUp, BAD), Ended::Answered(libc::EBADF));
    for family in [libc::AF_INET, libc::AF_INET6] {
        let datagrams = |table| fire(table, libc::SYS_socket, |_| [u64::from(family.cast_unsigned()), libc::SOCK_DGRAM as u64, 0, 0, 0, 0]);
        assert_eq!((datagrams(Table::LookUp), datagrams(UPDATER)), (Ended::Answered(0), KILLED));
    }
}

/// Runs an ignored test of this file in a process of its own, which closes doors for good; gives what it wrote.
fn alone(test: &str, variable: &str, value: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("confine::tests::{test}"), "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env_clear().env(variable, value).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{:?}: {text} {}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

/// Landlock and the filters together: the resolver's files can be read, and what it tries in vain ends
/// nobody. Names that only DNS knows: `tests/names.rs`.
#[test]
fn a_name_is_looked_up_once_and_leads_to_one_place_from_then_on() {
    let text = alone("looks_up_when_told_so", "GWG_TEST_LOOK_UP", "localhost");
    assert!(text.contains("found 127.0.0.1"), "{text}");
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn looks_up_when_told_so() {
    use std::io::{ErrorKind, Write};
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    let Ok(name) = std::env::var("GWG_TEST_LOOK_UP") else { return };
    let say = |text: &str| std::io::stdout().write_all(text.as_bytes()).unwrap();
    let (tree, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = std::fs::File::open(tree.path()).unwrap();
    let [server, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = server.local_addr().unwrap().port();
    reach::close_but(&reach::Reach { tree: root.as_fd(), above: None, trigger: None, port }).unwrap();
    filter::load(Table::LookUp, &[]).unwrap();
    std::fs::write(tree.path().join("file"), "in reach").unwrap();
    assert_eq!(std::fs::write(outside.path().join("file"), "").unwrap_err().kind(), ErrorKind::PermissionDenied);

    remote::look_up(&name, port).unwrap();
    // A name server over TCP, until now: nobody listens, or somebody does, but no Landlock forbids it.
    let to = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.kind());
    assert_ne!(to(53), Err(ErrorKind::PermissionDenied));
    reach::close_ports_but(port).unwrap();
    assert_eq!(to(53), Err(ErrorKind::PermissionDenied));
    assert_eq!(to(other.local_addr().unwrap().port()), Err(ErrorKind::PermissionDenied));
    assert_eq!(to(port), Ok(()));
    // The second of Landlock's layers forbids no moves that the first allows, and allows none that it forbids.
    std::fs::create_dir(tree.path().join("below")).unwrap();
    std::fs::rename(tree.path().join("file"), tree.path().join("below/file")).unwrap();
    assert!(std::fs::rename(tree.path().join("below/file"), outside.path().join("file")).is_err());

    let places = remote::places();
    let sealed = remote::seal();
    filter::load(UPDATER, &places).unwrap();
    if sealed.is_ok() {
        let place = places[0] as usize & !0xfff;
        // SAFETY: none of these can succeed on a sealed page; the last asks for a place that is taken.
        let answers = unsafe {
            [
                libc::munmap(place as *mut _, 4096),
                libc::mprotect(place as *mut _, 4096, libc::PROT_READ | libc::PROT_WRITE),
                libc::madvise(place as *mut _, 4096, libc::MADV_DONTNEED),
                libc::mmap(place as *mut _, 4096, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED, -1, 0) as libc::c_int,
                libc::mremap(place as *mut _, 4096, 8192, libc::MREMAP_MAYMOVE) as libc::c_int,
            ]
        };
        assert_eq!(answers, [-1; 5], "a sealed page was changed");
    }
    for place in places {
        // SAFETY: an address of the list, which nobody changes.
        let address = unsafe { &*std::ptr::with_exposed_provenance::<libc::sockaddr_in>(place as usize) };
        if i32::from(address.sin_family) == libc::AF_INET {
            say(&format!("found {}\n", std::net::Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))));
            // SAFETY: a new socket, and the address above.
            let connected = unsafe {
                let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
                libc::connect(socket, (&raw const *address).cast(), 16)
            };
            assert_eq!(connected, 0);
        }
    }
    // The directories are left to the system: this process may not remove what is out of its reach.
    std::mem::forget((tree, outside));
}

/// As libgit2 asks: by the name in the URL, whatever its case, and the port.
#[test]
fn what_was_looked_up_is_answered_and_nothing_else() {
    remote::look_up("LocalHost", 9418).unwrap();
    let ask = |name: &std::ffi::CStr, port: &std::ffi::CStr| {
        let mut list = std::ptr::null_mut();
        // SAFETY: strings that end, and a place for the list.
        let error = unsafe { remote::answer(name.as_ptr(), port.as_ptr(), &raw mut list) };
        assert_eq!(list.is_null(), error != 0);
        error
    };
    assert_eq!(ask(c"localhost", c"9418"), 0);
    for (name, port) in [(c"localhost", c"9419"), (c"localhost.", c"9418"), (c"127.0.0.1", c"9418"), (c"", c""), (c"localhos", c"9418")] {
        assert_eq!(ask(name, port), libc::EAI_NONAME, "{name:?} {port:?}");
    }
}

/// Under every number that it has: the personality x32 is no way around.
#[test]
fn each_call_that_a_hook_may_not_make_is_answered_with_an_errno() {
    let mut fired = 0;
    for (errno, rules) in calls::refused(HOOK) {
        for rule in rules {
            let always: &[&[Condition]] = &[&[]];
            for conditions in if rule.when.is_empty() { always } else { rule.when } {
                let ended = fire(HOOK, rule.call, |pid| fitting(conditions, pid));
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
        let ended = fire(HOOK, *call, |_| *arguments);
        // The child asks no more than success or failure: an error of setsid is EPERM too.
        assert!(matches!(ended, Ended::Answered(errno) if errno == 0), "call {call}: {ended:?}");
    }
    // A file that is not there: the filter did not answer.
    assert_eq!(fire(HOOK, libc::SYS_execve, |_| [BAD; 6]), Ended::Answered(libc::EFAULT));
    assert_eq!(fire(HOOK, libc::SYS_ioctl, |_| [BAD, libc::FIONREAD, 0, 0, 0, 0]), Ended::Answered(libc::EBADF));
}

/// With doors closed for good: in a process of its own, and in a copy of that, since only a process of one
/// thread starts a maker.
#[test]
fn a_maker_makes_its_file_when_asked_and_no_other() {
    let text = alone("makes_when_told_so", "GWG_TEST_MAKER", "now");
    assert!(text.contains("made once"), "{text}");
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn makes_when_told_so() {
    if std::env::var("GWG_TEST_MAKER").is_err() {
        return;
    }
    let mut status = 0;
    // SAFETY: as in `fire`; this process has nothing else to do.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(std::panic::catch_unwind(make_by_a_maker).map_or(1, |()| 0));
        }
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
    }
    assert_eq!(status, 0);
}

fn make_by_a_maker() {
    use std::io::Write;
    use std::os::fd::AsFd;
    let home = tempfile::tempdir().unwrap();
    let (tree, triggers) = (home.path().join("tree"), home.path().join("triggers"));
    for path in [&tree, &triggers] {
        std::fs::create_dir(path).unwrap();
    }
    let [root, directory] = [&tree, &triggers].map(|path| std::fs::File::open(path).unwrap());
    let doors = enter::Doors { role: Role::Updater, confinement: Confinement::Require };
    let trigger = reach::Trigger::Missing { directory: directory.as_fd(), name: c"deployed" };
    let reach = reach::Reach { tree: root.as_fd(), above: None, trigger: Some(trigger), port: 1 };
    let (_last, maker) = doors.close_but(&reach).unwrap();
    let maker = maker.unwrap();
    // What the updater itself may not: make anything there.
    for name in ["deployed", "other"] {
        let refused = std::fs::File::create(triggers.join(name)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    }
    maker.make().unwrap();
    assert_eq!(std::fs::metadata(triggers.join("deployed")).unwrap().len(), 0);
    assert_eq!(maker.make(), Err(nix::errno::Errno::EPIPE), "it ends when it has made it");
    std::io::stdout().write_all(b"made once\n").unwrap();
    std::mem::forget(home);
}
