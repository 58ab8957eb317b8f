//! A copy that follows: a mirror of a queue, which keeps what the home sends and hands nothing out.
//!
//! Invariant: while it follows nothing is ready, pending or checked out, and only the home's records change which
//! messages there are. Nothing that a peer sends makes this panic or keep more memory than was sent.

use super::gate::Pending;
use super::index_set::{IndexSet, Range};
use super::level::FillError;
use super::log_state::LogCommand;
use super::machine::QueueMachine;
use super::place::Place;
use super::record::{self, Encoded, INDEX_MAX, Record};
use super::segment::Segment;
use crate::codec::DecodeError;
use crate::message::Chunk;
use crate::replica::History;
use std::sync::Arc;

/// What became of a record of the home.
#[derive(Debug)]
pub enum Followed {
    /// Its messages are here.
    Applied,
    /// It is to be applied when it is committed.
    Held(LogCommand),
}

fn refused<T>(reason: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError { at: 0, reason: reason.into() })
}

fn misplaced<T>(reason: &'static str) -> Result<T, FillError> {
    refused(reason).map_err(FillError::Malformed)
}

impl QueueMachine {
    /// Which epoch each index is of.
    pub fn history(&self) -> &History {
        &self.state.history
    }

    /// Whether this copy follows a home.
    pub fn is_following(&self) -> bool {
        self.following
    }

    /// An epoch of this home begins.
    pub fn begin_epoch(&mut self, epoch: u64) {
        // What was not committed before is in the log by now.
        self.early_returns.clear();
        let first = if self.state.history.pairs().is_empty() { 0 } else { self.state.next };
        self.state.history.begin(epoch, first);
        let command = LogCommand::Epochs { history: self.state.history.clone(), next: self.state.next };
        if self.logged {
            self.log.push(command);
        }
    }

    /// The queue has no other copies any more. What comes from now on is of no epoch, and what comes after an epoch that
    /// begins later is not told apart from it: an old copy agrees with nothing here.
    pub fn end_epochs(&mut self) {
        if self.state.history.pairs().is_empty() {
            return;
        }
        self.state.history = History::default();
        if self.logged {
            self.log.push(LogCommand::Epochs { history: History::default(), next: self.state.next });
        }
    }

    /// The home is another node from now on: nothing is handed out here, and what was comes back there.
    pub fn follow(&mut self, now_ms: u64) {
        self.following = true;
        self.gated = false;
        self.consumers.clear();
        self.ready.clear();
        self.ready_bytes = 0;
        (self.unacked_count, self.unacked_bytes) = (0, 0);
        self.pending = Pending::default();
        self.early_returns.clear();
        self.deadlines.clear();
        self.lettered.clear();
        self.used_at_ms = now_ms;
    }

