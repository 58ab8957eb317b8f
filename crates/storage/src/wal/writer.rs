//! The log's thread: one batch, one write, one sync, then everybody is told.
//!
//! Invariant: nothing is told to be durable before the sync that covers it came back; after a write or
//! a sync that failed nothing is ever written or told again.

use super::batch::{Batch, BatchFacts, Pending};
use super::config::WalConfig;
use super::current::{Current, Position};
use super::entry::{Entry, Sequence};
use super::format::chain_seed;
use super::format::file_head::{FILE_HEAD_BYTES, Previous};
use super::intake::{End, Intake};
use super::ledger::{FileInUse, Ledger};
use super::needs::Needs;
use super::signal::spin;
use super::sink::WalSink;
use super::spares::Spares;
use super::stats::{Counters, add, set};
use super::stock::News;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::limits::WAL_SPIN_US;

/// The log's thread and all that only it touches.
pub(super) struct Writer {
    pub config: WalConfig,
    pub intake: Arc<Intake>,
    pub spares: Arc<Spares>,
    pub counters: Arc<Counters>,
    pub sink: Arc<dyn WalSink>,
    pub needs: Needs,
    pub ledger: Ledger,
    pub position: Position,
    current: Option<Current>,
    taken: VecDeque<Pending>,
    batch: Batch,
    /// When a batch must say that files are no longer needed.
    announce_at: Option<Instant>,
}

impl Writer {
    pub fn new(parts: WriterParts) -> Self {
        let WriterParts { config, intake, spares, counters, sink, needs, ledger, position } = parts;
        Self {
            config,
            intake,
            spares,
            counters,
            sink,
            needs,
            ledger,
            position,
            current: None,
            taken: VecDeque::new(),
            batch: Batch::default(),
            announce_at: None,
        }
    }

