//! Where each live message's bytes are: the segments of a queue in log order.
//!
//! Invariant: segments ascend and do not overlap; every live message is in exactly one of them. A
//! segment whose messages are all settled holds no chunk; a block is given back with the last segment that
//! has it, and a chunk of
//! which a queue needs only a small part is copied out, so that a message in flight does not pin many
//! times its size.

use super::index_set::{IndexSet, Range};
use super::picks::Picks;
use super::place::Place;
use super::segment::Segment;
use super::stored::BlockAt;
use crate::message::Chunk;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Settled segments that may stand in the list before it is tidied.
const DEAD_SEGMENTS_MAX: usize = 64;

/// All segments of one queue.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) segments: VecDeque<Segment>,
    dead: usize,
    /// Bytes of memory that the segments are counted with.
    resident: u64,
    /// First indexes of stored segments whose bytes are in memory too.
    pub(super) loaded: BTreeSet<u64>,
    /// Stored segments with live messages.
    pub(super) stored: usize,
    /// Below this index everything live is in blocks: a deep backlog is not walked at each turn.
    pub(super) unstored_from: u64,
    /// Sums of bodies may be estimates: some were in blocks.
    pub(super) estimates: bool,
    /// Blocks that nobody needs any more.
    freed: Vec<BlockAt>,
    /// Blocks of segments that were split: how many more segments than one have each.
    shared: BTreeMap<BlockAt, u32>,
}

impl Tail {
    /// Takes segments that ascend and have live messages.
    pub(super) fn of(segments: VecDeque<Segment>) -> Tail {
        let mut shared = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for at in segments.iter().filter_map(|segment| Some(segment.stored.as_ref()?.at)) {
            if !seen.insert(at) {
                *shared.entry(at).or_default() += 1;
            }
        }
        Tail {
            shared,
            estimates: segments.iter().any(|segment| segment.stored.is_some()),
            resident: segments.iter().map(Segment::resident).sum(),
            stored: segments.iter().filter(|segment| segment.stored.is_some()).count(),
            segments,
            ..Tail::default()
        }
    }

    pub(super) fn append(&mut self, first: u64, chunk: Arc<Chunk>, picks: Picks, at_ms: u64) {
        let segment = Segment::arrived(first, chunk, picks, at_ms);
        self.resident += segment.resident();
        self.segments.push_back(segment);
    }

    /// Where the first segment stands that is not in a block.
    pub(super) fn skip_stored(&mut self) -> usize {
        let from = self.position(self.unstored_from);
        let stored = |segment: &&Segment| segment.stored.is_some() || segment.live == 0;
        let skipped = from + self.segments.iter().skip(from).take_while(stored).count();
        if let Some(last) = skipped.checked_sub(1).and_then(|at| self.segments.get(at)) {
            self.unstored_from = last.range().1;
        }
        skipped
    }

    /// Bytes of memory in use.
    pub(super) fn resident(&self) -> u64 {
        self.resident
    }

    /// Blocks given back since the last call.
    pub(super) fn take_freed(&mut self) -> Vec<BlockAt> {
        std::mem::take(&mut self.freed)
    }

    /// A segment has no use for its block any more.
    pub(super) fn free(&mut self, at: BlockAt) {
        match self.shared.get_mut(&at) {
            Some(1) => drop(self.shared.remove(&at)),
            Some(others) => *others -= 1,
            None => self.freed.push(at),
        }
    }

    pub(super) fn grow(&mut self, bytes: i64) {
        self.resident = self.resident.saturating_add_signed(bytes);
    }

