//! A queue's log as version 1 wrote it: it has to be read for ever, and what is broken must be refused or
//! passed over without a panic.
//!
//! `cargo test -p broker --test queue_log -- --ignored` writes the files anew. That is right only while no
//! released version has written this format.

#[path = "queue/story.rs"]
mod story;

use broker::message::Chunk;
use broker::queue::{BlockAt, QueueConfig, QueueMachine, RecoveredQueue};
use std::path::PathBuf;
use std::sync::Arc;
use story::{LogRecord, config, mirrored_story, story};

/// Records of the story, each with its length and that of its chunk before it.
const LOG: &[u8] = include_bytes!("fixtures/queue-log-v1.bin");
/// The queue at the end of it.
const SNAPSHOT: &[u8] = include_bytes!("fixtures/queue-snapshot-v1.bin");
/// Records of the story of a queue with mirrors, and the queue at the end of it.
const MIRRORED_LOG: &[u8] = include_bytes!("fixtures/queue-log-v1-epochs.bin");
const MIRRORED_SNAPSHOT: &[u8] = include_bytes!("fixtures/queue-snapshot-v2.bin");
/// The chunk of the first record.
const CHUNK: &[u8] = include_bytes!("fixtures/chunk-v1.bin");
/// The same, but the first body is longer than all records.
const LONG_BODY: &[u8] = include_bytes!("fixtures/chunk-v1-long-body.bin");
/// The same, but of a version that is not known.
const NEWER_CHUNK: &[u8] = include_bytes!("fixtures/chunk-v99.bin");
/// The first record, but of a version that is not known.
const NEWER_RECORD: &[u8] = include_bytes!("fixtures/queue-record-v99.bin");
/// The first record, but its messages are behind the end of its chunk.
const OUTSIDE: &[u8] = include_bytes!("fixtures/queue-record-v1-outside.bin");

