//! The write-ahead log: entries of all logs of a node, made durable together. The format is drawn in
//! docs/internals/wal.md, what an opening decides in docs/internals/recovery.md.
//!
//! Invariant: an entry counts as durable only after the sync that covers it came back; what is durable
//! is replayed, in order and unchanged, until its log says that it needs it no more.

mod batch;
mod config;
mod current;
mod entry;
mod format;
mod intake;
mod ledger;
mod names;
mod needs;
mod open;
mod prewrite;
mod replay;
mod signal;
mod sink;
mod spares;
mod stats;
mod stock;
mod writer;

pub use config::WalConfig;
pub use entry::{Body, Entry, EntryKind, Sequence};
pub use open::OpenWal;
pub use replay::{Replay, ReplayedBody, ReplayedEntry};
pub use sink::WalSink;
pub use stats::WalStats;

use crate::disk::Disk;
use crate::open_error::OpenError;
use intake::{End, Intake};
use parking_lot::Mutex;
use spares::Spares;
use stats::Counters;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A log that runs.
///
/// When it is dropped it writes all that was appended and ends, like `stop`.
pub struct Wal {
    intake: Arc<Intake>,
    spares: Arc<Spares>,
    counters: Arc<Counters>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Wal {
    /// Opens the log in `config.dir` and hands all its entries to `replay`, in order. Changes nothing
    /// on disk but for making the directory.
    ///
    /// # Errors
    /// A configuration that makes no sense, an error of the disk, damage that is not accepted, a file
    /// of another format version, an entry that `replay` does not understand.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: WalConfig,
        replay: &mut dyn Replay,
    ) -> Result<OpenWal, OpenError> {
        open::recover(disk, config, replay)
    }

    fn new(
        intake: Arc<Intake>,
        spares: Arc<Spares>,
        counters: Arc<Counters>,
        threads: Vec<JoinHandle<()>>,
    ) -> Self {
        Self { intake, spares, counters, threads: Mutex::new(threads) }
    }

    /// Appends entries, which get consecutive sequences; gives that of the last one. Never waits for
    /// the disk. `urgent`: somebody waits for them; else they are written after a moment, or with the
    /// next urgent ones. After a failure or a stop they are dropped.
    pub fn append(&self, entries: Vec<Entry>, urgent: bool) -> Sequence {
        self.intake.push(entries, urgent)
    }

    /// Runs `action` on the log's thread once `sequence` is durable, at once if it is. It is dropped
    /// without being run if the log fails, or is stopped before. On a stopped log, an action for
    /// something that is durable runs on the caller's thread.
    pub fn after_sync(&self, sequence: Sequence, action: Box<dyn FnOnce() + Send>) {
        self.intake.after(sequence, action);
    }

    /// Bytes of heads and bodies that are appended and not yet durable; shared bodies count each time.
    pub fn pending_bytes(&self) -> u64 {
        self.intake.pending_bytes()
    }

    /// The last sequence that is durable.
    pub fn synced(&self) -> Sequence {
        self.intake.synced()
    }

    /// The last sequence that was given.
    pub fn last_sequence(&self) -> Sequence {
        self.intake.last()
    }

    /// Waits until everything appended so far is durable; the sink may hear of it a moment later. Not to be called by the log's own thread,
    /// that is by a sink or an action.
    ///
    /// # Errors
    /// Why that will not happen any more.
    pub fn flush(&self) -> Result<(), String> {
        self.intake.flush()
    }

    /// Makes everything durable that was appended, then ends the log's threads and waits for them. On
    /// a disk without room for it, it gives up instead of waiting.
    ///
    /// # Errors
    /// Why not everything is durable.
    pub fn stop(&self) -> Result<(), String> {
        self.intake.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        let own = thread::current().id();
        for handle in threads {
            // The last owner may be an action, on the log's own thread.
            if handle.thread().id() != own && handle.join().is_err() {
                return Err("a thread of the log came upon a fault of its own".to_owned());
            }
        }
        match self.intake.ended() {
            Some(End::Failed(why)) => Err(why),
            Some(End::Stopped) | None => Ok(()),
        }
    }

    /// Counters.
    pub fn stats(&self) -> WalStats {
        self.counters.stats(self.spares.count())
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