    #[inline]
    pub(super) fn position(&self, index: u64) -> usize {
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

    /// The segment that begins with `first`, and where it stands.
    pub(super) fn beginning_with(&mut self, first: u64) -> Option<(usize, &mut Segment)> {
        let at = self.position(first);
        let segment = self.segments.get_mut(at)?;
        (segment.first == first).then_some((at, segment))
    }

    /// Segments from the oldest on.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Body bytes of the live messages in `range`.
    pub(super) fn body_bytes(&self, (start, end): Range) -> u64 {
        let mut bytes = 0;
        let mut index = start;
        while index < end {
            let Some(segment) = self.segment(index) else { return bytes };
            let stop = end.min(segment.range().1);
            bytes += segment.body_bytes((index, stop));
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
            segment.settle((start.max(first), end.min(last)));
            if segment.live == 0 {
                self.end(at);
            } else if segment.live < segment.count / 4 {
                let grown = segment.copy_out(live);
                self.grow(grown);
            }
            at += 1;
        }
        self.tidy();
    }

    /// Nothing of the segment is left.
    fn end(&mut self, at: usize) {
        let Some(segment) = self.segments.get_mut(at) else { return };
        let grown = segment.set_chunk(None);
        segment.place = Place::Runs(Vec::new());
        let first = segment.first;
        if let Some(stored) = segment.stored.take() {
            self.free(stored.at);
            self.stored -= 1;
            self.loaded.remove(&first);
        }
        self.grow(grown);
        self.dead += 1;
    }

    fn tidy(&mut self) {
        while self.segments.front().is_some_and(|front| front.live == 0) {
            if let Some(gone) = self.segments.pop_front() {
                self.resident = self.resident.saturating_sub(gone.resident());
            }
            self.dead -= 1;
        }
        if self.dead > DEAD_SEGMENTS_MAX && self.dead * 2 > self.segments.len() {
            let mut gone = 0;
            self.segments.retain(|segment| {
                gone += if segment.live == 0 { segment.resident() } else { 0 };
                segment.live > 0
            });
            self.resident = self.resident.saturating_sub(gone);
            self.dead = 0;
        }
    }

    /// Puts one segment in the place of those that lie within its range; gives these.
    pub(super) fn replace(&mut self, segment: Segment) -> Vec<Segment> {
        let (start, end) = segment.range();
        let from = self.segments.partition_point(|old| old.first < start);
        let to = self.segments.partition_point(|old| old.first < end);
        let old: Vec<Segment> = self.segments.drain(from..to).collect();
        for gone in &old {
            self.resident = self.resident.saturating_sub(gone.resident());
            self.dead -= usize::from(gone.live == 0);
            self.stored -= usize::from(gone.stored.is_some());
            self.loaded.remove(&gone.first);
        }
        self.resident += segment.resident();
        self.stored += usize::from(segment.stored.is_some());
        self.estimates |= segment.stored.is_some();
        self.segments.insert(from, segment);
        old
    }

    /// Puts a segment where nothing lives, be it between messages of another one.
    pub(super) fn insert(&mut self, segment: Segment, live: &IndexSet) {
        let (start, end) = segment.range();
        self.part(start, live);
        self.part(end, live);
        let from = self.position(start);
        let to = from + self.segments.iter().skip(from).take_while(|other| other.first < end).count();
        for gone in self.segments.drain(from..to) {
            self.resident = self.resident.saturating_sub(gone.resident());
            self.dead -= 1;
        }
        self.resident += segment.resident();
        self.unstored_from = self.unstored_from.min(start);
        self.segments.insert(from, segment);
    }

    /// No segment with live messages reaches over an index.
    fn part(&mut self, index: u64, live: &IndexSet) {
        let at = self.position(index);
        let Some(segment) = self.segments.get_mut(at) else { return };
        if segment.first >= index || segment.live == 0 {
            return;
        }
        let before = segment.resident();
        let rest = segment.split_off(index, live);
        self.resident = self.resident.saturating_sub(before) + segment.resident() + rest.resident();
        let front_is_over = segment.live == 0;
        if let Some(stored) = &rest.stored {
            *self.shared.entry(stored.at).or_default() += 1;
            (self.stored, self.estimates) = (self.stored + 1, true);
            if rest.chunk.is_some() {
                self.loaded.insert(rest.first);
            }
        }
        let rest_is_over = rest.live == 0;
        self.segments.insert(at + 1, rest);
        if rest_is_over {
            self.end(at + 1);
        }
        if front_is_over {
            self.end(at);
        }
    }

    /// Everything from an index on is over: no segment reaches there any more.
    pub(super) fn cut(&mut self, index: u64) {
        while self.segments.back().is_some_and(|last| last.first >= index)
            && let Some(gone) = self.segments.pop_back()
        {
            self.resident = self.resident.saturating_sub(gone.resident());
            self.dead -= usize::from(gone.live == 0);
        }
        if let Some(last) = self.segments.back_mut()
            && last.range().1 > index
        {
            let grown = last.limit((index - last.first) as u32);
            self.grow(grown);
        }
        self.unstored_from = self.unstored_from.min(index);
    }

    /// What was appended since index `from` stands at `position` in the log.
    pub(super) fn note_position(&mut self, from: u64, position: u64) {
        for segment in self.segments.iter_mut().rev() {
            if segment.first < from {
                break;
            }
            segment.position = position;
        }
    }

    /// Copies what came since index `from` and is still here out of chunks that are mostly others'.
    pub(super) fn settle_down(&mut self, from: u64, live: &IndexSet) {
        let mut grown = 0;
        for segment in self.segments.iter_mut().rev() {
            if segment.first < from {
                break;
            }
            let Some(chunk) = &segment.chunk else { continue };
            if segment.live < chunk.len() / 4 {
                grown += segment.copy_out(live);
            }
        }
        self.grow(grown);
    }

    /// Checks that counts and segments agree.
    ///
    /// # Panics
    /// When they do not: a programmer's error.
    pub(super) fn validate(&self, live: &IndexSet) {
        let sum: u64 = self.segments.iter().map(Segment::resident).sum();
        assert_eq!(self.resident, sum, "resident bytes");
        let mut end = 0;
        for segment in &self.segments {
            assert!(segment.first >= end, "segments overlap");
            end = segment.range().1;
            let count = live.count_within(segment.range());
            assert_eq!(u64::from(segment.live), count, "live messages of {:?}", segment.range());
            let loaded = segment.stored.is_some() && segment.chunk.is_some();
            assert_eq!(loaded, self.loaded.contains(&segment.first), "loaded {:?}", segment.range());
        }
        let stored = self.segments.iter().filter(|segment| segment.stored.is_some()).count();
        assert_eq!(self.stored, stored, "stored segments");
        let below = self.segments.iter().take_while(|segment| segment.range().1 <= self.unstored_from);
        let is_stored = |segment: &Segment| segment.stored.is_some() || segment.live == 0;
        assert!(below.into_iter().all(is_stored), "not in a block below {}", self.unstored_from);
        assert_eq!(
            self.dead,
            self.segments.iter().filter(|segment| segment.live == 0).count(),
            "dead segments"
        );
    }
}