    /// This node is the home from now on: all that is here waits until it is known to be committed.
    pub fn lead(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.following) {
            self.seen_below = self.handed;
            self.logged_handed = self.handed;
            let mut waiting = IndexSet::default();
            self.state.live.ranges().for_each(|range| waiting.insert(range));
            for index in self.state.discarding.keys() {
                waiting.remove((*index, *index + 1));
            }
            self.pending.clear();
            for range in waiting.ranges() {
                let bytes = self.tail.body_bytes(range);
                self.pending.push(range, bytes);
            }
            self.used_at_ms = now_ms;
        }
        self.gated = true;
    }

    /// Takes a record of the home's log.
    ///
    /// # Errors
    /// What cannot be a record of a turn, or does not follow what is here.
    pub fn followed(&mut self, bytes: &[u8], chunk: Option<Arc<Chunk>>) -> Result<Followed, DecodeError> {
        Ok(match record::decode(bytes)? {
            Record::Enqueue { first, .. } if first < self.state.next => {
                return refused("messages with indexes that were given");
            }
            Record::Enqueue { first, count, .. } => {
                if let Err(error) = self.place_record(bytes, chunk) {
                    return match error {
                        FillError::Malformed(error) => Err(error),
                        FillError::Overlap => refused("messages in places that are taken"),
                    };
                }
                self.state.next = first.saturating_add(count.into());
                Followed::Applied
            }
            Record::Settle { handed, ranges } => {
                self.handed = self.handed.max(handed.min(self.state.next));
                Followed::Held(LogCommand::Settle(ranges))
            }
            Record::Discard(ranges, reason, at_ms) => {
                Followed::Held(LogCommand::Discard(ranges, reason, at_ms))
            }
            Record::Return(ranges) => Followed::Held(LogCommand::Return(ranges)),
            Record::Moved(_) | Record::Snapshot(_) | Record::Epochs { .. } => {
                return refused("a record that is its own node's");
            }
        })
    }

    /// Puts the messages of an enqueue record in their places, and the record into the log.
    pub(super) fn place_record(
        &mut self,
        bytes: &[u8],
        chunk: Option<Arc<Chunk>>,
    ) -> Result<Range, FillError> {
        let decoded = record::decode(bytes).map_err(FillError::Malformed)?;
        let (Record::Enqueue { first, count, at_ms, handed, runs }, Some(chunk)) = (decoded, chunk) else {
            return misplaced("messages without their bytes");
        };
        let outside = |run: &super::place::Run| {
            let end = |from: u32| u64::from(from) + u64::from(run.count);
            end(run.ordinal) > chunk.len().into() || end(run.offset) > count.into()
        };
        let (Some(low), Some(high)) = (runs.first(), runs.last()) else { return misplaced("no messages") };
        if runs.iter().any(outside) || runs.windows(2).any(|two| two[0].offset + two[0].count > two[1].offset)
        {
            return misplaced("messages outside their chunk");
        }
        let whole = (first, first + u64::from(count));
        if whole.1 > INDEX_MAX {
            return misplaced("an index that is too high");
        }
        if self.jobs.iter().any(|(start, end)| *start < whole.1 && whole.0 < *end) {
            self.void_jobs();
        }
        let range = (first + u64::from(low.offset), first + u64::from(high.offset + high.count));
        if self.state.live.count_within(whole) > 0 {
            return Err(FillError::Overlap);
        }
        let live = runs.iter().map(|run| run.count).sum();
        let ranges: Vec<Range> = runs
            .iter()
            .map(|run| (first + u64::from(run.offset), first + u64::from(run.offset + run.count)))
            .collect();
        let segment = Segment::new(first, count, live, Some(chunk.clone()), Place::Runs(runs), at_ms);
        self.tail.insert(segment, &self.state.live);
        ranges.into_iter().for_each(|range| self.state.live.insert(range));
        self.unplaced.push(first);
        self.handed = self.handed.max(handed.min(self.state.next));
        self.write((bytes.to_vec(), Some(chunk)));
        Ok(range)
    }

    /// Records are written as they are.
    pub(super) fn write(&mut self, record: Encoded) {
        if self.logged {
            self.log.push(LogCommand::Written(record));
        }
    }

    /// Applies what was held. What does not live any more is passed over.
    pub fn follow_command(&mut self, command: LogCommand) {
        match command {
            LogCommand::Settle(ranges) | LogCommand::Purge(ranges) => {
                let mut live = IndexSet::default();
                for range in ranges.iter().flat_map(|range| self.state.live.within(*range)) {
                    live.insert(range);
                }
                self.forget(live.ranges().collect());
            }
            command @ (LogCommand::Discard(..) | LogCommand::Return(_)) => self.commit(command),
            LogCommand::Enqueue { .. }
            | LogCommand::Configure(_)
            | LogCommand::Moved(_)
            | LogCommand::Epochs { .. }
            | LogCommand::Written(_) => {}
        }
    }

    /// Messages that came since the last call stand at `position` in the log, or behind it.
    pub fn note_new(&mut self, position: u64) {
        for first in std::mem::take(&mut self.unplaced) {
            if let Some((_, segment)) = self.tail.beginning_with(first)
                && segment.position == 0
            {
                segment.position = position;
            }
        }
    }

    /// Messages were settled by somebody who had them from an earlier home: those that are ready go.
    pub fn settle_late(&mut self, ranges: &[Range]) {
        let mut set = IndexSet::default();
        ranges.iter().flat_map(|range| self.ready.within(*range)).for_each(|range| set.insert(range));
        let ready: Vec<Range> = set.ranges().collect();
        self.take_ready(&ready);
        self.totals.ack += ready.iter().map(|(start, end)| end - start).sum::<u64>();
        self.forget(ready);
    }
}
