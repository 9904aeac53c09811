//! Objects and packs that no git would make: false, cut off, or in the wrong place.

use super::{Case, Deployed, Expect, Push, Refused};
use crate::support::pack::{Id, Kind, Pack, Script, WHO, advertisement, hex, id, stored, tree};
use gwg::audit::Reason::{Corrupt, NoLabel, Other};

const fn served(name: &'static str, make: fn() -> Script, expect: Expect) -> Case {
    Case { name, plant: "", push: Push::Serve(make), expect }
}

pub const CASES: &[Case] = &[
    served("by hand, but right", || honest(|_| {}), Deployed),
    served(
        "a commit without a tree",
        || commit(format!("{WHO}\n\nevil\n").as_bytes()),
        Refused(Corrupt, "failed to parse bad commit object"),
    ),
    served("a commit that is empty", || commit(b""), Refused(Corrupt, "failed to parse bad commit object")),
    served(
        "a commit whose tree is a blob",
        || with_tree(|pack| pack.add(Kind::Blob, b"evil")),
        Refused(Corrupt, "does not match the type in the ODB"),
    ),
    served(
        "a commit whose tree is a commit",
        || with_tree(|pack| pack.commit([1; 20])),
        Refused(Corrupt, "does not match the type in the ODB"),
    ),
    served("a commit whose tree is not there", || with_tree(|_| [7; 20]), Refused(Corrupt, "no match for id (0707")),
    served("a commit that is its own parent's child", || orphan(1), Deployed),
    served("a commit with 10,000 parents that are not there", || orphan(10_000), Deployed),
    served("a commit with escape codes everywhere", escapes, Deployed),
    served("a commit with a line of 1 MB", long_line, Deployed),
    served(
        "a tree that ends in the middle",
        || with_tree(|pack| pack.add(Kind::Tree, b"100644 x\x00123")),
        Refused(Corrupt, "can't parse OID"),
    ),
    served("a tree of rubbish", || with_tree(|pack| pack.add(Kind::Tree, &[0xff; 64])), Refused(Corrupt, "can't parse filemode")),
    served("a file without a name", || with_entry("100644", b""), Refused(Corrupt, "can't parse filename")),
    served("a file whose mode is no number", || with_entry("evil", b"x"), Refused(Corrupt, "can't parse filemode")),
    served("a directory that is a blob", || with_entry("40000", b"x"), Refused(Corrupt, "does not match the type in the ODB")),
    served(
        "a file that is not there",
        || with_tree(|pack| pack.tree(&[("100644", b"x", [7; 20])])),
        Refused(Corrupt, "cannot read header for (0707"),
    ),
    served(
        "a directory that is not there",
        || with_tree(|pack| pack.tree(&[("40000", b"x", [7; 20])])),
        Refused(Corrupt, "no match for id (0707"),
    ),
    served(
        "a tip that is not in the pack",
        || Script::new([7; 20], honest_pack().0.bytes()),
        Refused(Corrupt, "target OID for the reference doesn't exist"),
    ),
    served(
        "a pack without an object",
        || Script::new([7; 20], Pack::default().bytes()),
        Refused(Corrupt, "target OID for the reference doesn't exist"),
    ),
    served(
        "one object twice",
        || {
            honest(|pack| {
                pack.add(Kind::Blob, b"honest\n");
            })
        },
        Refused(Corrupt, "duplicate object"),
    ),
    served("a pack with a wrong sum", || damaged(|bytes| *bytes.last_mut().unwrap() ^= 1), Refused(Corrupt, "trailer mismatch")),
    served(
        "a pack with a changed byte",
        || {
            damaged(|bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0xff;
            })
        },
        Refused(Corrupt, "zlib"),
    ),
    served("a pack that ends in the middle", || damaged(|bytes| bytes.truncate(bytes.len() / 2)), Refused(Corrupt, "missing trailer")),
    served("a pack that ends in its header", || damaged(|bytes| bytes.truncate(6)), Refused(Corrupt, "incomplete pack header")),
    served("no pack at all", || damaged(Vec::clear), Refused(Corrupt, "incomplete pack header")),
    served(
        "a pack with bytes after it",
        || damaged(|bytes| bytes.extend_from_slice(&[7; 100])),
        Refused(Corrupt, "unexpected data at the end"),
    ),
    served(
        "a pack of version 99",
        || {
            let (pack, tip) = honest_pack();
            Script::new(tip, pack.bytes_claiming(99, 3))
        },
        Refused(Corrupt, "wrong pack version"),
    ),
    served(
        "a pack with fewer objects than it says",
        || {
            let (pack, tip) = honest_pack();
            Script::new(tip, pack.bytes_claiming(2, 9))
        },
        Refused(Corrupt, "early EOF"),
    ),
    served(
        "a pack with more objects than it says",
        || {
            let (pack, tip) = honest_pack();
            Script::new(tip, pack.bytes_claiming(2, 2))
        },
        Refused(Corrupt, "unexpected data at the end"),
    ),
    served("a file larger than it says", || lying(3), Refused(Corrupt, "cannot read header for")),
    served("a file smaller than it says", || lying(900), Refused(Corrupt, "cannot read header for")),
    served("a file of 2^60 bytes, it says", || lying(1 << 60), Refused(Corrupt, "cannot read header for")),
    served("a chain of 1,000 deltas", || chain(1_000), Deployed),
    served(
        "an object that is not compressed",
        || honest(|pack| pack.raw(Kind::Blob, 4, &[], b"evil and not compressed")),
        Refused(Corrupt, "zlib"),
    ),
    served("a delta to nothing", || honest(|pack| pack.delta([7; 20], 9, 9, &[0x90, 9])), Refused(Corrupt, "missing delta bases")),
    served(
        "a delta to itself",
        || honest(|pack| pack.delta(id(Kind::Blob, b"x"), 1, 1, &[0x90, 1])),
        Refused(Corrupt, "missing delta bases"),
    ),
    served("a delta that reads past its base", || on_base(4, 60_000, &[0x91, 2, 0xff]), Refused(Corrupt, "failed to apply delta")),
    served(
        "a delta that reads before its base",
        || on_base(4, 4, &[0x9f, 0xff, 0xff, 0xff, 0xff, 4]),
        Refused(Corrupt, "failed to apply delta"),
    ),
    served("a delta that writes more than it says", || on_base(4, 2, &[0x90, 4]), Refused(Corrupt, "failed to apply delta")),
    served("a delta that writes less than it says", || on_base(4, 400, &[0x90, 4]), Refused(Corrupt, "failed to apply delta")),
    served("a delta with an instruction that does not exist", || on_base(4, 4, &[0]), Refused(Corrupt, "failed to apply delta")),
    served(
        "a delta with a size that has no end",
        || honest(|pack| pack.raw(Kind::RefDelta, 40, &id(Kind::Blob, b"honest\n"), &stored(&[0xff; 40]))),
        Refused(Corrupt, "base size does not match"),
    ),
    served("a blob for a branch", || tip_is(Kind::Blob, b"evil"), Refused(Other, "which is no commit")),
    served("a tree for a branch", || tip_is(Kind::Tree, b""), Refused(Other, "which is no commit")),
    served("two tips for one branch", two_tips, Refused(Corrupt, "is not at")),
    served(
        "a server without refs",
        || Script { refs: b"0000".to_vec(), pack: Vec::new() },
        Refused(NoLabel, "the remote has no branch main"),
    ),
];

