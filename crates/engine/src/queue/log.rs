//! The seam between a queue and its log.
//!
//! To ensure correctness an implementation appends in order without holes, answers `Now` or later
//! reports a position only once everything up to it is committed, and after a failure reports nothing
//! any more.

use broker::catalog;
use broker::queue::LogCommand;

/// When what was appended counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// At once.
    Now,
    /// When the log reports this position or a later one.
    At(u64),
}

/// Where a queue's commands go.
pub trait QueueLog: Send {
    /// Whether it wants commands at all; the machine then records them.
    fn keeps_commands(&self) -> bool;

    /// Takes the commands of one turn.
    fn append(&mut self, commands: Vec<LogCommand>) -> Commit;
}

/// Gives each queue its log.
pub trait QueueLogs: Send + Sync {
    /// The log of a queue that was just declared.
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

    fn append(&mut self, _commands: Vec<LogCommand>) -> Commit {
        Commit::Now
    }
}
