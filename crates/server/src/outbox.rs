//! What waits for a connection's socket: encoded frames, and large bodies by reference.
//!
//! Invariant: bytes leave in the order they were put in; `bytes` is what is left to be written.

use broker::message::Chunk;
use engine::Queue;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use types::ConsumerId;

/// Buffers a thread keeps for connections that are about to write.
const SPARE_BUFFERS_MAX: usize = 8;
/// Buffers above this size are given back to the allocator.
const SPARE_BUFFER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Slices in one vectored write.
const SLICES_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of this thread's spare ones, or a new one.
pub(crate) fn spare_buffer() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a buffer back.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > SPARE_BUFFER_BYTES_MAX {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(buffer);
        }
    });
}

#[derive(Debug)]
pub(crate) enum Piece {
    /// Encoded frames from an offset on.
    Frames(Vec<u8>, usize),
    /// A part of a chunk: a large body.
    Body(Arc<Chunk>, Range<usize>),
}

impl Piece {
    fn rest(&self) -> &[u8] {
        match self {
            Piece::Frames(bytes, from) => &bytes[*from..],
            Piece::Body(chunk, range) => &chunk.data()[range.clone()],
        }
    }
}

/// A queue's consumer that waits for room in the outbox.
pub(crate) type Waiting = (Arc<Queue>, ConsumerId);

/// The outbox of one connection.
#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    frames: Vec<u8>,
    bytes_in_pieces: usize,
    /// Somebody is writing to the socket, or waits to.
    pub(crate) writing: bool,
    /// The socket is gone.
    pub(crate) closed: bool,
    /// Consumers to be woken when there is room.
    pub(crate) waiting: Vec<Waiting>,
}

impl Outbox {
    /// Bytes that wait.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes_in_pieces + self.frames.len()
    }

    /// Where frames are appended.
    #[inline]
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        if self.frames.capacity() == 0 {
            self.frames = spare_buffer();
        }
        &mut self.frames
    }

    /// Appends a part of a chunk without copying it.
    pub(crate) fn put_shared(&mut self, chunk: Arc<Chunk>, range: Range<usize>) {
        self.end_frames();
        self.bytes_in_pieces += range.len();
        self.pieces.push_back(Piece::Body(chunk, range));
    }

    fn end_frames(&mut self) {
        if !self.frames.is_empty() {
            self.bytes_in_pieces += self.frames.len();
            self.pieces.push_back(Piece::Frames(std::mem::take(&mut self.frames), 0));
        }
    }

    /// Takes everything that waits, to be written outside the lock.
    pub(crate) fn take(&mut self) -> VecDeque<Piece> {
        self.end_frames();
        self.bytes_in_pieces = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Puts what was not written back in front.
    pub(crate) fn put_back(&mut self, mut rest: VecDeque<Piece>) {
        self.bytes_in_pieces += rest.iter().map(|piece| piece.rest().len()).sum::<usize>();
        rest.append(&mut self.pieces);
        self.pieces = rest;
    }

    /// Drops everything, the connection is gone.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.pieces.clear();
        self.frames = Vec::new();
        self.bytes_in_pieces = 0;
        self.waiting.clear();
    }
}

/// Bytes to write next, as slices.
pub(crate) fn slices<'a>(pieces: &'a VecDeque<Piece>, into: &mut Vec<IoSlice<'a>>) {
    into.extend(pieces.iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece.rest())));
}

/// Takes `written` bytes off the front.
pub(crate) fn advance(pieces: &mut VecDeque<Piece>, mut written: usize) {
    while let Some(front) = pieces.front_mut() {
        let length = front.rest().len();
        if written < length {
            match front {
                Piece::Frames(_, from) => *from += written,
                Piece::Body(_, range) => range.start += written,
            }
            return;
        }
        written -= length;
        if let Some(Piece::Frames(buffer, _)) = pieces.pop_front() {
            give_back(buffer);
        }
        if written == 0 && pieces.front().is_none_or(|front| !front.rest().is_empty()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_stays_in_order() {
        let mut outbox = Outbox::default();
        outbox.frames().extend_from_slice(b"abcdef");
        let mut taken = outbox.take();
        outbox.frames().extend_from_slice(b"ghi");
        advance(&mut taken, 4);
        outbox.put_back(taken);
        assert_eq!(outbox.bytes(), 5);
        let all = outbox.take();
        let bytes: Vec<u8> = all.iter().flat_map(|piece| piece.rest().to_vec()).collect();
        assert_eq!(bytes, b"efghi");
        assert_eq!(outbox.bytes(), 0);
    }
}
