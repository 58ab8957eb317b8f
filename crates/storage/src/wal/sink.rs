//! What the log tells the engine while it runs.
//!
//! Invariant: all calls come from the log's own thread, one after the other; once `failed` was called,
//! `committed` is not called again.

use super::entry::Sequence;

/// Hears what becomes of what was appended. No call may wait for the log.
pub trait WalSink: Send + Sync {
    /// All entries up to `up_to` are durable. `logs`: each log that had an urgent entry among the newly
    /// durable ones, once.
    fn committed(&self, up_to: Sequence, logs: &[u64]);
    /// Files up to `up_to` should go. Each of `logs` still needs something at or before it and is to
    /// append a snapshot whose `covers` and `needs_from` are later. Asked once per log and file.
    fn checkpoint(&self, up_to: Sequence, logs: Vec<u64>);
    /// A write or a sync failed; nothing is committed any more, ever. Called once.
    fn failed(&self, why: &str);
    /// `Some(why)`: the disk has no room for another file, publishers must stop. `None`: it goes on.
    fn stalled(&self, why: Option<&str>);
}
