//! A queue made from its log: records applied one by one, then a machine that goes on.
//!
//! Invariant: what was committed is there in its old place; what clients held is ready again; transient
//! messages are gaps. Records from before the last snapshot bring bytes, the snapshot says what lives.
//! No record, whatever is in it, makes this panic, walk a range that holds no messages, or keep more
//! memory than its messages and itself account for.

use super::config::QueueConfig;
use super::index_set::{IndexSet, Range};
use super::log_state::{LogCommand, LogState};
use super::machine::QueueMachine;
use super::place::Place;
use super::record::{self, Encoded, INDEX_MAX, Record, Snapshot};
use super::segment::Segment;
use super::stored::BlockAt;
use super::stored_entry::StoredEntry;
use super::tail::Tail;
use crate::codec::DecodeError;
use crate::message::Chunk;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A queue while its log is read.
#[derive(Debug, Default)]
pub struct RecoveredQueue {
    state: LogState,
    segments: BTreeMap<u64, Segment>,
    handed: u64,
    last_ms: u64,
}

impl RecoveredQueue {
    /// Applies a record; `chunk` is its body if it has one, `position` its place in the log.
    pub fn apply(
        &mut self,
        bytes: &[u8],
        chunk: Option<&Arc<Chunk>>,
        position: u64,
    ) -> Result<(), DecodeError> {
        match record::decode(bytes)? {
            Record::Enqueue { first, count, at_ms, handed, runs } => {
                let Some(chunk) = chunk else {
                    return Err(DecodeError { at: 0, reason: "messages without their bytes".into() });
                };
                if runs
                    .iter()
                    .any(|run| run.ordinal + run.count > chunk.len() || run.offset + run.count > count)
                {
                    return Err(DecodeError { at: 0, reason: "messages outside their chunk".into() });
                }
                let ranges: Vec<Range> = runs
                    .iter()
                    .map(|run| (first + u64::from(run.offset), first + u64::from(run.offset + run.count)))
                    .collect();
                self.make_room((first, first.saturating_add(count.into())));
                ranges.iter().for_each(|range| self.state.live.insert(*range));
                self.state.next = self.state.next.max(first.saturating_add(count.into()));
                let live = ranges.iter().map(|(start, end)| (end - start) as u32).sum();
                let mut segment =
                    Segment::new(first, count, live, Some(chunk.clone()), Place::Runs(runs), at_ms);
                segment.position = position;
                self.segments.insert(first, segment);
                self.note(handed, at_ms);
            }
            Record::Settle { handed, ranges } => {
                self.note(handed, 0);
                self.settle(ranges);
            }
            Record::Discard(ranges, reason, at_ms) => {
                self.note(0, at_ms);
                let ranges = self.with_bytes(&ranges);
                self.state.apply(&LogCommand::Discard(ranges, reason, at_ms));
            }
            Record::Return(ranges) => {
                let ranges = self.with_bytes(&ranges);
                self.state.apply(&LogCommand::Return(ranges));
            }
            Record::Moved(entry) => self.place(entry),
            Record::Snapshot(snapshot) => self.restore(*snapshot),
            Record::Epochs { next, history } => {
                (self.state.history, self.state.next) = (history, next);
                self.limit();
            }
        }
        Ok(())
    }

    /// Parts of `ranges` whose messages have bytes, each once. Only of these something is kept for every
    /// message: a damaged log may name ranges as long as the numbers go.
    fn with_bytes(&self, ranges: &[Range]) -> Vec<Range> {
        let mut parts = IndexSet::default();
        for (start, end) in ranges {
            let from = self.segments.range(..=start).next_back().map_or(*start, |(first, _)| *first);
            for segment in self.segments.range(from..*end.max(&from)).map(|(_, segment)| segment) {
                for (low, high) in segment.place.ranges(segment.first) {
                    parts.insert((low.max(*start), high.min(*end)));
                }
            }
        }
        parts.ranges().collect()
    }

    fn note(&mut self, handed: u64, at_ms: u64) {
        self.handed = self.handed.max(handed);
        self.last_ms = self.last_ms.max(at_ms);
    }

    /// Lets go of bytes at once, so that reading a long log takes little memory.
    fn settle(&mut self, ranges: Vec<Range>) {
        for range in &ranges {
            let live: Vec<Range> = self.state.live.within(*range).collect();
            for (start, end) in live {
                let from = self.segments.range(..=start).next_back().map_or(start, |(first, _)| *first);
                let mut ended = Vec::new();
                for (first, segment) in self.segments.range_mut(from..end) {
                    let (low, high) = segment.range();
                    let part = (start.max(low), end.min(high));
                    if part.0 < part.1 {
                        segment.settle(part);
                    }
                    if segment.live == 0 {
                        ended.push(*first);
                    }
                }
                ended.iter().for_each(|first| drop(self.segments.remove(first)));
            }
        }
        self.state.apply(&LogCommand::Settle(ranges));
    }

