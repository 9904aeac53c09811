//! Packs made by hand, byte by byte, as no git would make them; and what serves them: git's protocol
//! over `git://` on loopback, up to where it stops being one.

use super::loopback::Loopback;
use sha1::{Digest, Sha1};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// An object's name.
pub type Id = [u8; 20];

/// Kinds of entries of a pack (gitformat-pack(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `commit`
    Commit = 1,
    /// `tree`
    Tree = 2,
    /// `blob`
    Blob = 3,
    /// `tag`
    Tag = 4,
    /// A delta to an object of the same pack or the repository, by its name.
    RefDelta = 7,
}

/// A pack in the making.
#[derive(Debug, Clone, Default)]
pub struct Pack {
    entries: Vec<u8>,
    count: u32,
}

impl Pack {
    /// Adds an object; gives its name.
    pub fn add(&mut self, kind: Kind, content: &[u8]) -> Id {
        self.raw(kind, content.len() as u64, &[], &stored(content));
        id(kind, content)
    }

    /// Adds a tree of modes, names and objects, in the order that is given.
    pub fn tree(&mut self, entries: &[(&str, &[u8], Id)]) -> Id {
        self.add(Kind::Tree, &tree(entries))
    }

    /// Adds a commit of a tree.
    pub fn commit(&mut self, tree: Id) -> Id {
        self.add(Kind::Commit, format!("tree {}\n{WHO}\n\nevil\n", hex(tree)).as_bytes())
    }

    /// Adds a delta: instructions that make an object of `size` bytes out of one of `base_size`.
    pub fn delta(&mut self, base: Id, base_size: u64, size: u64, instructions: &[u8]) {
        let delta = [varint(base_size), varint(size), instructions.to_vec()].concat();
        self.raw(Kind::RefDelta, delta.len() as u64, &base, &stored(&delta));
    }

    /// Adds an entry that says what it likes about itself.
    pub fn raw(&mut self, kind: Kind, size: u64, base: &[u8], zlib: &[u8]) {
        let mut first = (u8::try_from(size & 15).unwrap()) | ((kind as u8) << 4);
        let mut rest = size >> 4;
        while rest > 0 {
            self.entries.push(first | 0x80);
            first = u8::try_from(rest & 0x7f).unwrap();
            rest >>= 7;
        }
        self.entries.push(first);
        self.entries.extend_from_slice(base);
        self.entries.extend_from_slice(zlib);
        self.count += 1;
    }

    /// The whole of it.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_claiming(2, self.count)
    }

    /// The whole of it, with this in its header.
    pub fn bytes_claiming(&self, version: u32, count: u32) -> Vec<u8> {
        let mut bytes = [b"PACK".as_slice(), &version.to_be_bytes(), &count.to_be_bytes(), &self.entries].concat();
        let sum = Sha1::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }
}

/// What commits and tags are made by.
pub const WHO: &str = "author E <e@example.com> 1000000000 +0000\ncommitter E <e@example.com> 1000000000 +0000";

/// An object's name.
pub fn id(kind: Kind, content: &[u8]) -> Id {
    let word = match kind {
        Kind::Commit => "commit",
        Kind::Tree => "tree",
        Kind::Blob => "blob",
        Kind::Tag => "tag",
        Kind::RefDelta => panic!("a delta has no name"),
    };
    let mut hash = Sha1::new();
    hash.update(format!("{word} {}\0", content.len()));
    hash.update(content);
    hash.finalize().into()
}

/// A tree's content.
pub fn tree(entries: &[(&str, &[u8], Id)]) -> Vec<u8> {
    entries.iter().flat_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", id].concat()).collect()
}

