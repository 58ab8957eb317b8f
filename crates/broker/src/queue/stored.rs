//! What a queue remembers of messages whose bytes are in a block on disk.
//!
//! Invariant: `live_bytes` is the sum of the bodies of the segment's live messages; sizes and marks say
//! of a record what its head says, so that counts and deadlines need no reading.

use crate::message::{Chunk, RecordHead};

/// Where a block is; what the fields mean is known to the store that gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockAt {
    /// The file.
    pub file: u64,
    /// Where in the file, bytes.
    pub offset: u32,
    /// How long, bytes.
    pub length: u32,
}

/// Body lengths by ordinal.
#[derive(Clone, Debug, PartialEq)]
enum Sizes {
    Same(u32),
    Each(Box<[u32]>),
}

/// A record with a time to live or a priority of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) ordinal: u32,
    pub(super) ttl_ms: Option<u64>,
    pub(super) priority: u8,
}

impl Mark {
    pub(super) fn of(ordinal: u32, head: &RecordHead) -> Option<Mark> {
        let special = head.ttl_ms.is_some() || head.priority > 0;
        special.then_some(Mark { ordinal, ttl_ms: head.ttl_ms, priority: head.priority })
    }
}

/// Messages in a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) at: BlockAt,
    /// Body bytes of what is live.
    pub(super) live_bytes: u64,
    /// Known since the block was in memory; a backlog goes without.
    sizes: Option<Sizes>,
    /// Records that differ from the plain ones, by ordinal.
    pub(super) marks: Vec<Mark>,
    /// When messages arrived: offset of the first and queue time, ascending in both.
    pub(super) arrivals: Vec<(u32, u64)>,
}

impl Stored {
    pub(super) fn new(at: BlockAt, live_bytes: u64, marks: Vec<Mark>, arrivals: Vec<(u32, u64)>) -> Stored {
        Stored { at, live_bytes, sizes: None, marks, arrivals }
    }

    pub(super) fn mark(&self, ordinal: u32) -> Option<&Mark> {
        let found = self.marks.binary_search_by_key(&ordinal, |mark| mark.ordinal).ok()?;
        self.marks.get(found)
    }

    /// The body's length, if it is known.
    pub(super) fn size(&self, ordinal: u32) -> Option<u32> {
        match self.sizes.as_ref()? {
            Sizes::Same(size) => Some(*size),
            Sizes::Each(sizes) => sizes.get(ordinal as usize).copied(),
        }
    }

    /// The same block, of which the messages from `offset` on are another segment's; what that has. `bytes` are
    /// the bodies of what lives there.
    pub(super) fn split_off(&mut self, offset: u32, bytes: u64) -> Stored {
        let before = self.arrivals.partition_point(|(at, _)| *at <= offset);
        let begins = before.checked_sub(1).map(|last| (0, self.arrivals[last].1));
        let later = self.arrivals[before..].iter().map(|(at, at_ms)| (at - offset, *at_ms));
        let arrivals = begins.into_iter().chain(later).collect();
        self.arrivals.retain(|(at, _)| *at < offset);
        let live_bytes = bytes.min(self.live_bytes);
        self.live_bytes -= live_bytes;
        Stored { at: self.at, live_bytes, sizes: self.sizes.clone(), marks: self.marks.clone(), arrivals }
    }

    pub(super) fn knows_sizes(&self) -> bool {
        self.sizes.is_some()
    }

    /// Remembers body lengths while clients hold messages whose bytes leave memory.
    pub(super) fn keep_sizes(&mut self, sizes: impl FnOnce() -> Vec<u32>) {
        if self.sizes.is_some() {
            return;
        }
        let sizes = sizes();
        self.sizes = match sizes.first() {
            Some(first) if sizes.iter().all(|size| size == first) => Some(Sizes::Same(*first)),
            _ => Some(Sizes::Each(sizes.into())),
        };
    }

    /// Forgets them again: nobody holds a message of it.
    pub(super) fn drop_sizes(&mut self) {
        self.sizes = None;
    }
}

/// Body lengths of a chunk's records.
pub(super) fn sizes_of(chunk: &Chunk) -> Vec<u32> {
    (0..chunk.len()).map(|ordinal| chunk.head(ordinal).body_bytes).collect()
}
