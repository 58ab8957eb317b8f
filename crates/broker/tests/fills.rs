//! Fills of a mirror from a home whose messages are in blocks.
//!
//! Invariant: few blocks are read ahead of the mirror, however long the queue is.

use broker::message::{Chunk, ChunkBuilder, RecordHead};
use broker::queue::{BlockAt, IndexSet, NextFill, PageOut, Picks, QueueConfig, QueueMachine};
use broker::replica::History;
use std::collections::BTreeMap;
use std::sync::Arc;

const BLOCKS: usize = 200;
const BODY_BYTES: usize = 1_000;

fn message(number: usize) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::default();
    let head = RecordHead { persistent: true, ..RecordHead::default() };
    let mut body = vec![0; BODY_BYTES];
    body[..8].copy_from_slice(&number.to_be_bytes());
    builder.push(head, &Arc::from(&b"\0\x01q"[..]), &[0x10, 0, 2], &body);
    Arc::new(builder.finish())
}

/// A home with one message in each block, and what the blocks hold.
fn home() -> (QueueMachine, BTreeMap<u32, Vec<u8>>) {
    let mut machine = QueueMachine::new(QueueConfig::default(), true, 1_000);
    machine.begin_epoch(3);
    let mut blocks = BTreeMap::new();
    for number in 0..BLOCKS {
        machine.enqueue(message(number), Picks::Span(0, 1), BODY_BYTES as u64, 1_000 + number as u64);
        for job in machine.page_out(PageOut::Pressure { keep: 0, least: 0 }, u64::MAX) {
            let mut bytes = Vec::new();
            job.fill(&mut bytes);
            let at = BlockAt { file: 1, offset: number as u32 * 4_096, length: bytes.len() as u32 };
            machine.paged(&job, at);
            blocks.insert(at.offset, bytes);
        }
    }
    machine.drop_loaded(true);
    machine.validate();
    assert_eq!(blocks.len(), BLOCKS);
    (machine, blocks)
}

#[test]
fn a_mirror_that_misses_everything_has_few_blocks_read_at_a_time() {
    let (mut home, blocks) = home();
    let (_, mut missing) = home.reset_for(&History::default(), 0, &IndexSet::default());
    let (mut reading, mut filled): (Vec<(u64, BlockAt)>, usize) = (Vec::new(), 0);
    loop {
        match home.next_fill(&mut missing, 10 * BODY_BYTES) {
            NextFill::NeedsLoad(more) => {
                reading.extend(more);
                assert!(!reading.is_empty(), "nothing comes that it could go on with");
                assert!(reading.len() <= 8, "{} blocks at once", reading.len());
                // While they are read it is asked again and wants no more.
                let NextFill::NeedsLoad(again) = home.next_fill(&mut missing, 10 * BODY_BYTES) else {
                    panic!("nothing was read yet")
                };
                assert_eq!(again.len(), 0);
                let (first, at) = reading.remove(0);
                let chunk = Arc::new(Chunk::decode(blocks[&at.offset].clone()).unwrap());
                assert!(home.loaded(first, at, chunk));
            }
            NextFill::Fill(fill) => filled += fill.records.len(),
            NextFill::Done => break,
        }
    }
    assert_eq!((filled, missing.count(), reading.len()), (BLOCKS, 0, 0));
    home.validate();
}
