//! Making a mirror level: what it has that is over goes, what it does not have comes.
//!
//! Invariant: after a reset every message of the mirror is one that the home has, at the same index; after the
//! last fill the mirror has all that the home had when it was reset and still has.

use super::index_set::{IndexSet, Range};
use super::log_state::LogCommand;
use super::machine::QueueMachine;
use super::place::Run;
use super::record::{self, Encoded, INDEX_MAX};
use super::stored::BlockAt;
use crate::codec::DecodeError;
use crate::message::DeathReason;
use crate::replica::{History, divergence};
use std::sync::Arc;

/// What a mirror is made to agree with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reset {
    /// Everything from here on goes.
    pub cut: u64,
    /// Of what is before, this goes.
    pub settled: Vec<Range>,
    /// Which epoch each index is of.
    pub history: History,
    /// The index of the next message.
    pub next: u64,
    /// Behind the last message that was ever handed out.
    pub handed: u64,
    /// How often messages came back, as far as it is committed.
    pub returns: Vec<(u64, u32)>,
    /// Messages on their way to the dead-letter exchange.
    pub discards: Vec<(u64, DeathReason)>,
}

/// Messages for a mirror that does not have them.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Enqueue records with their chunks, ascending.
    pub records: Vec<Encoded>,
    /// How often messages came back.
    pub returns: Vec<(u64, u32)>,
    /// Messages on their way to the dead-letter exchange.
    pub discards: Vec<(u64, DeathReason)>,
}

/// What a mirror still has to get.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    indexes: IndexSet,
    /// What it has: no record may reach over that.
    theirs: IndexSet,
}

impl Missing {
    /// How many messages, some of which may be settled by now.
    pub fn count(&self) -> u64 {
        self.indexes.count()
    }
}

/// The next messages for a mirror.
#[derive(Debug)]
pub enum NextFill {
    /// They.
    Fill(Fill),
    /// These blocks have to be read first, or are being read.
    NeedsLoad(Vec<(u64, BlockAt)>),
    /// It has all.
    Done,
}

/// Why a mirror cannot take a fill.
#[derive(Debug)]
pub enum FillError {
    /// The place of a message is taken: the mirror has to begin empty.
    Overlap,
    /// It is none.
    Malformed(DecodeError),
}

/// Blocks that are read ahead for a mirror.
const LOADS_MAX: usize = 8;
/// Segments that are looked at for that.
const LOOKS_MAX: usize = 64;
/// More returns than this are not told apart.
const RETURNS_MAX: u32 = 1_000;

impl QueueMachine {
    /// What a mirror that has this is to let go of, and what it misses. Records of turns that are not committed have
    /// to follow: they say which returns are not counted in it.
    pub fn reset_for(&self, history: &History, next: u64, live: &IndexSet) -> (Reset, Missing) {
        let cut = divergence((&self.state.history, self.state.next), (history, next));
        let mut theirs = IndexSet::default();
        let mut settled = Vec::new();
        for range in live.within((0, cut)) {
            settled.extend(self.state.live.gaps(range));
            self.state.live.within(range).for_each(|range| theirs.insert(range));
        }
        let mut indexes = IndexSet::default();
        for range in self.state.live.ranges() {
            theirs.gaps(range).for_each(|range| indexes.insert(range));
        }
        let reset = Reset {
            cut,
            settled,
            history: self.state.history.clone(),
            next: self.state.next,
            handed: self.handed,
            returns: self.committed_returns((0, u64::MAX)).collect(),
            discards: self.state.discarding.iter().map(|(index, reason)| (*index, *reason)).collect(),
        };
        (reset, Missing { indexes, theirs })
    }

    /// The next messages that a mirror misses, up to about so many bytes.
    pub fn next_fill(&mut self, missing: &mut Missing, most_bytes: usize) -> NextFill {
        let mut fill = Fill { records: Vec::new(), returns: Vec::new(), discards: Vec::new() };
        let mut bytes = 0;
        while bytes < most_bytes
            && let Some(index) = self.next_missing(&mut missing.indexes)
        {
            let Some(segment) = self.tail.segment(index) else { break };
            if segment.chunk.is_none() {
                if fill.records.is_empty() {
                    return NextFill::NeedsLoad(self.blocks_for(index, missing));
                }
                break;
            }
            let Some((range, record, size)) = self.fill_from(index, missing, most_bytes - bytes) else {
                break;
            };
            bytes += size;
            missing.indexes.remove(range);
            fill.records.push(record);
            fill.returns.extend(self.committed_returns(range));
            let discards = self.state.discarding.range(range.0..range.1);
            fill.discards.extend(discards.map(|(index, reason)| (*index, *reason)));
        }
        if fill.records.is_empty() { NextFill::Done } else { NextFill::Fill(fill) }
    }

    /// The first missing message that still lives.
    fn next_missing(&self, indexes: &mut IndexSet) -> Option<u64> {
        loop {
            let range = indexes.ranges().next()?;
            if let Some((start, _)) = self.state.live.within(range).next() {
                return Some(start);
            }
            indexes.remove(range);
        }
    }

