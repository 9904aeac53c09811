//! The attacks, in four tables. Each is tried by a process of its own, so that it may break what it likes.
//!
//! A call that only returns success proves nothing. So each attack has a [`Proof`], which the harness
//! looks at: bytes that it planted and told to nobody, a file, another process's health.

mod files;
mod kernel;
mod limits;
mod links;
mod memory;
mod neighbours;
mod network;
mod processes;
mod sys;
mod tree;

use super::Held;
use super::command::{Tried, World};
use Proof::{Changes, Deafens, Gives, Heard, Hurts, Makes, Reaches, Removes, Says, Writes};
use std::fmt;

/// What shows that an attack succeeded. The words are keys of the [`World`].
#[derive(Debug, Clone, Copy)]
pub enum Proof {
    /// The answer holds what was planted there.
    Gives(&'static str),
    /// The file holds what the attacker was told to write.
    Writes(&'static str),
    /// The path is there, and was not.
    Makes(&'static str),
    /// The path is gone.
    Removes(&'static str),
    /// Mode, owner, length or a time of the file are others.
    Changes(&'static str),
    /// The process is gone, or its limits, its priority or its worth to the kernel are others.
    Hurts(&'static str),
    /// The server has heard what the attacker was told to write.
    Reaches(&'static str),
    /// The supervisor's copy of the listening socket takes no connection any more.
    Deafens,
    /// What is said to a neighbour: the tests of the real processes look at those.
    Heard,
    /// The answer is this: what the attacker did is inside of its own process, and it looked itself.
    Says(&'static str),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard => f.write_str("heard\t"),
            Gives(key) => write!(f, "gives\t{key}"),
            Writes(key) => write!(f, "writes\t{key}"),
            Makes(key) => write!(f, "makes\t{key}"),
            Removes(key) => write!(f, "removes\t{key}"),
            Changes(key) => write!(f, "changes\t{key}"),
            Hurts(key) => write!(f, "hurts\t{key}"),
            Reaches(key) => write!(f, "reaches\t{key}"),
            Deafens => write!(f, "deafens\t"),
            Says(text) => write!(f, "says\t{text}"),
        }
    }
}

/// One attack.
pub struct Attack {
    /// Its name, in commands and in the published table.
    pub name: &'static str,
    /// What the attacker wants, for people.
    pub wants: &'static str,
    /// What shows that it was had.
    pub proof: Proof,
    /// Tries it.
    pub run: fn(&Held, &World) -> Tried,
}

const fn attack(name: &'static str, wants: &'static str, proof: Proof, run: fn(&Held, &World) -> Tried) -> Attack {
    Attack { name, wants, proof, run }
}

/// What both try. `supervisor` is a process of root's without confinement, `twin` one of the same role
/// and user, `cousin` one of the other role.
pub const BOTH: &[Attack] = &[
    attack("read-config", "the configuration, with the webhook secrets", Gives("config"), |_, w| files::read(w, "config")),
    attack("read-key", "an ssh key of root's", Gives("key"), |_, w| files::read(w, "key")),
    attack("read-shadow", "the password hashes", Gives("shadow"), |_, w| files::read(w, "shadow")),
    attack("read-state", "the worker's state", Gives("state"), |_, w| files::read(w, "state")),
    attack("read-other-tree", "a file of another work tree", Gives("other-file"), |_, w| files::read(w, "other-file")),
    attack("list-other-tree", "the names in another work tree", Gives("other-tree"), files::list),
    attack("read-by-handle", "the configuration, by its number on the disk", Gives("config"), files::read_by_handle),
    attack("read-supervisor-environ", "the supervisor's environment", Gives("supervisor.environ"), files::read_environ),
    attack("write-config", "another configuration", Writes("config"), |_, w| files::write(w, "config")),
    attack("write-state", "another state", Writes("state"), |_, w| files::write(w, "state")),
    attack("write-other-tree", "another content of a deployed file", Writes("other-file"), |_, w| files::write(w, "other-file")),
    attack("write-tmp", "a file where everybody may write", Writes("tmp-file"), |_, w| files::make(w, "tmp-file")),
    attack("write-shared-memory", "a file in /dev/shm", Writes("shm-file"), |_, w| files::make(w, "shm-file")),
    attack("truncate", "an empty file in another tree", Changes("other-file"), files::truncate),
    attack("make-directory", "a directory in another tree", Makes("other-new"), files::make_directory),
    attack("make-pipe", "a pipe where everybody may write", Makes("tmp-new"), |_, w| files::make_node(w, libc::S_IFIFO, 0)),
    attack("make-device", "a device of its own", Makes("tmp-new"), |_, w| files::make_node(w, libc::S_IFCHR, libc::makedev(1, 5))),
    attack("make-socket", "a socket where everybody may write", Makes("tmp-new"), files::make_socket),
    attack("link-out", "a second name of the key", Makes("tmp-new"), files::link_out),
    attack("symlink", "a symlink in another tree", Makes("other-new"), files::symlink),
    attack("rename-out", "a file of another tree, elsewhere", Makes("tmp-new"), files::rename_out),
    attack("unlink", "a file of another tree gone", Removes("other-file"), files::unlink),
    attack("chmod", "another mode of a file in another tree", Changes("other-file"), files::chmod),
    attack("chown", "another owner of a file in another tree", Changes("other-file"), files::chown),
    attack("set-attribute", "an extended attribute in another tree", Changes("other-file"), files::set_attribute),
    attack("touch", "another repository's trigger touched", Changes("other-trigger"), files::touch),
    attack("watch", "to see when a file of another tree is opened", Says("opened"), files::watch),
    attack("tcp", "a TCP connection", Gives("tcp"), |_, w| network::tcp(w, "tcp")),
    attack("tcp-fast-open", "a TCP connection opened by a send", Gives("tcp"), network::fast_open),
    attack("mptcp", "a connection of another protocol over TCP", Gives("tcp"), network::multipath),
    attack("udp", "a datagram answered", Gives("udp"), network::udp),
    attack("ping", "a raw socket", Says("echo"), network::ping),
    attack("sniff", "what others say on loopback", Says("heard"), network::sniff),
    attack("netlink", "the host's interfaces", Says("interfaces up"), network::netlink),
    attack("vsock", "a port towards the host of a virtual machine", Says("bound"), network::vsock),
    attack("abstract-socket", "a service on an abstract socket", Gives("abstract"), network::abstract_socket),
    attack("path-socket", "a service on a socket in the file system", Gives("path-socket"), network::path_socket),
    attack("listen", "a port of its own", Says("accepted"), network::listen),
    attack("execve", "a shell", Writes("tmp-file"), processes::execute),
    attack("execveat", "a program out of memory", Writes("tmp-file"), processes::execute_memory),
    attack("fork", "a process of its own", Says("42"), processes::fork),
    attack("fork-many", "hundreds of processes", Says("300"), processes::fork_many),
    attack("new-user-namespace", "root in a user namespace", Says("in a new one"), |_, _| {
        processes::namespace("user", libc::CLONE_NEWUSER)
    }),
    attack("new-pid-namespace", "a PID namespace", Says("in a new one"), |_, _| processes::namespace("pid", libc::CLONE_NEWPID)),
    attack("new-mount-namespace", "a mount namespace", Says("in a new one"), |_, _| processes::namespace("mnt", libc::CLONE_NEWNS)),
    attack("new-network-namespace", "a network namespace", Says("in a new one"), |_, _| processes::namespace("net", libc::CLONE_NEWNET)),
    attack("new-ipc-namespace", "an IPC namespace", Says("in a new one"), |_, _| processes::namespace("ipc", libc::CLONE_NEWIPC)),
    attack("new-uts-namespace", "a UTS namespace", Says("in a new one"), |_, _| processes::namespace("uts", libc::CLONE_NEWUTS)),
    attack("new-cgroup-namespace", "a cgroup namespace", Says("in a new one"), |_, _| {
        processes::namespace("cgroup", libc::CLONE_NEWCGROUP)
    }),
    attack("unshare", "a mount namespace without a fork", Says("unshared"), processes::unshare),
    attack("join-namespace", "the supervisor's network namespace", Says("joined"), processes::join),
    attack("become-root", "uid 0", Says("0"), processes::become_root),
    attack("join-group", "a group of another user", Says("joined"), processes::join_group),
    attack("regain-capability", "a capability", Says("regained"), processes::regain),
    attack("outlive", "to outlive the supervisor", Says("outlives"), processes::outlive),
    attack("real-time", "the processor before everybody else", Says("first"), processes::real_time),
    attack("kill-supervisor", "the supervisor's end", Hurts("supervisor"), |_, w| neighbours::kill(w, "supervisor")),
    attack("kill-twin", "the end of one like itself", Hurts("twin"), |_, w| neighbours::kill(w, "twin")),
    attack("kill-cousin", "the end of a child of another role", Hurts("cousin"), |_, w| neighbours::kill(w, "cousin")),
    attack("ptrace-supervisor", "the supervisor's memory, as a debugger", Gives("memory"), |_, w| neighbours::trace(w, "supervisor")),
    attack("ptrace-twin", "its twin's memory, as a debugger", Gives("memory"), |_, w| neighbours::trace(w, "twin")),
    attack("ptrace-cousin", "its cousin's memory, as a debugger", Gives("memory"), |_, w| neighbours::trace(w, "cousin")),
    attack("vm-read-supervisor", "the supervisor's memory", Gives("memory"), |_, w| neighbours::read_memory(w, "supervisor")),
    attack("vm-read-twin", "its twin's memory", Gives("memory"), |_, w| neighbours::read_memory(w, "twin")),
    attack("vm-read-cousin", "its cousin's memory", Gives("memory"), |_, w| neighbours::read_memory(w, "cousin")),
    attack("proc-mem-supervisor", "the supervisor's memory, as a file", Gives("memory"), |_, w| neighbours::open_memory(w, "supervisor")),
    attack("proc-mem-twin", "its twin's memory, as a file", Gives("memory"), |_, w| neighbours::open_memory(w, "twin")),
    attack("proc-mem-cousin", "its cousin's memory, as a file", Gives("memory"), |_, w| neighbours::open_memory(w, "cousin")),
    attack("take-descriptor-supervisor", "a link of the supervisor's", Gives("memory"), |_, w| neighbours::take(w, "supervisor")),
    attack("take-descriptor-twin", "its twin's link", Gives("memory"), |_, w| neighbours::take(w, "twin")),
    attack("take-descriptor-cousin", "its cousin's link", Gives("memory"), |_, w| neighbours::take(w, "cousin")),
    attack("renice-supervisor", "a slow supervisor", Hurts("supervisor"), |_, w| neighbours::renice(w, "supervisor")),
    attack("renice-twin", "a slow twin", Hurts("twin"), |_, w| neighbours::renice(w, "twin")),
    attack("renice-cousin", "a slow cousin", Hurts("cousin"), |_, w| neighbours::renice(w, "cousin")),
    attack("limit-supervisor", "a supervisor that can open nothing", Hurts("supervisor"), |_, w| neighbours::limit(w, "supervisor")),
    attack("limit-twin", "a twin that can open nothing", Hurts("twin"), |_, w| neighbours::limit(w, "twin")),
    attack("limit-cousin", "a cousin that can open nothing", Hurts("cousin"), |_, w| neighbours::limit(w, "cousin")),
    attack("doom-twin", "a twin that dies first where memory is short", Hurts("twin"), |_, w| neighbours::doom(w, "twin")),
    attack("read-keyring", "a key in the kernel's keeping", Says("kept"), kernel::keyring),
    attack("load-bpf", "a program's memory in the kernel", Says("42"), kernel::bpf),
    attack("io-uring", "a ring by which calls pass the filter", Says("a ring"), kernel::io_uring),
    attack("perf", "the kernel's counters", Says("counted"), kernel::perf),
    attack("userfaultfd", "to stop the kernel in its tracks", Says("handles faults"), kernel::userfaultfd),
    attack("kernel-log", "the kernel's log", Says("read"), kernel::log),
    attack("mount", "a file system of its own", Says("mounted"), kernel::mount),
    attack("chroot-escape", "the configuration, out of a root directory of its own", Gives("config"), kernel::chroot_escape),
    attack("terminal-input", "to type for somebody at a terminal", Says("typed"), kernel::terminal_input),
    attack("system-v-memory", "shared memory of another process", Gives("system-v"), kernel::system_v_memory),
    attack("dumpable", "to be dumpable", Says("dumpable"), memory::dumpable),
    attack("run-written-memory", "code of its own, by mprotect", Says("42"), memory::write_then_run),
    attack("writable-code", "memory that is written and run at once", Says("42"), memory::writable_code),
    attack("rewrite-own-code", "other code in its own pages, as a file", Says("42"), memory::rewrite_code),
    attack("fixed-addresses", "a process whose addresses are known", Says("fixed"), memory::fixed_addresses),
    attack("memory-file", "a file that no one sees", Says("made"), memory::file),
    attack("exhaust-descriptors", "thousands of descriptors", Says("5000"), limits::descriptors),
    attack("exhaust-memory", "the machine's memory", Says("held"), limits::memory),
    attack("exhaust-shared-memory", "the machine's memory, shared with itself", Says("held"), limits::shared_memory),
    attack("raise-limits", "limits of its own choice", Says("raised"), limits::raise),
];

/// What only an owned listener tries.
pub const LISTENER: &[Attack] = &[
    attack("reconnect", "a connection elsewhere, of a socket that it accepted", Reaches("tcp"), network::reconnect),
    attack("shut-down-socket", "a gateway that nobody reaches", Deafens, network::shut_down),
    attack("filter-socket", "a listening socket that drops everything", Deafens, network::filter),
    attack("copy-socket", "a copy of the listening socket", Says("copied"), network::copy),
];

/// What only an owned updater tries.
pub const UPDATER: &[Attack] = &[
    attack("read-other-key", "an ssh key in a file of its own user", Gives("other-key"), |_, w| files::read(w, "other-key")),
    attack("read-through-symlink", "a file of another tree, through a symlink in its own", Gives("other-file"), tree::through_symlink),
    attack("read-through-link", "a file of another tree, linked into its own", Gives("other-file"), tree::through_link),
    attack("rename-in", "a file of another tree, moved into its own", Gives("other-file"), tree::rename_in),
    attack("rename-over", "its own file over one of another tree", Writes("other-file"), tree::rename_over),
    attack("climb-out", "a file of another tree, by `..`", Gives("other-file"), tree::climb),
    attack("run-own-file", "a program that it deployed itself", Writes("tmp-file"), tree::run),
    attack("make-pipe-in-tree", "a pipe in its own tree", Makes("tree-new"), tree::make_pipe),
    attack("chmod-descriptor", "another mode of a file that it may not open", Changes("other-file"), tree::chmod_descriptor),
    attack("write-beside-trigger", "another file in the trigger's directory", Writes("neighbour"), |_, w| files::write(w, "neighbour")),
    attack("read-beside-trigger", "what is in the trigger's directory", Gives("neighbour"), |_, w| files::read(w, "neighbour")),
    attack("make-beside-trigger", "a new file with content in the trigger's directory", Writes("trigger-new"), |_, w| {
        files::make(w, "trigger-new")
    }),
    attack("name-beside-trigger", "a new name in the trigger's directory", Makes("trigger-new"), |_, w| files::make(w, "trigger-new")),
    attack("unlink-beside-trigger", "a file gone from the trigger's directory", Removes("neighbour"), tree::unlink_neighbour),
    attack("write-beside-new-trigger", "another file in the directory of a trigger that is not there yet", Writes("neighbour"), |_, w| {
        files::write(w, "neighbour")
    }),
    attack(
        "make-beside-new-trigger",
        "a new file with content in the directory of a trigger that is not there yet",
        Writes("trigger-new"),
        |_, w| files::make(w, "trigger-new"),
    ),
    attack("name-beside-new-trigger", "a new name in the directory of a trigger that is not there yet", Makes("trigger-new"), |_, w| {
        files::make(w, "trigger-new")
    }),
    attack("remote-port-elsewhere", "its remote's port at another address", Gives("elsewhere"), |_, w| network::tcp(w, "elsewhere")),
    attack("move-remote", "another address where its remote's lies", Gives("elsewhere"), network::move_remote),
    attack("ask-for-path", "whether another tree has a file", Says("there"), tree::ask),
];

/// What an owned process says to its neighbours: whether that was an attack, they decide.
pub const NEIGHBOURS: &[Attack] = &[attack("say", "whatever a link carries", Heard, links::say)];

/// The attack with this name.
pub fn find(name: &str) -> Option<&'static Attack> {
    [BOTH, LISTENER, UPDATER, NEIGHBOURS].into_iter().flatten().find(|attack| attack.name == name)
}
