//! Framing: a length (u32, little endian), then that many bytes of bincode. Runs in every process.
//!
//! The one file that names bincode, an encoder that is finished upstream: the length is checked
//! against the message's own bound before anything is decoded or allocated, decoding is limited to
//! that many bytes, and bytes left over are an error.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use zeroize::{Zeroize, Zeroizing};

const HEADER: usize = 4;

/// What may travel in one direction of one border.
pub trait Message: Serialize + DeserializeOwned {
    /// Bytes of the longest well-formed message, its header excluded.
    const MAX: usize;
    /// Whether descriptors may come with messages of this direction. Only the supervisor sends some.
    const DESCRIPTORS: bool = false;
    /// Nobody waits for these messages: they may be a moment late, so that many share one write and
    /// one waking of the receiver.
    const MAY_WAIT: bool = false;
}

/// Why bytes are not a message. Whoever sent them is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header announces more than the direction allows.
    #[error("a message of {0} bytes, above the bound of its direction")]
    TooLong(usize),
    /// The bytes are no message of this direction, or some were left over.
    #[error("a malformed message")]
    Malformed,
    /// The stream ended inside of a message.
    #[error("a message cut short")]
    Truncated,
}

/// Appends one frame to `out`. Fails only on a message above its own bound.
pub fn encode<M: Message>(message: &M, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let written = bincode::serde::encode_into_std_write(message, out, bincode::config::standard());
    let length = out.len() - start - HEADER;
    let announced = u32::try_from(length).ok().filter(|_| length <= M::MAX && written.is_ok());
    match (announced, out.get_mut(start..start + HEADER)) {
        (Some(announced), Some(header)) => {
            header.copy_from_slice(&announced.to_le_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(WireError::TooLong(length))
        }
    }
}

fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    // The configuration's limit wants a constant; the slice's end is the tighter bound, and this
    // one keeps a hostile length field from reserving more than the longest brief holds.
    let config = bincode::config::standard().with_limit::<{ 16 << 20 }>();
    let (message, used) = bincode::serde::decode_from_slice(bytes, config).map_err(|_| WireError::Malformed)?;
    if used == bytes.len() { Ok(message) } else { Err(WireError::Malformed) }
}

/// Takes bytes as they come and gives messages.
pub struct Decoder<M> {
    buffer: Vec<u8>,
    start: usize,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Default for Decoder<M> {
    fn default() -> Self {
        Self { buffer: Vec::new(), start: 0, message: PhantomData }
    }
}

impl<M: Message> Decoder<M> {
    /// The next whole message, or `None` until more bytes came.
    pub fn take(&mut self) -> Result<Option<M>, WireError> {
        let waiting = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = announced_length::<M>(*header)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = decode(body)?;
        self.start += HEADER + length;
        Ok(Some(message))
    }

    /// Adds bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.forget_what_was_read();
        self.buffer.extend_from_slice(bytes);
    }

    /// Says whether a message has begun and not ended.
    pub fn is_inside_message(&self) -> bool {
        self.start < self.buffer.len()
    }

    fn forget_what_was_read(&mut self) {
        let rest = self.buffer.len() - self.start;
        self.buffer.copy_within(self.start.., 0);
        if let Some(stale) = self.buffer.get_mut(rest..) {
            stale.zeroize();
        }
        self.buffer.truncate(rest);
        self.start = 0;
    }
}

impl<M> Drop for Decoder<M> {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

/// Writes one frame and wipes the buffer: for briefs and orders, which hold secrets.
///
/// # Errors
/// Those of writing, or a message above its own bound.
pub fn write<M: Message>(to: &mut impl Write, message: &M) -> io::Result<()> {
    let buffer = Zeroizing::new(framed(message).map_err(io::Error::other)?);
    to.write_all(&buffer)
}

/// One frame. Its buffer has room for all of it at once: one that grows leaves unwiped copies behind.
///
/// # Errors
/// A message above its own bound.
pub fn framed<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut length = Length(HEADER);
    bincode::serde::encode_into_std_write(message, &mut length, bincode::config::standard()).map_err(|_| WireError::TooLong(0))?;
    let mut buffer = Zeroizing::new(Vec::with_capacity(length.0));
    encode(message, &mut buffer)?;
    Ok(std::mem::take(&mut *buffer))
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads one frame, waiting for it.
///
/// # Errors
/// `InvalidData` with a [`WireError`] for what is no message, `UnexpectedEof` at the end.
pub fn read<M: Message>(from: &mut impl Read) -> io::Result<M> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let length = announced_length::<M>(header).map_err(invalid)?;
    let mut body = vec![0; length];
    let result = from.read_exact(&mut body).and_then(|()| decode(&body).map_err(invalid));
    body.zeroize();
    result
}

fn invalid(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn announced_length<M: Message>(header: [u8; HEADER]) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(header) as usize;
    if length > M::MAX { Err(WireError::TooLong(length)) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Number(u32),
        Text(String),
    }
    impl Message for Sample {
        const MAX: usize = 64;
    }

    fn framed(message: &Sample) -> Vec<u8> {
        let mut out = Vec::new();
        encode(message, &mut out).unwrap();
        out
    }

    #[test]
    fn messages_survive_any_cutting() {
        let sent = [Sample::Number(7), Sample::Text("x".repeat(40)), Sample::Number(u32::MAX)];
        let bytes: Vec<u8> = sent.iter().flat_map(framed).collect();
        for piece in 1..=bytes.len() {
            let mut decoder = Decoder::<Sample>::default();
            let mut got = Vec::new();
            for chunk in bytes.chunks(piece) {
                decoder.push(chunk);
                while let Some(message) = decoder.take().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, sent);
            assert!(!decoder.is_inside_message());
        }
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_its_bytes_come() {
        let mut decoder = Decoder::<Sample>::default();
        decoder.push(&65u32.to_le_bytes());
        assert_eq!(decoder.take(), Err(WireError::TooLong(65)));
        let mut out = Vec::new();
        assert_eq!(encode(&Sample::Text("x".repeat(64)), &mut out), Err(WireError::TooLong(66)));
        assert!(out.is_empty());
    }

    #[test]
    fn bytes_left_over_unknown_tags_and_hostile_lengths_are_malformed() {
        let mut long = framed(&Sample::Number(1));
        long.push(0);
        long[0] += 1;
        // Tag 1 (Text) that claims 2^60 bytes.
        let hostile = [11, 0, 0, 0, 1, 253, 0, 0, 0, 0, 0, 0, 0, 0x10, 0];
        for bytes in [long.as_slice(), &[1, 0, 0, 0, 9], &[0, 0, 0, 0], &hostile] {
            let mut decoder = Decoder::<Sample>::default();
            decoder.push(bytes);
            assert_eq!(decoder.take(), Err(WireError::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_of_any_kind_make_the_decoder_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut bytes = vec![0; 24];
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
            bytes[1..4].fill(0);
            bytes[0] %= 21;
            let mut decoder = Decoder::<Sample>::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.take() {}
        }
    }
}