fn joined(records: &[LogRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (head, body) in records {
        for part in [head.as_slice(), body.as_deref().unwrap_or_default()] {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

fn split(mut bytes: &[u8]) -> Vec<LogRecord> {
    let mut part = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        bytes = rest;
        Some(part.to_vec())
    };
    let mut records = Vec::new();
    while let Some(head) = part() {
        records.push((head, part().filter(|body| !body.is_empty())));
    }
    records
}

fn decoded(body: &Option<Vec<u8>>) -> Option<Arc<Chunk>> {
    body.clone().map(|bytes| Arc::new(Chunk::decode(bytes).unwrap()))
}

fn recovered(records: &[LogRecord]) -> RecoveredQueue {
    let mut queue = RecoveredQueue::default();
    for (position, (head, body)) in records.iter().enumerate() {
        queue.apply(head, decoded(body).as_ref(), position as u64 + 1).unwrap();
    }
    queue
}

#[test]
#[ignore = "writes the fixtures"]
fn write_fixtures() {
    let write = |name: &str, bytes: &[u8]| {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect();
        std::fs::write(path, bytes).unwrap();
    };
    let story = story();
    write("queue-log-v1.bin", &joined(&story.records));
    write("queue-snapshot-v1.bin", &story.snapshot);
    let mirrored = mirrored_story();
    write("queue-log-v1-epochs.bin", &joined(&mirrored.records));
    write("queue-snapshot-v2.bin", &mirrored.snapshot);
    let (record, chunk) = story.records[0].clone();
    let chunk = chunk.unwrap();
    write("chunk-v1.bin", &chunk);
    let mut long = chunk.clone();
    long[2] = 1;
    write("chunk-v1-long-body.bin", &long);
    let mut newer = chunk;
    let version = newer.len() - 4;
    newer[version] = 99;
    write("chunk-v99.bin", &newer);
    let mut newer = record.clone();
    newer[0] = 99;
    write("queue-record-v99.bin", &newer);
    let mut outside = record;
    *outside.last_mut().unwrap() = 9;
    write("queue-record-v1-outside.bin", &outside);
}

#[test]
fn a_change_of_what_is_written_needs_a_new_version() {
    let story = story();
    assert!(joined(&story.records) == LOG, "the bytes of a record or chunk changed");
    assert!(story.snapshot == SNAPSHOT, "the snapshot's bytes changed");
    let kinds: std::collections::BTreeSet<u8> = story.records.iter().map(|(head, _)| head[1]).collect();
    assert!(kinds.into_iter().eq(1..=5), "every kind of record is in it");
    let mirrored = mirrored_story();
    assert!(joined(&mirrored.records) == MIRRORED_LOG, "the bytes of a mirrored queue's record changed");
    assert!(mirrored.snapshot == MIRRORED_SNAPSHOT, "the bytes of a mirrored queue's snapshot changed");
    let epochs = mirrored.records.iter().filter(|(head, _)| head[..2] == [1, 7]).count();
    assert_eq!((epochs, &mirrored.snapshot[..2]), (2, &[2, 6][..]), "kinds and versions");
}

#[test]
fn records_and_snapshots_of_epochs_are_the_known_mirrored_queue() {
    let mut covered = split(MIRRORED_LOG);
    covered.retain(|(_, body)| body.is_some());
    covered.push((MIRRORED_SNAPSHOT.to_vec(), None));
    for records in [split(MIRRORED_LOG), covered] {
        let (mut machine, lost) = recovered(&records).finish(config(), 4_000);
        machine.validate();
        assert_eq!(lost, 0);
        assert_eq!(machine.history().pairs(), [(3, 0), (300, 2)]);
        let seen = |index: u64, body: &str| (index, body.to_owned(), true, 0);
        let mut found = ready(&mut machine);
        // What was not handed out before is not marked in every form of the log.
        found.iter_mut().for_each(|message| message.2 = true);
        assert_eq!(found, [seen(1, "one"), seen(2, "two")]);
    }
}

/// Bodies of ready messages with their indexes, whether they were seen before and how often they returned.
fn ready(machine: &mut QueueMachine) -> Vec<(u64, String, bool, u32)> {
    let mut all = Vec::new();
    while let Some(offer) = machine.next_for_get() {
        let mut bytes = 0;
        machine.deliveries(&offer.ranges).walk(|message| {
            let body = String::from_utf8(message.record.body.to_vec()).unwrap();
            all.push((message.index, body, message.redelivered, message.returns));
            bytes += message.record.body.len() as u64;
            true
        });
        machine.got(&offer, bytes, false);
    }
    all
}

/// The queue of the story after a restart at 4 s, when the log was `queue`.
fn check(queue: RecoveredQueue) {
    assert_eq!(queue.count(), 7);
    assert!(queue.last_ms() >= 3_200);
    let block = story().block;
    let at = BlockAt { file: 3, offset: 32, length: block.len() as u32 };
    assert_eq!(queue.blocks().collect::<Vec<_>>(), [at]);
    let (mut machine, lost) = queue.finish(config(), 4_000);
    machine.validate();
    assert_eq!(lost, 0);
    let chunk = Arc::new(Chunk::decode(block).unwrap());
    let first = machine.wants(u64::MAX, usize::MAX)[0].0;
    assert!(machine.loaded(first, at, chunk));
    machine.validate();
    assert_eq!(machine.dead_letters(9), [(5, broker::message::DeathReason::Rejected)]);
    assert_eq!(machine.next_deadline_ms(), Some(3_005), "the times of the third and the ninth go on");
    let seen = |index: u64, body: &str, returns: u32| (index, body.to_owned(), true, returns);
    let expected =
        [seen(0, "zero", 0), seen(2, "two", 1), seen(3, "three", 1), seen(6, "six", 0), seen(7, "seven", 0)];
    machine.expire(4_000);
    assert_eq!(ready(&mut machine), expected);
    assert_eq!(machine.state().next, 10);
}

#[test]
fn the_log_of_version_1_is_the_known_queue() {
    check(recovered(&split(LOG)));
}

#[test]
fn the_snapshot_of_version_1_is_the_known_queue() {
    let mut records = split(LOG);
    records.retain(|(_, body)| body.is_some());
    records.push((SNAPSHOT.to_vec(), None));
    check(recovered(&records));
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    let mut queue = RecoveredQueue::default();
    let error = queue.apply(NEWER_RECORD, None, 1).unwrap_err();
    assert_eq!(error.to_string(), "record of version 99, known is 1 at byte 0");
    let error = Chunk::decode(NEWER_CHUNK.to_vec()).unwrap_err();
    assert!(error.to_string().starts_with("chunk of another version"), "{error}");
    assert_eq!(queue.count(), 0);
}

#[test]
fn broken_files_are_refused() {
    let chunk = Arc::new(Chunk::decode(CHUNK.to_vec()).unwrap());
    assert_eq!(chunk.len(), 5);
    let mut queue = RecoveredQueue::default();
    let told = |error: broker::DecodeError| error.reason.to_string();
    assert_eq!(told(queue.apply(OUTSIDE, Some(&chunk), 1).unwrap_err()), "messages outside their chunk");
    let without = queue.apply(&split(LOG)[0].0, None, 1).unwrap_err();
    assert_eq!(told(without), "messages without their bytes");
    assert_eq!(told(Chunk::decode(LONG_BODY.to_vec()).unwrap_err()), "record does not fit");
}

/// Reads the records, and goes on with whatever they make of the queue.
fn read_all(records: &[LogRecord]) -> u64 {
    let mut queue = RecoveredQueue::default();
    let mut refused = 0;
    for (position, (head, body)) in records.iter().enumerate() {
        let chunk = body.clone().and_then(|bytes| Chunk::decode(bytes).ok()).map(Arc::new);
        refused += u64::from(queue.apply(head, chunk.as_ref(), position as u64 + 1).is_err());
    }
    let config = QueueConfig { max_priority: Some(5), message_ttl_ms: Some(9_000), ..config() };
    let (mut machine, _) = queue.finish(config, 4_000);
    machine.validate();
    let again = machine.snapshot(4_000);
    RecoveredQueue::default().apply(&again, None, 1).expect("what was understood can be written");
    machine.expire(u64::MAX / 2);
    machine.validate();
    refused
}

#[test]
fn flipped_bits_and_cut_records_never_panic() {
    let mut records = split(LOG);
    records.push((SNAPSHOT.to_vec(), None));
    assert_eq!(read_all(&records), 0);
    let mut refused = 0;
    for at in 0..records.len() {
        let good = records[at].0.clone();
        for bit in 0..good.len() * 8 {
            records[at].0[bit / 8] ^= 1 << (bit % 8);
            refused += read_all(&records);
            records[at].0.clone_from(&good);
        }
        for length in 0..good.len() {
            records[at].0.truncate(length);
            assert!(read_all(&records) > 0, "record {at} cut to {length} bytes");
            records[at].0.clone_from(&good);
        }
    }
    assert!(refused > 100, "much of it is refused: {refused}");
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A record of version 1 with these numbers.
fn record(head: &[u8], numbers: &[u64]) -> LogRecord {
    let mut bytes = [&[1], head].concat();
    numbers.iter().for_each(|number| varint(&mut bytes, *number));
    (bytes, None)
}

#[test]
fn ranges_without_messages_are_not_walked() {
    const FAR: u64 = 1 << 60;
    let mut records = split(LOG);
    // One by one, none of these would come to an end.
    // A snapshot in which everything lives: next, handed, last time, one range, nothing else.
    records.push(record(&[6], &[FAR, 0, 5_000, 1, 0, FAR, 0, 0, 0]));
    // Returned, discarded and settled by the same length.
    records.push(record(&[4], &[1, 0, FAR]));
    records.push(record(&[3, 0], &[5_000, 1, 0, FAR / 2]));
    records.push(record(&[2], &[0, 1, FAR / 4, FAR / 4]));
    assert_eq!(read_all(&records), 0);
    let (machine, lost) = recovered(&records).finish(config(), 6_000);
    machine.validate();
    assert!(lost > FAR / 2, "what has no bytes is counted as lost: {lost}");
    assert!(machine.counts().ready + machine.state().discarding.len() as u64 <= 10);
}

#[test]
fn a_block_that_has_no_room_for_its_messages_is_refused() {
    let mut at = vec![1, 5];
    at.extend(3u64.to_le_bytes());
    at.extend(32u32.to_le_bytes());
    at.extend(160u32.to_le_bytes());
    // first, count, one run (offset, count, ordinal), live bytes, no marks, one arrival (offset, ms)
    let entry = |numbers: &[u64]| {
        let mut bytes = at.clone();
        numbers.iter().for_each(|number| varint(&mut bytes, *number));
        RecoveredQueue::default().apply(&bytes, None, 1).map_err(|error| error.reason.to_string())
    };
    assert_eq!(entry(&[0, 10, 1, 0, 10, 0, 0, 0, 1, 0, 7]), Ok(()));
    let room = Err("more messages than their block has room for".to_owned());
    assert_eq!(entry(&[0, 11, 1, 0, 11, 0, 0, 0, 1, 0, 7]), room);
    assert_eq!(entry(&[0, 10, 1, 0, 10, 0, 1, 0, 1, 0, 7]), room);
    assert_eq!(entry(&[0, 10, 1, 0, 1, 0, u64::MAX, 0, 1, 0, 7]), room);
    assert_eq!(entry(&[0, 9, 1, 0, 10, 0, 0, 0, 1, 0, 7]), Err("messages outside their segment".to_owned()));
    assert_eq!(entry(&[0, 10, 1, 0, 10, 0, 0, 0, 1, 10, 7]), Err("arrival outside its segment".to_owned()));
    assert!(entry(&[u64::MAX, 10, 1, 0, 10, 0, 0, 0, 1, 0, 7]).is_err_and(|why| why.contains("too high")));
    assert!(entry(&[0, 10, 1, 0, 10, 0, 0, 0, 1, 0, u64::MAX]).is_err_and(|why| why.contains("too late")));
}

#[test]
fn segments_that_overlap_do_not_stop_the_queue() {
    let story = split(LOG);
    let mut records = story.clone();
    // The second record again, in the midst of the first one's messages.
    let mut other = story[1].clone();
    assert_eq!(other.0[2], 5, "the index of its first message");
    other.0[2] = 3;
    records.insert(1, other);
    assert_eq!(read_all(&records), 0);
    let (machine, lost) = recovered(&records).finish(config(), 4_000);
    machine.validate();
    assert_eq!(lost, 0, "the first one's messages are in its chunk");
}

#[test]
fn messages_far_apart_do_not_share_a_block() {
    use broker::queue::PageOut;
    const FAR: u64 = 1 << 40;
    let (first, body) = split(LOG)[0].clone();
    let mut later = vec![1, 1];
    varint(&mut later, FAR);
    // What follows the first index.
    later.extend_from_slice(&first[3..]);
    let records = [(first, body.clone()), (later, body)];
    let (mut machine, _) = recovered(&records).finish(config(), 4_000);
    let jobs = machine.page_out(PageOut::Pressure { keep: 0, least: 0 }, u64::MAX);
    assert_eq!(jobs.iter().map(|job| job.first).collect::<Vec<_>>(), [0, FAR]);
    for (job, file) in jobs.iter().zip(1..) {
        let mut bytes = Vec::new();
        job.fill(&mut bytes);
        let at = BlockAt { file, offset: 32, length: bytes.len() as u32 };
        machine.paged(job, at);
        assert!(machine.loaded(job.first, at, Arc::new(Chunk::decode(bytes).unwrap())));
    }
    machine.validate();
    let found: Vec<u64> = ready(&mut machine).into_iter().map(|(index, ..)| index).collect();
    assert_eq!(found, [0, 2, 3, 4, FAR, FAR + 2, FAR + 3, FAR + 4]);
}

#[test]
fn a_block_with_too_few_messages_is_not_taken() {
    let (mut machine, _) = recovered(&split(LOG)).finish(config(), 4_000);
    let (first, at) = machine.wants(u64::MAX, usize::MAX)[0];
    let empty = Chunk::decode(empty_chunk()).unwrap();
    assert!(!machine.loaded(first, at, Arc::new(empty)));
    let lost: u64 = machine.load_failed(first, at).iter().map(|(start, end)| end - start).sum();
    assert_eq!(lost, 2);
    machine.validate();
}

fn empty_chunk() -> Vec<u8> {
    let mut bytes = Vec::new();
    broker::message::ChunkBuilder::default().finish().encode(&mut bytes);
    bytes
}
