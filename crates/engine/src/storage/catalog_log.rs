//! The catalog's log: each change in the node's write-ahead log, before anybody is told.
//!
//! Invariant: changes are appended in the order they were applied, under the catalog's lock; who waits
//! for one is told when it is durable.

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
    waiting: Mutex<VecDeque<(Sequence, oneshot::Sender<()>)>>,
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
        durable.then(|| {
            let (done, answer) = oneshot::channel();
            self.waiting.lock().push_back((sequence, done));
            self.committed(self.wal.synced());
            answer
        })
    }

    /// The log is durable up to `sequence`.
    pub(crate) fn committed(&self, sequence: Sequence) {
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|(at, _)| *at <= sequence) {
            if let Some((_, done)) = waiting.pop_front() {
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
