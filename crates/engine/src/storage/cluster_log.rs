//! The log of a cluster's catalog: what the broker lets the cluster keep in the node's write-ahead log.
//!
//! Invariant: the broker does not understand its bytes. Once that log has a catalog of its own, nothing is
//! appended to the log of the node's local catalog any more, now or after any restart.

use super::Storage;
use super::catalog_log::CATALOG_LOG;
use broker::catalog::Catalog;
use parking_lot::Mutex;
use std::sync::Arc;
use storage::wal::{Entry, EntryKind, Sequence, Wal};

/// The number of the cluster's log among the logs of the write-ahead log.
pub const CLUSTER_LOG: u64 = u64::MAX;

/// What a member of a cluster keeps in its log, while a data directory is opened.
pub trait ClusterLog {
    /// The next entry that was found, in the order of their sequences. The first ones may be older than
    /// what the log still needs.
    ///
    /// # Errors
    /// Why the entry cannot be understood; the opening fails with the file, the offset and this text.
    fn replay(&mut self, kind: EntryKind, head: &[u8], sequence: Sequence) -> Result<(), String>;

    /// All entries were replayed: the catalog to begin with. None while the log has none; then the node
    /// goes on with the catalog that is its own. `damage`: what the operator has accepted to be lost.
    ///
    /// # Errors
    /// A text for the operator: why the node cannot start as the member it was.
    fn catalog(&mut self, damage: &[String]) -> Result<Option<Catalog>, String>;
}

/// The cluster's log while the node runs.
#[derive(Clone)]
pub struct LogHandle {
    wal: Arc<Wal>,
}

impl LogHandle {
    /// Appends entries, given as kind and bytes; gives the sequence of the last one. Never waits for the
    /// disk. `urgent`: somebody waits for them.
    pub fn append(&self, entries: Vec<(EntryKind, Vec<u8>)>, urgent: bool) -> Sequence {
        let entry = |(kind, head)| Entry { log: CLUSTER_LOG, kind, head, body: None };
        self.wal.append(entries.into_iter().map(entry).collect(), urgent)
    }

    /// Runs `action` on the log's thread once `sequence` is durable; drops it if that cannot be any more.
    pub fn after_sync(&self, sequence: Sequence, action: Box<dyn FnOnce() + Send>) {
        self.wal.after_sync(sequence, action);
    }

    /// The last sequence that was given to any log of the node.
    pub fn last_sequence(&self) -> Sequence {
        self.wal.last_sequence()
    }
}

/// What the cluster does when the write-ahead log asks it for a checkpoint. Runs on a thread of its own.
pub type Checkpoint = Arc<dyn Fn() + Send + Sync>;

/// Whom to ask for a checkpoint of the cluster's log.
#[derive(Default)]
pub(crate) struct CheckpointSeam {
    state: Mutex<(Option<Checkpoint>, bool)>,
}

impl CheckpointSeam {
    /// Asks now, or as soon as there is somebody.
    pub(crate) fn ask(&self) {
        let checkpoint = {
            let mut state = self.state.lock();
            state.1 = state.0.is_none();
            state.0.clone()
        };
        if let Some(checkpoint) = checkpoint {
            checkpoint();
        }
    }

    pub(crate) fn set(&self, checkpoint: Checkpoint) {
        let was_asked = {
            let mut state = self.state.lock();
            state.0 = Some(checkpoint);
            std::mem::take(&mut state.1)
        };
        if was_asked {
            self.ask();
        }
    }
}

impl Storage {
    /// The cluster's log.
    pub fn cluster_log(&self) -> LogHandle {
        LogHandle { wal: self.wal.clone() }
    }

    /// The local catalog is the cluster's from now on: its own log ends.
    pub(crate) fn end_catalog_log(&self) {
        let entry = Entry { log: CATALOG_LOG, kind: EntryKind::End, head: Vec::new(), body: None };
        self.wal.append(vec![entry], false);
    }
}
