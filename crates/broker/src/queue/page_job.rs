//! Messages on their way from memory to a block.
//!
//! Invariant: the block holds the records of `ranges` in order, one behind the other, so the n-th message
//! of the job has ordinal n.

use super::index_set::Range;
use super::stored::Mark;
use crate::message::{Chunk, ChunkBuilder, RecordHead};
use std::sync::Arc;

/// One chunk's part in a job.
#[derive(Debug)]
struct Part {
    chunk: Arc<Chunk>,
    ordinals: Vec<u32>,
}

/// Messages that are to be written to one block.
#[derive(Debug, Default)]
pub struct PageJob {
    /// Index of the first segment's first message: the job's name.
    pub first: u64,
    /// Behind the last segment's last message.
    pub end: u64,
    /// Which messages.
    pub ranges: Vec<Range>,
    /// Bytes of their records, about.
    pub bytes: u64,
    /// The queue's era when it was made.
    pub(super) era: u64,
    parts: Vec<Part>,
    /// Offset of the first message that arrived at a time, and that time.
    pub(super) arrivals: Vec<(u32, u64)>,
}

impl PageJob {
    pub(super) fn new(first: u64, era: u64) -> PageJob {
        PageJob { first, era, ..PageJob::default() }
    }

    pub(super) fn add(&mut self, chunk: Arc<Chunk>, ordinals: Vec<u32>, ranges: &[Range]) {
        for range in ranges {
            match self.ranges.last_mut() {
                Some(last) if last.1 == range.0 => last.1 = range.1,
                _ => self.ranges.push(*range),
            }
        }
        self.parts.push(Part { chunk, ordinals });
    }

    /// The messages from `index` on arrived at `at_ms`.
    pub(super) fn note_arrival(&mut self, index: u64, at_ms: u64) {
        if self.arrivals.last().is_none_or(|(_, last)| *last < at_ms) {
            self.arrivals.push(((index - self.first) as u32, at_ms));
        }
    }

    fn heads(&self) -> impl Iterator<Item = RecordHead> {
        self.parts.iter().flat_map(|part| part.ordinals.iter().map(|ordinal| part.chunk.head(*ordinal)))
    }

    /// Body lengths by ordinal.
    pub(super) fn sizes(&self) -> Vec<u32> {
        self.heads().map(|head| head.body_bytes).collect()
    }

    /// What is special about the records.
    pub(super) fn marks(&self) -> Vec<Mark> {
        if self.parts.iter().all(|part| part.chunk.is_uniform()) {
            return Vec::new();
        }
        (0..).zip(self.heads()).filter_map(|(ordinal, head)| Mark::of(ordinal, &head)).collect()
    }

    /// Appends the block's bytes. A chunk that goes as a whole is not built again.
    pub fn fill(&self, out: &mut Vec<u8>) {
        if let [part] = self.parts.as_slice()
            && part.ordinals.len() == part.chunk.len() as usize
        {
            part.chunk.encode(out);
            return;
        }
        let mut builder = ChunkBuilder::default();
        for part in &self.parts {
            part.ordinals.iter().for_each(|ordinal| builder.take_over(&part.chunk, *ordinal));
        }
        builder.finish().encode(out);
    }
}
