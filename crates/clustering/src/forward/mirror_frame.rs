//! Frames between a home and the mirrors of its queues, drawn in docs/internals/mirrors.md.
//!
//! Invariant: as of all frames: a kind, a version, and what fits that form exactly. Records and messages are in
//! the form that a queue's log has.

use super::frame::head_of;
use crate::words::{Malformed, Words, put_ranges, put_u32, put_u64};
use broker::message::{Chunk, DeathReason};
use broker::queue::{Encoded, Fill, Reset};
use broker::replica::History;
use engine::queue::{ToHome, ToMirror};
use std::sync::Arc;
use types::QueueId;

pub(super) const OPEN: u8 = 64;
pub(super) const RESET: u8 = 65;
pub(super) const TURN: u8 = 66;
pub(super) const FILL: u8 = 67;
pub(super) const COMMIT: u8 = 68;
pub(super) const STATE: u8 = 96;
pub(super) const ACK: u8 = 97;
pub(super) const REFUSED: u8 = 98;

fn put_history(out: &mut Vec<u8>, history: &History) {
    put_u32(out, history.pairs().len() as u32);
    for (epoch, first) in history.pairs() {
        put_u64(out, *epoch);
        put_u64(out, *first);
    }
}

/// Writes bytes with their length before them.
fn put_sized(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put_u32(out, 0);
    fill(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn put_record(out: &mut Vec<u8>, (record, chunk): &Encoded) {
    put_sized(out, |out| out.extend_from_slice(record));
    put_sized(out, |out| {
        if let Some(chunk) = chunk {
            chunk.encode(out);
        }
    });
}

fn put_fill(out: &mut Vec<u8>, fill: &Fill) {
    put_u32(out, fill.records.len() as u32);
    fill.records.iter().for_each(|record| put_record(out, record));
    put_counts(out, &fill.returns, &fill.discards);
}

fn put_counts(out: &mut Vec<u8>, returns: &[(u64, u32)], discards: &[(u64, DeathReason)]) {
    put_u32(out, returns.len() as u32);
    for (index, count) in returns {
        put_u64(out, *index);
        put_u32(out, *count);
    }
    put_u32(out, discards.len() as u32);
    for (index, reason) in discards {
        put_u64(out, *index);
        out.push(reason.code());
    }
}

/// Writes what a mirror is told.
pub(super) fn put_to_mirror(out: &mut Vec<u8>, queue: QueueId, message: &ToMirror) {
    match message {
        ToMirror::Open { epoch, version, number } => {
            head_of(out, OPEN, queue.0, *epoch);
            put_u64(out, *version);
            put_u64(out, *number);
        }
        ToMirror::Reset { epoch, number, reset } => {
            head_of(out, RESET, queue.0, *epoch);
            for word in [*number, reset.cut, reset.next, reset.handed] {
                put_u64(out, word);
            }
            put_history(out, &reset.history);
            put_ranges(out, &reset.settled);
            put_counts(out, &reset.returns, &reset.discards);
        }
        ToMirror::Turn { epoch, number, position, committed, records } => {
            head_of(out, TURN, queue.0, *epoch);
            for word in [*number, *position, *committed] {
                put_u64(out, word);
            }
            put_u32(out, records.len() as u32);
            records.iter().for_each(|record| put_record(out, record));
        }
        ToMirror::Fill { epoch, number, fill } => {
            head_of(out, FILL, queue.0, *epoch);
            put_u64(out, *number);
            put_fill(out, fill);
        }
        ToMirror::Commit { epoch, committed } => {
            head_of(out, COMMIT, queue.0, *epoch);
            put_u64(out, *committed);
        }
    }
}

/// Writes what a home is told.
pub(super) fn put_to_home(out: &mut Vec<u8>, queue: QueueId, message: &ToHome) {
    match message {
        ToHome::State { epoch, number, history, next, live } => {
            head_of(out, STATE, queue.0, *epoch);
            put_u64(out, *number);
            put_u64(out, *next);
            put_history(out, history);
            put_ranges(out, live);
        }
        ToHome::Ack { epoch, number } => {
            head_of(out, ACK, queue.0, *epoch);
            put_u64(out, *number);
        }
        ToHome::Refused { epoch } => head_of(out, REFUSED, queue.0, *epoch),
    }
}

fn read_history(words: &mut Words<'_>) -> Result<History, Malformed> {
    let pairs = words.rows(16, |words| Ok((words.u64()?, words.u64()?)))?;
    History::new(pairs).ok_or(Malformed("epochs that do not ascend"))
}

fn read_sized<'a>(words: &mut Words<'a>) -> Result<&'a [u8], Malformed> {
    let length = words.u32()? as usize;
    words.bytes(length)
}

