//! A node's storage: the write-ahead log, the blocks of messages that left memory, and how they are
//! opened.
//!
//! Invariant: one process has a data directory at a time; what was confirmed before it stopped, however
//! it stopped, is there when it starts.

mod catalog_log;
mod cluster_log;
mod open;
mod paging;
mod queue_log;
mod recovery;
mod sink;
mod unclaimed;
mod waiters;

pub(crate) use catalog_log::CatalogLog;
pub(crate) use cluster_log::CheckpointSeam;
pub use cluster_log::{CLUSTER_LOG, Checkpoint, ClusterLog, LogHandle};
pub use open::{BlockSizes, StorageConfig};
pub(crate) use paging::PagingBudget;
pub(crate) use unclaimed::Unclaimed;
pub(crate) use waiters::CommitWaiters;
pub use waiters::Waiter;

use sink::Sink;
use std::path::PathBuf;
use std::sync::Arc;
use storage::{BlockStore, DirLock, Disk, Wal};

/// The storage of a running node.
pub struct Storage {
    wal: Arc<Wal>,
    durable: Arc<BlockStore>,
    volatile: Arc<BlockStore>,
    sink: Arc<Sink>,
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    _lock: Option<DirLock>,
}

impl Storage {
    /// Writes everything that was appended and ends the threads.
    ///
    /// # Errors
    /// When the disk has failed; what was not confirmed may be lost then.
    pub fn close(&self) -> Result<(), String> {
        let outcome = self.wal.stop();
        self.durable.stop();
        self.volatile.stop();
        outcome
    }

    /// The write-ahead log's counters.
    pub fn wal_stats(&self) -> storage::wal::WalStats {
        self.wal.stats()
    }

    /// Counters of the blocks of durable queues, then of the others.
    pub fn block_stats(&self) -> [storage::BlockStats; 2] {
        [self.durable.stats(), self.volatile.stats()]
    }
}
