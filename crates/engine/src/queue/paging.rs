//! A queue's bodies leave memory when it is short, and come back before they are wanted.
//!
//! Invariant: bytes leave memory only when a block has them; a block is given back only when the log
//! has committed that nobody needs it. What is being written and read at a time is bounded.

use super::part::Part;
use super::{Queue, QueueState, WaitingGet};
use crate::node::Broker;
use crate::storage::Storage;
use broker::message::Chunk;
use broker::queue::{BlockAt, PageJob, PageOut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::limits::{
    DEAD_LETTER_WINDOW, PAGE_HEAD_KEEP_BYTES, PAGE_LEAST_BYTES, PAGE_READ_AHEAD_BYTES, PAGE_WRITING_MAX_BYTES,
};

/// What became of reading a block.
pub enum BlockRead {
    /// Its messages.
    Chunk(Arc<Chunk>),
    /// The disk gave an error; it is tried again.
    Failed(String),
    /// What is there is not what was written.
    Lost(String),
}

/// What a queue's paging has under way.
#[derive(Default)]
pub(super) struct Paging {
    /// Bytes that are being written to blocks.
    writing_bytes: u64,
    /// Memory the broker was told of.
    told_bytes: u64,
    /// The log wants to forget everything up to here.
    checkpoint: Option<u64>,
    /// How much was live of blocks that were mostly dead at the last look.
    sparse: Vec<(u64, u32)>,
    /// Blocks are being given up.
    relocating: bool,
    /// The log posts a commit when it has caught up.
    waits_for_log: bool,
    /// The last block could not be written: nothing is tried until the next housekeeping.
    refused: bool,
    /// Blocks that could not be read, to be tried again.
    unread: Vec<(u64, BlockAt)>,
}

impl Paging {
    /// Bytes that may be handed to the block store now.
    fn room(&self) -> u64 {
        if self.refused { 0 } else { PAGE_WRITING_MAX_BYTES.saturating_sub(self.writing_bytes) }
    }
}

impl Queue {
    /// After a turn: blocks are given back, bodies leave and come, a checkpoint goes on.
    pub(super) fn page(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        let resident = state.machine.resident_bytes();
        let told = std::mem::replace(&mut state.paging.told_bytes, resident);
        broker.paging().grow(resident as i64 - told as i64);
        self.resident_bytes.store(resident, Ordering::Relaxed);
        let Some(storage) = broker.storage() else { return };
        self.give_back(state, storage);
        if broker.paging().is_over() && resident > PAGE_LEAST_BYTES && !self.is_gone() {
            self.relieve(state, broker, storage);
        }
        self.read_ahead(state, broker, storage);
        if state.paging.relocating {
            self.move_blocks(state, broker, storage);
        }
        if state.paging.checkpoint.is_some() {
            self.go_on_with_checkpoint(state, broker, storage);
        }
        let log_is_behind = state.log.is_backed_up();
        let copies_are_behind = matches!(&state.part, Part::Leads(leading) if leading.is_backed_up());
        if log_is_behind && !std::mem::replace(&mut state.paging.waits_for_log, true) {
            state.log.wake(self);
        }
        let backed_up = log_is_behind
            || copies_are_behind
            || (broker.paging().is_far_over() && state.paging.writing_bytes > PAGE_LEAST_BYTES);
        self.backed_up.store(backed_up, Ordering::Relaxed);
        let house = state.paging.checkpoint.is_some() || state.machine.has_blocks() || state.paging.refused;
        self.keeps_house.store(house, Ordering::Relaxed);
    }

    fn give_back(self: &Arc<Queue>, state: &mut QueueState, storage: &Arc<Storage>) {
        let freed = state.machine.take_freed();
        if freed.is_empty() {
            return;
        }
        let durable = self.row.load().durable;
        let storage = storage.clone();
        let free = Box::new(move || storage.free(durable, &freed));
        match &mut state.part {
            Part::Leads(leading) => leading.after(state.log.as_ref(), free),
            _ => state.log.after(free),
        }
    }

    fn relieve(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker, storage: &Arc<Storage>) {
        let room = state.paging.room();
        if room == 0 {
            return;
        }
        state.machine.drop_loaded(state.machine.counts().consumers_with_credit == 0);
        let keep = if state.machine.counts().consumers > 0 { PAGE_HEAD_KEEP_BYTES } else { 0 };
        let jobs = state.machine.page_out(PageOut::Pressure { keep, least: PAGE_LEAST_BYTES }, room);
        self.write(state, broker, storage, jobs);
    }

    fn write(
        self: &Arc<Queue>,
        state: &mut QueueState,
        broker: &Broker,
        storage: &Storage,
        jobs: Vec<PageJob>,
    ) {
        let durable = self.row.load().durable;
        for job in jobs {
            state.paging.writing_bytes += job.bytes;
            storage.page_out(broker.weak(), self, durable, job);
        }
    }

    fn read_ahead(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker, storage: &Storage) {
        if !state.machine.has_blocks() {
            return;
        }
        let letters = state.machine.letters_waiting(DEAD_LETTER_WINDOW);
        let wanted = !state.gets.is_empty() || state.machine.has_taker();
        let ahead = if wanted { PAGE_READ_AHEAD_BYTES } else { 0 };
        if ahead > 0 || letters > 0 {
            let blocks = state.machine.wants(ahead, letters);
            self.read(broker, storage, blocks);
        }
    }

    pub(super) fn read(self: &Arc<Queue>, broker: &Broker, storage: &Storage, blocks: Vec<(u64, BlockAt)>) {
        let durable = self.row.load().durable;
        for (first, at) in blocks {
            storage.read(broker.weak(), self, durable, first, at);
        }
    }

    /// Moves what only the log has to blocks; then the queue as a whole goes to the log.
    fn go_on_with_checkpoint(
        self: &Arc<Queue>,
        state: &mut QueueState,
        broker: &Broker,
        storage: &Arc<Storage>,
    ) {
        let Some(up_to) = state.paging.checkpoint else { return };
        let oldest = state.machine.oldest_position();
        if oldest.is_none_or(|oldest| oldest > up_to) {
            state.paging.checkpoint = None;
            state.log.checkpoint(state.machine.snapshot(crate::clock::now_ms()), oldest);
            return;
        }
        if !state.paging.refused {
            let jobs = state.machine.page_out(PageOut::Checkpoint(up_to), u64::MAX);
            self.write(state, broker, storage, jobs);
        }
    }

    /// The log has written what it had when the queue began to wait for it.
    pub(super) fn log_went_on(state: &mut QueueState) {
        state.paging.waits_for_log = false;
    }

    pub(super) fn paged(&self, state: &mut QueueState, job: &PageJob, outcome: std::io::Result<BlockAt>) {
        state.paging.writing_bytes = state.paging.writing_bytes.saturating_sub(job.bytes);
        match outcome {
            Ok(at) => state.machine.paged(job, at),
            Err(error) => {
                let row = self.row.load();
                tracing::warn!(queue = %row.name, vhost = %row.vhost, %error, "messages stay in memory");
                state.machine.page_failed(job);
                // A store that has failed answers at once: trying again at once would never end.
                state.paging.refused = true;
            }
        }
    }

    /// A look at the queue's blocks, now and then.
    pub(super) fn keep_house(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        state.paging.refused = false;
        self.give_up_blocks(state, broker, &[]);
    }

    pub(super) fn loaded(&self, state: &mut QueueState, first: u64, at: BlockAt, read: BlockRead) {
        let row = self.row.load();
        let why = match read {
            BlockRead::Chunk(chunk) => {
                if state.machine.loaded(first, at, chunk) {
                    return;
                }
                format!("{at:?}: the block has too few messages")
            }
            BlockRead::Failed(error) => {
                tracing::error!(queue = %row.name, vhost = %row.vhost, "messages wait to be read: {error}");
                state.paging.unread.push((first, at));
                return;
            }
            BlockRead::Lost(why) => why,
        };
        let lost = state.machine.load_failed(first, at);
        let count: u64 = lost.iter().map(|(start, end)| end - start).sum();
        tracing::error!(queue = %row.name, vhost = %row.vhost, count, "messages are lost: {why}");
    }

    pub(super) fn checkpoint(&self, state: &mut QueueState, up_to: u64) {
        if !self.is_gone() {
            state.paging.checkpoint = state.paging.checkpoint.max(Some(up_to));
        }
    }

    /// Gives up blocks that somebody named, or that are mostly dead.
    pub(super) fn give_up_blocks(
        self: &Arc<Queue>,
        state: &mut QueueState,
        broker: &Broker,
        named: &[BlockAt],
    ) {
        let Some(storage) = broker.storage() else { return };
        let mut sparse = std::mem::take(&mut state.paging.sparse);
        let mut blocks = state.machine.give_up_blocks(named, &mut sparse);
        state.paging.sparse = sparse;
        state.paging.relocating = true;
        blocks.append(&mut state.paging.unread);
        self.read(broker, storage, blocks);
    }

    /// Blocks that are given up and have been read go elsewhere.
    fn move_blocks(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker, storage: &Storage) {
        let room = state.paging.room();
        if room == 0 {
            return;
        }
        let jobs = state.machine.page_out(PageOut::Relocation, room);
        state.paging.relocating = !jobs.is_empty() || state.machine.is_relocating();
        self.write(state, broker, storage, jobs);
    }

    /// Answers gets whose message is in memory now.
    pub(super) fn serve_gets(self: &Arc<Queue>, state: &mut QueueState, now_ms: u64) {
        while state.machine.front_is_loaded()
            && let Some(WaitingGet { no_ack, outlet, done }) = state.gets.pop_front()
        {
            self.get(state, no_ack, &outlet, now_ms);
            crate::drive::touch(&outlet);
            let _ = done.send(());
        }
    }
}
