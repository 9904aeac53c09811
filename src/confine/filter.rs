//! The seccomp filters: from the tables in `calls` to programs that the kernel runs. Runs in every
//! child, as the last layer.

use super::calls::{self, Condition, Rule, Table};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Loads the filter of a table, for good: into this thread, and every one that it may ever start. `remote`:
/// where the addresses lie to which it may connect, which nobody must be able to change.
///
/// # Errors
/// The kernel has no seccomp filters, or does not take this one.
pub fn load(table: Table, remote: &[u64]) -> Result<(), seccompiler::Error> {
    // Where several filters answer, the kernel takes the strictest answer. So these come first
    // and speak only of the calls that are answered with an error.
    for (errno, rules) in calls::refused(table) {
        let errno = SeccompAction::Errno(errno.cast_unsigned());
        seccompiler::apply_filter(&compile(&rules, &[], SeccompAction::Allow, errno)?)?;
    }
    match calls::allowed(table) {
        Some(rules) => seccompiler::apply_filter(&compile(&rules, remote, SeccompAction::KillProcess, SeccompAction::Allow)?),
        None => Ok(()),
    }
}

fn compile(rules: &[Rule], remote: &[u64], otherwise: SeccompAction, then: SeccompAction) -> Result<BpfProgram, BackendError> {
    let mut table = BTreeMap::<_, Vec<_>>::new();
    for rule in rules {
        let alternatives: Result<Vec<_>, BackendError> = rule.when.iter().map(|conditions| alternative(conditions)).collect();
        table.entry(rule.call).or_default().extend(alternatives?);
    }
    for place in remote {
        let at = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, *place)?;
        table.entry(libc::SYS_connect).or_default().push(SeccompRule::new(vec![at])?);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(table, otherwise, then, arch)?.try_into()
}

fn alternative(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let dword = |argument, operator, value: u32| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into());
    let conditions: Result<_, _> = conditions
        .iter()
        .map(|condition| match *condition {
            Condition::Is(argument, value) => dword(argument, SeccompCmpOp::Eq, value),
            Condition::IsNot(argument, value) => dword(argument, SeccompCmpOp::Ne, value),
            Condition::Lacks(argument, bits) => dword(argument, SeccompCmpOp::MaskedEq(bits.into()), 0),
            Condition::Has(argument, bits, value) => dword(argument, SeccompCmpOp::MaskedEq(bits.into()), value),
            Condition::OwnPid(argument) => dword(argument, SeccompCmpOp::Eq, std::process::id()),
            Condition::Null(argument) => SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
            Condition::NotNull(argument) => SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0),
        })
        .collect();
    SeccompRule::new(conditions?)
}
