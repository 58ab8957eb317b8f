//! One queue's life with every kind of record in it, and what must be left of it after a restart.
//!
//! Invariant: the same commands in the same order, whenever it is told.

use broker::message::{Chunk, ChunkBuilder, RecordHead};
use broker::queue::{BlockAt, PageOut, Picks, QueueConfig, QueueMachine};
use std::sync::Arc;

/// A record and the bytes of its chunk.
pub type LogRecord = (Vec<u8>, Option<Vec<u8>>);

/// What the story leaves behind.
pub struct Story {
    pub records: Vec<LogRecord>,
    pub snapshot: Vec<u8>,
    pub block: Vec<u8>,
}

pub fn config() -> QueueConfig {
    QueueConfig { dead_letter_exchange: Some("dlx".into()), ..QueueConfig::default() }
}

fn chunk(heads: &[(bool, Option<u64>, u8, &[u8])]) -> Arc<Chunk> {
    let routes: [Arc<[u8]>; 2] = [Arc::from(&b"\0\x01q"[..]), Arc::from(&b"\x02ex\x03key"[..])];
    let mut builder = ChunkBuilder::default();
    for (number, (persistent, ttl_ms, priority, body)) in heads.iter().enumerate() {
        let head = RecordHead {
            persistent: *persistent,
            ttl_ms: *ttl_ms,
            priority: *priority,
            ..Default::default()
        };
        builder.push(head, &routes[number % 2], &[0x10, 0, 1 + u8::from(*persistent)], body);
    }
    Arc::new(builder.finish())
}

/// Hands out the next `count` messages, as basic.get does.
fn get(machine: &mut QueueMachine, count: usize) {
    for _ in 0..count {
        let offer = machine.next_for_get().expect("a message");
        let mut bytes = 0;
        machine.deliveries(&offer.ranges).walk(|message| {
            bytes += message.record.body.len() as u64;
            true
        });
        machine.got(&offer, bytes, false);
    }
}

/// What the log gets.
fn take_records(machine: &mut QueueMachine) -> Vec<LogRecord> {
    let encoded = |chunk: Arc<Chunk>| {
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        bytes
    };
    machine.take_records().into_iter().map(|(head, chunk)| (head, chunk.map(encoded))).collect()
}

/// The story of a queue with mirrors: its home changes after the second of three messages.
pub fn mirrored_story() -> Story {
    let mut machine = QueueMachine::new(config(), true, 1_000);
    machine.begin_epoch(3);
    machine.enqueue(chunk(&[(true, None, 0, b"zero"), (true, None, 0, b"one")]), Picks::Span(0, 2), 7, 1_000);
    machine.begin_epoch(300);
    machine.enqueue(chunk(&[(true, None, 0, b"two")]), Picks::Span(0, 1), 3, 1_100);
    get(&mut machine, 1);
    machine.settle(Default::default(), &[(0, 1)]);
    let records = take_records(&mut machine);
    Story { records, snapshot: machine.snapshot(1_200), block: Vec::new() }
}

/// Tells the story.
pub fn story() -> Story {
    let mut machine = QueueMachine::new(config(), true, 1_000);
    let mut records = Vec::new();
    let mut log = |machine: &mut QueueMachine| records.extend(take_records(machine));
    // 0 to 4: the second is transient, the third lives a minute, the fourth has a priority.
    let first = chunk(&[
        (true, None, 0, b"zero"),
        (false, None, 0, b"transient"),
        (true, Some(60_000), 0, b"two"),
        (true, None, 3, b"three"),
        (true, None, 0, b""),
    ]);
    machine.enqueue(first, Picks::Span(0, 5), 4 + 9 + 3 + 5, 1_000);
    log(&mut machine);
    // 5 and 6: two of three, the other went to another queue.
    let second = chunk(&[(true, None, 0, b"five"), (true, None, 0, b"not here"), (true, None, 0, b"six")]);
    let mut picks = Picks::Span(0, 1);
    picks.push(2);
    machine.enqueue(second, picks, 7, 2_500);
    log(&mut machine);
    // 7 to 9, of which 7 and 8 go to a block.
    let third = chunk(&[(true, None, 0, b"seven"), (true, Some(5), 9, b"eight"), (true, None, 0, b"nine")]);
    machine.enqueue(third, Picks::Span(0, 3), 14, 3_000);
    log(&mut machine);
    let consumer = Default::default();
    get(&mut machine, 10);
    machine.settle(consumer, &[(4, 5), (9, 10)]);
    machine.take_back(consumer, &[(2, 4)], 3_100);
    machine.reject(consumer, &[(5, 6)], 3_200);
    log(&mut machine);
    let jobs = machine.page_out(PageOut::Pressure { keep: 150, least: 0 }, u64::MAX);
    let [job] = jobs.as_slice() else { panic!("one block, not {}", jobs.len()) };
    let mut block = Vec::new();
    job.fill(&mut block);
    machine.paged(job, BlockAt { file: 3, offset: 32, length: block.len() as u32 });
    log(&mut machine);
    let snapshot = machine.snapshot(3_300);
    Story { records, snapshot, block }
}
