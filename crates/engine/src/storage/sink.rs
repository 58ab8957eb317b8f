//! What the threads of the storage tell the broker.
//!
//! Invariant: nothing here waits for the disk. Confirms leave from the log's thread; everything that
//! takes longer is done by a thread of its own.

use super::{CommitWaiters, Storage};
use crate::node::Broker;
use crate::queue::QueueCommand;
use crate::storage::CLUSTER_LOG;
use crate::storage::catalog_log::CATALOG_LOG;
use crate::storage::paging::block_of;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use storage::wal::{Sequence, WalSink};
use storage::{BlockSink, Location};
use tokio::sync::watch;
use types::QueueId;

/// What is to be done away from the threads of the storage.
enum Chore {
    Checkpoint(Sequence, Vec<u64>),
    Relocate(u64, Vec<Location>),
}

/// Whom the storage tells.
pub(crate) struct Sink {
    broker: OnceLock<Weak<Broker>>,
    chores: Mutex<Sender<Chore>>,
    waiting: Mutex<Option<Receiver<Chore>>>,
    wal_stalled: AtomicBool,
    blocks_stalled: AtomicBool,
    pub(crate) failure: watch::Sender<Option<String>>,
    pub(crate) waiters: CommitWaiters,
}

impl Sink {
    pub(crate) fn new() -> Arc<Sink> {
        let (chores, waiting) = channel();
        Arc::new(Sink {
            broker: OnceLock::new(),
            chores: Mutex::new(chores),
            waiting: Mutex::new(Some(waiting)),
            wal_stalled: AtomicBool::new(false),
            blocks_stalled: AtomicBool::new(false),
            failure: watch::Sender::new(None),
            waiters: CommitWaiters::default(),
        })
    }

    /// From now on the broker is told.
    pub(crate) fn connect(&self, broker: &Arc<Broker>) -> std::io::Result<()> {
        let weak = Arc::downgrade(broker);
        let _ = self.broker.set(weak.clone());
        let Some(chores) = self.waiting.lock().take() else { return Ok(()) };
        std::thread::Builder::new().name("leveret-chores".to_owned()).spawn(move || {
            for chore in chores {
                let Some(broker) = weak.upgrade() else { return };
                do_chore(&broker, chore);
            }
        })?;
        Ok(())
    }

    fn broker(&self) -> Option<Arc<Broker>> {
        self.broker.get()?.upgrade()
    }

    /// Tells all who wait for a sequence; queues among them look at their log again.
    pub(crate) fn release(&self, up_to: Sequence) {
        let queues = self.waiters.release(up_to);
        if let Some(broker) = self.broker() {
            for queue in queues {
                broker.post_quietly(&queue, QueueCommand::Committed(up_to));
            }
        }
    }

    /// Whether the disk has no room.
    pub(crate) fn is_stalled(&self) -> bool {
        self.wal_stalled.load(Ordering::Relaxed) || self.blocks_stalled.load(Ordering::Relaxed)
    }

    fn stall(&self, flag: &AtomicBool, what: &str, why: Option<&str>) {
        flag.store(why.is_some(), Ordering::Relaxed);
        match why {
            Some(why) => tracing::error!("no room on the disk for {what}: {why}; publishers are blocked"),
            None => tracing::info!("the disk has room for {what} again"),
        }
        if let Some(broker) = self.broker() {
            broker.look_at_disk();
        }
    }

    fn fail(&self, what: &str, why: &str) {
        tracing::error!("{what} failed: {why}; nothing is confirmed any more and the node stops");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| format!("{what} failed: {why}"));
            first
        });
    }
}

fn do_chore(broker: &Arc<Broker>, chore: Chore) {
    match chore {
        Chore::Checkpoint(up_to, logs) => {
            for log in logs {
                if log == CATALOG_LOG {
                    broker.checkpoint_catalog();
                } else if log == CLUSTER_LOG {
                    broker.cluster_checkpoint.ask();
                } else if let Some(queue) = broker.queue(QueueId(log)) {
                    broker.post(&queue, QueueCommand::Checkpoint(up_to));
                }
            }
        }
        Chore::Relocate(log, blocks) => {
            if let Some(queue) = broker.queue(QueueId(log)) {
                let blocks = blocks.iter().map(block_of).collect();
                broker.post(&queue, QueueCommand::Relocate(blocks));
            }
        }
    }
    broker.flush();
}

impl WalSink for Sink {
    fn committed(&self, up_to: Sequence, logs: &[u64]) {
        let Some(broker) = self.broker() else { return };
        if logs.contains(&CATALOG_LOG) {
            broker.catalog_committed(up_to);
        }
        self.release(up_to);
        broker.run_posted();
        broker.flush();
    }

    fn checkpoint(&self, up_to: Sequence, logs: Vec<u64>) {
        let _ = self.chores.lock().send(Chore::Checkpoint(up_to, logs));
    }

    fn failed(&self, why: &str) {
        self.fail("the write-ahead log", why);
    }

    fn stalled(&self, why: Option<&str>) {
        self.stall(&self.wal_stalled, "the write-ahead log", why);
    }
}

/// The part of the sink that a block store tells.
pub(crate) struct Blocks(pub(crate) Arc<Sink>);

impl BlockSink for Blocks {
    fn relocate(&self, log: u64, blocks: Vec<Location>) {
        let _ = self.0.chores.lock().send(Chore::Relocate(log, blocks));
    }

    fn stalled(&self, why: Option<&str>) {
        self.0.stall(&self.0.blocks_stalled, "messages that leave memory", why);
    }

    fn failed(&self, why: &str) {
        self.0.fail("storing messages", why);
    }
}

impl Broker {
    /// The catalog's changes are durable up to here.
    fn catalog_committed(&self, up_to: Sequence) {
        if let Some(log) = self.catalog_machine().log() {
            log.committed(up_to);
        }
    }

    /// Comes back with the reason when the node cannot go on: its disk failed.
    pub async fn failed(&self) -> String {
        let Some(storage) = self.storage() else { return std::future::pending().await };
        let mut failure = storage.sink.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Raises or clears the disk alarm by what is free.
    pub(crate) fn look_at_disk(&self) {
        let Some(storage) = self.storage() else { return };
        match storage.free_bytes() {
            Ok(free_bytes) => self.alarms().set_disk(free_bytes, storage.sink.is_stalled()),
            Err(error) => tracing::warn!(%error, "the disk's free space cannot be read"),
        }
    }

    /// Watches the disk's free space; to be spawned once.
    pub async fn run_disk_watch(self: Arc<Broker>) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            tick.tick().await;
            self.look_at_disk();
        }
    }
}

impl Storage {
    fn free_bytes(&self) -> std::io::Result<u64> {
        self.disk.free_bytes(&self.data_dir)
    }
}
