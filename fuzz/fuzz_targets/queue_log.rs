//! A queue's log with anything in it: records, chunks and snapshots are refused or understood, and what
//! was understood is a queue that agrees with itself, goes on, and can be written again.
//!
//! Input: parts one behind the other, each a kind (0 a chunk, 1 a record, 2 a record with the last chunk
//! as its body, 3 a block that is lost), its length in two bytes, little-endian, and its bytes.
#![no_main]

use broker::message::Chunk;
use broker::queue::{BlockAt, PageOut, QueueConfig, RecoveredQueue};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

/// What is looked at message by message is left out above this.
const COUNT_MAX: u64 = 200_000;

fuzz_target!(|data: &[u8]| {
    let Some((settings, mut rest)) = data.split_first() else { return };
    let mut queue = RecoveredQueue::default();
    let mut chunk: Option<Arc<Chunk>> = None;
    let mut position = 0;
    while let Some(([kind, low, high], left)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(left.len());
        let (part, left) = left.split_at(length);
        rest = left;
        position += 1;
        match kind {
            0 => chunk = Chunk::decode(part.to_vec()).ok().map(Arc::new).or(chunk),
            1 => drop(queue.apply(part, None, position)),
            2 => drop(queue.apply(part, chunk.as_ref(), position)),
            _ => {
                let first: Option<BlockAt> = queue.blocks().next();
                first.map(|at| queue.lose_block(at));
            }
        }
    }
    if let Some(chunk) = &chunk {
        for ordinal in 0..chunk.len() {
            let record = chunk.record(ordinal);
            let _ = (record.exchange(), record.routing_key(), record.body);
        }
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        assert_eq!(Chunk::decode(bytes).expect("a chunk comes back").len(), chunk.len());
    }
    let config = QueueConfig {
        max_priority: (settings & 1 != 0).then_some(5),
        message_ttl_ms: (settings & 2 != 0).then_some(1_000),
        dead_letter_exchange: (settings & 4 != 0).then(|| "dlx".into()),
        max_length: (settings & 8 != 0).then_some(3),
        delivery_limit: (settings & 16 != 0).then_some(2),
        ..QueueConfig::default()
    };
    let (mut machine, _) = queue.finish(config, 5_000);
    let counts = machine.counts();
    if counts.ready + machine.state().discarding.len() as u64 > COUNT_MAX {
        return;
    }
    machine.validate();
    let snapshot = machine.snapshot(5_000);
    RecoveredQueue::default().apply(&snapshot, None, 1).expect("what was understood can be written");
    machine.expire(6_000);
    machine.enforce_length(6_000);
    machine.validate();
    for job in machine.page_out(PageOut::Pressure { keep: 0, least: 0 }, u64::MAX) {
        let mut bytes = Vec::new();
        job.fill(&mut bytes);
        let at = BlockAt { file: 1 << 40, offset: 0, length: bytes.len() as u32 };
        machine.paged(&job, at);
        let chunk = Arc::new(Chunk::decode(bytes).expect("a block is a chunk"));
        assert!(machine.loaded(job.first, at, chunk));
    }
    machine.validate();
    let _ = machine.take_records();
    machine.purge();
    machine.validate();
});
