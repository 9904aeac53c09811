//! Which objects are written anew, and which packs go. Pure but for the list of packs that nothing refers to.
//!
//! The largest pack stays as it is while it is larger than all others together and all in it is referred to: so a small push
//! to a large repository never rewrites the large one, and yet there are few packs.
//!
//! What nothing refers to is gathered in one pack for each day on which that was first seen, and goes two weeks after
//! that day. The packs and their days stand in a file; where it is lost they count as seen today.

use super::reach::Reached;
use super::store::{Pack, Store};
use crate::updater::beneath;
use git2::Oid;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::OwnedFd;

/// git's `gc.pruneExpire`.
const KEPT_DAYS: u64 = 14;
/// Two weeks and a few have some packs; a longer file is not gwg's.
const LIST_MAX: u64 = 64 << 10;
const LIST: &std::ffi::CStr = c"unreachable";

/// Packs of objects that nothing refers to, and the day on which that was first seen.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Left(BTreeMap<String, u64>);

impl Left {
    /// Reads the list. One that can't be read counts as empty: then all is kept for longer.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn read(private: &OwnedFd) -> nix::Result<Self> {
        let text = match beneath::read(private, LIST, LIST_MAX) {
            Err(nix::errno::Errno::EFBIG | nix::errno::Errno::EINVAL) => None,
            read => read?,
        };
        let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
        let line = |line: &str| line.split_once(' ').and_then(|(pack, day)| Some((pack.to_owned(), day.parse().ok()?)));
        Ok(Self(text.lines().filter_map(line).collect()))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, private: &OwnedFd) -> nix::Result<()> {
        let text: String = self.0.iter().map(|(pack, day)| format!("{pack} {day}\n")).collect();
        beneath::write(private, LIST, text.as_bytes(), 0o600)
    }

    /// When it was first seen that nothing refers to a pack; later where git has relied on it since.
    fn day(&self, pack: &Pack) -> Option<u64> {
        self.0.get(&pack.name).map(|day| (*day).max(pack.day()))
    }
}

/// What is to be done.
#[derive(Default)]
pub struct Plan {
    /// What the packs hold that stay as they are: it needs no other place.
    stored: HashSet<Oid>,
    /// All else that is referred to is to be written.
    writes_main: bool,
    /// Nothing refers to these, which is seen today: to be written likewise.
    pub left: BTreeSet<Oid>,
    /// The same of packs that stay as they are.
    seen: BTreeSet<String>,
    /// Packs that go when the new ones are in place.
    pub removed: BTreeSet<String>,
    /// Loose objects go likewise.
    pub packs_loose: bool,
    /// Some objects go for good.
    pub drops: bool,
}

impl Plan {
    /// Decides. `today`: in days, as `left` has them.
    pub fn make(store: &Store, reached: &Reached, left: &Left, today: u64) -> Self {
        let mut plan = Self { packs_loose: !store.loose.is_empty(), ..Self::default() };
        let (mut used, mut unused) = (Vec::new(), Vec::new());
        for pack in &store.packs {
            let is_used = pack.objects.iter().any(|id| reached.has(id));
            match left.day(pack).filter(|_| !is_used) {
                _ if pack.stays => plan.store(pack),
                Some(day) if day + KEPT_DAYS < today => {
                    plan.drops = true;
                    plan.removed.insert(pack.name.clone());
                }
                Some(day) if day < today => {}
                None if is_used => used.push(pack),
                Some(_) | None => unused.push(pack),
            }
        }
        if let Some(base) = base(&used, store, reached) {
            plan.store(base);
            used.retain(|pack| pack.name != base.name);
        }
        plan.gather(store, reached, &used, &unused);
        plan
    }

    fn store(&mut self, pack: &Pack) {
        self.stored.extend(pack.objects.iter().copied());
    }

