//! A durable queue's log: its records in the node's write-ahead log.
//!
//! Invariant: records of a queue are appended in the order its turns made them, under the id the queue
//! got when it was declared.

use super::Waiter;
use super::sink::Sink;
use crate::queue::{Commit, NullLog, Queue, QueueLog, QueueLogs, Turn};
use broker::catalog;
use broker::queue::QueueMachine;
use std::sync::Arc;
use storage::wal::{Body, Entry, EntryKind, Sequence, Wal};
use types::limits::WAL_PENDING_MAX_BYTES;

/// The node's write-ahead log as queues see it.
pub(crate) struct WalLogs {
    pub(crate) wal: Arc<Wal>,
    pub(crate) sink: Arc<Sink>,
}

impl QueueLogs for WalLogs {
    fn open(&self, row: &catalog::Queue) -> Box<dyn QueueLog> {
        if row.durable && row.exclusive.is_none() {
            let (wal, sink) = (self.wal.clone(), self.sink.clone());
            Box::new(WalLog { wal, sink, log: row.id.0, last: 0, ended: false })
        } else {
            Box::new(NullLog)
        }
    }
}

struct WalLog {
    wal: Arc<Wal>,
    sink: Arc<Sink>,
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

    fn add(&self, sequence: Sequence, waiters: Vec<Waiter>) {
        self.sink.waiters.add(sequence, waiters.into_iter());
        let synced = self.wal.synced();
        if synced >= sequence {
            // The sync was faster.
            self.sink.release(synced);
        }
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

    fn wait(&mut self, last: Sequence, waiters: Vec<Waiter>) -> Vec<Waiter> {
        self.add(last, waiters);
        Vec::new()
    }

    fn wake(&mut self, queue: &Arc<Queue>) {
        self.add(self.wal.last_sequence(), vec![Waiter::Queue(queue.clone())]);
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
