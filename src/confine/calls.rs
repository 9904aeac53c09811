//! Which system calls each role may make once its doors are closed: the tables of the seccomp
//! filters. Runs in every child; what is not here ends the process. A hook runs any program: it has a
//! table of what it may not, `hook`.
//!
//! Each list is what was seen with strace in the tests (every kind of remote, key and fault), and
//! what the C library may use instead on another version or machine. Numbers that a caller chooses
//! are pinned where a wrong one would reach outside.

mod hook;

use super::descriptors::OWN;
use super::{Role, maker};
use libc::c_long;

/// A list of calls: what a role may call in the end, or what an updater may while it looks up where its remote is, or what
/// its helper may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// For good.
    Of(Role),
    /// Until the updater's own table is loaded too.
    LookUp,
    /// Of the process that makes a trigger for an updater.
    Maker,
}

/// What must hold of an argument, counted from 0.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    /// Its low 32 bits are this number: the kernel takes it as an int.
    Is(u8, u32),
    /// Its low 32 bits are another number.
    IsNot(u8, u32),
    /// None of these bits is set.
    Lacks(u8, u32),
    /// Of these bits (the first number) these and no others (the second) are set.
    Has(u8, u32, u32),
    /// It is a null pointer.
    Null(u8),
    /// It is none.
    NotNull(u8),
    /// It is this process's own pid.
    OwnPid(u8),
}

/// A call, and when it is allowed: where all conditions of any alternative hold. No alternatives: always.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its number on this machine.
    pub call: c_long,
    /// Alternatives of conditions. A call that several lists have is allowed as any of them says.
    pub when: &'static [&'static [Condition]],
}

const fn always(call: c_long) -> Rule {
    Rule { call, when: &[] }
}

const fn when(call: c_long, when: &'static [&'static [Condition]]) -> Rule {
    Rule { call, when }
}

/// An int constant as the filter compares it.
const fn int(value: libc::c_int) -> u32 {
    value.cast_unsigned()
}

use Condition::{Has, Is, IsNot, Lacks, NotNull, Null, OwnPid};

const NO_EXEC: &[&[Condition]] = &[&[Lacks(2, int(libc::PROT_EXEC))]];

/// Memory, time, the event loop, the end.
const ALL: &[Rule] = &[
    always(libc::SYS_read),
    always(libc::SYS_write),
    always(libc::SYS_writev),
    always(libc::SYS_close),
    always(libc::SYS_pread64),
    always(libc::SYS_recvfrom),
    // It would connect without asking Landlock for the port.
    when(libc::SYS_sendto, &[&[Lacks(3, int(libc::MSG_FASTOPEN))]]),
    always(libc::SYS_brk),
    always(libc::SYS_munmap),
    always(libc::SYS_mremap),
    always(libc::SYS_madvise),
    // Memory is never both written and run.
    when(libc::SYS_mmap, NO_EXEC),
    when(libc::SYS_mprotect, NO_EXEC),
    always(libc::SYS_futex),
    always(libc::SYS_getrandom),
    always(libc::SYS_clock_gettime),
    always(libc::SYS_clock_nanosleep),
    always(libc::SYS_restart_syscall),
    // No F_DUPFD: a copy of the listening socket would have a number that no other rule knows.
    when(
        libc::SYS_fcntl,
        &[&[Is(1, int(libc::F_GETFD))], &[Is(1, int(libc::F_SETFD))], &[Is(1, int(libc::F_GETFL))], &[Is(1, int(libc::F_SETFL))]],
    ),
    // A panic, and the C library's abort: the message, then SIGABRT to itself and nobody else.
    when(libc::SYS_tgkill, &[&[OwnPid(0), Is(2, int(libc::SIGABRT))]]),
    always(libc::SYS_getpid),
    always(libc::SYS_gettid),
    always(libc::SYS_rt_sigaction),
    always(libc::SYS_rt_sigprocmask),
    always(libc::SYS_rt_sigreturn),
    always(libc::SYS_sigaltstack),
    always(libc::SYS_exit),
    always(libc::SYS_exit_group),
    // By which the process asks whether this filter is on.
    when(libc::SYS_prctl, &[&[Is(0, int(libc::PR_GET_SECCOMP))]]),
];

/// The event loop, and links whose messages carry descriptors to it. It sends none: no sendmsg.
const EVENTS: &[Rule] =
    &[always(libc::SYS_epoll_ctl), always(libc::SYS_epoll_pwait), always(libc::SYS_recvmsg), when(libc::SYS_ioctl, &[&[Is(1, FIONBIO)]])];

#[allow(clippy::cast_possible_truncation)] // 0x5421 on each architecture
const FIONBIO: u32 = libc::FIONBIO as u32;

const LISTENER: &[Rule] = &[
    when(libc::SYS_accept4, &[&[Is(0, int(OWN))]]),
    // On the listening socket it would end every copy of it, the supervisor's too.
    when(libc::SYS_shutdown, &[&[IsNot(0, int(OWN)), Is(1, int(libc::SHUT_WR))]]),
    // Nothing else: options of a socket lead far (a disconnected one may connect elsewhere).
    when(libc::SYS_setsockopt, &[&[Is(1, int(libc::IPPROTO_TCP)), Is(2, int(libc::TCP_NODELAY))]]),
];

