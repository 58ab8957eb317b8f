//! The seam between a queue and its log.
//!
//! To ensure correctness an implementation appends in order without holes, answers `Now` or later
//! reports a position only once everything up to it is committed, and after a failure reports nothing
//! any more.

use super::Queue;
use crate::storage::Waiter;
use broker::catalog;
use broker::queue::{Encoded, LogCommand};
use std::sync::Arc;

/// When what was appended counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// At once.
    Now,
    /// When the log reports the last position or a later one.
    At {
        /// Position of the first record of the turn.
        first: u64,
        /// Position of the last one.
        last: u64,
    },
}

/// What a turn did to its queue.
pub struct Turn<'a> {
    /// As the machine did it.
    pub commands: &'a [LogCommand],
    /// As a log on disk keeps it.
    pub records: Vec<Encoded>,
    /// Somebody waits for the commit.
    pub urgent: bool,
}

/// Where a queue's commands go.
pub trait QueueLog: Send {
    /// Whether it wants commands at all; the machine then records them.
    fn keeps_commands(&self) -> bool;

    /// Takes what one turn did.
    fn append(&mut self, turn: Turn<'_>) -> Commit;

    /// Takes over those who wait for a position; gives them back when it is the queue that tells them.
    fn wait(&mut self, _last: u64, waiters: Vec<Waiter>) -> Vec<Waiter> {
        waiters
    }

    /// Posts a commit to the queue when what is appended now is written.
    fn wake(&mut self, _queue: &Arc<Queue>) {}

    /// Somebody waits for what was appended before.
    fn force(&mut self) -> Commit {
        Commit::Now
    }

    /// Takes the queue as a whole; of what came before, records from `needs_from` on are still needed.
    fn checkpoint(&mut self, _snapshot: Vec<u8>, _needs_from: Option<u64>) {}

    /// The queue is deleted.
    fn end(&mut self) {}

    /// Runs `action` once all that was appended so far is committed.
    fn after(&self, action: Box<dyn FnOnce() + Send>) {
        action();
    }

    /// Whether so much waits for the disk that publishers have to wait.
    fn is_backed_up(&self) -> bool {
        false
    }
}

/// Gives each queue its log.
pub trait QueueLogs: Send + Sync {
    /// The log of a queue that was just declared or found again.
    fn open(&self, row: &catalog::Queue) -> Box<dyn QueueLog>;
}

/// Queues that live in memory.
#[derive(Debug, Default)]
pub struct NullLogs;

impl QueueLogs for NullLogs {
    fn open(&self, _row: &catalog::Queue) -> Box<dyn QueueLog> {
        Box::new(NullLog)
    }
}

/// The log of a queue that lives in memory: it keeps nothing and commits at once.
#[derive(Debug, Default)]
pub struct NullLog;

impl QueueLog for NullLog {
    fn keeps_commands(&self) -> bool {
        false
    }

    fn append(&mut self, _turn: Turn<'_>) -> Commit {
        Commit::Now
    }
}
