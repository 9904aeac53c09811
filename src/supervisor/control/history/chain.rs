//! What a delivery led to: the updates from the one that its mark was numbered for to the first that went
//! well, and their hooks. Pure. Runs in the supervisor.
//!
//! Numbers of updates grow, and an update serves every mark of its repository that was set before it
//! began. So the first good one with a number not below the delivery's is the one that answers it,
//! however many deliveries came together and however many tries or restarts lie between. Where that one
//! found nothing new, an update that was under way when the delivery came had brought its commit already,
//! and belongs to the chain too.

use crate::audit::{DeliveryResult, UpdateResult};
use crate::ids::{CommitId, DeliveryId, UpdateId};
use crate::wire::control::{Record, What};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Updates of one repository, both ends included. Without an end: none has gone well.
struct Span {
    repo: Arc<str>,
    first: UpdateId,
    last: Option<UpdateId>,
}

impl Span {
    fn has(&self, record: &Record, update: UpdateId) -> bool {
        record.repo.as_ref() == Some(&self.repo) && update >= self.first && self.last.is_none_or(|last| update <= last)
    }
}

/// The records of a delivery and of what it led to, in their order.
pub fn of<'a>(records: impl Iterator<Item = &'a Record> + Clone, id: DeliveryId) -> Vec<Record> {
    let spans: Vec<Span> = records.clone().flat_map(|record| spans(record, id, records.clone())).collect();
    let belongs = |record: &&Record| match &record.what {
        What::Delivery { id: found, .. } => *found == Some(id),
        What::Update { update, .. } => update.is_some_and(|update| spans.iter().any(|span| span.has(record, update))),
        What::Hook { update, .. } => spans.iter().any(|span| span.has(record, *update)),
    };
    records.filter(belongs).cloned().collect()
}

/// The updates that answer the delivery of this record, where it is one of this id.
fn spans<'a>(record: &Record, id: DeliveryId, records: impl Iterator<Item = &'a Record>) -> Vec<Span> {
    match (&record.repo, &record.what) {
        (Some(repo), What::Delivery { id: found, result: DeliveryResult::Accepted { update: Some(first), .. }, .. })
            if *found == Some(id) =>
        {
            let updates = updates(records, repo);
            let last = answer(&updates, *first);
            let before = last.and_then(|last| brought(&updates, last));
            let span = |first, last| Span { repo: Arc::clone(repo), first, last };
            before.map(|before| span(before, Some(before))).into_iter().chain([span(*first, last)]).collect()
        }
        _ => Vec::new(),
    }
}

/// A repository's updates, each with its number.
fn updates<'a>(records: impl Iterator<Item = &'a Record>, repo: &Arc<str>) -> Vec<(UpdateId, UpdateResult)> {
    let of_repo = records.filter(|record| record.repo.as_ref() == Some(repo));
    let numbered = of_repo.filter_map(|record| match record.what {
        What::Update { update: Some(update), result, .. } => Some((update, result)),
        What::Update { update: None, .. } | What::Delivery { .. } | What::Hook { .. } => None,
    });
    numbered.collect()
}

/// The first update from this one on after which nothing is tried again.
fn answer(updates: &[(UpdateId, UpdateResult)], first: UpdateId) -> Option<UpdateId> {
    let last_words = updates.iter().filter(|(update, _)| *update >= first).map(|(update, result)| (*update, is_settled(*result)));
    last_words.collect::<BTreeMap<_, _>>().into_iter().find(|(_, settled)| *settled).map(|(update, _)| update)
}

/// The update before this one that brought the commit which this one found.
fn brought(updates: &[(UpdateId, UpdateResult)], answer: UpdateId) -> Option<UpdateId> {
    let found = |(update, result): &(UpdateId, UpdateResult)| match result {
        UpdateResult::Current { old: Some(old), new, .. } if *update == answer && old == new => Some(*new),
        _ => None,
    };
    let commit: CommitId = updates.iter().find_map(found)?;
    let brings = |result| matches!(result, UpdateResult::Current { old, new, .. } if new == commit && old != Some(new));
    updates.iter().rev().find(|(update, result)| *update < answer && brings(*result)).map(|(update, _)| *update)
}