/// The state's file.
const WORKER: &[Rule] = &[
    always(libc::SYS_pwrite64),
    always(libc::SYS_fsync),
    always(libc::SYS_fdatasync),
    always(libc::SYS_ftruncate),
    always(libc::SYS_fallocate),
    always(libc::SYS_flock),
    // redb locks its file, and may be given a copy of it: no rule of the worker's knows a number.
    when(
        libc::SYS_fcntl,
        &[
            &[Is(1, int(libc::F_OFD_GETLK))],
            &[Is(1, int(libc::F_OFD_SETLK))],
            &[Is(1, int(libc::F_OFD_SETLKW))],
            &[Is(1, int(libc::F_DUPFD_CLOEXEC))],
        ],
    ),
    always(libc::SYS_lseek),
    always(libc::SYS_fstat),
    always(libc::SYS_newfstatat),
    always(libc::SYS_statx),
];

/// Files (Landlock says which), one connection, names.
const UPDATER: &[Rule] = &[
    always(libc::SYS_openat),
    always(libc::SYS_openat2),
    always(libc::SYS_readv),
    always(libc::SYS_pwrite64),
    always(libc::SYS_lseek),
    always(libc::SYS_fsync),
    always(libc::SYS_fdatasync),
    always(libc::SYS_ftruncate),
    always(libc::SYS_fallocate),
    always(libc::SYS_flock),
    always(libc::SYS_fstat),
    always(libc::SYS_newfstatat),
    always(libc::SYS_statx),
    always(libc::SYS_fstatfs),
    always(libc::SYS_getdents64),
    always(libc::SYS_faccessat),
    always(libc::SYS_faccessat2),
    always(libc::SYS_readlinkat),
    always(libc::SYS_mkdirat),
    always(libc::SYS_unlinkat),
    always(libc::SYS_linkat),
    always(libc::SYS_symlinkat),
    always(libc::SYS_renameat),
    always(libc::SYS_renameat2),
    // By descriptor: Landlock, which says what may be opened, knows no modes and no times. By a path an
    // updater could change those of all files of its user; see `REFUSED`.
    always(libc::SYS_fchmod),
    always(libc::SYS_utimensat),
    always(libc::SYS_getcwd),
    always(libc::SYS_umask),
    always(libc::SYS_msync),
    // And connect, to its remote's addresses only: `filter`.
    when(libc::SYS_socket, SOCKETS),
    always(libc::SYS_getsockopt),
    always(libc::SYS_getsockname),
    always(libc::SYS_getpeername),
    when(
        libc::SYS_setsockopt,
        &[
            &[Is(1, int(libc::IPPROTO_TCP)), Is(2, int(libc::TCP_NODELAY))],
            // libgit2 notices a remote that is gone.
            &[Is(1, int(libc::SOL_SOCKET)), Is(2, int(libc::SO_KEEPALIVE))],
            &[Is(1, int(libc::IPPROTO_TCP)), Is(2, int(libc::TCP_KEEPIDLE))],
            &[Is(1, int(libc::IPPROTO_TCP)), Is(2, int(libc::TCP_KEEPINTVL))],
            &[Is(1, int(libc::IPPROTO_TCP)), Is(2, int(libc::TCP_KEEPCNT))],
        ],
    ),
    always(libc::SYS_recvmsg),
    always(libc::SYS_ppoll),
    when(libc::SYS_ioctl, &[&[Is(1, FIONREAD)], &[Is(1, FIONBIO)]]),
    // Who and where it is.
    always(libc::SYS_getuid),
    always(libc::SYS_geteuid),
    always(libc::SYS_getgid),
    always(libc::SYS_getegid),
    always(libc::SYS_getppid),
    always(libc::SYS_uname),
    always(libc::SYS_sysinfo),
    always(libc::SYS_sched_getaffinity),
    always(libc::SYS_getrusage),
    // To read limits, not to set them: processes of one user may set each other's.
    when(libc::SYS_prlimit64, &[&[Null(2)]]),
];

/// What the C library's resolver needs beside that, and what closes the last doors.
const LOOK_UP: &[Rule] = &[
    when(libc::SYS_socket, LOOK_UP_SOCKETS),
    always(libc::SYS_connect),
    when(libc::SYS_sendmmsg, &[&[Lacks(3, int(libc::MSG_FASTOPEN))]]),
    when(
        libc::SYS_setsockopt,
        &[
            // It wants to hear that nobody is there.
            &[Is(1, int(libc::IPPROTO_IP)), Is(2, int(libc::IP_RECVERR))],
            &[Is(1, int(libc::IPPROTO_IPV6)), Is(2, int(libc::IPV6_RECVERR))],
        ],
    ),
    // None of these gives anything: they take.
    always(libc::SYS_landlock_create_ruleset),
    always(libc::SYS_landlock_add_rule),
    always(libc::SYS_landlock_restrict_self),
    always(libc::SYS_mseal),
    when(libc::SYS_prctl, &[&[Is(0, int(libc::PR_SET_NO_NEW_PRIVS))]]),
    when(libc::SYS_seccomp, &[&[Is(0, libc::SECCOMP_SET_MODE_FILTER)]]),
];

