//! Neighbouring messages whose bytes are together: in a chunk in memory, in a block on disk, or both.
//!
//! Invariant: a segment with live messages has a chunk or is stored; a chunk that came back from a block
//! has the same ordinals as the block.

use super::index_set::{IndexSet, Range};
use super::picks::Picks;
use super::place::Place;
use super::stored::{BlockAt, Stored};
use crate::message::{Chunk, Record, RecordHead};
use std::sync::Arc;

/// Chunks smaller than this are not worth copying out of.
const COPY_OUT_MIN_BYTES: usize = 4 * 1024;
/// What a segment costs beside its chunk, bytes.
const SEGMENT_COST_BYTES: u64 = 160;

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) live: u32,
    pub(super) chunk: Option<Arc<Chunk>>,
    pub(super) place: Place,
    pub(super) stored: Option<Box<Stored>>,
    /// Queue time at which its first message arrived.
    pub(super) added_at_ms: u64,
    /// Where its enqueue stands in the log; 0 when the log does not have it.
    pub(super) position: u64,
    /// Its chunk is being written to a block.
    pub(super) moving: bool,
    /// Its block is being read.
    pub(super) loading: bool,
    /// Its block is to be given up.
    pub(super) relocate: bool,
    /// Bytes of memory it is counted with.
    resident: u64,
}

impl Segment {
    pub(super) fn arrived(first: u64, chunk: Arc<Chunk>, picks: Picks, at_ms: u64) -> Segment {
        let count = picks.len();
        Segment::new(first, count, count, Some(chunk), Place::Picks(picks), at_ms)
    }

    pub(super) fn new(
        first: u64,
        count: u32,
        live: u32,
        chunk: Option<Arc<Chunk>>,
        place: Place,
        added_at_ms: u64,
    ) -> Segment {
        let mut segment = Segment {
            first,
            count,
            live,
            chunk,
            place,
            stored: None,
            added_at_ms,
            position: 0,
            moving: false,
            loading: false,
            relocate: false,
            resident: 0,
        };
        segment.resident = segment.cost();
        segment
    }

    /// The same, with a block that holds its bytes.
    pub(super) fn stored(mut self, stored: Stored) -> Segment {
        self.stored = Some(Box::new(stored));
        self
    }

    /// It ends after so many messages; those behind are gone. Tells by how much its cost grew.
    pub(super) fn limit(&mut self, count: u32) -> i64 {
        self.count = count;
        self.place.limit(count);
        if let Some(stored) = &mut self.stored {
            stored.arrivals.retain(|(offset, _)| *offset < count);
        }
        self.set_chunk(self.chunk.clone())
    }

    /// Takes off what is from an index on, within it; `live` are the queue's messages. A block is both's then.
    pub(super) fn split_off(&mut self, index: u64, live: &IndexSet) -> Segment {
        let (end, offset) = (self.range().1, (index - self.first) as u32);
        let added_at_ms = self.arrived_ms(index);
        let bytes = live.within((index, end)).map(|range| self.body_bytes(range)).sum();
        let stored = self.stored.as_mut().map(|stored| Box::new(stored.split_off(offset, bytes)));
        let rest_live = live.count_within((index, end)) as u32;
        let place = self.place.split_off(offset);
        let chunk = self.chunk.clone();
        // Whoever reads the block brings it to the part in front.
        let relocate = self.relocate && chunk.is_some();
        let mut rest = Segment::new(index, self.count - offset, rest_live, chunk, place, added_at_ms);
        (rest.stored, rest.position, rest.relocate) = (stored, self.position, relocate);
        self.count = offset;
        self.live = live.count_within(self.range()) as u32;
        self.resident = self.cost();
        rest
    }

    pub(super) fn range(&self) -> Range {
        (self.first, self.first + u64::from(self.count))
    }

    /// Bytes of memory it is counted with: its share of the chunk.
    pub(super) fn resident(&self) -> u64 {
        self.resident
    }

    fn cost(&self) -> u64 {
        let Some(chunk) = &self.chunk else { return SEGMENT_COST_BYTES };
        let data = chunk.data_bytes() as u64;
        let records = u64::from(chunk.len()).max(1);
        let share =
            if u64::from(self.count) * 2 >= records { data } else { data * u64::from(self.count) / records };
        SEGMENT_COST_BYTES + share
    }

    /// Gives it other bytes, or none; tells by how much its cost grew.
    pub(super) fn set_chunk(&mut self, chunk: Option<Arc<Chunk>>) -> i64 {
        self.chunk = chunk;
        let before = self.resident;
        self.resident = self.cost();
        self.resident as i64 - before as i64
    }

    #[inline]
    fn ordinal(&self, index: u64) -> Option<u32> {
        self.place.ordinal((index - self.first) as u32)
    }

