//! A durable queue's log: its records in the node's write-ahead log.
//!
//! Invariant: records of a queue are appended in the order its turns made them, under the id the queue
//! got when it was declared.

use crate::queue::{Commit, NullLog, QueueLog, QueueLogs, Turn};
use broker::catalog;
use broker::queue::QueueMachine;
use std::sync::Arc;
use storage::wal::{Body, Entry, EntryKind, Sequence, Wal};
use types::limits::WAL_PENDING_MAX_BYTES;

/// The node's write-ahead log as queues see it.
pub(crate) struct WalLogs(pub(crate) Arc<Wal>);

impl QueueLogs for WalLogs {
    fn open(&self, row: &catalog::Queue) -> Box<dyn QueueLog> {
        if row.durable && row.exclusive.is_none() {
            Box::new(WalLog { wal: self.0.clone(), log: row.id.0, last: 0, ended: false })
        } else {
            Box::new(NullLog)
        }
    }
}

struct WalLog {
    wal: Arc<Wal>,
    log: u64,
    /// Where its last record stands.
    last: Sequence,
    /// Nothing follows the end, or the log would be kept for it.
    ended: bool,
}

impl WalLog {
    fn put(&mut self, kind: EntryKind, head: Vec<u8>, urgent: bool) -> Sequence {
        self.last = self.wal.append(vec![Entry { log: self.log, kind, head, body: None }], urgent);
        self.last
    }
}

impl QueueLog for WalLog {
    fn keeps_commands(&self) -> bool {
        true
    }

    fn append(&mut self, turn: Turn<'_>) -> Commit {
        if turn.records.is_empty() || self.ended {
            return Commit::Now;
        }
        let count = turn.records.len() as u64;
        let entry = |(head, chunk): (Vec<u8>, Option<Arc<broker::message::Chunk>>)| {
            let body = chunk.map(|chunk| Body { trailer: chunk.trailer(), data: chunk });
            Entry { log: self.log, kind: EntryKind::Record, head, body }
        };
        let entries = turn.records.into_iter().map(entry).collect();
        // Whoever has filled the log up waits for it to be written.
        self.last = self.wal.append(entries, turn.urgent || self.is_backed_up());
        Commit::At { first: self.last + 1 - count, last: self.last }
    }

    fn force(&mut self) -> Commit {
        if self.last <= self.wal.synced() || self.ended {
            return Commit::Now;
        }
        let last = self.put(EntryKind::Record, QueueMachine::empty_record(), true);
        Commit::At { first: last, last }
    }

    fn checkpoint(&mut self, snapshot: Vec<u8>, needs_from: Option<u64>) {
        if self.ended {
            return;
        }
        let covers = self.wal.last_sequence();
        self.put(EntryKind::Snapshot { covers, needs_from }, snapshot, false);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.put(EntryKind::End, Vec::new(), false);
        }
    }

    fn after(&self, action: Box<dyn FnOnce() + Send>) {
        self.wal.after_sync(self.last, action);
    }

    fn is_backed_up(&self) -> bool {
        self.wal.pending_bytes() > WAL_PENDING_MAX_BYTES as u64
    }
}
