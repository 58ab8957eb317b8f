//! The cluster's log in memory: what its records come to, one after the other.
//!
//! Invariant: entries follow one another without holes; the state after replaying the records is the one
//! that they were written from.

use super::raft::{LogEntry, LogId, Meta, Payload, Vote, entry_bytes};
use super::record::{Ballot, Membership, Record, Snapshot, Whole};
use bytes::Bytes;
use openraft::LogState as Ends;
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

/// All of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogState {
    membership: Option<Membership>,
    ballot: Option<Ballot>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    snapshot: Option<Snapshot>,
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl LogState {
    /// Whether anything was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        *self == LogState::default()
    }

    /// Which cluster the node is in.
    pub(crate) fn membership(&self) -> Option<Membership> {
        self.membership
    }

    pub(crate) fn ballot(&self) -> Option<Ballot> {
        self.ballot
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(crate) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    /// The catalog that is kept, and where in the log it stands.
    pub(crate) fn snapshot(&self) -> Option<(&Meta, &Bytes)> {
        self.snapshot.as_ref().map(|snapshot| (&snapshot.meta, &snapshot.data.0))
    }

    /// Bytes of all entries, about.
    pub(crate) fn entry_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the entries behind the snapshot, about.
    pub(crate) fn bytes_behind_snapshot(&self) -> usize {
        let covered = self.snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
        let is_behind = |entry: &&LogEntry| Some(entry.log_id) > covered;
        self.entries.iter().rev().take_while(is_behind).map(entry_bytes).sum()
    }

    pub(crate) fn ends(&self) -> Ends<super::raft::Types> {
        let last = self.entries.back().map(|entry| entry.log_id).or(self.purged);
        Ends { last_purged_log_id: self.purged, last_log_id: last }
    }

    fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// The entries of a range of indexes that are there.
    pub(crate) fn entries(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &LogEntry> {
        let first = self.first_index().unwrap_or(0);
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let place = |index: u64| {
            usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX).min(self.entries.len())
        };
        let (start, end) = (place(start), place(end));
        self.entries.range(start..end.max(start))
    }

    /// What a record does.
    ///
    /// # Errors
    /// The record does not follow those before it: some are missing.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Member(membership) => self.membership = Some(membership),
            Record::Ballot(ballot) => self.ballot = Some(ballot),
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(committed) => self.committed = committed,
            Record::Entry(entry) => self.push(entry)?,
            Record::Truncate(id) => {
                while self.entries.back().is_some_and(|entry| entry.log_id.index >= id.index) {
                    self.forget(VecDeque::pop_back);
                }
            }
            Record::Purge(id) => {
                while self.first_index().is_some_and(|first| first <= id.index) {
                    self.forget(VecDeque::pop_front);
                }
                self.purged = self.purged.max(Some(id));
            }
            Record::Whole(whole) => *self = LogState::of(*whole)?,
        }
        Ok(())
    }

    fn push(&mut self, entry: LogEntry) -> Result<(), String> {
        let next = self.entries.back().map(|last| last.log_id.index + 1);
        let follows = match next {
            Some(next) => entry.log_id.index == next,
            None => self.purged.is_none_or(|purged| entry.log_id.index <= purged.index + 1),
        };
        if !follows && let Some(last) = self.ends().last_log_id {
            return Err(format!("entry {} follows entry {last}: what was between is missing", entry.log_id));
        }
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
        Ok(())
    }

    fn forget(&mut self, take: impl FnOnce(&mut VecDeque<LogEntry>) -> Option<LogEntry>) {
        if let Some(entry) = take(&mut self.entries) {
            self.bytes -= entry_bytes(&entry);
        }
    }

    /// Takes a catalog in place of the one that is kept, unless that is newer.
    pub(crate) fn keep_snapshot(&mut self, meta: Meta, data: Bytes) {
        let kept = self.snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
        if kept <= meta.last_log_id {
            self.snapshot = Some(Snapshot { meta, data: Payload(data) });
        }
    }

    /// The record that says all of it.
    pub(crate) fn whole(&self) -> Record {
        Record::Whole(Box::new(Whole {
            membership: self.membership,
            ballot: self.ballot,
            vote: self.vote,
            committed: self.committed,
            purged: self.purged,
            snapshot: self.snapshot.clone(),
            entries: self.entries.iter().cloned().collect(),
        }))
    }

    fn of(whole: Whole) -> Result<LogState, String> {
        let Whole { membership, ballot, vote, committed, purged, snapshot, entries } = whole;
        let mut state =
            LogState { membership, ballot, vote, committed, purged, snapshot, ..LogState::default() };
        entries.into_iter().try_for_each(|entry| state.push(entry))?;
        Ok(state)
    }
}
