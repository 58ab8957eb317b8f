//! Messages of a mirrored queue that are appended but not committed: nobody gets them yet.
//!
//! Invariant: pending messages live and are neither ready nor checked out; they become ready in the order they were
//! appended, when everything up to them is committed. Nothing takes a pending message away.

use super::index_set::Range;
use super::machine::QueueMachine;
use super::record::{self, Encoded};
use std::collections::VecDeque;

/// Messages that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Neighbours with the bytes of their bodies, ascending.
    ranges: VecDeque<(Range, u64)>,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Pending {
    pub(super) fn push(&mut self, range: Range, bytes: u64) {
        if range.0 < range.1 {
            self.count += range.1 - range.0;
            self.bytes += bytes;
            self.ranges.push_back((range, bytes));
        }
    }

    /// The last ones that were appended do not wait: they are on their way out.
    pub(super) fn drop_from(&mut self, index: u64) {
        while let Some(((start, end), bytes)) = self.ranges.pop_back_if(|(range, _)| range.0 >= index) {
            self.count -= end - start;
            self.bytes -= bytes;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Pending::default();
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.ranges.front().map(|(range, _)| range.0)
    }
}

impl QueueMachine {
    /// Whether messages wait for their commit before anybody gets them. When they do no more, all that waited are
    /// ready.
    pub fn set_gated(&mut self, gated: bool) {
        self.gated = gated;
        if !gated {
            self.early_returns.clear();
            self.commit_below(u64::MAX);
        }
    }

    /// Whether commands are kept for a log, or for other copies.
    pub fn set_logged(&mut self, logged: bool) {
        self.logged = logged;
        if !logged {
            self.log.clear();
        }
    }

    /// Everything below an index is committed: it is ready.
    pub fn commit_below(&mut self, index: u64) {
        while let Some(((start, end), bytes)) = self.pending.ranges.pop_front() {
            if start >= index {
                self.pending.ranges.push_front(((start, end), bytes));
                return;
            }
            let stop = end.min(index);
            let committed = if stop < end { self.tail.body_bytes((start, stop)).min(bytes) } else { bytes };
            if stop < end {
                self.pending.ranges.push_front(((stop, end), bytes - committed));
            }
            self.pending.count -= stop - start;
            self.pending.bytes -= committed;
            self.make_ready((start, stop));
            self.ready_bytes += committed;
            self.index_deadlines(&[(start, stop)]);
        }
    }

    /// Returns of a mirrored queue count for others, and in a snapshot, when they are committed: until then their
    /// record is still to come, and counts for itself.
    pub(super) fn note_early_returns(&mut self, ranges: &[Range]) {
        if self.gated {
            for index in ranges.iter().flat_map(|(start, end)| *start..*end) {
                *self.early_returns.entry(index).or_default() += 1;
            }
        }
    }

    /// Records of this home are committed.
    pub fn commit_records(&mut self, records: &[Encoded]) {
        if self.early_returns.is_empty() {
            return;
        }
        for (record, _) in records {
            let Some(ranges) = record::returned(record) else { continue };
            for index in ranges.iter().flat_map(|(start, end)| *start..*end) {
                match self.early_returns.get_mut(&index) {
                    Some(1) => drop(self.early_returns.remove(&index)),
                    Some(count) => *count -= 1,
                    None => {}
                }
            }
        }
    }

    /// How often messages of a range came back, as far as it is committed.
    pub(super) fn committed_returns(&self, (start, end): Range) -> impl Iterator<Item = (u64, u32)> + '_ {
        record::committed_returns(self.state.returns.range(start..end), &self.early_returns)
    }

    /// How many messages wait for their commit.
    pub fn pending_count(&self) -> u64 {
        self.pending.count
    }

    /// Whether everything below an index is committed.
    pub fn is_committed_below(&self, index: u64) -> bool {
        self.pending.first().is_none_or(|first| first >= index)
    }
}