    /// A record of neighbours from `index` on, of one segment and one time of arrival.
    fn fill_from(&self, index: u64, missing: &Missing, room: usize) -> Option<(Range, Encoded, usize)> {
        let segment = self.tail.segment(index)?;
        let chunk = segment.chunk.as_ref()?;
        let at_ms = segment.arrived_ms(index);
        let mut stop = segment.range().1.min(segment.arrived_until(at_ms).max(index + 1));
        if let Some((next, _)) = missing.theirs.within((index, stop)).next() {
            stop = next;
        }
        let wanted = missing.indexes.within((index, stop)).flat_map(|range| self.state.live.within(range));
        let (mut runs, mut ordinals, mut bytes): (Vec<Run>, Vec<u32>, usize) = (Vec::new(), Vec::new(), 0);
        let mut end = index;
        'ranges: for (start, stop) in wanted {
            for at in start..stop {
                if bytes >= room && !ordinals.is_empty() {
                    break 'ranges;
                }
                let ordinal = segment.place.ordinal((at - segment.first) as u32)?;
                bytes += chunk.head(ordinal).record_bytes();
                let (offset, packed) = ((at - index) as u32, ordinals.len() as u32);
                match runs.last_mut() {
                    Some(run) if run.offset + run.count == offset => run.count += 1,
                    _ => runs.push(Run { offset, count: 1, ordinal: packed }),
                }
                ordinals.push(ordinal);
                end = at + 1;
            }
        }
        let whole = ordinals.len() == chunk.len() as usize;
        let copy = if whole { chunk.clone() } else { Arc::new(chunk.extract(ordinals.into_iter())) };
        let record = record::enqueue(index, (end - index) as u32, at_ms, self.handed, &runs);
        Some(((index, end), (record, Some(copy)), bytes))
    }

    /// Blocks with the missing messages from `index` on, each named once until it was read. What is being read counts: no more
    /// than so many wait for a mirror, and no more than a few places are looked at, however long the queue is.
    fn blocks_for(&mut self, index: u64, missing: &Missing) -> Vec<(u64, BlockAt)> {
        let (mut blocks, mut unread) = (Vec::new(), 0);
        let from = self.tail.position(index);
        for segment in self.tail.segments.range_mut(from..).take(LOOKS_MAX) {
            let Some(stored) = &segment.stored else { continue };
            if segment.chunk.is_some() || segment.live == 0 {
                continue;
            }
            if missing.indexes.within(segment.range()).next().is_none() {
                continue;
            }
            unread += 1;
            if !std::mem::replace(&mut segment.loading, true) {
                blocks.push((segment.first, stored.at));
            }
            if unread == LOADS_MAX {
                break;
            }
        }
        blocks
    }

    /// Lets go of what the home does not have.
    pub fn reset(&mut self, reset: Reset) {
        let Reset { cut, settled, history, next, handed, returns, discards } = reset;
        let cut = cut.min(INDEX_MAX);
        let beyond = (cut, u64::MAX);
        let mut gone = IndexSet::default();
        self.state.live.within(beyond).for_each(|range| gone.insert(range));
        for range in settled.iter().flat_map(|range| self.state.live.within(*range)) {
            gone.insert(range);
        }
        self.forget(gone.ranges().collect());
        if self.state.next > cut {
            // What is on its way to blocks may hold messages that are not these any more.
            self.void_jobs();
        }
        self.tail.cut(cut);
        let live = &self.state.live;
        self.state.returns = returns.into_iter().filter(|(index, _)| live.contains(*index)).collect();
        self.state.discarding = discards.into_iter().filter(|(index, _)| live.contains(*index)).collect();
        (self.state.history, self.state.next) = (history, next.max(cut).min(INDEX_MAX));
        self.handed = handed.min(self.state.next);
        self.logged_handed = self.handed;
        self.write_whole();
    }

    /// Takes messages that the home has.
    ///
    /// # Errors
    /// When they are none, or their places are taken.
    pub fn fill(&mut self, fill: Fill) -> Result<(), FillError> {
        let Fill { records, returns, discards } = fill;
        for (record, chunk) in records {
            let range = self.place_record(&record, chunk)?;
            self.state.next = self.state.next.max(range.1);
        }
        for (index, count) in
            returns.into_iter().filter(|(index, _)| self.state.live.contains(*index)).collect::<Vec<_>>()
        {
            for _ in 0..count.min(RETURNS_MAX) {
                self.commit(LogCommand::Return(vec![(index, index.saturating_add(1))]));
            }
        }
        for (index, reason) in discards {
            self.commit(LogCommand::Discard(vec![(index, index.saturating_add(1))], reason, 0));
        }
        Ok(())
    }

    /// Lets go of everything, to begin anew.
    pub fn empty(&mut self) {
        self.reset(Reset::default());
    }

    /// The copy as a whole goes to the log: what it was made to agree with is more than commands say.
    fn write_whole(&mut self) {
        if self.logged {
            let last_ms = self.used_at_ms;
            let record = self.snapshot(last_ms);
            self.write((record, None));
        }
    }
}
