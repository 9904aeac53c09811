//! Reading a stranger's body: counted, hashed while it comes, and held at the price of its bytes.
//!
//! Runs in `gwg-listener`. A body that comes in one piece, as nearly all do, is not copied. Others
//! gather in segments, so that what strangers make this process hold is what they sent and at most
//! one segment each: never what they announced, and without the doubling of a growing buffer. They
//! are joined only once they are known to be authentic.

use super::admit::End;
use super::connection::Connection;
use super::events::Record;
use super::signature::Check;
use crate::audit::Rejected;
use hyper::body::{Body, Bytes, Incoming};
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

const SEGMENT: usize = 16 << 10;

/// Reads a body to its end.
///
/// # Errors
/// It is too large, does not come in time or whole, is malformed, or had to make room.
pub async fn read(connection: &Connection, incoming: &mut Incoming, check: &mut Check, record: &mut Record<'_>) -> Result<Whole, Rejected> {
    let bound = connection.server.limits.body;
    let mut segments = Segments::default();
    while !incoming.is_end_stream() {
        let frame = poll_fn(|cx| connection.unless_ended(Pin::new(&mut *incoming).poll_frame(cx))).await.map_err(rejected)?;
        let Some(frame) = frame else { break };
        // The other kind of frame, trailers, says nothing that is asked for.
        let Ok(piece) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        record.bytes += piece.len() as u64;
        if record.bytes > bound {
            return Err(Rejected::TooLarge);
        }
        check.update(&piece);
        if segments.is_empty() && incoming.is_end_stream() {
            return Ok(Whole::Piece(piece));
        }
        segments.add(&piece);
        connection.receives(piece.len() as u64);
    }
    Ok(Whole::Segments(segments))
}

/// What a request is told that was ended.
pub const fn rejected(end: End) -> Rejected {
    match end {
        // Nobody hears the answer to a connection that is closed; the event is the same.
        End::Close | End::Timeout => Rejected::Timeout,
        End::Budget => Rejected::Budget,
        End::Unavailable => Rejected::WorkerUnavailable,
    }
}

/// A body that breaks off, or whose chunks are no chunks.
fn broken(error: &hyper::Error) -> Rejected {
    let kind = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Rejected::Malformed,
        Some(_) | None => Rejected::Timeout,
    }
}

/// A body that was read to its end.
pub enum Whole {
    /// As it came, in one piece.
    Piece(Bytes),
    /// It came in several pieces.
    Segments(Segments),
}

impl Whole {
    /// All of it in one piece: for a body that is authentic, since it may need its size once more.
    pub fn joined(self) -> Bytes {
        match self {
            Self::Piece(piece) => piece,
            Self::Segments(segments) => segments.joined(),
        }
    }
}

/// Pieces, copied together.
#[derive(Default)]
pub struct Segments(Vec<Vec<u8>>);

impl Segments {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.0.last().is_none_or(|segment| segment.len() == SEGMENT) {
                self.0.push(Vec::with_capacity(SEGMENT));
            }
            let Some(segment) = self.0.last_mut() else { return };
            let (fits, rest) = piece.split_at(piece.len().min(SEGMENT - segment.len()));
            segment.extend_from_slice(fits);
            piece = rest;
        }
    }

    /// All in one piece; each segment is given back as soon as it is copied.
    fn joined(self) -> Bytes {
        let mut whole = Vec::with_capacity(self.0.iter().map(Vec::len).sum());
        self.0.into_iter().for_each(|segment| whole.extend_from_slice(&segment));
        whole.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn segments_hold_what_came_and_little_more() {
        let body: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        for piece in [1, 7, SEGMENT - 1, SEGMENT, SEGMENT + 1, 70_000] {
            let mut segments = Segments::default();
            body.chunks(piece).for_each(|piece| segments.add(piece));
            let held: usize = segments.0.iter().map(Vec::capacity).sum();
            assert!(held < body.len() + SEGMENT, "{held} bytes held");
            assert_eq!(segments.joined(), body);
        }
    }
}