fn honest_pack() -> (Pack, Id) {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, b"honest\n");
    let root = pack.tree(&[("100644", b"a", file)]);
    let tip = pack.commit(root);
    (pack, tip)
}

/// An honest commit, and more.
fn honest(more: fn(&mut Pack)) -> Script {
    let (mut pack, tip) = honest_pack();
    more(&mut pack);
    Script::new(tip, pack.bytes())
}

fn damaged(damage: fn(&mut Vec<u8>)) -> Script {
    let (pack, tip) = honest_pack();
    let mut bytes = pack.bytes();
    damage(&mut bytes);
    Script::new(tip, bytes)
}

fn on_base(base_size: u64, size: u64, instructions: &[u8]) -> Script {
    let (mut pack, tip) = honest_pack();
    let base = pack.add(Kind::Blob, &vec![b'b'; usize::try_from(base_size).unwrap()]);
    pack.delta(base, base_size, size, instructions);
    Script::new(tip, pack.bytes())
}

/// A file that is not as large as its entry says.
fn lying(size: u64) -> Script {
    let mut pack = Pack::default();
    pack.raw(Kind::Blob, size, &[], &stored(b"honest\n"));
    let root = pack.tree(&[("100644", b"a", id(Kind::Blob, b"honest\n"))]);
    let tip = pack.commit(root);
    Script::new(tip, pack.bytes())
}

