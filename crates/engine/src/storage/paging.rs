//! Bodies on their way to blocks and back, and how much memory all queues use.
//!
//! Invariant: what a block store answers is posted to the queue that asked; a queue that is gone gives
//! its blocks back.

use super::Storage;
use crate::node::Broker;
use crate::queue::{BlockRead, Queue, QueueCommand};
use broker::message::Chunk;
use broker::queue::{BlockAt, PageJob};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use storage::{BlockStore, Location, ReadError};

/// Memory of messages, of all queues together.
pub(crate) struct PagingBudget {
    used: AtomicI64,
    limit_bytes: u64,
}

impl PagingBudget {
    pub(crate) fn new(limit_bytes: u64) -> PagingBudget {
        PagingBudget { used: AtomicI64::new(0), limit_bytes }
    }

    pub(crate) fn grow(&self, bytes: i64) {
        if bytes != 0 {
            self.used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed).max(0) as u64
    }

    /// Whether bodies should leave memory.
    pub(crate) fn is_over(&self) -> bool {
        self.used_bytes() > self.limit_bytes
    }

    /// Whether publishers have to wait until some have.
    pub(crate) fn is_far_over(&self) -> bool {
        self.used_bytes() > self.limit_bytes.saturating_add(self.limit_bytes / 4)
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

pub(crate) fn block_of(location: &Location) -> BlockAt {
    BlockAt { file: location.file, offset: location.offset, length: location.length }
}

pub(crate) fn location_of(at: &BlockAt) -> Location {
    Location { file: at.file, offset: at.offset, length: at.length }
}

impl Storage {
    /// Blocks of durable queues survive, those of others are gone when the node stops.
    pub(crate) fn blocks(&self, durable: bool) -> &Arc<BlockStore> {
        if durable { &self.durable } else { &self.volatile }
    }

    /// Writes a job's messages to a block and tells the queue.
    pub(crate) fn page_out(&self, broker: &Weak<Broker>, queue: &Arc<Queue>, durable: bool, job: PageJob) {
        let job = Arc::new(job);
        let filled = job.clone();
        let fill = Box::new(move |out: &mut Vec<u8>| filled.fill(out));
        let (broker, to) = (broker.clone(), queue.clone());
        let done = Box::new(move |outcome: std::io::Result<Location>| {
            let Some(broker) = broker.upgrade() else { return };
            let outcome = outcome.map(|location| block_of(&location));
            broker.post(&to, QueueCommand::Paged(job, outcome));
            broker.flush();
        });
        self.blocks(durable).put(queue.id.0, fill, done);
    }

    /// Reads a block and tells the queue.
    pub(crate) fn read(
        &self,
        broker: &Weak<Broker>,
        queue: &Arc<Queue>,
        durable: bool,
        first: u64,
        at: BlockAt,
    ) {
        let (broker, queue) = (broker.clone(), queue.clone());
        let done = Box::new(move |outcome: Result<Vec<u8>, ReadError>| {
            let Some(broker) = broker.upgrade() else { return };
            let read = match outcome.map(Chunk::decode) {
                Ok(Ok(chunk)) => BlockRead::Chunk(Arc::new(chunk)),
                Ok(Err(error)) => BlockRead::Lost(format!("{at:?}: {error}")),
                Err(ReadError::Io(error)) => BlockRead::Failed(error),
                Err(ReadError::Damaged(error) | ReadError::Missing(error)) => BlockRead::Lost(error),
            };
            broker.post(&queue, QueueCommand::Loaded(first, at, read));
            broker.flush();
        });
        self.blocks(durable).read(location_of(&at), done);
    }

    /// Gives blocks back.
    pub(crate) fn free(&self, durable: bool, blocks: &[BlockAt]) {
        blocks.iter().for_each(|at| self.blocks(durable).free(location_of(at)));
    }
}
