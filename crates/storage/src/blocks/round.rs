//! A round: the blocks that are written, and synced, together, and in which file each goes.
//!
//! Invariant: blocks stand in the buffer as they will in the file. A part of a round is for one file;
//! only the first part can be for the file that is written already.

use super::format::{self, BLOCK_HEAD_BYTES, FILE_HEAD_BYTES};
use super::{Fill, Location, Stored};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use types::limits::BLOCK_SIZE_MAX_BYTES;

/// A put that waits.
pub(super) struct Put {
    pub(super) log: u64,
    pub(super) fill: Fill,
    pub(super) done: Stored,
}

/// Blocks that go into one file, one behind the other.
pub(super) struct Part {
    /// Whether the file is to be begun for this.
    pub(super) new_file: bool,
    /// Where in the file it starts.
    pub(super) offset: u64,
    /// Where in the buffer it is.
    pub(super) bytes: Range<usize>,
    pub(super) blocks: Vec<Filled>,
}

/// A put whose block is in the buffer, or was refused.
pub(super) struct Filled {
    pub(super) log: u64,
    /// Offset in the file and length, head included.
    pub(super) place: io::Result<(u32, u32)>,
    pub(super) done: Stored,
}

impl Part {
    fn new(new_file: bool, offset: u64, start: usize) -> Part {
        Part { new_file, offset, bytes: start..start, blocks: Vec::new() }
    }

    /// Where in the file it ends.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Tells those who put the blocks where they are.
    pub(super) fn tell_stored(self, file: u64) {
        for block in self.blocks {
            (block.done)(block.place.map(|(offset, length)| Location { file, offset, length }));
        }
    }

    /// Tells those who put the blocks that they are not stored.
    pub(super) fn tell_failed(self, error: &io::Error) {
        for block in self.blocks {
            (block.done)(Err(again(error)));
        }
    }
}

/// The same error for another one who waits.
pub(super) fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Fills the buffer with blocks from `waiting` until it holds `round_max`. `end` is where the file that
/// is written ends, if there is one.
pub(super) fn fill(
    buffer: &mut Vec<u8>,
    waiting: &mut VecDeque<Put>,
    end: Option<u64>,
    file_bytes: u64,
    round_max: usize,
) -> Vec<Part> {
    buffer.clear();
    let mut parts = Vec::new();
    let mut part = match end {
        Some(end) => Part::new(false, end, 0),
        None => Part::new(true, FILE_HEAD_BYTES as u64, 0),
    };
    while buffer.len() < round_max
        && let Some(Put { log, fill, done }) = waiting.pop_front()
    {
        let start = buffer.len();
        buffer.resize(start + BLOCK_HEAD_BYTES, 0);
        fill(buffer);
        if let Err(refused) = check_length(buffer, start) {
            buffer.resize(start, 0);
            part.blocks.push(Filled { log, place: Err(refused), done });
            continue;
        }
        let length = buffer.len() - start;
        if part.end() + length as u64 > file_bytes && part.end() > FILE_HEAD_BYTES as u64 {
            if start > 0 && length <= round_max {
                // It begins the next round, or it would cost a sync of its own here.
                let bytes = buffer[start + BLOCK_HEAD_BYTES..].to_vec();
                buffer.truncate(start);
                let fill = Box::new(move |buffer: &mut Vec<u8>| buffer.extend_from_slice(&bytes));
                waiting.push_front(Put { log, fill, done });
                break;
            }
            parts.push(std::mem::replace(&mut part, Part::new(true, FILE_HEAD_BYTES as u64, start)));
        }
        // Both fit: a file begins no block behind `file_bytes`, which the store keeps below 4 GiB.
        let (offset, length) = (part.end() as u32, length as u32);
        let (head, bytes) = buffer[start..].split_at_mut(BLOCK_HEAD_BYTES);
        head.copy_from_slice(&format::block_head(log, offset, bytes));
        part.bytes.end = buffer.len();
        part.blocks.push(Filled { log, place: Ok((offset, length)), done });
    }
    parts.push(part);
    parts
}

fn check_length(buffer: &[u8], start: usize) -> io::Result<()> {
    let length = buffer.len().saturating_sub(start + BLOCK_HEAD_BYTES);
    let text = match length {
        0 => "a block was put without a byte".to_owned(),
        _ if length > BLOCK_SIZE_MAX_BYTES => {
            format!("a block of {length} bytes was put, at most {BLOCK_SIZE_MAX_BYTES} can be")
        }
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