    /// `used`: packs with something in them that is referred to; `unused`: with nothing.
    fn gather(&mut self, store: &Store, reached: &Reached, used: &[&Pack], unused: &[&Pack]) {
        let loose = store.loose.iter().map(|loose| &loose.id);
        let unreached = |id: &&Oid| !reached.has(id) && !self.stored.contains(id);
        let from_used: BTreeSet<Oid> = used.iter().flat_map(|pack| &pack.objects).chain(loose).filter(unreached).copied().collect();
        let from_unused = || unused.iter().flat_map(|pack| &pack.objects).filter(unreached).copied();
        let names = |packs: &[&Pack]| packs.iter().map(|pack| pack.name.clone()).collect::<Vec<_>>();
        // One pack that holds nothing else would be written as it is.
        if from_used.is_empty() && unused.len() <= 1 {
            self.seen.extend(names(unused));
        } else {
            self.left = from_unused().chain(from_used.iter().copied()).collect();
            self.removed.extend(names(unused));
        }
        self.writes_main = used.len() > 1 || self.packs_loose || !from_used.is_empty();
        if self.writes_main {
            self.removed.extend(names(used));
        }
    }

    /// Whether the store is as it should be.
    pub fn is_nothing(&self) -> bool {
        let writes = self.writes_main || !self.left.is_empty();
        !writes && self.removed.is_empty() && self.seen.is_empty() && !self.packs_loose
    }

    /// Whether an object that is referred to is to be written.
    pub fn writes(&self, id: &Oid) -> bool {
        self.writes_main && !self.stored.contains(id)
    }

    /// The list as it is afterwards. `written`: the pack of what was seen today.
    pub fn list(&self, before: Left, written: Option<&str>, today: u64) -> Left {
        let mut list = before.0;
        list.retain(|pack, _| !self.removed.contains(pack));
        list.extend(self.seen.iter().map(String::as_str).chain(written).map(|pack| (pack.to_owned(), today)));
        Left(list)
    }
}