fn read_chunk(bytes: &[u8]) -> Result<Arc<Chunk>, Malformed> {
    Chunk::decode(bytes.to_vec()).map(Arc::new).map_err(|_| Malformed("messages"))
}

fn read_record(words: &mut Words<'_>) -> Result<Encoded, Malformed> {
    let record = read_sized(words)?.to_vec();
    let chunk = read_sized(words)?;
    Ok((record, if chunk.is_empty() { None } else { Some(read_chunk(chunk)?) }))
}

fn read_fill(words: &mut Words<'_>) -> Result<Fill, Malformed> {
    let records = words.rows(8, read_record)?;
    let (returns, discards) = read_counts(words)?;
    Ok(Fill { records, returns, discards })
}

type Counts = (Vec<(u64, u32)>, Vec<(u64, DeathReason)>);

fn read_counts(words: &mut Words<'_>) -> Result<Counts, Malformed> {
    let returns = words.rows(12, |words| Ok((words.u64()?, words.u32()?)))?;
    let discards = words.rows(9, |words| {
        let index = words.u64()?;
        let reason = DeathReason::of_code(words.u8()?).ok_or(Malformed("reason"))?;
        Ok((index, reason))
    })?;
    Ok((returns, discards))
}

/// Reads what a mirror is told, behind the kind and the version; None for another kind.
pub(super) fn read_to_mirror(
    kind: u8,
    words: &mut Words<'_>,
) -> Result<Option<(QueueId, ToMirror)>, Malformed> {
    if !(OPEN..=COMMIT).contains(&kind) {
        return Ok(None);
    }
    let (queue, epoch) = (QueueId(words.u64()?), words.u64()?);
    let message = match kind {
        OPEN => ToMirror::Open { epoch, version: words.u64()?, number: words.u64()? },
        RESET => {
            let (number, cut, next, handed) = (words.u64()?, words.u64()?, words.u64()?, words.u64()?);
            let history = read_history(words)?;
            let settled = words.ranges()?;
            let (returns, discards) = read_counts(words)?;
            let reset = Reset { cut, settled, history, next, handed, returns, discards };
            ToMirror::Reset { epoch, number, reset }
        }
        TURN => {
            let (number, position, committed) = (words.u64()?, words.u64()?, words.u64()?);
            let records = words.rows(8, read_record)?.into();
            ToMirror::Turn { epoch, number, position, committed, records }
        }
        FILL => ToMirror::Fill { epoch, number: words.u64()?, fill: read_fill(words)? },
        _ => ToMirror::Commit { epoch, committed: words.u64()? },
    };
    Ok(Some((queue, message)))
}

/// Reads what a home is told, behind the kind and the version; None for another kind.
pub(super) fn read_to_home(kind: u8, words: &mut Words<'_>) -> Result<Option<(QueueId, ToHome)>, Malformed> {
    if !(STATE..=REFUSED).contains(&kind) {
        return Ok(None);
    }
    let (queue, epoch) = (QueueId(words.u64()?), words.u64()?);
    let message = match kind {
        STATE => {
            let (number, next) = (words.u64()?, words.u64()?);
            let history = read_history(words)?;
            ToHome::State { epoch, number, history, next, live: words.ranges()? }
        }
        ACK => ToHome::Ack { epoch, number: words.u64()? },
        _ => ToHome::Refused { epoch },
    };
    Ok(Some((queue, message)))
}
