//! What a hook may not call. It runs a program of the administrator's choice, so this is no list of what
//! a program needs, but of what attacks a kernel, or leads out of the confinement. Runs in gwg-hook,
//! and in all that it starts.
//!
//! A refused call answers EPERM: programs that try and go on do so. `clone3` answers ENOSYS, since its flags
//! stand in memory that a filter can't read: the C libraries then use `clone`. Programs of another
//! architecture (32 bits) are killed at their first call.

use super::{Condition, Rule, always, int, when};
use Condition::{Has, Is, IsNot};

const REFUSED: &[Rule] = &[
    // Code in the kernel, and the widest roads into it.
    always(libc::SYS_bpf),
    always(libc::SYS_perf_event_open),
    always(libc::SYS_userfaultfd),
    always(libc::SYS_io_uring_setup),
    always(libc::SYS_io_uring_enter),
    always(libc::SYS_io_uring_register),
    always(libc::SYS_kexec_load),
    always(libc::SYS_init_module),
    always(libc::SYS_finit_module),
    always(libc::SYS_delete_module),
    // Other processes, and the keys that the kernel keeps.
    always(libc::SYS_ptrace),
    always(libc::SYS_process_vm_readv),
    always(libc::SYS_process_vm_writev),
    always(libc::SYS_pidfd_getfd),
    always(libc::SYS_kcmp),
    always(libc::SYS_keyctl),
    always(libc::SYS_add_key),
    always(libc::SYS_request_key),
    // Namespaces: with a user namespace comes most of what only root can ask of the kernel.
    always(libc::SYS_unshare),
    always(libc::SYS_setns),
    when(
        libc::SYS_clone,
        &[
            &[flag(libc::CLONE_NEWUSER)],
            &[flag(libc::CLONE_NEWNS)],
            &[flag(libc::CLONE_NEWPID)],
            &[flag(libc::CLONE_NEWNET)],
            &[flag(libc::CLONE_NEWIPC)],
            &[flag(libc::CLONE_NEWUTS)],
            &[flag(libc::CLONE_NEWCGROUP)],
        ],
    ),
    // The system's tree of files, and ways around it.
    always(libc::SYS_mount),
    always(libc::SYS_umount2),
    always(libc::SYS_pivot_root),
    always(libc::SYS_chroot),
    always(libc::SYS_move_mount),
    always(libc::SYS_open_tree),
    always(libc::SYS_fsopen),
    always(libc::SYS_fsconfig),
    always(libc::SYS_fsmount),
    always(libc::SYS_fspick),
    always(libc::SYS_mount_setattr),
    always(libc::SYS_open_by_handle_at),
    always(libc::SYS_fanotify_init),
    always(libc::SYS_quotactl),
    always(libc::SYS_swapon),
    always(libc::SYS_swapoff),
    // The machine.
    always(libc::SYS_reboot),
    always(libc::SYS_acct),
    always(libc::SYS_settimeofday),
    always(libc::SYS_clock_settime),
    always(libc::SYS_syslog),
    always(libc::SYS_vhangup),
    // Addresses that are no longer random, and old behaviour. To ask (the highest number) is allowed.
    when(libc::SYS_personality, &[&[IsNot(0, 0), IsNot(0, u32::MAX)]]),
    // Letters put into a terminal's input.
    when(libc::SYS_ioctl, &[&[Is(1, TIOCSTI)], &[Is(1, TIOCLINUX)]]),
    // Families of sockets that few programs use and many holes were in.
    when(
        libc::SYS_socket,
        &[&[IsNot(0, int(libc::AF_UNIX)), IsNot(0, int(libc::AF_INET)), IsNot(0, int(libc::AF_INET6)), IsNot(0, int(libc::AF_NETLINK))]],
    ),
];

const fn flag(flag: libc::c_int) -> Condition {
    Has(0, int(flag), int(flag))
}

#[allow(clippy::cast_possible_truncation)] // 0x5412 on each architecture
const TIOCSTI: u32 = libc::TIOCSTI as u32;
const TIOCLINUX: u32 = 0x541c;

const UNKNOWN: &[Rule] = &[always(libc::SYS_clone3)];

/// Some calls of x86-64 have no like on other machines.
#[cfg(target_arch = "x86_64")]
const OLD: &[Rule] = &[
    always(libc::SYS_kexec_file_load),
    always(libc::SYS_iopl),
    always(libc::SYS_ioperm),
    always(libc::SYS_modify_ldt),
    always(libc::SYS_uselib),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Rule] = &[];

/// The same under the numbers of x86-64's x32 personality, which bear one bit more. Some of its calls have a
/// number of their own: ioctl, ptrace, kexec_load, process_vm_readv, process_vm_writev.
#[cfg(target_arch = "x86_64")]
fn x32(rules: &[Rule]) -> Vec<Rule> {
    const BIT: libc::c_long = 0x4000_0000;
    let number = |call| match call {
        libc::SYS_ioctl => 514,
        libc::SYS_ptrace => 521,
        libc::SYS_kexec_load => 528,
        libc::SYS_process_vm_readv => 539,
        libc::SYS_process_vm_writev => 540,
        same => same,
    };
    rules.iter().map(|rule| Rule { call: BIT | number(rule.call), ..*rule }).collect()
}
#[cfg(not(target_arch = "x86_64"))]
fn x32(_: &[Rule]) -> Vec<Rule> {
    Vec::new()
}

/// What is refused, and with which errno.
pub fn refused() -> Vec<(libc::c_int, Vec<Rule>)> {
    let with_x32 = |rules: Vec<Rule>| [x32(&rules), rules].concat();
    vec![(libc::EPERM, with_x32([REFUSED, OLD].concat())), (libc::ENOSYS, with_x32(UNKNOWN.to_vec()))]
}
