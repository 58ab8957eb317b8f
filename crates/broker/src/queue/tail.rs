//! The tail of a queue's log in memory: where each live message's bytes are.
//!
//! Invariant: segments ascend and do not overlap; every live message is in exactly one of them. A
//! segment whose messages are all settled holds no chunk, and a chunk of which a queue needs only a
//! small part is copied out, so that a message in flight does not pin many times its size.

use super::index_set::{IndexSet, Range};
use super::picks::Picks;
use crate::message::{Chunk, ChunkBuilder, Record, RecordHead};
use std::collections::VecDeque;
use std::sync::Arc;

/// Chunks smaller than this are not worth copying out of.
const COPY_OUT_MIN_BYTES: usize = 4 * 1024;
/// Settled segments that may stand in the list before it is tidied.
const DEAD_SEGMENTS_MAX: usize = 64;

#[derive(Debug)]
enum Place {
    /// The message at `first + n` is pick n.
    Picks(Picks),
    /// Offset from `first` and ordinal of each message that was left when the chunk was copied out.
    Left(Vec<(u32, u32)>),
}

#[derive(Debug)]
pub(super) struct Segment {
    first: u64,
    count: u32,
    live: u32,
    chunk: Option<Arc<Chunk>>,
    place: Place,
    pub(super) added_at_ms: u64,
}

impl Segment {
    pub(super) fn range(&self) -> Range {
        (self.first, self.first + u64::from(self.count))
    }

    #[inline]
    fn ordinal(&self, index: u64) -> Option<u32> {
        let offset = (index - self.first) as u32;
        match &self.place {
            Place::Picks(picks) => Some(picks.ordinal(offset)),
            Place::Left(left) => {
                left.binary_search_by_key(&offset, |(at, _)| *at).ok().map(|found| left[found].1)
            }
        }
    }

    /// The record of `index`, which lies in this segment; None when it was settled.
    #[inline]
    pub(super) fn record(&self, index: u64) -> Option<Record<'_>> {
        let chunk = self.chunk.as_ref()?;
        self.ordinal(index).map(|ordinal| chunk.record(ordinal))
    }

    #[inline]
    pub(super) fn head(&self, index: u64) -> Option<RecordHead> {
        let chunk = self.chunk.as_ref()?;
        self.ordinal(index).map(|ordinal| chunk.head(ordinal))
    }

    pub(super) fn chunk(&self) -> Option<&Arc<Chunk>> {
        self.chunk.as_ref()
    }
}

/// All segments of one queue.
#[derive(Debug, Default)]
pub(super) struct Tail {
    segments: VecDeque<Segment>,
    dead: usize,
}

impl Tail {
    pub(super) fn append(&mut self, first: u64, chunk: Arc<Chunk>, picks: Picks, at_ms: u64) {
        let count = picks.len();
        self.segments.push_back(Segment {
            first,
            count,
            live: count,
            chunk: Some(chunk),
            place: Place::Picks(picks),
            added_at_ms: at_ms,
        });
    }

    #[inline]
    fn position(&self, index: u64) -> usize {
        self.segments.partition_point(|segment| segment.range().1 <= index)
    }

    /// The segment that holds `index`.
    #[inline]
    pub(super) fn segment(&self, index: u64) -> Option<&Segment> {
        let segment = match self.segments.front() {
            Some(front) if index < front.range().1 => front,
            _ => self.segments.get(self.position(index))?,
        };
        (segment.first <= index && segment.live > 0).then_some(segment)
    }

    /// Segments from the oldest on.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Body bytes of the messages in `range`.
    pub(super) fn body_bytes(&self, (start, end): Range) -> u64 {
        let mut bytes = 0;
        let mut index = start;
        while index < end {
            let Some(segment) = self.segment(index) else { return bytes };
            let stop = end.min(segment.range().1);
            bytes += (index..stop)
                .filter_map(|index| segment.head(index))
                .map(|head| u64::from(head.body_bytes))
                .sum::<u64>();
            index = stop;
        }
        bytes
    }

    /// Lets go of the messages in `range`, which must have been live; `live` is what is left of the queue.
    pub(super) fn settle(&mut self, (start, end): Range, live: &IndexSet) {
        let mut at = match self.segments.front() {
            Some(front) if start < front.range().1 => 0,
            _ => self.position(start),
        };
        while let Some(segment) = self.segments.get_mut(at) {
            let (first, last) = segment.range();
            if first >= end {
                break;
            }
            let settled = (end.min(last) - start.max(first)) as u32;
            segment.live = segment.live.saturating_sub(settled);
            if segment.live == 0 {
                segment.chunk = None;
                segment.place = Place::Left(Vec::new());
                self.dead += 1;
            } else if segment.live < segment.count / 4 {
                copy_out(segment, live);
            }
            at += 1;
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        while self.segments.front().is_some_and(|front| front.live == 0) {
            self.segments.pop_front();
            self.dead -= 1;
        }
        if self.dead > DEAD_SEGMENTS_MAX && self.dead * 2 > self.segments.len() {
            self.segments.retain(|segment| segment.live > 0);
            self.dead = 0;
        }
    }

    /// Copies what came since index `from` and is still here out of chunks that are mostly others'.
    pub(super) fn settle_down(&mut self, from: u64, live: &IndexSet) {
        for segment in self.segments.iter_mut().rev() {
            if segment.first < from {
                break;
            }
            let Some(chunk) = &segment.chunk else { continue };
            if segment.live < chunk.len() / 4 {
                copy_out(segment, live);
            }
        }
    }
}

/// Gives a segment a chunk of its own with just its live messages.
fn copy_out(segment: &mut Segment, live: &IndexSet) {
    let Some(chunk) = &segment.chunk else { return };
    if chunk.data_bytes() < COPY_OUT_MIN_BYTES || (chunk.len() as u64) < 2 * u64::from(segment.live) {
        return;
    }
    let mut builder = ChunkBuilder::default();
    let mut left = Vec::with_capacity(segment.live as usize);
    for (start, end) in live.within(segment.range()) {
        for index in start..end {
            let Some(record) = segment.record(index) else { continue };
            let route: Arc<[u8]> = Arc::from(record.route);
            let ordinal = builder.push(record.head, &route, record.properties, record.body);
            left.push(((index - segment.first) as u32, ordinal));
        }
    }
    segment.chunk = Some(Arc::new(builder.finish()));
    segment.place = Place::Left(left);
}
