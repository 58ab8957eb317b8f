//! A queue's log on disk: each command as a record, and the queue as a snapshot.
//!
//! ```text
//! record:   version u8 = 1 | kind u8 | fields as below; numbers are varints unless a width is given
//! enqueue   first | count | at ms | handed | runs              (the chunk is the record's body)
//! settle    handed | ranges
//! discard   reason u8 | at ms | ranges
//! return    ranges
//! moved     stored
//! epochs    next | history
//! snapshot  next | handed | last ms | ranges of live | returns: index step, count |
//!           discarding: index step, reason u8 | stored, one behind the other
//!
//! version 2 of the snapshot has the history behind `last ms`; it is written where there is one
//! history:  how many epochs, then each as the step of its number and of its first index
//! ranges:   how many, then each as the step from the last one's end and its length
//! runs:     how many, then each as the step from the last one's end, its length, ordinal
//! stored:   file u64 | offset u32 | length u32 | first | count | runs | live bytes |
//!           marks: ordinal step, ttl + 1 or 0, priority u8 | arrivals: offset step, ms step
//! ```
//! Invariant: what is not to survive a crash is not in it: transient messages have no run and are in no
//! range. Decoding never panics and a record that was not understood is an error, never skipped.

use super::index_set::{IndexSet, Range};
use super::log_state::{LogCommand, LogState};
use super::picks::Picks;
use super::place::Run;
use super::stored_entry::{StoredEntry, put_ranges, put_runs, ranges, runs, sum, u32_of};
use crate::codec::{self, DecodeError, Reader};
use crate::message::{Chunk, DeathReason, Persistence};
use crate::replica::History;
use std::collections::BTreeMap;
use std::sync::Arc;

const VERSION: u8 = 1;
/// Of snapshots with a history.
const VERSION_EPOCHS: u8 = 2;
/// Indexes end here, long before a queue could reach it.
pub(super) const INDEX_MAX: u64 = 1 << 62;
/// Queue times end here: with the year 9999.
const TIME_MAX_MS: u64 = 253_402_300_799_999;
const ENQUEUE: u8 = 1;
pub(super) const SETTLE: u8 = 2;
pub(super) const DISCARD: u8 = 3;
pub(super) const RETURN: u8 = 4;
pub(super) const MOVED: u8 = 5;
pub(super) const SNAPSHOT: u8 = 6;
pub(super) const EPOCH: u8 = 7;

/// A record read back.
#[derive(Debug)]
pub(super) enum Record {
    Enqueue { first: u64, count: u32, at_ms: u64, handed: u64, runs: Vec<Run> },
    Settle { handed: u64, ranges: Vec<Range> },
    Discard(Vec<Range>, DeathReason, u64),
    Return(Vec<Range>),
    Moved(StoredEntry),
    Snapshot(Box<Snapshot>),
    Epochs { next: u64, history: History },
}

/// A queue as a record of its own, which makes earlier records needless but for bytes.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) state: LogState,
    pub(super) handed: u64,
    pub(super) last_ms: u64,
    pub(super) stored: Vec<StoredEntry>,
}

/// What of a command goes to the log: its record and the chunk that is its body.
pub type Encoded = (Vec<u8>, Option<Arc<Chunk>>);

/// Encodes a command; None when a crash may forget it. `volatile` are the live transient messages and
/// `handed` the end of what was ever handed out.
pub(super) fn encode(command: &LogCommand, volatile: &IndexSet, handed: u64) -> Option<Encoded> {
    let mut out = vec![VERSION];
    match command {
        LogCommand::Enqueue { first, chunk, picks, at_ms } => {
            return encode_enqueue(*first, chunk, picks, *at_ms, handed);
        }
        LogCommand::Settle(ranges) | LogCommand::Purge(ranges) => {
            let ranges = without(ranges, volatile)?;
            out.push(SETTLE);
            codec::put_varint(&mut out, handed);
            put_ranges(&mut out, &ranges);
        }
        LogCommand::Discard(ranges, reason, at_ms) => {
            let ranges = without(ranges, volatile)?;
            out.extend([DISCARD, reason.code()]);
            codec::put_varint(&mut out, *at_ms);
            put_ranges(&mut out, &ranges);
        }
        LogCommand::Return(ranges) => {
            let ranges = without(ranges, volatile)?;
            out.push(RETURN);
            put_ranges(&mut out, &ranges);
        }
        LogCommand::Moved(entry) => {
            out.push(MOVED);
            entry.encode(&mut out);
        }
        LogCommand::Epochs { history, next } => {
            out.push(EPOCH);
            codec::put_varint(&mut out, *next);
            put_history(&mut out, history);
        }
        LogCommand::Written(encoded) => return Some(encoded.clone()),
        // The catalog has the settings.
        LogCommand::Configure(_) => return None,
    }
    Some((out, None))
}

