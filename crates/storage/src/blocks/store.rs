//! A running block store: what others call.
//!
//! Invariant: no call waits for the disk, but for `stop`.

use super::files::Files;
use super::open::OpenBlocks;
use super::reader::{Reads, Shelf};
use super::reserve::Reserve;
use super::round::Put;
use super::writer::{State, Waiting, Writer};
use super::{BlockConfig, BlockError, BlockSink, Fill, Loaded, Location, ReadError, Stored};
use crate::Disk;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// A store of blocks that runs. Dropping it stops it.
pub struct BlockStore {
    shelf: Arc<Shelf>,
    waiting: Arc<Waiting>,
    reads: Arc<Reads>,
    counters: Arc<Counters>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Sums since the store was started.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) puts: AtomicU64,
    pub(super) put_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) read_errors: AtomicU64,
    pub(super) relocations: AtomicU64,
    pub(super) stalled: AtomicBool,
}

/// What a store holds and has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Files, without the reserve.
    pub files: usize,
    /// Bytes in them.
    pub disk_bytes: u64,
    /// Bytes of blocks that are needed, heads included.
    pub live_bytes: u64,
    /// Puts that the writer has not taken yet.
    pub waiting_puts: usize,
    /// Blocks stored.
    pub puts: u64,
    /// Their bytes, heads included.
    pub put_bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Blocks read.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Blocks whose owners were asked to put them elsewhere.
    pub relocations: u64,
    /// Whether the disk is full or the reserve is not there.
    pub stalled: bool,
}

pub(super) fn start(
    shelf: Shelf,
    next: u64,
    reserve: Reserve,
    sink: Arc<dyn BlockSink>,
) -> io::Result<Arc<BlockStore>> {
    let store = Arc::new(BlockStore {
        shelf: Arc::new(shelf),
        // What was adopted may stand in sparse files: the first thing is to sweep.
        waiting: Arc::new(Waiting::dusty()),
        reads: Arc::default(),
        counters: Arc::default(),
        threads: Mutex::default(),
    });
    let durable = store.shelf.config.durable;
    let writer = Writer {
        shelf: store.shelf.clone(),
        waiting: store.waiting.clone(),
        counters: store.counters.clone(),
        sink,
        reserve,
        next,
        current: None,
        buffer: Vec::new(),
        taken: VecDeque::new(),
        full: false,
        stalled: false,
        failed: None,
    };
    let name = if durable { "leveret-blocks" } else { "leveret-paged" };
    let thread = thread::Builder::new().name(name.into()).spawn(move || writer.run())?;
    store.threads.lock().push(thread);

    let (shelf, reads, counters) = (store.shelf.clone(), store.reads.clone(), store.counters.clone());
    let name = if durable { "leveret-read" } else { "leveret-paged-read" };
    let thread = thread::Builder::new()
        .name(name.into())
        .spawn(move || reads.run(&shelf, |outcome| counters.count_read(outcome)))?;
    store.threads.lock().push(thread);
    Ok(store)
}

impl BlockStore {
    /// Opens a store; a volatile one is emptied.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or read, or a file in it is of a newer version.
    pub fn open(disk: Arc<dyn Disk>, mut config: BlockConfig) -> Result<OpenBlocks, BlockError> {
        config.file_bytes = config.file_bytes.min(u32::MAX.into());
        OpenBlocks::open(disk, config)
    }

    /// Stores a block that `fill` gives, on the writer thread; never waits.
    ///
    /// `done` hears where it is once it is synced (durable) or written (volatile), or why it is not
    /// stored; in the order of the puts and on the writer thread, but for puts after [`BlockStore::stop`],
    /// which hear so here. While the disk is full it hears nothing.
    pub fn put(&self, log: u64, fill: Fill, done: Stored) {
        let mut state = self.waiting.state.lock();
        if state.ended {
            drop(state);
            done(Err(io::Error::other("the block store has stopped")));
            return;
        }
        state.puts.push_back(Put { log, fill, done });
        self.notify(state);
    }

    /// Reads a block; `done` hears its bytes on the reader thread, in the order of asking, or here
    /// when the store has stopped. A block that is freed meanwhile may be missing.
    pub fn read(&self, location: Location, done: Loaded) {
        if let Err(done) = self.reads.push(location, done) {
            done(Err(ReadError::Io("the block store has stopped".into())));
        }
    }

    /// Nobody needs the block any more; for a durable store that itself has been made durable.
    pub fn free(&self, location: Location) {
        let known = self.files().free(location);
        if !known {
            tracing::error!(?location, "a block was freed that nobody has");
        }
        if self.shelf.is_dusty() {
            let mut state = self.waiting.state.lock();
            state.dusty = true;
            self.notify(state);
        }
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> BlockStats {
        let waiting_puts = self.waiting.state.lock().puts.len();
        let sum = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let files = self.files();
        BlockStats {
            files: files.count(),
            disk_bytes: files.disk_bytes(),
            live_bytes: files.live_bytes(),
            waiting_puts,
            puts: sum(&self.counters.puts),
            put_bytes: sum(&self.counters.put_bytes),
            syncs: sum(&self.counters.syncs),
            reads: sum(&self.counters.reads),
            read_bytes: sum(&self.counters.read_bytes),
            read_errors: sum(&self.counters.read_errors),
            relocations: sum(&self.counters.relocations),
            stalled: self.counters.stalled.load(Ordering::Relaxed),
        }
    }

    /// Finishes what was put and asked for and ends the threads. When the disk is full, what does not
    /// find room is told so. Called from one of the store's threads, it does not wait for that one.
    pub fn stop(&self) {
        let mut state = self.waiting.state.lock();
        state.stop = true;
        self.notify(state);
        self.reads.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the block store panicked");
            }
        }
    }

    fn notify(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.waiting.wake.notify_one();
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.shelf.files.lock()
    }
}

impl Drop for BlockStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Counters {
    fn count_read(&self, outcome: &Result<Vec<u8>, ReadError>) {
        match outcome {
            Ok(bytes) => {
                self.reads.fetch_add(1, Ordering::Relaxed);
                self.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                self.read_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "a block cannot be read");
            }
        }
    }
}
