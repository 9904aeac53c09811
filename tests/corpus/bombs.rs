//! More than the limits allow, out of little: each is a few kilobytes to make and to send.

use super::bed::LIMITS;
use super::{Case, Push, Refused};
use crate::support::pack::{Id, Kind, Pack, Script, id, zeroes};
use gwg::audit::Reason::Limit;

/// The name of a blob of 10 GiB of zeroes.
const TEN_GIB: Id = *b"\x11\x19\x18\x1c\x47\x08\x37\x7b\x56\xe8\xde\xdc\x83\xbb\xa1\x6a\x2c\xe4\xa2\x54";

/// The name of a blob of 256 MiB of zeroes.
const QUARTER_GIB: Id = *b"\x89\xb6\x5b\xcc\x7a\x1f\x3f\x68\xf4\x56\x54\xde\x86\x5c\xab\x3c\x4b\x64\x9b\x71";

macro_rules! served {
    ($case:literal, $make:expr, $words:literal) => {
        Case { name: $case, plant: "", push: Push::Serve($make), expect: Refused(Limit, $words) }
    };
}

pub const CASES: &[Case] = &[
    served!("ten thousand million files, by trees that hold one tree ten times", || tree_bomb(b"evil"), "raise limits.files"),
    served!("the same, without a single file", empty_tree_bomb, "raise limits.files"),
    served!("a million files in one tree", || flat(1_000_000 / 20), "raise limits.files"),
    Case {
        name: "three thousand files, made by the real git",
        plant: "",
        push: Push::Script("mkdir m; for i in $(seq 3000); do echo $i > m/$i; done; git add -A; git commit -qm evil"),
        expect: Refused(Limit, "more than 2000 files: raise limits.files"),
    },
    served!("few files with long names", long_names, "raise limits.files"),
    served!("10,000 directories, one in the other", || deep(10_000), "more than 96 directories deep"),
    served!("a blob of 10 GiB, out of a delta of 5 kB", ten_gib, "raise limits.object"),
    served!("deltas that double 40 times", || doubling(40), "raise limits.object"),
    served!("a sparse blob of 256 MiB, which is 260 kB of pack", || sparse(256 << 20), "raise limits.object"),
    served!("a thousand times one blob of 1 MB", copies, "raise limits.tree"),
    served!("more bytes than limits.pack", large, "raise limits.pack"),
    served!("a pack that claims 4,294,967,295 objects", || claims(u32::MAX), "raise limits.files"),
    served!("a pack that claims one object more than it may have", || claims(40_001), "raise limits.files"),
];

fn served(pack: &Pack, tip: Id) -> Script {
    Script::new(tip, pack.bytes())
}

fn tree_bomb(content: &[u8]) -> Script {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, content);
    let leaf = pack.tree(&b"0123456789".each_ref().map(|name| ("100644", std::slice::from_ref(name), file)));
    let root = tower(&mut pack, leaf, 9);
    let tip = pack.commit(root);
    served(&pack, tip)
}

fn empty_tree_bomb() -> Script {
    let mut pack = Pack::default();
    let leaf = pack.tree(&[]);
    let root = tower(&mut pack, leaf, 10);
    let tip = pack.commit(root);
    served(&pack, tip)
}

/// Trees that each hold the one below ten times.
fn tower(pack: &mut Pack, mut below: Id, height: u32) -> Id {
    for _ in 0..height {
        below = pack.tree(&b"0123456789".each_ref().map(|name| ("40000", std::slice::from_ref(name), below)));
    }
    below
}

fn flat(count: usize) -> Script {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, b"evil");
    let names: Vec<_> = (0..count).map(|number| format!("{number:08}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), file)).collect();
    let root = pack.tree(&entries);
    let tip = pack.commit(root);
    served(&pack, tip)
}

/// 256 files, each below fifteen directories of names of 200 bytes.
fn long_names() -> Script {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, b"evil");
    let names: Vec<_> = (0..256).map(|number| format!("{number:0200}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), file)).collect();
    let mut below = pack.tree(&entries);
    for _ in 0..15 {
        below = pack.tree(&[("40000", names[0].as_bytes(), below)]);
    }
    let tip = pack.commit(below);
    served(&pack, tip)
}

fn deep(levels: u32) -> Script {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, b"evil");
    let mut below = pack.tree(&[("100644", b"f", file)]);
    for _ in 0..levels {
        below = pack.tree(&[("40000", b"d", below)]);
    }
    let tip = pack.commit(below);
    served(&pack, tip)
}

/// Copies 65,536 bytes from the start of the base, or less.
fn copy(size: u64) -> Vec<u8> {
    let whole = usize::try_from(size / 0x1_0000).unwrap();
    let rest = u16::try_from(size % 0x1_0000).unwrap().to_le_bytes();
    // No size stands for 65,536.
    [vec![0x80; whole], if rest == [0, 0] { Vec::new() } else { vec![0xb0, rest[0], rest[1]] }].concat()
}

fn ten_gib() -> Script {
    let mut pack = Pack::default();
    let base = pack.add(Kind::Blob, &vec![0; 0x1_0000]);
    pack.delta(base, 0x1_0000, 10 << 30, &copy(10 << 30));
    let root = pack.tree(&[("100644", b"big", TEN_GIB)]);
    let tip = pack.commit(root);
    served(&pack, tip)
}

fn doubling(times: u32) -> Script {
    let mut pack = Pack::default();
    let mut base = pack.add(Kind::Blob, &vec![b'x'; 0x1_0000]);
    let root = pack.tree(&[("100644", b"big", base)]);
    for doubled in 0..times {
        let size = 0x1_0000 << doubled;
        // Above the limit neither what a delta holds nor what it makes matters any more.
        let large = size * 2 > LIMITS.object;
        pack.delta(base, size, size * 2, &if large { copy(0x1_0000) } else { copy(size).repeat(2) });
        base = if large { [7; 20] } else { id(Kind::Blob, &vec![b'x'; usize::try_from(size * 2).unwrap()]) };
    }
    let tip = pack.commit(root);
    served(&pack, tip)
}

fn sparse(size: u64) -> Script {
    let mut pack = Pack::default();
    pack.raw(Kind::Blob, size, &[], &zeroes(size));
    let root = pack.tree(&[("100644", b"big", QUARTER_GIB)]);
    let tip = pack.commit(root);
    served(&pack, tip)
}

fn copies() -> Script {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, &vec![b'x'; usize::try_from(LIMITS.object).unwrap()]);
    let names: Vec<_> = (0..1_000).map(|number| format!("{number:04}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), file)).collect();
    let root = pack.tree(&entries);
    let tip = pack.commit(root);
    served(&pack, tip)
}

fn large() -> Script {
    let mut pack = Pack::default();
    let mut last = [0; 20];
    for number in 0..10_u8 {
        last = pack.add(Kind::Blob, &vec![number; 1 << 20]);
    }
    let root = pack.tree(&[("100644", b"x", last)]);
    let tip = pack.commit(root);
    served(&pack, tip)
}

fn claims(count: u32) -> Script {
    let mut pack = Pack::default();
    let root = pack.tree(&[]);
    let tip = pack.commit(root);
    Script::new(tip, pack.bytes_claiming(2, count))
}