/// A chunk goes to the log as it is when most of it is this queue's and persistent; otherwise the
/// messages are copied out, so that the log does not carry others' bytes.
fn encode_enqueue(first: u64, chunk: &Arc<Chunk>, picks: &Picks, at_ms: u64, handed: u64) -> Option<Encoded> {
    let count = picks.len();
    let mut runs: Vec<Run> = Vec::new();
    match (chunk.persistence(), picks) {
        (Persistence::None, _) => return None,
        (Persistence::All, Picks::Span(ordinal, count)) => {
            runs = vec![Run { offset: 0, count: *count, ordinal: *ordinal }];
        }
        (persistence, picks) => {
            let lasts = |ordinal: u32| persistence == Persistence::All || chunk.head(ordinal).persistent;
            let kept = (0..count).map(|offset| (offset, picks.ordinal(offset)));
            let kept = kept.filter(|(_, ordinal)| lasts(*ordinal));
            kept.for_each(|(offset, ordinal)| push_run(&mut runs, offset, ordinal));
        }
    }
    let kept: u32 = runs.iter().map(|run| run.count).sum();
    if kept == 0 {
        return None;
    }
    // Of a chunk that is mostly others' the queue has taken a copy; this is for transient neighbours.
    let body = if kept * 2 >= chunk.len() { chunk.clone() } else { Arc::new(copied(chunk, &mut runs)) };
    Some((enqueue(first, count, at_ms, handed, &runs), Some(body)))
}

/// An enqueue record of all messages, transient ones too: every copy of a mirrored queue has them.
pub(super) fn encode_all(first: u64, chunk: &Arc<Chunk>, picks: &Picks, at_ms: u64, handed: u64) -> Encoded {
    let count = picks.len();
    let mut runs: Vec<Run> = Vec::new();
    match picks {
        Picks::Span(ordinal, count) => runs.push(Run { offset: 0, count: *count, ordinal: *ordinal }),
        picks => (0..count).for_each(|offset| push_run(&mut runs, offset, picks.ordinal(offset))),
    }
    let body = if count * 2 >= chunk.len() { chunk.clone() } else { Arc::new(copied(chunk, &mut runs)) };
    (enqueue(first, count, at_ms, handed, &runs), Some(body))
}

/// Adds a message to the last run, or begins another one.
fn push_run(runs: &mut Vec<Run>, offset: u32, ordinal: u32) {
    match runs.last_mut() {
        Some(run) if run.offset + run.count == offset && run.ordinal + run.count == ordinal => run.count += 1,
        _ => runs.push(Run { offset, count: 1, ordinal }),
    }
}

/// An enqueue record.
pub(super) fn enqueue(first: u64, count: u32, at_ms: u64, handed: u64, runs: &[Run]) -> Vec<u8> {
    let mut out = vec![VERSION, ENQUEUE];
    for number in [first, count.into(), at_ms, handed] {
        codec::put_varint(&mut out, number);
    }
    put_runs(&mut out, runs);
    out
}

fn put_history(out: &mut Vec<u8>, history: &History) {
    codec::put_count(out, history.pairs().len());
    let mut last = (0, 0);
    for (epoch, first) in history.pairs() {
        codec::put_varint(out, epoch - last.0);
        codec::put_varint(out, first - last.1);
        last = (*epoch, *first);
    }
}

fn history(reader: &mut Reader<'_>) -> Result<History, DecodeError> {
    let at = reader.position();
    let count = reader.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    let mut last = (0, 0);
    for _ in 0..count {
        last = (sum(reader, last.0)?, sum(reader, last.1)?);
        pairs.push(last);
    }
    match History::new(pairs) {
        Some(history) => Ok(history),
        None => reader.refuse(at, "epochs that do not ascend"),
    }
}

/// A chunk with just the records of `runs`, which then say where they are in it.
fn copied(chunk: &Chunk, runs: &mut [Run]) -> Chunk {
    let ordinals = runs.iter().flat_map(|run| run.ordinal..run.ordinal + run.count);
    let copy = chunk.extract(ordinals);
    let mut ordinal = 0;
    for run in runs {
        run.ordinal = ordinal;
        ordinal += run.count;
    }
    copy
}

/// Encodes the queue as a snapshot.
pub(super) fn encode_snapshot(
    state: &LogState,
    early_returns: &BTreeMap<u64, u32>,
    volatile: &IndexSet,
    handed: u64,
    last_ms: u64,
    stored: impl Iterator<Item = StoredEntry>,
) -> Vec<u8> {
    let has_epochs = !state.history.pairs().is_empty();
    let mut out = vec![if has_epochs { VERSION_EPOCHS } else { VERSION }, SNAPSHOT];
    for number in [state.next, handed, last_ms] {
        codec::put_varint(&mut out, number);
    }
    if has_epochs {
        put_history(&mut out, &state.history);
    }
    let live: Vec<Range> = state.live.ranges().flat_map(|range| volatile.gaps(range)).collect();
    put_ranges(&mut out, &live);
    let lasting = |index: &u64| !volatile.contains(*index);
    let returns: Vec<_> =
        committed_returns(state.returns.iter(), early_returns).filter(|(index, _)| lasting(index)).collect();
    codec::put_count(&mut out, returns.len());
    let mut last = 0;
    for (index, count) in returns {
        codec::put_varint(&mut out, index - last);
        codec::put_varint(&mut out, count.into());
        last = index;
    }
    let discarding: Vec<_> = state.discarding.iter().filter(|(index, _)| lasting(index)).collect();
    codec::put_count(&mut out, discarding.len());
    let mut last = 0;
    for (index, reason) in discarding {
        codec::put_varint(&mut out, index - last);
        out.push(reason.code());
        last = *index;
    }
    let stored: Vec<StoredEntry> = stored.collect();
    codec::put_count(&mut out, stored.len());
    stored.iter().for_each(|entry| entry.encode(&mut out));
    out
}

