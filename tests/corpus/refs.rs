//! Refs, tags and what a server says on the side.

use super::{Case, Deployed, Expect, Push, Refused};
use crate::support::pack::{Id, Kind, Pack, Script, WHO, advertisement, hex, line};
use gwg::audit::Reason::{Corrupt, Network, NoLabel, Other};

const fn served(name: &'static str, make: fn() -> Script, expect: Expect) -> Case {
    Case { name, plant: "", push: Push::Serve(make), expect }
}

macro_rules! tag {
    ($case:literal, $script:expr, $expect:expr) => {
        Case { name: $case, plant: "", push: Push::Tag($script), expect: $expect }
    };
}

pub const CASES: &[Case] = &[
    tag!("a tag on a tree", "git tag t first^{tree}", Refused(Other, "which is no commit")),
    tag!("a tag on a blob", "git tag t first:a", Refused(Other, "which is no commit")),
    tag!("an annotated tag on a tree", "git tag -a -m x t first^{tree}", Refused(Other, "which is no commit")),
    tag!("a tag on a tag on a tag, 500 times", "i=$(git rev-parse first)
        for n in $(seq 500); do i=$(printf \"object $i\\ntype $([ $n = 1 ] && echo commit || echo tag)\\ntag t$n\\ntagger t <t> 1 +0000\\n\\nx\\n\" | git hash-object -t tag -w --literally --stdin); done
        git update-ref refs/tags/t $i", Deployed),
    tag!("a tag that is not there", ":", Refused(NoLabel, "the remote has no tag t")),
    served("a tag for a branch", annotated, Deployed),
    served("a tag on nothing", || tag_on([7; 20]), Refused(Corrupt, "can not be successfully peeled")),
    served("refs whose names lead out", || more_refs(&[
        b"refs/heads/../../../outside/a", b"refs/heads/..", b"../outside/a", b"/etc/passwd", b"refs/heads/main/../../../x", b"refs//x", b"HEAD/../x",
        b".git/hooks/post-checkout", b"refs/heads/main.lock", b"refs/remotes/origin/main/x",
    ]), Deployed),
    served("refs whose names hold escape codes, newlines and bytes", || more_refs(&[
        b"refs/heads/\x1b]0;evil\x07", b"refs/heads/a\nb", b"refs/heads/\xff\xfe", b"refs/heads/a b", b"refs/heads/a~^:?*[\\", b"refs/heads/@{x}",
    ]), Deployed),
    served("a ref whose name is 60 kB long", || more_refs(&[&[b'x'; 60_000]]), Deployed),
    served("a ref without a name", || more_refs(&[b""]), Deployed),
    served("100,000 refs", || many_refs(100_000), Deployed),
    served("a line without a ref", || says(&line(b"rubbish")), Refused(Network, "error parsing REF")),
    served("a line whose length is no number", || says(b"zzzz rubbish"), Refused(Network, "bad packet length")),
    served("a line shorter than its own length", || says(b"0003"), Refused(Other, "gives no reason")),
    served("a line that ends too early", || says(b"ffffrubbish"), Refused(Network, "timed out")),
    served("an error with escape codes", || says(&line(b"ERR \x1b]0;evil\x07\x1b[2J\r\n2026-01-01 INFO update ok\n\xc2\x9b31m")), Refused(Network, "remote error")),
    served("an error of 60 kB", || says(&line(&[b"ERR ".as_slice(), &[b'x'; 60_000]].concat())), Refused(Network, "remote error")),
    served("progress and an error with escape codes, on the side band", side_band, Refused(Network, "could not read from remote repository")),
    served("rubbish on a band that does not exist", || band(9), Refused(Network, "error parsing REF")),
    served("capabilities that lead elsewhere", capabilities, Refused(Network, "invalid response")),
];

fn pack() -> (Pack, Id) {
    let mut pack = Pack::default();
    let file = pack.add(Kind::Blob, b"honest\n");
    let root = pack.tree(&[("100644", b"a", file)]);
    let tip = pack.commit(root);
    (pack, tip)
}

fn tag_on(object: Id) -> Script {
    let (mut pack, _) = pack();
    let content = format!("object {}\ntype commit\ntag x\n{}\n\nx\n", hex(object), WHO.lines().next().unwrap().replace("author", "tagger"));
    let tip = pack.add(Kind::Tag, content.as_bytes());
    Script::new(tip, pack.bytes())
}

fn annotated() -> Script {
    tag_on(pack().1)
}

fn more_refs(names: &[&[u8]]) -> Script {
    let (pack, tip) = pack();
    let hex = hex(tip);
    let refs: Vec<_> =
        std::iter::once(b"refs/heads/main".as_slice()).chain(names.iter().copied()).map(|name| (hex.as_str(), name)).collect();
    Script { refs: advertisement(&refs), ..Script::new(tip, pack.bytes()) }
}

fn many_refs(count: u32) -> Script {
    let names: Vec<_> = (0..count).map(|number| format!("refs/heads/{number}").into_bytes()).collect();
    more_refs(&names.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn says(bytes: &[u8]) -> Script {
    Script { refs: [bytes, b"0000"].concat(), pack: Vec::new() }
}

fn with_capabilities(capabilities: &str, pack: Vec<u8>, tip: Id) -> Script {
    let first = format!("{} refs/heads/main\0{capabilities}\n", hex(tip));
    Script { refs: [line(first.as_bytes()), b"0000".to_vec()].concat(), pack: [b"0008NAK\n".to_vec(), pack].concat() }
}

fn side_band() -> Script {
    let evil = b"\x1b]0;evil\x07\x1b[2J\r\n2026-01-01 INFO update ok\n";
    let progress = line(&[b"\x02".as_slice(), evil].concat());
    let error = line(&[b"\x03".as_slice(), evil].concat());
    with_capabilities("side-band-64k ofs-delta", [progress, error].concat(), pack().1)
}

fn band(number: u8) -> Script {
    with_capabilities("side-band-64k", line(&[number, b'x']), pack().1)
}

fn capabilities() -> Script {
    let (pack, tip) = pack();
    let evil =
        "ofs-delta symref=HEAD:refs/heads/../../../outside/a symref=HEAD:-x agent=\x1b[2J object-format=sha1 push-cert=x session-id=../x";
    with_capabilities(evil, pack.bytes(), tip)
}