    /// Messages come to where nothing lives: to the end, or, at a mirror, between those of another segment, which
    /// is in parts then.
    fn make_room(&mut self, (start, end): Range) {
        if self.segments.range(start..).next().is_none() && self.state.next <= start {
            return;
        }
        // Who wrote it had nothing there: what seems to be there was settled, and the log was cut in between.
        self.state.apply(&LogCommand::Settle(vec![(start, end)]));
        for index in [start, end] {
            let before = self.segments.range_mut(..index).next_back();
            if let Some((_, segment)) = before.filter(|(_, segment)| segment.range().1 > index) {
                let rest = segment.split_off(index, &self.state.live);
                self.segments.insert(index, rest);
            }
        }
        let within: Vec<u64> = self.segments.range(start..end).map(|(first, _)| *first).collect();
        within.iter().for_each(|first| drop(self.segments.remove(first)));
    }

    /// A block has the bytes of messages that other segments had.
    fn place(&mut self, entry: StoredEntry) {
        let range = (entry.first, entry.first + u64::from(entry.count));
        let within: Vec<u64> = self.segments.range(range.0..range.1).map(|(first, _)| *first).collect();
        within.iter().for_each(|first| drop(self.segments.remove(first)));
        let live = self.state.live.count_within(range) as u32;
        if live > 0 {
            // The block may hold transient messages that no record tells of; their indexes are used up.
            self.state.next = self.state.next.max(range.1);
            self.segments.insert(entry.first, entry.segment(live));
        }
    }

    fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { state, handed, last_ms, stored } = snapshot;
        let exact = !state.history.pairs().is_empty();
        self.state = state;
        if exact {
            // What a mirror was made to agree with: indexes behind it were given again.
            self.handed = handed;
        }
        self.note(handed, last_ms);
        let before = std::mem::take(&mut self.segments);
        stored.into_iter().for_each(|entry| self.place(entry));
        for (first, mut segment) in before {
            let covered =
                self.segments.range(..=first).next_back().is_some_and(|(_, other)| first < other.range().1);
            segment.live = self.state.live.count_within(segment.range()) as u32;
            if !covered && segment.stored.is_none() && segment.live > 0 {
                self.segments.insert(first, segment);
            }
        }
        if exact {
            self.limit();
        }
    }

    /// Indexes from the next one on are given again: no segment of before reaches there.
    fn limit(&mut self) {
        let next = self.state.next;
        drop(self.segments.split_off(&next));
        if let Some((first, segment)) = self.segments.iter_mut().next_back()
            && segment.range().1 > next
        {
            segment.limit((next - first) as u32);
        }
    }

    /// Blocks it needs, each once.
    pub fn blocks(&self) -> impl Iterator<Item = BlockAt> {
        let blocks = self.segments.values().filter_map(|segment| Some(segment.stored.as_ref()?.at));
        blocks.collect::<BTreeSet<BlockAt>>().into_iter()
    }

    /// A block is not there: its messages are lost. Gives how many.
    pub fn lose_block(&mut self, at: BlockAt) -> u64 {
        let mut ranges: Vec<Range> = Vec::new();
        self.segments.retain(|_, segment| {
            let is_lost = segment.is_at(at);
            ranges.extend(is_lost.then(|| segment.range()));
            !is_lost
        });
        let lost = ranges.iter().map(|range| self.state.live.count_within(*range)).sum();
        self.state.apply(&LogCommand::Settle(ranges));
        lost
    }

    /// The last queue time that was logged.
    pub fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// How many messages it has.
    pub fn count(&self) -> u64 {
        self.state.live.count()
    }

    /// Bytes of messages in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.segments.values().map(Segment::resident).sum()
    }

    /// Makes live messages, their segments and what is known of them agree: segments that do not follow one
    /// another go, then live messages without bytes. Gives how many these were and whose blocks are over.
    fn agree(&mut self) -> (u64, Vec<BlockAt>) {
        let mut over = Vec::new();
        let mut held = IndexSet::default();
        let mut end = 0;
        self.segments.retain(|_, segment| {
            let range = segment.range();
            let follows = range.0 >= end;
            if follows {
                end = range.1;
                segment.place.ranges(range.0).for_each(|range| held.insert(range));
            } else {
                over.extend(segment.stored.as_ref().map(|stored| stored.at));
            }
            follows
        });
        let missing: Vec<Range> = self.state.live.ranges().flat_map(|range| held.gaps(range)).collect();
        let lost = missing.iter().map(|(start, end)| end - start).sum();
        self.state.apply(&LogCommand::Settle(missing));
        let LogState { live, returns, discarding, next, .. } = &mut self.state;
        returns.retain(|index, _| live.contains(*index));
        discarding.retain(|index, _| live.contains(*index));
        *next = (*next).max(end);
        self.segments.retain(|_, segment| {
            segment.live = live.count_within(segment.range()) as u32;
            if segment.live == 0 {
                over.extend(segment.stored.as_ref().map(|stored| stored.at));
            }
            segment.live > 0
        });
        (lost, over)
    }

    /// The queue, ready to go on. Gives how many live messages had no bytes, which cannot be unless the
    /// log was damaged: they are let go.
    pub fn finish(mut self, config: QueueConfig, now_ms: u64) -> (QueueMachine, u64) {
        // Transient messages may have been handed out beyond the last record: their indexes are used up.
        self.state.next = self.state.next.max(self.handed.min(INDEX_MAX));
        let (lost, over) = self.agree();
        let mut machine = QueueMachine::new(config, true, now_ms);
        machine.state = LogState { config: machine.state.config, ..self.state };
        machine.seen_below = self.handed;
        machine.handed = self.handed;
        machine.logged_handed = self.handed;
        let segments: VecDeque<Segment> = self.segments.into_values().collect();
        machine.tail = Tail::of(segments);
        let needed = |at: &BlockAt| machine.tail.segments().any(|segment| segment.is_at(*at));
        let over: BTreeSet<BlockAt> = over.into_iter().filter(|at| !needed(at)).collect();
        over.into_iter().for_each(|at| machine.tail.free(at));
        machine.wake_up();
        (machine, lost)
    }
}