/// Returns without those that are not committed.
pub(super) fn committed_returns<'a>(
    returns: impl Iterator<Item = (&'a u64, &'a u32)>,
    early: &BTreeMap<u64, u32>,
) -> impl Iterator<Item = (u64, u32)> {
    let committed =
        |(index, count): (&u64, &u32)| (*index, count.saturating_sub(early.get(index).copied().unwrap_or(0)));
    returns.map(committed).filter(|(_, count)| *count > 0)
}

/// Which messages came back by a record.
pub(super) fn returned(record: &[u8]) -> Option<Vec<Range>> {
    if record.get(1) != Some(&RETURN) {
        return None;
    }
    match decode(record) {
        Ok(Record::Return(ranges)) => Some(ranges),
        _ => None,
    }
}

/// Whether a record says how far messages were handed out.
pub(super) fn carries_handed(record: &[u8]) -> bool {
    matches!(record.get(1), Some(&(ENQUEUE | SETTLE)))
}

/// Reads a record.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    let kind = reader.u8()?;
    let newest = if kind == SNAPSHOT { VERSION_EPOCHS } else { VERSION };
    if !(VERSION..=newest).contains(&version) {
        return reader.refuse(0, format!("record of version {version}, known is {newest}"));
    }
    let record = match kind {
        ENQUEUE => Record::Enqueue {
            first: index(&mut reader)?,
            count: u32_of(&mut reader)?,
            at_ms: time(&mut reader)?,
            handed: reader.varint()?,
            runs: runs(&mut reader)?,
        },
        SETTLE => Record::Settle { handed: reader.varint()?, ranges: ranges(&mut reader)? },
        DISCARD => {
            let reason = reason(&mut reader)?;
            let at_ms = time(&mut reader)?;
            Record::Discard(ranges(&mut reader)?, reason, at_ms)
        }
        RETURN => Record::Return(ranges(&mut reader)?),
        MOVED => Record::Moved(StoredEntry::decode(&mut reader)?),
        SNAPSHOT => Record::Snapshot(Box::new(snapshot(&mut reader, version)?)),
        EPOCH => Record::Epochs { next: index(&mut reader)?, history: history(&mut reader)? },
        other => return reader.refuse(1, format!("record of unknown kind {other}")),
    };
    reader.finish()?;
    Ok(record)
}

pub(super) fn index(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let at = reader.position();
    let index = reader.varint()?;
    if index > INDEX_MAX { reader.refuse(at, format!("index {index} is too high")) } else { Ok(index) }
}

/// A queue time. What is later than the clock can tell would stop it.
pub(super) fn time(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let at = reader.position();
    let at_ms = reader.varint()?;
    if at_ms > TIME_MAX_MS { reader.refuse(at, format!("time {at_ms} is too late")) } else { Ok(at_ms) }
}

fn snapshot(reader: &mut Reader<'_>, version: u8) -> Result<Snapshot, DecodeError> {
    let mut snapshot = Snapshot::default();
    snapshot.state.next = index(reader)?;
    snapshot.handed = reader.varint()?;
    snapshot.last_ms = time(reader)?;
    if version == VERSION_EPOCHS {
        snapshot.state.history = history(reader)?;
    }
    ranges(reader)?.into_iter().for_each(|range| snapshot.state.live.insert(range));
    let mut index = 0;
    for _ in 0..reader.count(2)? {
        index = sum(reader, index)?;
        snapshot.state.returns.insert(index, u32_of(reader)?);
    }
    let mut index = 0;
    for _ in 0..reader.count(2)? {
        index = sum(reader, index)?;
        snapshot.state.discarding.insert(index, reason(reader)?);
    }
    for _ in 0..reader.count(20)? {
        snapshot.stored.push(StoredEntry::decode(reader)?);
    }
    Ok(snapshot)
}

/// The parts of `ranges` outside `volatile`; None when there are none.
fn without(ranges: &[Range], volatile: &IndexSet) -> Option<Vec<Range>> {
    if volatile.is_empty() {
        return Some(ranges.to_vec());
    }
    let left: Vec<Range> = ranges.iter().flat_map(|range| volatile.gaps(*range)).collect();
    (!left.is_empty()).then_some(left)
}

fn reason(reader: &mut Reader<'_>) -> Result<DeathReason, DecodeError> {
    let code = reader.u8()?;
    match DeathReason::of_code(code) {
        Some(reason) => Ok(reason),
        None => reader.refuse(reader.position() - 1, format!("unknown reason {code}")),
    }
}
