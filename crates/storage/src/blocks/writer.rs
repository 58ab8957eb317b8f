//! The writer thread: takes what waits, writes and syncs it in one go, and tells who put it.
//!
//! Invariant: whoever put a block hears of it once, in the order of the puts, and `Ok` only when the
//! block and its file survive a crash (durable) or are written (volatile). After a failed sync nothing
//! is stored any more; no sync is tried twice.

use super::format::{self, FILE_HEAD_BYTES};
use super::reader::Shelf;
use super::reserve::Reserve;
use super::round::{self, Part, Put};
use super::store::Counters;
use super::{BlockSink, Location};
use crate::disk::is_out_of_room;
use crate::{DiskFile, OpenMode};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use types::limits::{BLOCK_IDLE_MS, BLOCK_RETRY_MS};

const RETRY: Duration = Duration::from_millis(BLOCK_RETRY_MS);
pub(super) const IDLE: Duration = Duration::from_millis(BLOCK_IDLE_MS);

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) puts: VecDeque<Put>,
    /// There may be something to sweep.
    pub(super) dusty: bool,
    pub(super) stop: bool,
    /// The thread is gone or takes no more.
    pub(super) ended: bool,
}

impl Waiting {
    /// Nothing was put, but there may be something to sweep.
    pub(super) fn dusty() -> Waiting {
        let waiting = Waiting::default();
        waiting.state.lock().dusty = true;
        waiting
    }
}

pub(super) struct Writer {
    pub(super) shelf: Arc<Shelf>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) counters: Arc<Counters>,
    pub(super) sink: Arc<dyn BlockSink>,
    pub(super) reserve: Reserve,
    /// Number of the next file.
    pub(super) next: u64,
    pub(super) current: Option<Current>,
    pub(super) buffer: Vec<u8>,
    /// Taken by this thread, not yet in a round.
    pub(super) taken: VecDeque<Put>,
    /// The last write found no room.
    pub(super) full: bool,
    /// The sink knows of it.
    pub(super) stalled: bool,
    pub(super) failed: Option<String>,
}

/// The file that is written.
pub(super) struct Current {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// Where the next block goes.
    end: u64,
    /// Its name is not synced yet.
    new: bool,
}

impl Writer {
    /// The thread: until it is stopped and all is stored that was put before.
    pub(super) fn run(mut self) {
        loop {
            let stop = self.take();
            self.sweep();
            if !self.taken.is_empty() {
                self.round();
            } else if stop && self.end() {
                return;
            }
            self.recover_room();
        }
    }

    /// Waits for something to do; true when the thread is to end.
    fn take(&mut self) -> bool {
        let mut state = self.waiting.state.lock();
        if self.taken.is_empty() {
            while state.puts.is_empty() && !state.dusty && !state.stop {
                if !self.stalled && self.buffer.capacity() > 0 {
                    if self.waiting.wake.wait_for(&mut state, IDLE).timed_out() {
                        self.buffer = Vec::new();
                        self.shelf.config.idle.inspect(|idle| MutexGuard::unlocked(&mut state, idle));
                    }
                } else if !self.stalled {
                    self.waiting.wake.wait(&mut state);
                } else if self.waiting.wake.wait_for(&mut state, RETRY).timed_out() {
                    break;
                }
            }
        }
        if self.taken.is_empty() {
            std::mem::swap(&mut self.taken, &mut state.puts);
        } else {
            self.taken.append(&mut state.puts);
        }
        state.dusty = false;
        state.stop
    }

    /// Closes the store, unless something was put at the last moment.
    fn end(&mut self) -> bool {
        let mut state = self.waiting.state.lock();
        state.ended = state.puts.is_empty();
        if !state.ended {
            return false;
        }
        drop(state);
        self.close_current();
        self.shelf.remove_empty();
        true
    }