    /// Works until the log is stopped or fails.
    pub fn run(mut self) {
        let intake = self.intake.clone();
        let (sink, spares) = (self.sink.clone(), self.spares.clone());
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work()));
        let end = match worked {
            Ok(Ok(())) => End::Stopped,
            Ok(Err(why)) => End::Failed(why),
            Err(_) => End::Failed("the log's thread came upon a fault of its own".to_owned()),
        };
        spares.stop();
        if let End::Failed(why) = intake.end(end) {
            tracing::error!(%why, "the log failed; nothing is committed any more");
            sink.failed(&why);
        }
    }

    fn work(&mut self) -> Result<(), String> {
        self.intake.signal.bind();
        self.after_batch();
        loop {
            let announce = self.announce_at.is_some_and(|at| at <= Instant::now());
            let found = self.intake.look(&mut self.taken, announce);
            // After the look: it takes the call back that came with the news.
            self.hear()?;
            if found.action_due {
                self.advance(self.intake.synced(), 0);
            }
            while !self.taken.is_empty() {
                self.write_batch()?;
            }
            if self.announce_at.is_some_and(|at| at <= Instant::now()) {
                self.write_batch()?;
            }
            if found.stopping && found.due {
                return Ok(());
            }
            if !found.due {
                self.rest(found.lazy_due);
            }
        }
    }

    /// Passes on what happened to the files made ahead.
    fn hear(&mut self) -> Result<(), String> {
        while let Some(news) = self.spares.next_news() {
            match news {
                News::Stalled(why) => self.sink.stalled(why.as_deref()),
                News::Failed(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn rest(&self, lazy_due: Option<Instant>) {
        let intake = &self.intake;
        if spin(Duration::from_micros(WAL_SPIN_US), || intake.is_called()) {
            return;
        }
        let deadline = [lazy_due, self.announce_at].into_iter().flatten().min();
        intake.signal.sleep(deadline, || intake.has_work(lazy_due.is_some()));
    }

    /// Writes what fits into one batch; an empty one if nothing waits.
    fn write_batch(&mut self) -> Result<(), String> {
        self.batch.clear();
        let limit = self.config.batch_max_bytes as u64;
        let mut needed = self.batch.length();
        loop {
            let room = self.current.as_ref().map_or(0, Current::room);
            if room >= needed {
                match self.batch.fill(&mut self.taken, room, limit) {
                    Ok(()) => break,
                    Err(length) => needed = length,
                }
            }
            self.roll(needed)?;
        }
        let idle = self.ledger.idle(self.needs.oldest(), false);
        let generation = self.current.as_ref().map_or(0, |current| current.ready.generation);
        let oldest = self.ledger.generation_after(idle).unwrap_or(generation);
        self.put(oldest)?;
        self.settle(oldest);
        Ok(())
    }

    /// Goes over to a file with room for `needed` bytes of a batch; waits until there is one.
    fn roll(&mut self, needed: u64) -> Result<(), String> {
        let least = needed + FILE_HEAD_BYTES as u64;
        let mut waited = false;
        let ready = loop {
            self.hear()?;
            if let Some(ready) = self.spares.take(least) {
                break ready;
            }
            if !std::mem::replace(&mut waited, true) {
                add(&self.counters.file_waits, 1);
            }
            if self.intake.is_stopping() && self.spares.has_no_room() {
                return Err("the log was stopped while the disk had no room for another file; \
                            what was appended last is not durable"
                    .to_owned());
            }
            self.intake.wait_for_call();
        };
        if let Some(current) = self.current.take().filter(|current| current.end > 0) {
            self.position.previous = Some(Previous {
                generation: current.ready.generation,
                end: current.end,
                checksum: current.checksum,
            });
        }
        let generation = ready.generation;
        let file =
            FileInUse { generation, length: ready.length, last_sequence: self.position.next_sequence - 1 };
        self.ledger.push(file);
        let salt = RandomState::new().hash_one(generation);
        self.current =
            Some(Current { ready, salt, end: 0, checksum: chain_seed(generation), asked_ahead: false });
        Ok(())
    }

    /// Writes and syncs the batch.
    fn put(&mut self, oldest: u64) -> Result<(), String> {
        let Some(current) = &mut self.current else { return Err("the log has no file".to_owned()) };
        let position = &mut self.position;
        let facts = BatchFacts {
            generation: current.ready.generation,
            number: position.next_number,
            first_sequence: position.next_sequence,
            oldest,
            salt: current.salt,
            previous: current.checksum,
        };
        let length = self.batch.length();
        let count = self.batch.entries.len() as u64;
        let (batch_head, checksum, payload) = self.batch.encode(facts);
        let file_head = current.head(oldest, position);
        let mut parts = Vec::with_capacity(payload.len() + 2);
        let start = current.end;
        if start == 0 {
            parts.push(IoSlice::new(&file_head));
            current.end = FILE_HEAD_BYTES as u64;
        }
        parts.push(IoSlice::new(&batch_head));
        parts.extend(payload);
        let path = &current.ready.path;
        let began = Instant::now();
        let file = &current.ready.file;
        file.write_at(start, &parts)
            .map_err(|error| format!("'{}' cannot be written to: {error}", path.display()))?;
        file.sync().map_err(|error| format!("'{}' cannot be synced: {error}", path.display()))?;
        set(&self.counters.last_sync_us, began.elapsed().as_micros() as u64);
        current.end += length;
        current.checksum = checksum;
        position.next_number += 1;
        position.next_sequence += count;
        add(&self.counters.batches, 1);
        add(&self.counters.syncs, 1);
        add(&self.counters.bytes, current.end - start);
        add(&self.counters.entries, count);
        if !current.asked_ahead && current.end > current.ready.length / 2 {
            current.asked_ahead = true;
            self.spares.want();
        }
        Ok(())
    }

    /// The batch is durable: brings needs and files up to date, tells everybody.
    fn settle(&mut self, oldest: u64) {
        let first = self.position.next_sequence - self.batch.entries.len() as u64;
        let (mut bytes, mut urgent) = (0, Vec::new());
        for (sequence, pending) in (first..).zip(&self.batch.entries) {
            let entry: &Entry = &pending.entry;
            self.needs.apply(sequence, entry.log, entry.kind);
            bytes += entry.bytes() as u64;
            if pending.urgent && urgent.last() != Some(&entry.log) {
                urgent.push(entry.log);
            }
        }
        urgent.sort_unstable();
        urgent.dedup();
        let last = self.position.next_sequence - 1;
        self.ledger.reached(last);
        let released = self.ledger.release(oldest);
        if !released.is_empty() {
            self.spares.release(released);
        }
        let has_entries = !self.batch.entries.is_empty();
        self.batch.clear();
        if has_entries {
            self.advance(last, bytes);
            self.sink.committed(last, &urgent);
        }
        self.announce_at = None;
        self.after_batch();
    }

    fn advance(&self, sequence: Sequence, bytes: u64) {
        for action in self.intake.advance(sequence, bytes) {
            action();
        }
    }

    /// Asks for checkpoints, and remembers to say which files are no longer needed.
    fn after_batch(&mut self) {
        while let Some(up_to) = self.ledger.ask(self.config.budget_bytes) {
            let logs = self.needs.holders(up_to);
            if !logs.is_empty() {
                self.sink.checkpoint(up_to, logs);
            }
        }
        let closed = self.current.is_none();
        if self.announce_at.is_none() && self.ledger.idle(self.needs.oldest(), closed) > 0 {
            self.announce_at = Some(Instant::now() + Duration::from_millis(self.config.lazy_ms));
        }
        let (files, bytes) = self.ledger.size();
        set(&self.counters.files_in_use, files as u64);
        set(&self.counters.bytes_in_use, bytes);
    }
}

/// What a writer is made of.
pub(super) struct WriterParts {
    pub config: WalConfig,
    pub intake: Arc<Intake>,
    pub spares: Arc<Spares>,
    pub counters: Arc<Counters>,
    pub sink: Arc<dyn WalSink>,
    pub needs: Needs,
    pub ledger: Ledger,
    pub position: Position,
}