/// Is asked, makes a file, answers, ends.
const MAKER: &[Rule] = &[
    when(libc::SYS_read, &[&[Is(0, int(maker::ASKED))]]),
    when(libc::SYS_write, &[&[Is(0, int(maker::ANSWERED))]]),
    when(libc::SYS_mknodat, &[&[Is(0, int(maker::DIRECTORY)), Is(2, libc::S_IFREG | maker::MODE)]]),
    always(libc::SYS_exit_group),
    when(libc::SYS_prctl, &[&[Is(0, int(libc::PR_GET_SECCOMP))]]),
    always(libc::SYS_rt_sigreturn),
    always(libc::SYS_restart_syscall),
];

/// TCP. Landlock's ports are those of TCP: another protocol's stream would not be asked for it.
const SOCKETS: &[&[Condition]] = &[
    &[Is(0, int(libc::AF_INET)), STREAM, Is(2, 0)],
    &[Is(0, int(libc::AF_INET)), STREAM, Is(2, int(libc::IPPROTO_TCP))],
    &[Is(0, int(libc::AF_INET6)), STREAM, Is(2, 0)],
    &[Is(0, int(libc::AF_INET6)), STREAM, Is(2, int(libc::IPPROTO_TCP))],
    // Let through to `REFUSED`.
    &[Is(0, int(libc::AF_UNIX))],
];

const LOOK_UP_SOCKETS: &[&[Condition]] = &[
    &[Is(0, int(libc::AF_INET)), DATAGRAM, Is(2, 0)],
    &[Is(0, int(libc::AF_INET)), DATAGRAM, Is(2, int(libc::IPPROTO_UDP))],
    &[Is(0, int(libc::AF_INET6)), DATAGRAM, Is(2, 0)],
    &[Is(0, int(libc::AF_INET6)), DATAGRAM, Is(2, int(libc::IPPROTO_UDP))],
    // Let through to `REFUSED`.
    &[Is(0, int(libc::AF_NETLINK))],
];

/// The kind stands in the low four bits, flags above it.
const KIND: u32 = 0xf;
const STREAM: Condition = Has(1, KIND, int(libc::SOCK_STREAM));
const DATAGRAM: Condition = Has(1, KIND, int(libc::SOCK_DGRAM));

const REFUSED: &[Rule] = &[
    when(libc::SYS_socket, &[&[Is(0, int(libc::AF_UNIX))], &[Is(0, int(libc::AF_NETLINK))]]),
    when(libc::SYS_utimensat, &[&[NotNull(1)]]),
];

#[allow(clippy::cast_possible_truncation)] // 0x541b on each architecture
const FIONREAD: u32 = libc::FIONREAD as u32;

/// The same under the names that only x86-64 still has.
#[cfg(target_arch = "x86_64")]
mod old {
    use super::{Rule, always};

    pub const EVENTS: &[Rule] = &[always(libc::SYS_epoll_wait)];
    pub const UPDATER: &[Rule] = &[
        always(libc::SYS_open),
        always(libc::SYS_stat),
        always(libc::SYS_lstat),
        always(libc::SYS_access),
        always(libc::SYS_readlink),
        always(libc::SYS_mkdir),
        always(libc::SYS_rmdir),
        always(libc::SYS_unlink),
        always(libc::SYS_link),
        always(libc::SYS_symlink),
        always(libc::SYS_rename),
        always(libc::SYS_poll),
        always(libc::SYS_time),
        always(libc::SYS_gettimeofday),
    ];
}

#[cfg(not(target_arch = "x86_64"))]
mod old {
    pub const EVENTS: &[super::Rule] = &[];
    pub const UPDATER: &[super::Rule] = &[];
}

/// All that may be called; `None`: all that is not [`refused`].
pub fn allowed(table: Table) -> Option<Vec<Rule>> {
    let lists: &[&[Rule]] = match table {
        Table::Of(Role::Listener) => &[ALL, EVENTS, old::EVENTS, LISTENER],
        Table::Of(Role::Worker) => &[ALL, EVENTS, old::EVENTS, WORKER],
        Table::Of(Role::Updater) => &[ALL, UPDATER, old::UPDATER],
        Table::LookUp => &[ALL, UPDATER, old::UPDATER, LOOK_UP],
        Table::Maker => &[MAKER],
        Table::Of(Role::Hook) => return None,
    };
    Some(lists.concat())
}

/// What is answered with an errno and does not end the process. The C library's resolver asks a name
/// service's socket and the kernel's routing table first, and libgit2 sets the time of an object that it
/// would write again; both go on without.
pub fn refused(table: Table) -> Vec<(libc::c_int, Vec<Rule>)> {
    match table {
        Table::Of(Role::Listener | Role::Worker) | Table::Maker => Vec::new(),
        Table::Of(Role::Updater) | Table::LookUp => vec![(libc::EACCES, REFUSED.to_vec())],
        Table::Of(Role::Hook) => hook::refused(),
    }
}