    /// The record of `index`, which lies in this segment; None when it was settled or is not in memory.
    #[inline]
    pub(super) fn record(&self, index: u64) -> Option<Record<'_>> {
        let chunk = self.chunk.as_ref()?;
        let ordinal = self.ordinal(index)?;
        (ordinal < chunk.len()).then(|| chunk.record(ordinal))
    }

    #[inline]
    fn head(&self, index: u64) -> Option<RecordHead> {
        let chunk = self.chunk.as_ref()?;
        let ordinal = self.ordinal(index)?;
        (ordinal < chunk.len()).then(|| chunk.head(ordinal))
    }

    /// The message's own time to live and priority.
    pub(super) fn traits_of(&self, index: u64) -> (Option<u64>, u8) {
        if let Some(head) = self.head(index) {
            return (head.ttl_ms, head.priority);
        }
        let mark = self.ordinal(index).and_then(|ordinal| self.stored.as_ref()?.mark(ordinal));
        mark.map_or((None, 0), |mark| (mark.ttl_ms, mark.priority))
    }

    /// Whether all its messages are plain ones.
    pub(super) fn is_plain(&self) -> bool {
        match (&self.chunk, &self.stored) {
            (_, Some(stored)) => stored.marks.is_empty(),
            (Some(chunk), None) => chunk.is_uniform(),
            (None, None) => true,
        }
    }

    /// Queue time at which a message arrived.
    pub(super) fn arrived_ms(&self, index: u64) -> u64 {
        let offset = (index - self.first) as u32;
        let Some(stored) = &self.stored else { return self.added_at_ms };
        let after = stored.arrivals.partition_point(|(at, _)| *at <= offset);
        after.checked_sub(1).map_or(self.added_at_ms, |at| stored.arrivals[at].1)
    }

    /// When the messages of `range`, which lies in this segment, arrived: the first ones of each time.
    pub(super) fn arrivals_in(&self, (start, end): Range) -> Vec<(u64, u64)> {
        let mut arrivals = vec![(start, self.arrived_ms(start))];
        if let Some(stored) = &self.stored {
            let later =
                stored.arrivals.iter().map(|(offset, at_ms)| (self.first + u64::from(*offset), *at_ms));
            arrivals.extend(later.filter(|(index, _)| start < *index && *index < end));
        }
        arrivals
    }

    /// The first index whose message arrived after `until_ms`.
    pub(super) fn arrived_until(&self, until_ms: u64) -> u64 {
        let end = self.range().1;
        match &self.stored {
            Some(stored) => {
                let after = stored.arrivals.partition_point(|(_, at_ms)| *at_ms <= until_ms);
                stored.arrivals.get(after).map_or(end, |(offset, _)| self.first + u64::from(*offset))
            }
            None if self.added_at_ms <= until_ms => end,
            None => self.first,
        }
    }

    /// Body bytes of the live messages in `range`, which lies in this segment. Of a part of a block whose
    /// sizes are not known it is their average.
    pub(super) fn body_bytes(&self, (start, end): Range) -> u64 {
        if self.chunk.is_some() {
            let heads = (start..end).filter_map(|index| self.head(index));
            return heads.map(|head| u64::from(head.body_bytes)).sum();
        }
        let Some(stored) = &self.stored else { return 0 };
        if stored.knows_sizes() {
            let sizes = (start..end).filter_map(|index| stored.size(self.ordinal(index)?));
            return sizes.map(u64::from).sum();
        }
        let live = u64::from(self.live).max(1);
        if end - start >= live { stored.live_bytes } else { stored.live_bytes * (end - start) / live }
    }

    /// So many fewer of its messages are live: those in `range`, which lies in this segment.
    pub(super) fn settle(&mut self, range: Range) {
        if self.stored.is_some() {
            let bytes = self.body_bytes(range);
            if let Some(stored) = &mut self.stored {
                stored.live_bytes = stored.live_bytes.saturating_sub(bytes);
            }
        }
        self.live = self.live.saturating_sub((range.1 - range.0) as u32);
    }

    /// Bytes of the records of live messages, about.
    pub(super) fn live_record_bytes(&self) -> u64 {
        let Some(chunk) = &self.chunk else { return 0 };
        chunk.data_bytes() as u64 * u64::from(self.live) / u64::from(chunk.len()).max(1)
    }

    /// The block's bytes are here again.
    pub(super) fn load(&mut self, chunk: Arc<Chunk>) -> i64 {
        self.loading = false;
        self.set_chunk(Some(chunk))
    }

    /// Whether `at` is the block it is stored in.
    pub(super) fn is_at(&self, at: BlockAt) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.at == at)
    }

    /// Gives it a chunk of its own with just its live messages, when the chunk is mostly others'. Tells by
    /// how much its cost grew.
    pub(super) fn copy_out(&mut self, live: &IndexSet) -> i64 {
        let Some(chunk) = &self.chunk else { return 0 };
        if self.stored.is_some()
            || self.moving
            || chunk.data_bytes() < COPY_OUT_MIN_BYTES
            || u64::from(chunk.len()) < 2 * u64::from(self.live)
        {
            return 0;
        }
        let ranges: Vec<Range> = live.within(self.range()).collect();
        let indexes = ranges.iter().flat_map(|(start, end)| *start..*end);
        let copy = chunk.extract(indexes.filter_map(|index| self.ordinal(index)));
        self.place = Place::Runs(Place::packed(self.first, &ranges));
        self.set_chunk(Some(Arc::new(copy)))
    }
}