/// As git writes names.
pub fn hex(id: Id) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        bytes.push(low | if number > 0 { 0x80 } else { 0 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A zlib stream that stores its content as it is (RFC 1950, RFC 1951).
pub fn stored(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut chunks = content.chunks(0xffff).peekable();
    if content.is_empty() {
        stream.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        stream.push(u8::from(chunks.peek().is_none()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(chunk);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in content {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    stream.extend_from_slice(&((high << 16) | low).to_be_bytes());
    stream
}

/// A zlib stream of so many zeroes, a thousandth as long: one Huffman block whose code for "258 bytes
/// as the one before" is two bits long, and both of them are 0.
pub fn zeroes(size: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.number(1, 1); // the last block
    bits.number(2, 2); // with Huffman codes of its own
    bits.number(29, 5); // for 286 literals and lengths,
    bits.number(0, 5); // one distance,
    bits.number(14, 4); // and 18 lengths of codes, in the order 16, 17, 18, 0, …, 2, 14, 1:
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        bits.number(length, 3);
    }
    // "many zeroes" is 0, "1" is 10, "2" is 11.
    bits.code("11"); // the byte 0 has a code of 2 bits,
    bits.code("0");
    bits.number(138 - 11, 7); // 255 have none,
    bits.code("0");
    bits.number(117 - 11, 7);
    bits.code("11"); // the end 2 bits,
    bits.code("0");
    bits.number(28 - 11, 7); // 28 lengths none,
    bits.code("10"); // the length 258 one bit,
    bits.code("10"); // and so has the distance 1.
    let (matches, rest) = ((size - 1) / 258, (size - 1) % 258);
    bits.code("10");
    bits.zeroes(matches * 2);
    for _ in 0..rest {
        bits.code("10");
    }
    bits.code("11");
    let sum = (u32::try_from(size % 65_521).unwrap() << 16) | 1;
    [vec![0x78, 0x01], bits.bytes, sum.to_be_bytes().to_vec()].concat()
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn bit(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        *self.bytes.last_mut().unwrap() |= u8::from(bit) << (self.used % 8);
        self.used = (self.used + 1) % 8;
    }

    fn number(&mut self, number: u32, bits: u32) {
        (0..bits).for_each(|place| self.bit(number >> place & 1 == 1));
    }

    fn code(&mut self, code: &str) {
        code.chars().for_each(|bit| self.bit(bit == '1'));
    }

    fn zeroes(&mut self, mut count: u64) {
        while count > 0 && !self.used.is_multiple_of(8) {
            self.bit(false);
            count -= 1;
        }
        self.bytes.resize(self.bytes.len() + usize::try_from(count / 8).unwrap(), 0);
        (0..count % 8).for_each(|_| self.bit(false));
    }
}

/// What a server of hand-made bytes says.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// To whoever connects and has said what it wants.
    pub refs: Vec<u8>,
    /// When it has said which objects.
    pub pack: Vec<u8>,
}

impl Script {
    /// One branch, `main`, and a pack.
    pub fn new(tip: Id, pack: Vec<u8>) -> Self {
        Self { refs: advertisement(&[(&hex(tip), b"refs/heads/main")]), pack: [b"0008NAK\n".as_slice(), &pack].concat() }
    }
}

/// What a server says first: its refs.
pub fn advertisement(refs: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    for (number, (id, name)) in refs.iter().enumerate() {
        let capabilities = if number == 0 { b"\0ofs-delta".as_slice() } else { b"" };
        text.extend(line(&[id.as_bytes(), b" ", name, capabilities, b"\n"].concat()));
    }
    text.extend_from_slice(b"0000");
    text
}

/// A pkt-line.
pub fn line(content: &[u8]) -> Vec<u8> {
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

/// Serves a script to everybody.
pub struct Scripted {
    server: Loopback,
}

impl Scripted {
    /// Starts it.
    pub fn start(script: Script) -> Self {
        let script = Arc::new(script);
        Self { server: Loopback::start(move |stream| drop(play(stream, &script))) }
    }

    /// The URL of what it serves.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/evil", self.server.port())
    }
}

fn play(mut stream: TcpStream, script: &Script) -> std::io::Result<()> {
    read_line(&mut stream)?;
    stream.write_all(&script.refs)?;
    // Wants, haves; "0000" between them says little.
    while read_line(&mut stream)? != b"done\n" {}
    stream.write_all(&script.pack)
}

/// Reads one pkt-line; an empty one where it ends a list.
pub fn read_line(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let length = std::str::from_utf8(&header).ok().and_then(|text| usize::from_str_radix(text, 16).ok()).unwrap_or(0);
    let mut line = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut line)?;
    Ok(line)
}
