//! Bodies leave memory and come back: what is to be written, what is to be read, what may be dropped.
//!
//! Invariant: paging never changes which messages there are or their order; a message whose bytes are
//! not in memory is not handed out, and nothing behind it is either.

use super::index_set::Range;
use super::log_state::LogCommand;
use super::machine::QueueMachine;
use super::page_job::PageJob;
use super::place::Place;
use super::segment::Segment;
use super::stored::{BlockAt, Stored, sizes_of};
use super::stored_entry::StoredEntry;
use crate::message::Chunk;
use std::sync::Arc;

/// Records are gathered into blocks of about this size.
pub const BLOCK_BYTES: u64 = 256 * 1024;
/// A chunk of which this much is live becomes a block by itself.
const BLOCK_ALONE_BYTES: u64 = 96 * 1024;
/// From the first to the last index of a block's messages.
const BLOCK_SPAN_MAX: u32 = u32::MAX;
/// Messages looked at for reading ahead.
const AHEAD_COUNT_MAX: u64 = 65_536;
/// A block of which less than this share is live, in percent, is given up when it stays so.
const SPARSE_PERCENT: u64 = 50;

/// Why messages leave memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOut {
    /// Memory is short: all but the first so many bytes, and none in blocks smaller than `least`.
    Pressure {
        /// Bytes at the head that stay, since they are wanted next.
        keep: u64,
        /// The smallest block that is worth it.
        least: u64,
    },
    /// The log wants to forget everything up to this position.
    Checkpoint(u64),
    /// Blocks that are mostly dead.
    Relocation,
}

impl QueueMachine {
    /// Bytes of memory that its messages are counted with.
    pub fn resident_bytes(&self) -> u64 {
        self.tail.resident()
    }

    /// Whether any of its messages is in a block.
    pub fn has_blocks(&self) -> bool {
        self.tail.stored > 0
    }