const fn is_settled(result: UpdateResult) -> bool {
    match result {
        UpdateResult::Current { .. } | UpdateResult::HookFailed { last: true, .. } => true,
        UpdateResult::Started
        | UpdateResult::Failed { .. }
        | UpdateResult::HookFailed { last: false, .. }
        | UpdateResult::AnnouncedNotSeen { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::{Cause, Failure, Reason, Step};
    use crate::ids::{CommitId, Moment};
    use crate::wire::hook::{End, On};
    use std::net::{IpAddr, Ipv4Addr};

    fn id(number: u8) -> DeliveryId {
        DeliveryId::from_uuid(&format!("72d3162e-cc78-11e3-81ab-4c9367dc09{number:02x}")).unwrap()
    }

    fn number(number: u64) -> UpdateId {
        UpdateId::read(&number.to_string()).unwrap()
    }

    fn record(repo: &str, what: What) -> Record {
        Record { at: Moment::from_millis(1), repo: Some(repo.into()), what }
    }

    fn delivery(repo: &str, of: u8, update: u64) -> Record {
        let result = DeliveryResult::Accepted { coalesced: false, announced: None, update: Some(number(update)) };
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        record(repo, What::Delivery { source, id: Some(id(of)), result, claimed_pusher: None })
    }

    fn update(repo: &str, of: u64, result: UpdateResult) -> Record {
        record(repo, What::Update { update: Some(number(of)), cause: Cause::Delivery, delivery: None, result })
    }

    /// An update that brought a commit of its own.
    fn current(repo: &str, of: u64) -> Record {
        found(repo, of, None, of)
    }

    fn found(repo: &str, of: u64, old: Option<u64>, new: u64) -> Record {
        let commit = |number: u64| CommitId::from_bytes([number as u8; 20]);
        let (old, new) = (old.map(commit), commit(new));
        update(repo, of, UpdateResult::Current { old, new, forced: false, triggered: true, bytes: 0, ms: 1 })
    }

    fn failed(repo: &str, of: u64) -> Record {
        let failure = Failure { step: Step::Fetch, reason: Reason::Network };
        update(repo, of, UpdateResult::Failed { failure, attempt: 1, last: false, next_ms: 1, ms: 1 })
    }

    fn hook(repo: &str, of: u64) -> Record {
        let what = What::Hook { update: number(of), on: On::Success, commit: None, attempt: 1, end: Some(End::Exited(0)), ms: 1 };
        record(repo, what)
    }

    fn hook_failed(repo: &str, of: u64, last: bool) -> Record {
        update(repo, of, UpdateResult::HookFailed { new: CommitId::from_bytes([1; 20]), attempt: 1, last, next_ms: 1 })
    }

    #[test]
    fn several_deliveries_find_the_one_update_that_answered_them_and_its_hook() {
        let all = [
            delivery("/a", 1, 4),
            delivery("/a", 2, 4),
            delivery("/b", 3, 5),
            current("/a", 4),
            current("/b", 5),
            hook("/a", 4),
            current("/a", 6),
        ];
        for of in [1, 2] {
            assert_eq!(super::of(all.iter(), id(of)), [delivery("/a", of, 4), current("/a", 4), hook("/a", 4)]);
        }
        assert_eq!(super::of(all.iter(), id(3)), [delivery("/b", 3, 5), current("/b", 5)]);
        assert_eq!(super::of(all.iter(), id(9)), []);
    }

    #[test]
    fn tries_that_failed_and_what_came_between_are_in_it_until_one_goes_well() {
        // The second failure was merged with a later mark; then the worker died, and its successor compared.
        let all = [delivery("/a", 1, 4), failed("/a", 4), failed("/a", 4), failed("/a", 7), current("/a", 90), current("/a", 91)];
        assert_eq!(super::of(all.iter(), id(1)), all[..5]);
        assert_eq!(super::of(all[..3].iter(), id(1)), all[..3], "what is not answered yet");
    }

    #[test]
    fn it_goes_on_while_a_hook_is_tried_again_and_the_order_of_records_does_not_matter() {
        let all = [
            current("/a", 4),
            delivery("/a", 1, 4),
            hook("/a", 4),
            hook_failed("/a", 4, false),
            current("/a", 5),
            hook("/a", 5),
            current("/a", 6),
        ];
        assert_eq!(super::of(all.iter(), id(1)), all[..6]);
        let given_up = [delivery("/a", 1, 4), current("/a", 4), hook("/a", 4), hook_failed("/a", 4, true), current("/a", 5)];
        assert_eq!(super::of(given_up.iter(), id(1)), given_up[..4]);
    }

    #[test]
    fn where_an_update_that_was_under_way_brought_the_commit_it_is_shown_too() {
        let all = [
            found("/a", 3, Some(1), 7),
            found("/a", 4, Some(7), 8),
            delivery("/a", 1, 6),
            found("/b", 5, Some(7), 8),
            hook("/a", 4),
            found("/a", 6, Some(8), 8),
        ];
        assert_eq!(super::of(all.iter(), id(1)), [1, 2, 4, 5].map(|at: usize| all[at].clone()));
    }

    #[test]
    fn a_redelivery_has_both_its_updates_and_an_old_history_what_it_knows() {
        let all = [delivery("/a", 1, 4), current("/a", 4), current("/a", 5), delivery("/a", 1, 6), current("/a", 6)];
        assert_eq!(super::of(all.iter(), id(1)), [all[0].clone(), all[1].clone(), all[3].clone(), all[4].clone()]);
        let line = r#"{"at":"2026-11-22T12:00:00.000Z","repo":"/a","what":{"delivery":{"source":"::1","id":"72d3162e-cc78-11e3-81ab-4c9367dc0901","result":{"accepted":{"coalesced":false,"announced":null}}}}}"#;
        let old: Record = serde_json::from_str(line).unwrap();
        let all = [old, current("/a", 4)];
        assert_eq!(super::of(all.iter(), id(1)), all[..1]);
    }
}
