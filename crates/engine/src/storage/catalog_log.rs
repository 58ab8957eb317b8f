//! The catalog's log: each change in the node's write-ahead log, before anybody is told.
//!
//! Invariant: changes are appended in the order they were applied, under the catalog's lock; who waits
//! for one is told when it is durable, and so is who finds it made already.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use storage::wal::{Entry, EntryKind, Sequence, Wal};
use tokio::sync::oneshot;

/// The catalog's number among the logs; queues' ids begin with 1.
pub(crate) const CATALOG_LOG: u64 = 0;

/// Where changes of the catalog are written.
pub(crate) struct CatalogLog {
    wal: Arc<Wal>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    answers: VecDeque<(Sequence, oneshot::Sender<()>)>,
    /// Where the last change stands that was to be durable before its answer.
    last: Sequence,
}

impl CatalogLog {
    pub(crate) fn new(wal: Arc<Wal>) -> CatalogLog {
        CatalogLog { wal, waiting: Mutex::default() }
    }

    /// Appends a change. When it has to be durable before its answer, gives what to wait for.
    pub(crate) fn append(&self, command: Vec<u8>, durable: bool) -> Option<oneshot::Receiver<()>> {
        let kind = EntryKind::Record;
        let entry = Entry { log: CATALOG_LOG, kind, head: command, body: None };
        let sequence = self.wal.append(vec![entry], durable);
        durable.then(|| self.wait_for(sequence))
    }

    /// What an answer waits for that rests on changes made before: those may not be durable yet.
    pub(crate) fn settled(&self) -> Option<oneshot::Receiver<()>> {
        let last = self.waiting.lock().last;
        (last > self.wal.synced()).then(|| self.wait_for(last))
    }

    fn wait_for(&self, sequence: Sequence) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.last = waiting.last.max(sequence);
        waiting.answers.push_back((sequence, done));
        drop(waiting);
        self.committed(self.wal.synced());
        answer
    }

    /// The log is durable up to `sequence`.
    pub(crate) fn committed(&self, sequence: Sequence) {
        let mut waiting = self.waiting.lock();
        while waiting.answers.front().is_some_and(|(at, _)| *at <= sequence) {
            if let Some((_, done)) = waiting.answers.pop_front() {
                let _ = done.send(());
            }
        }
    }

    /// Everything up to here is in a catalog that is copied now, under its lock.
    pub(crate) fn position(&self) -> Sequence {
        self.wal.last_sequence()
    }

    /// Appends a snapshot of the catalog as it was at a position.
    pub(crate) fn checkpoint(&self, snapshot: Vec<u8>, covers: Sequence) {
        let kind = EntryKind::Snapshot { covers, needs_from: Some(covers + 1) };
        self.wal.append(vec![Entry { log: CATALOG_LOG, kind, head: snapshot, body: None }], false);
    }
}