    /// Whether a consumer would take a message now.
    pub fn has_taker(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.credit() > 0)
    }

    /// Blocks it needs.
    pub fn blocks(&self) -> impl Iterator<Item = BlockAt> + '_ {
        self.tail.segments().filter_map(|segment| Some(segment.stored.as_ref()?.at))
    }

    /// Blocks that nobody needs any more, once the commands so far are in the log.
    pub fn take_freed(&mut self) -> Vec<BlockAt> {
        self.tail.take_freed()
    }

    /// Chooses messages to be written to blocks, up to about `max` bytes. They stay in memory until
    /// `paged` says where they are.
    pub fn page_out(&mut self, why: PageOut, max: u64) -> Vec<PageJob> {
        let mut jobs: Vec<PageJob> = Vec::new();
        let mut open: Option<PageJob> = None;
        let (mut passed, mut taken) = (0, 0);
        let from = if why == PageOut::Relocation { 0 } else { self.tail.skip_stored() };
        let live = &self.state.live;
        for segment in self.tail.segments.iter_mut().skip(from) {
            let wanted = segment.live > 0 && segment.chunk.is_some() && !segment.moving && fits(segment, why);
            let kept = match why {
                // What is wanted next is in blocks already where there are some.
                PageOut::Pressure { keep, .. } if from == 0 => {
                    passed += segment.live_record_bytes();
                    passed <= keep
                }
                _ => false,
            };
            if !wanted || kept || taken >= max {
                jobs.extend(open.take());
                if taken >= max {
                    break;
                }
                continue;
            }
            let bytes = segment.live_record_bytes();
            let alone = bytes >= BLOCK_ALONE_BYTES;
            let end = segment.range().1;
            // Offsets within a segment have 32 bits; what lies between old messages and new ones may not.
            let is_full = |job: &PageJob| {
                job.bytes + bytes > BLOCK_BYTES || end - job.first > u64::from(BLOCK_SPAN_MAX)
            };
            if alone || open.as_ref().is_some_and(is_full) {
                jobs.extend(open.take());
            }
            let job = open.get_or_insert_with(|| PageJob::new(segment.first, self.era));
            let Some(chunk) = segment.chunk.clone() else { continue };
            let ranges: Vec<Range> = live.within(segment.range()).collect();
            let indexes = ranges.iter().flat_map(|(start, end)| *start..*end);
            let ordinals =
                indexes.filter_map(|index| segment.place.ordinal((index - segment.first) as u32)).collect();
            for (index, at_ms) in ranges.iter().flat_map(|range| segment.arrivals_in(*range)) {
                job.note_arrival(index, at_ms);
            }
            job.add(chunk, ordinals, &ranges);
            job.bytes += bytes;
            job.end = end;
            segment.moving = true;
            taken += bytes;
            if alone {
                jobs.extend(open.take());
            }
        }
        jobs.extend(open);
        self.jobs.extend(jobs.iter().map(|job| (job.first, job.end)));
        self.drop_small(jobs, why)
    }

    /// Nothing of what is on its way to blocks counts when it arrives.
    pub(super) fn void_jobs(&mut self) {
        if !self.jobs.is_empty() {
            self.era += 1;
            self.jobs.clear();
            self.tail.segments.iter_mut().for_each(|segment| segment.moving = false);
        }
    }

    /// A job is over; false when it does not count any more.
    fn end_job(&mut self, job: &PageJob) -> bool {
        let counts = job.era == self.era;
        if counts && let Some(at) = self.jobs.iter().position(|range| *range == (job.first, job.end)) {
            self.jobs.swap_remove(at);
        }
        counts
    }

    /// Jobs that are not worth a block stay in memory.
    fn drop_small(&mut self, jobs: Vec<PageJob>, why: PageOut) -> Vec<PageJob> {
        let PageOut::Pressure { least, .. } = why else { return jobs };
        let (jobs, small): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.bytes >= least);
        small.iter().for_each(|job| self.page_failed(job));
        jobs
    }

    /// The messages of a job could not be written; they stay where they are.
    pub fn page_failed(&mut self, job: &PageJob) {
        if !self.end_job(job) {
            return;
        }
        let from = self.tail.position(job.first);
        for segment in self.tail.segments.iter_mut().skip(from) {
            if segment.first >= job.end {
                break;
            }
            segment.moving = false;
        }
    }

    /// The messages of a job are in a block; their memory is given back.
    pub fn paged(&mut self, job: &PageJob, at: BlockAt) {
        if !self.end_job(job) {
            // Its indexes may be others' by now: what is left of it stays where it is.
            self.tail.free(at);
            return;
        }
        let range = (job.first, job.end);
        let live: Vec<Range> = self.state.live.within(range).collect();
        let count: u64 = live.iter().map(|(start, end)| end - start).sum();
        if count == 0 {
            self.tail.free(at);
            return;
        }
        let live_bytes = live.iter().map(|range| self.tail.body_bytes(*range)).sum();
        let mut stored = Stored::new(at, live_bytes, job.marks(), job.arrivals.clone());
        if !self.following && self.ready.count_within(range) < count {
            // Clients hold some of them: their sizes are asked for when they are settled.
            stored.keep_sizes(|| job.sizes());
        }
        let segment = Segment::new(
            job.first,
            (job.end - job.first) as u32,
            count as u32,
            None,
            Place::Runs(Place::packed(job.first, &job.ranges)),
            job.arrivals.first().map_or(0, |(_, at_ms)| *at_ms),
        )
        .stored(stored);
        if self.logged {
            self.log.extend(StoredEntry::of(&segment).map(|entry| LogCommand::Moved(Box::new(entry))));
        }
        for gone in self.tail.replace(segment) {
            if let Some(stored) = &gone.stored {
                self.tail.free(stored.at);
            }
        }
    }

    /// Blocks to be read for messages that are wanted next: the ready ones at the front, up to `ahead`
    /// bytes, and dead letters. Each is named once until `loaded` or `load_failed`.
    pub fn wants(&mut self, ahead: u64, letters: usize) -> Vec<(u64, BlockAt)> {
        if self.tail.stored == self.tail.loaded.len() {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        let mut bytes = 0;
        let front = if ahead > 0 { self.ready.front(AHEAD_COUNT_MAX) } else { Vec::new() };
        let dead = self.state.discarding.keys().take(letters).map(|index| (*index, *index + 1));
        for (start, end) in front.into_iter().chain(dead.collect::<Vec<_>>()) {
            let mut index = start;
            while index < end && bytes < ahead.max(1) {
                let at = self.tail.position(index);
                let Some(segment) = self.tail.segments.get_mut(at) else { break };
                index = segment.range().1;
                if segment.chunk.is_none()
                    && let Some(stored) = &segment.stored
                {
                    bytes += u64::from(stored.at.length);
                    if !segment.loading {
                        segment.loading = true;
                        wanted.push((segment.first, stored.at));
                    }
                } else {
                    bytes += segment.live_record_bytes();
                }
            }
        }
        wanted
    }

    /// A block was read. False when it does not hold the records that it must.
    #[must_use]
    pub fn loaded(&mut self, first: u64, at: BlockAt, chunk: Arc<Chunk>) -> bool {
        let Some((_, segment)) = self.tail.beginning_with(first) else { return true };
        if !segment.is_at(at) || segment.chunk.is_some() {
            return true;
        }
        if segment.place.ordinals_end() > chunk.len() {
            return false;
        }
        let grown = segment.load(chunk);
        self.tail.grow(grown);
        self.tail.loaded.insert(first);
        true
    }

    /// A block cannot be read: its messages are lost. Gives which ones.
    pub fn load_failed(&mut self, first: u64, at: BlockAt) -> Vec<Range> {
        let Some((_, segment)) = self.tail.beginning_with(first) else { return Vec::new() };
        if !segment.is_at(at) {
            return Vec::new();
        }
        segment.loading = false;
        let range = segment.range();
        let ready = self.ready.within(range);
        self.take_ready(&ready);
        let mut lost = ready;
        lost.extend(self.state.discarding.range(range.0..range.1).map(|(index, _)| (*index, index + 1)));
        lost.sort_unstable();
        self.forget(lost.clone());
        lost
    }

    /// Drops bytes that are in blocks too and that nobody wants next.
    pub fn drop_loaded(&mut self, all: bool) {
        let firsts: Vec<u64> = self.tail.loaded.iter().copied().collect();
        for first in firsts {
            let Some((_, segment)) = self.tail.beginning_with(first) else { continue };
            let range = segment.range();
            let ready = self.ready.count_within(range);
            let lettered = self.state.discarding.range(range.0..range.1).next().is_some();
            if segment.moving || segment.relocate || lettered || (ready > 0 && !all) {
                continue;
            }
            let held = !self.following && ready < u64::from(segment.live);
            let chunk = segment.chunk.clone();
            if let (Some(stored), Some(chunk)) = (&mut segment.stored, chunk) {
                if held { stored.keep_sizes(|| sizes_of(&chunk)) } else { stored.drop_sizes() }
            }
            let grown = segment.set_chunk(None);
            self.tail.grow(grown);
            self.tail.loaded.remove(&first);
        }
    }

    /// Marks blocks that have to be given up: those named, or those that have been mostly dead since the
    /// last look (`seen` keeps how much was live then). Gives what has to be read for it.
    pub fn give_up_blocks(&mut self, named: &[BlockAt], seen: &mut Vec<(u64, u32)>) -> Vec<(u64, BlockAt)> {
        let before = std::mem::take(seen);
        let mut wanted = Vec::new();
        for segment in &mut self.tail.segments {
            let Some(stored) = &segment.stored else { continue };
            let asked = named.contains(&stored.at);
            let sparse = u64::from(segment.live) * 100 < u64::from(segment.count) * SPARSE_PERCENT;
            let stays = before.binary_search(&(segment.first, segment.live)).is_ok();
            if sparse && !stays {
                seen.push((segment.first, segment.live));
            }
            if segment.relocate || segment.moving || !(asked || (sparse && stays)) {
                continue;
            }
            segment.relocate = true;
            if segment.chunk.is_none() && !segment.loading {
                segment.loading = true;
                wanted.push((segment.first, stored.at));
            }
        }
        wanted
    }

    /// Whether blocks are being given up.
    pub fn is_relocating(&self) -> bool {
        self.tail.segments().any(|segment| segment.relocate)
    }

    /// The position in the log of the oldest message whose bytes are only there and in memory.
    pub fn oldest_position(&self) -> Option<u64> {
        let from = self.tail.position(self.tail.unstored_from);
        let rest = self.tail.segments.iter().skip(from);
        let unstored = rest.filter(|segment| segment.live > 0 && segment.stored.is_none());
        unstored.map(|segment| segment.position).filter(|position| *position > 0).min()
    }

    /// What was enqueued since index `from` is at `position` in the log.
    pub fn note_position(&mut self, from: u64, position: u64) {
        self.tail.note_position(from, position);
    }

    /// Whether the next message to be handed out is in memory.
    pub fn front_is_loaded(&self) -> bool {
        let Some((first, _)) = self.ready.front(1).first().copied() else { return true };
        self.tail.segment(first).is_none_or(|segment| segment.chunk.is_some())
    }
}

fn fits(segment: &Segment, why: PageOut) -> bool {
    match why {
        PageOut::Pressure { .. } => segment.stored.is_none(),
        PageOut::Checkpoint(up_to) => {
            segment.stored.is_none() && segment.position > 0 && segment.position <= up_to
        }
        PageOut::Relocation => segment.relocate,
    }
}