impl QueueMachine {
    /// Makes everything ready that is not on its way to the dead-letter exchange.
    fn wake_up(&mut self) {
        let mut ready = IndexSet::default();
        self.state.live.ranges().for_each(|range| ready.insert(range));
        for index in self.state.discarding.keys() {
            ready.remove((*index, index + 1));
        }
        let ranges: Vec<Range> = ready.ranges().collect();
        for range in &ranges {
            self.make_ready(*range);
            self.ready_bytes += self.tail.body_bytes(*range);
        }
        self.index_deadlines(&ranges);
    }

    /// Indexes the deadlines of `ranges`, without a look at plain messages.
    pub(super) fn index_deadlines(&mut self, ranges: &[Range]) {
        for (start, end) in ranges {
            let mut index = *start;
            while index < *end {
                let Some(segment) = self.tail.segment(index) else { break };
                let stop = segment.range().1.min(*end);
                if !segment.is_plain() {
                    self.note_deadlines((index, stop));
                }
                index = stop;
            }
        }
    }

    /// The commands since the last call, as the log keeps them.
    pub fn take_records(&mut self) -> Vec<Encoded> {
        let commands = self.take_log();
        self.records_of(&commands)
    }

    /// Commands just taken, as the log keeps them; each may be asked for once, in order.
    pub fn records_of(&mut self, commands: &[LogCommand]) -> Vec<Encoded> {
        // Every copy of a mirrored queue has every message, so that nothing is left out of its records.
        let none = IndexSet::default();
        let (volatile, handed) = (if self.gated { &none } else { &self.volatile }, self.handed);
        let mut records: Vec<Encoded> =
            commands.iter().filter_map(|command| record::encode(command, volatile, handed)).collect();
        self.forget_volatile(commands);
        if self.handed > self.logged_handed && self.state.live.count() > self.volatile.count() {
            let known = records.iter().any(|(record, _)| record::carries_handed(record));
            if !known {
                records.push((Self::handed_record(self.handed), None));
            }
            self.logged_handed = self.handed;
        }
        records
    }

    fn forget_volatile(&mut self, commands: &[LogCommand]) {
        if self.volatile.is_empty() {
            return;
        }
        for command in commands {
            if let LogCommand::Settle(ranges) | LogCommand::Purge(ranges) = command {
                for range in ranges {
                    self.volatile.remove(*range);
                }
            }
        }
    }

    /// A record that changes nothing.
    pub fn empty_record() -> Vec<u8> {
        Self::handed_record(0)
    }

    /// A record that only says which messages may have been seen.
    fn handed_record(handed: u64) -> Vec<u8> {
        record::encode(&LogCommand::Settle(Vec::new()), &IndexSet::default(), handed)
            .map_or_else(Vec::new, |(record, _)| record)
    }

    /// Whether messages were handed out of which the log knows nothing yet.
    pub fn has_news_for_log(&self) -> bool {
        !self.log.is_empty() || self.handed > self.logged_handed
    }

    /// The queue as one record, which makes earlier ones needless but for bytes that are only there.
    pub fn snapshot(&self, now_ms: u64) -> Vec<u8> {
        let stored = self.tail.segments().filter(|segment| segment.live > 0).filter_map(StoredEntry::of);
        record::encode_snapshot(&self.state, &self.early_returns, &self.volatile, self.handed, now_ms, stored)
    }
}