    fn sweep(&mut self) {
        self.shelf.remove_empty();
        if self.failed.is_none() {
            let count = self.shelf.ask_to_relocate(&*self.sink);
            self.counters.relocations.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn round(&mut self) {
        if let Some(why) = &self.failed {
            for put in self.taken.drain(..) {
                (put.done)(Err(io::Error::other(why.clone())));
            }
            return;
        }
        let config = &self.shelf.config;
        let end = self.current.as_ref().map(|current| current.end);
        let mut buffer = std::mem::take(&mut self.buffer);
        let parts = round::fill(&mut buffer, &mut self.taken, end, config.file_bytes, config.round_max_bytes);
        // Growing doubles the buffer, so it may be up to twice a round and a block.
        let keep_max = 3 * config.round_max_bytes;
        for part in parts {
            self.store(part, &buffer);
        }
        if buffer.capacity() <= keep_max {
            self.buffer = buffer;
        }
    }

    fn store(&mut self, part: Part, buffer: &[u8]) {
        if let Some(why) = &self.failed {
            part.tell_failed(&io::Error::other(why.clone()));
            return;
        }
        if part.bytes.is_empty() {
            // Nothing but refused blocks, which are in no file.
            part.tell_stored(0);
            return;
        }
        let bytes = &buffer[part.bytes.clone()];
        match self.write(&part, bytes).and_then(|()| self.sync()) {
            Ok(number) => {
                self.account(number, &part);
                if part.end() >= self.shelf.config.file_bytes {
                    self.close_current();
                }
                part.tell_stored(number);
            }
            Err(error) => {
                tracing::error!(dir = %self.shelf.config.dir.display(), %error, "blocks cannot be stored");
                self.close_current();
                part.tell_failed(&error);
            }
        }
    }

    /// Writes a part, however long it takes until there is room.
    fn write(&mut self, part: &Part, bytes: &[u8]) -> io::Result<()> {
        let mut new_file = part.new_file;
        loop {
            let outcome = self.begin(new_file).and_then(|()| self.append(part, bytes));
            match outcome {
                Ok(()) => {
                    self.full = false;
                    return Ok(());
                }
                // A file that was begun is kept: the next try writes the same place again.
                Err(error) if is_out_of_room(&error) => {
                    new_file &= self.current.as_ref().is_none_or(|current| current.end != 0);
                    self.wait_for_room(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a new file if one is needed.
    fn begin(&mut self, new_file: bool) -> io::Result<()> {
        if !new_file {
            return Ok(());
        }
        self.close_current();
        let number = self.next;
        let path = self.shelf.config.dir.join(format::name(number));
        // A number is not used again, whatever is there after an error.
        self.next = self.next.saturating_add(1);
        let file = self.shelf.disk.open(&path, OpenMode::Create)?;
        self.shelf.files.lock().create(number);
        self.current = Some(Current { number, file, end: 0, new: true });
        Ok(())
    }

    fn append(&mut self, part: &Part, bytes: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no block file is open"));
        };
        if current.end == 0 {
            let head: [u8; FILE_HEAD_BYTES] = format::file_head(current.number);
            current.file.write_at(0, &[IoSlice::new(&head), IoSlice::new(bytes)])?;
        } else {
            current.file.write_at(current.end, &[IoSlice::new(bytes)])?;
        }
        current.end = part.end();
        Ok(())
    }

    /// Makes what was written survive a crash; gives the number of the file.
    fn sync(&mut self) -> io::Result<u64> {
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no block file is open"));
        };
        let config = &self.shelf.config;
        if config.durable {
            let mut outcome = current.file.sync();
            if outcome.is_ok() && current.new {
                outcome = self.shelf.disk.sync_dir(&config.dir);
            }
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = outcome {
                let path = config.dir.join(format::name(current.number));
                let why = format!("block file {} cannot be synced: {error}", path.display());
                self.sink.failed(&why);
                self.failed = Some(why.clone());
                return Err(io::Error::new(error.kind(), why));
            }
        }
        current.new = false;
        Ok(current.number)
    }

    fn account(&mut self, number: u64, part: &Part) {
        let mut files = self.shelf.files.lock();
        files.set_bytes(number, part.end());
        let mut count = 0;
        for block in &part.blocks {
            if let Ok((offset, length)) = block.place {
                count += 1;
                if let Err(wrong) = files.add(block.log, Location { file: number, offset, length }) {
                    tracing::error!(file = number, offset, wrong, "a stored block is not accounted for");
                }
            }
        }
        drop(files);
        self.counters.puts.fetch_add(count, Ordering::Relaxed);
        self.counters.put_bytes.fetch_add(part.bytes.len() as u64, Ordering::Relaxed);
    }

    /// Nothing goes into the current file any more.
    fn close_current(&mut self) {
        if let Some(current) = self.current.take() {
            let bytes = current.file.len().unwrap_or(current.end);
            let mut files = self.shelf.files.lock();
            files.set_bytes(current.number, bytes);
            files.close(current.number);
        }
    }

    /// The disk is full: gives up the reserve or waits a moment. An error when the store is stopped.
    fn wait_for_room(&mut self, error: io::Error) -> io::Result<()> {
        self.full = true;
        let used_up = self.reserve.use_up();
        if !std::mem::replace(&mut self.stalled, true) {
            self.counters.stalled.store(true, Ordering::Relaxed);
            let dir = self.shelf.config.dir.display();
            self.sink.stalled(Some(&format!("no room on the disk of {dir}: {error}")));
        }
        if used_up {
            return Ok(());
        }
        let until = Instant::now() + RETRY;
        let mut state = self.waiting.state.lock();
        while !state.stop && !state.dusty && !self.waiting.wake.wait_until(&mut state, until).timed_out() {}
        state.dusty = false;
        let stop = state.stop;
        drop(state);
        self.sweep();
        if stop { Err(error) } else { Ok(()) }
    }

    /// Tells that it goes on once writes work and the reserve is there again.
    fn recover_room(&mut self) {
        if !self.stalled || !self.reserve.restore() {
            return;
        }
        let config = &self.shelf.config;
        if self.full && config.reserve_bytes == 0 {
            // Nothing waits that could be tried.
            let room = self.shelf.disk.free_bytes(&config.dir).unwrap_or(0);
            if room < config.round_max_bytes as u64 {
                return;
            }
        }
        self.full = false;
        self.stalled = false;
        self.counters.stalled.store(false, Ordering::Relaxed);
        self.sink.stalled(None);
    }
}
