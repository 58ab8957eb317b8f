//! Counters of a log.
//!
//! Invariant: counters only grow; the others are what holds at the moment.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a log has done and has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Batches written.
    pub batches: u64,
    /// Syncs of the log's files.
    pub syncs: u64,
    /// Bytes written to the log's files, heads and padding included.
    pub bytes: u64,
    /// Entries that became durable.
    pub entries: u64,
    /// Times the log's thread had to wait for another file.
    pub file_waits: u64,
    /// Files that hold part of the log.
    pub files_in_use: u64,
    /// Bytes of these.
    pub bytes_in_use: u64,
    /// Files that are written through and wait to be used.
    pub spare_files: u64,
    /// Microseconds that the last write and sync took.
    pub last_sync_us: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub batches: AtomicU64,
    pub syncs: AtomicU64,
    pub bytes: AtomicU64,
    pub entries: AtomicU64,
    pub file_waits: AtomicU64,
    pub files_in_use: AtomicU64,
    pub bytes_in_use: AtomicU64,
    pub last_sync_us: AtomicU64,
}

impl Counters {
    /// All of them; `spare_files` is counted elsewhere.
    pub fn stats(&self, spare_files: u64) -> WalStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WalStats {
            batches: get(&self.batches),
            syncs: get(&self.syncs),
            bytes: get(&self.bytes),
            entries: get(&self.entries),
            file_waits: get(&self.file_waits),
            files_in_use: get(&self.files_in_use),
            bytes_in_use: get(&self.bytes_in_use),
            spare_files,
            last_sync_us: get(&self.last_sync_us),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

pub(super) fn set(counter: &AtomicU64, value: u64) {
    counter.store(value, Ordering::Relaxed);
}
