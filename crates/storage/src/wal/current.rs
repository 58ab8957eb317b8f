//! Where the log is: the file it writes to and what comes next.
//!
//! Invariant: `end` is behind the last batch that is durable.

use super::entry::Sequence;
use super::format::FileHead;
use super::format::file_head::{FILE_HEAD_BYTES, Previous};
use super::stock::ReadyFile;

/// Where the log goes on.
pub(super) struct Position {
    pub next_sequence: Sequence,
    pub next_number: u64,
    pub previous: Option<Previous>,
    pub accepted_below: u64,
}

/// The file that is written to.
pub(super) struct Current {
    pub ready: ReadyFile,
    pub salt: u64,
    /// Where the next batch goes; 0 as long as the head is not written.
    pub end: u64,
    pub checksum: u32,
    pub asked_ahead: bool,
}

impl Current {
    /// Bytes a batch may have.
    pub fn room(&self) -> u64 {
        self.ready.length.saturating_sub(self.end.max(FILE_HEAD_BYTES as u64))
    }

    pub fn head(&self, oldest: u64, position: &Position) -> [u8; FILE_HEAD_BYTES] {
        FileHead {
            generation: self.ready.generation,
            length: self.ready.length,
            salt: self.salt,
            first_sequence: position.next_sequence,
            first_number: position.next_number,
            oldest,
            previous: position.previous,
            accepted_below: position.accepted_below,
        }
        .encode()
    }
}
