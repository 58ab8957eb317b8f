//! A segment whose bytes are in a block, as the log keeps it; and the fields that records share.
//!
//! Invariant: what was decoded lies within its segment, so it can be searched without checks.

use super::index_set::Range;
use super::place::{Place, Run};
use super::record;
use super::segment::Segment;
use super::stored::{BlockAt, Mark, Stored};
use crate::codec::{self, DecodeError, Reader};
use crate::message::RECORD_HEAD_BYTES;
use types::limits::{BLOCK_MESSAGE_COUNT_MAX, CHUNK_SIZE_MAX_BYTES};

const _: () = assert!(CHUNK_SIZE_MAX_BYTES / RECORD_HEAD_BYTES < BLOCK_MESSAGE_COUNT_MAX as usize);

/// A segment whose bytes are in a block, as the log keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) runs: Vec<Run>,
    pub(super) stored: Stored,
}

impl StoredEntry {
    pub(super) fn of(segment: &Segment) -> Option<StoredEntry> {
        let runs = match &segment.place {
            Place::Runs(runs) => runs.clone(),
            Place::Picks(_) => return None,
        };
        let stored = segment.stored.as_deref()?.clone();
        Some(StoredEntry { first: segment.first, count: segment.count, runs, stored })
    }

    /// The block.
    pub fn at(&self) -> BlockAt {
        self.stored.at
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Stored { at, live_bytes, marks, arrivals, .. } = &self.stored;
        codec::put_u64(out, at.file);
        codec::put_u32(out, at.offset);
        codec::put_u32(out, at.length);
        codec::put_varint(out, self.first);
        codec::put_varint(out, self.count.into());
        put_runs(out, &self.runs);
        codec::put_varint(out, *live_bytes);
        codec::put_count(out, marks.len());
        let mut last = 0;
        for mark in marks {
            codec::put_varint(out, u64::from(mark.ordinal - last));
            codec::put_varint(out, mark.ttl_ms.map_or(0, |ttl| ttl.saturating_add(1)));
            out.push(mark.priority);
            last = mark.ordinal;
        }
        codec::put_count(out, arrivals.len());
        let mut last = (0, 0);
        for (offset, at_ms) in arrivals {
            codec::put_varint(out, u64::from(offset - last.0));
            codec::put_varint(out, at_ms - last.1);
            last = (*offset, *at_ms);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<StoredEntry, DecodeError> {
        let at = BlockAt { file: reader.u64()?, offset: reader.u32()?, length: reader.u32()? };
        let first = record::index(reader)?;
        let count = u32_of(reader)?;
        let runs = runs(reader)?;
        let live_bytes = reader.varint()?;
        let mut ordinal = 0u32;
        let marks_count = reader.count(3)?;
        let mut marks = Vec::with_capacity(marks_count);
        for _ in 0..marks_count {
            let next = sum(reader, ordinal.into())?;
            ordinal =
                u32::try_from(next).or_else(|_| reader.refuse(reader.position(), "ordinal too high"))?;
            let ttl_ms = reader.varint()?.checked_sub(1);
            marks.push(Mark { ordinal, ttl_ms, priority: reader.u8()? });
        }
        let (mut offset, mut at_ms) = (0u64, 0u64);
        let arrivals_count = reader.count(2)?;
        let mut arrivals = Vec::with_capacity(arrivals_count);
        for _ in 0..arrivals_count {
            offset = sum(reader, offset)?;
            let step = record::time(reader)?;
            at_ms = at_ms.saturating_add(step);
            if offset >= count.into() {
                return reader.refuse(reader.position(), "arrival outside its segment");
            }
            arrivals.push((offset as u32, at_ms));
        }
        let within = |run: &Run| u64::from(run.offset) + u64::from(run.count) <= u64::from(count);
        if !runs.iter().all(within) {
            return reader.refuse(reader.position(), "messages outside their segment");
        }
        let messages: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        let record_bytes = messages * RECORD_HEAD_BYTES as u64 + live_bytes.min(u32::MAX.into());
        if messages > BLOCK_MESSAGE_COUNT_MAX.into()
            || record_bytes > at.length.into()
            || live_bytes > at.length.into()
        {
            return reader.refuse(reader.position(), "more messages than their block has room for");
        }
        Ok(StoredEntry { first, count, runs, stored: Stored::new(at, live_bytes, marks, arrivals) })
    }

    /// The segment, with so many of its messages live.
    pub(super) fn segment(self, live: u32) -> Segment {
        let added_at_ms = self.stored.arrivals.first().map_or(0, |(_, at_ms)| *at_ms);
        Segment::new(self.first, self.count, live, None, Place::Runs(self.runs), added_at_ms)
            .stored(self.stored)
    }
}

/// Ranges need not ascend: the step back is the step forward around the end of the numbers.
pub(super) fn put_ranges(out: &mut Vec<u8>, ranges: &[Range]) {
    codec::put_count(out, ranges.len());
    let mut last = 0;
    for (start, end) in ranges {
        codec::put_varint(out, start.wrapping_sub(last));
        codec::put_varint(out, end - start);
        last = *end;
    }
}

pub(super) fn ranges(reader: &mut Reader<'_>) -> Result<Vec<Range>, DecodeError> {
    let count = reader.count(2)?;
    let mut ranges = Vec::with_capacity(count);
    let mut last = 0u64;
    for _ in 0..count {
        let start = last.wrapping_add(reader.varint()?);
        last = sum(reader, start)?;
        ranges.push((start, last));
    }
    Ok(ranges)
}

pub(super) fn put_runs(out: &mut Vec<u8>, runs: &[Run]) {
    codec::put_count(out, runs.len());
    let mut last = 0;
    for run in runs {
        codec::put_varint(out, u64::from(run.offset - last));
        codec::put_varint(out, run.count.into());
        codec::put_varint(out, run.ordinal.into());
        last = run.offset + run.count;
    }
}

pub(super) fn runs(reader: &mut Reader<'_>) -> Result<Vec<Run>, DecodeError> {
    let count = reader.count(3)?;
    let mut runs = Vec::with_capacity(count);
    let mut last = 0u64;
    for _ in 0..count {
        let offset = sum(reader, last)?;
        let count = u32_of(reader)?;
        let ordinal = u32_of(reader)?;
        last = offset + u64::from(count);
        if last > u32::MAX.into() || ordinal.checked_add(count).is_none() {
            return reader.refuse(reader.position(), "run too long");
        }
        runs.push(Run { offset: offset as u32, count, ordinal });
    }
    Ok(runs)
}

pub(super) fn u32_of(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let at = reader.position();
    let number = reader.varint()?;
    u32::try_from(number).or_else(|_| reader.refuse(at, format!("{number} is above 32 bits")))
}

/// `base` and the next number together.
pub(super) fn sum(reader: &mut Reader<'_>, base: u64) -> Result<u64, DecodeError> {
    let at = reader.position();
    let step = reader.varint()?;
    base.checked_add(step).map_or_else(|| reader.refuse(at, "number above 64 bits"), Ok)
}