/// The pack that stays as it is: all in it is referred to, and it is larger than all that would be merged together.
fn base<'s>(used: &[&'s Pack], store: &Store, reached: &Reached) -> Option<&'s Pack> {
    let all: u64 = used.iter().map(|pack| pack.bytes).chain(store.loose.iter().map(|loose| loose.bytes)).sum();
    let base = used.iter().max_by_key(|pack| pack.bytes)?;
    (base.bytes > all / 2 && base.objects.iter().all(|id| reached.has(id))).then_some(*base)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::updater::gc::store::Loose;

    fn id(byte: u8) -> Oid {
        Oid::from_bytes(&[byte; 20]).unwrap()
    }

    fn pack(name: &str, bytes: u64, objects: &[u8]) -> Pack {
        Pack::of(name, bytes, false, objects.iter().map(|byte| id(*byte)).collect())
    }

    fn kept(name: &str, objects: &[u8]) -> Pack {
        Pack::of(name, 1, true, ids(objects))
    }

    fn ids(bytes: &[u8]) -> Vec<Oid> {
        bytes.iter().map(|byte| id(*byte)).collect()
    }

    fn left(packs: &[(&str, u64)]) -> Left {
        Left(packs.iter().map(|(pack, day)| ((*pack).to_owned(), *day)).collect())
    }

    struct Case {
        packs: Vec<Pack>,
        loose: &'static [u8],
        reached: &'static [u8],
        listed: &'static [(&'static str, u64)],
        /// What comes of it.
        main: &'static [u8],
        left: &'static [u8],
        removed: &'static [&'static str],
        seen: &'static [&'static str],
    }

    const TODAY: u64 = 100;

    #[track_caller]
    fn holds(case: &Case) -> Plan {
        let loose = case.loose.iter().map(|byte| Loose { id: id(*byte), bytes: 1 }).collect();
        let packs = case.packs.iter().map(|pack| Pack::of(&pack.name, pack.bytes, pack.stays, pack.objects.clone())).collect();
        let plan = Plan::make(&Store::of(packs, loose), &Reached::of(&ids(case.reached)), &left(case.listed), TODAY);
        let main: Vec<Oid> = ids(case.reached).into_iter().filter(|id| plan.writes(id)).collect();
        assert_eq!(main, ids(case.main), "main");
        assert_eq!(plan.left, ids(case.left).into_iter().collect(), "left");
        assert_eq!(plan.removed, case.removed.iter().map(|name| (*name).to_owned()).collect(), "removed");
        assert_eq!(plan.seen, case.seen.iter().map(|name| (*name).to_owned()).collect(), "seen");
        plan
    }

    #[test]
    fn small_packs_become_one_and_a_large_one_stays() {
        let packs = vec![pack("a", 100, &[1, 2]), pack("b", 10, &[3]), pack("c", 10, &[4])];
        let case = Case {
            packs,
            loose: &[5],
            reached: &[1, 2, 3, 4, 5],
            listed: &[],
            main: &[3, 4, 5],
            left: &[],
            removed: &["b", "c"],
            seen: &[],
        };
        assert!(holds(&case).packs_loose);
        let packs = vec![pack("a", 15, &[1, 2]), pack("b", 10, &[3]), pack("c", 10, &[4])];
        holds(&Case { packs, loose: &[], main: &[1, 2, 3, 4], reached: &[1, 2, 3, 4], removed: &["a", "b", "c"], ..case });
    }

    #[test]
    fn what_is_as_it_should_be_is_not_written_again() {
        let packs = vec![pack("a", 100, &[1, 2]), pack("b", 10, &[3]), pack("c", 10, &[9])];
        let case = Case { packs, loose: &[], reached: &[1, 2, 3], listed: &[("c", 99)], main: &[], left: &[], removed: &[], seen: &[] };
        assert!(holds(&case).is_nothing());
        assert!(holds(&Case { packs: vec![], reached: &[], ..case }).is_nothing());
    }

    #[test]
    fn what_nothing_refers_to_is_gathered_and_goes_two_weeks_later() {
        // Seen now, in packs of its own and in others; the large one has some of it and is written anew.
        let packs = vec![pack("a", 100, &[1, 8]), pack("b", 10, &[9]), pack("c", 10, &[7])];
        let case =
            Case { packs, loose: &[6], reached: &[1], listed: &[], main: &[1], left: &[6, 7, 8, 9], removed: &["a", "b", "c"], seen: &[] };
        assert!(!holds(&case).drops);
        // A pack that stands alone need not be written to be known.
        let one = || vec![pack("a", 100, &[1]), pack("b", 1000, &[9])];
        let plan = holds(&Case { packs: one(), loose: &[], main: &[], left: &[], removed: &[], seen: &["b"], ..case });
        assert_eq!(plan.list(left(&[("x", 3)]), None, TODAY), left(&[("x", 3), ("b", TODAY)]));
        for (day, goes) in [(TODAY - 1, false), (TODAY - 14, false), (TODAY - 15, true)] {
            let plan = Plan::make(&Store::of(one(), vec![]), &Reached::of(&ids(&[1])), &left(&[("b", day)]), TODAY);
            assert_eq!((plan.drops, plan.removed.contains("b")), (goes, goes), "{day}");
            assert_eq!(plan.list(left(&[("b", day)]), None, TODAY), if goes { left(&[]) } else { left(&[("b", day)]) });
        }
    }

    #[test]
    fn what_is_referred_to_again_stays_whatever_the_list_says() {
        let packs = vec![pack("a", 100, &[1]), pack("b", 10, &[2, 9])];
        let case = Case { packs, loose: &[], reached: &[1, 2], listed: &[("b", 1)], main: &[2], left: &[9], removed: &["b"], seen: &[] };
        assert!(!holds(&case).drops);
    }

    #[test]
    fn what_is_seen_on_one_day_is_one_pack() {
        let packs = vec![pack("a", 100, &[1]), pack("b", 10, &[8]), pack("c", 10, &[9])];
        holds(&Case {
            packs,
            loose: &[],
            reached: &[1],
            listed: &[("b", TODAY)],
            main: &[],
            left: &[8, 9],
            removed: &["b", "c"],
            seen: &[],
        });
    }

    #[test]
    fn a_pack_that_is_kept_stays_and_what_it_has_is_written_nowhere_else() {
        let packs = vec![kept("k", &[1, 9]), pack("b", 10, &[1, 2]), pack("c", 10, &[3, 9])];
        holds(&Case {
            packs,
            loose: &[],
            reached: &[1, 2, 3],
            listed: &[("k", 1)],
            main: &[2, 3],
            left: &[],
            removed: &["b", "c"],
            seen: &[],
        });
    }
}
