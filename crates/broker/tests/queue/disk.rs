//! Blocks and a log as a disk would keep them, for queues whose bodies leave memory.

use broker::message::Chunk;
use broker::queue::{BlockAt, LogCommand, PageJob, PageOut, QueueMachine, RecoveredQueue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A record and its body's bytes.
type LogRecord = (u64, Vec<u8>, Option<Vec<u8>>);

#[derive(Default)]
pub struct Disk {
    blocks: BTreeMap<BlockAt, Vec<u8>>,
    last_block: u64,
    writing: Vec<PageJob>,
    log: Vec<LogRecord>,
    last_position: u64,
    /// Index of the first message whose position the machine was not told.
    noted: u64,
    seen: Vec<(u64, u32)>,
    used: bool,
}

impl Disk {
    /// Whether anything ever left memory.
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Puts commands into the log and tells the machine where its messages are in it.
    pub fn append(&mut self, machine: &mut QueueMachine, commands: &[LogCommand]) {
        let first = self.last_position + 1;
        for (head, chunk) in machine.records_of(commands) {
            self.last_position += 1;
            let body = chunk.map(|chunk| {
                let mut bytes = Vec::new();
                chunk.encode(&mut bytes);
                bytes
            });
            self.log.push((self.last_position, head, body));
        }
        machine.note_position(self.noted, first);
        self.noted = machine.state().next;
        for at in machine.take_freed() {
            assert!(self.blocks.remove(&at).is_some(), "{at:?} freed twice");
        }
        let used: Vec<BlockAt> = machine.blocks().collect();
        assert!(used.iter().all(|at| self.blocks.contains_key(at)), "a block in use was freed");
    }

    pub fn page_out(&mut self, machine: &mut QueueMachine, keep: u64) {
        self.writing.extend(machine.page_out(PageOut::Pressure { keep, least: 100 }, 20_000));
    }

    pub fn written(&mut self, machine: &mut QueueMachine) {
        if self.writing.is_empty() {
            return;
        }
        self.used = true;
        let job = self.writing.remove(0);
        if self.last_block % 7 == 3 {
            // The disk was full.
            self.last_block += 1;
            machine.page_failed(&job);
            return;
        }
        self.last_block += 1;
        let mut bytes = Vec::new();
        job.fill(&mut bytes);
        let at = BlockAt { file: self.last_block, offset: 5, length: bytes.len() as u32 };
        self.blocks.insert(at, bytes);
        machine.paged(&job, at);
    }

    fn read(&mut self, machine: &mut QueueMachine, wanted: Vec<(u64, BlockAt)>) {
        for (first, at) in wanted {
            let chunk = Chunk::decode(self.blocks[&at].clone()).unwrap();
            assert!(machine.loaded(first, at, Arc::new(chunk)));
        }
    }

    pub fn load_all(&mut self, machine: &mut QueueMachine) {
        loop {
            let wanted = machine.wants(u64::MAX, usize::MAX);
            if wanted.is_empty() {
                break;
            }
            self.read(machine, wanted);
        }
    }

    pub fn give_up(&mut self, machine: &mut QueueMachine) {
        let named: Vec<BlockAt> = self.blocks.keys().take(1).copied().collect();
        let wanted = machine.give_up_blocks(&named, &mut self.seen);
        self.read(machine, wanted);
        self.writing.extend(machine.page_out(PageOut::Relocation, u64::MAX));
    }

    /// Writes a snapshot and drops the records that are not needed for it.
    pub fn checkpoint(&mut self, machine: &mut QueueMachine, now_ms: u64) {
        let needed = machine.oldest_position().unwrap_or(u64::MAX);
        self.last_position += 1;
        self.log.push((self.last_position, machine.snapshot(now_ms), None));
        let snapshot = self.last_position;
        self.log.retain(|(position, ..)| *position >= needed.min(snapshot));
        self.writing.extend(machine.page_out(PageOut::Checkpoint(snapshot), u64::MAX));
    }

    pub fn recover(&mut self) -> RecoveredQueue {
        self.writing.clear();
        let mut recovered = RecoveredQueue::default();
        for (position, head, body) in &self.log {
            let chunk = body.clone().map(|bytes| Arc::new(Chunk::decode(bytes).unwrap()));
            recovered.apply(head, chunk.as_ref(), *position).unwrap();
        }
        let needed: Vec<BlockAt> = recovered.blocks().collect();
        self.blocks.retain(|at, _| needed.contains(at));
        assert_eq!(self.blocks.len(), needed.len(), "a block that is needed was freed");
        self.noted = u64::MAX;
        recovered
    }
}