/// A file that is a delta to one that is a delta, and so on; each a byte longer.
fn chain(length: usize) -> Script {
    let mut pack = Pack::default();
    let mut content = vec![b'x'; 200];
    let mut last = pack.add(Kind::Blob, &content);
    for _ in 0..length {
        let size = u16::try_from(content.len()).unwrap();
        content.push(b'y');
        let [low, high] = size.to_le_bytes();
        pack.delta(last, u64::from(size), u64::from(size) + 1, &[0xb0, low, high, 1, b'y']);
        last = id(Kind::Blob, &content);
    }
    let root = pack.tree(&[("100644", b"a", last)]);
    let tip = pack.commit(root);
    Script::new(tip, pack.bytes())
}

fn with_tree(make: fn(&mut Pack) -> Id) -> Script {
    let mut pack = Pack::default();
    let root = make(&mut pack);
    let tip = pack.commit(root);
    Script::new(tip, pack.bytes())
}

fn with_entry(mode: &str, name: &[u8]) -> Script {
    let (mut pack, _) = honest_pack();
    let root = pack.tree(&[(mode, name, id(Kind::Blob, b"honest\n"))]);
    let tip = pack.commit(root);
    Script::new(tip, pack.bytes())
}

fn commit(content: &[u8]) -> Script {
    tip_is(Kind::Commit, content)
}

fn tip_is(kind: Kind, content: &[u8]) -> Script {
    let (mut pack, _) = honest_pack();
    let tip = pack.add(kind, content);
    Script::new(tip, pack.bytes())
}

fn orphan(parents: usize) -> Script {
    let (mut pack, _) = honest_pack();
    let root = id(Kind::Tree, &tree(&[("100644", b"a", id(Kind::Blob, b"honest\n"))]));
    let parents = format!("parent {}\n", hex([7; 20])).repeat(parents);
    let tip = pack.add(Kind::Commit, format!("tree {}\n{parents}{WHO}\n\nevil\n", hex(root)).as_bytes());
    Script::new(tip, pack.bytes())
}

fn escapes() -> Script {
    let (mut pack, _) = honest_pack();
    let root = id(Kind::Tree, &tree(&[("100644", b"a", id(Kind::Blob, b"honest\n"))]));
    let evil = "\u{1b}]0;evil\u{7}\u{1b}[2J\u{9b}31m\r";
    let who = format!("author {evil} <{evil}> 1 +0000\ncommitter {evil} <{evil}> 1 +0000");
    let tip = pack.add(Kind::Commit, format!("tree {}\n{who}\nx{evil} y\n\n{evil}\nINFO update ok\n", hex(root)).as_bytes());
    Script::new(tip, pack.bytes())
}

fn long_line() -> Script {
    let (mut pack, _) = honest_pack();
    let root = id(Kind::Tree, &tree(&[("100644", b"a", id(Kind::Blob, b"honest\n"))]));
    let long = "x".repeat(1_000_000);
    let tip = pack.add(Kind::Commit, format!("tree {}\n{WHO}\nx {long}\n\n{long}", hex(root)).as_bytes());
    Script::new(tip, pack.bytes())
}

fn two_tips() -> Script {
    let (mut pack, first) = honest_pack();
    let root = pack.tree(&[]);
    let second = pack.commit(root);
    let refs = advertisement(&[(&hex(first), b"refs/heads/main"), (&hex(second), b"refs/heads/main")]);
    Script { refs, ..Script::new(first, pack.bytes()) }
}
