//! Files of format version 1 that every later version must read, or refuse, in the same way.

use super::directory::{Directory, batches};
use super::observer::{Seen, body, end, open, record, snapshot, start, tiny};
use std::path::PathBuf;
use std::sync::Arc;
use storage::wal::Entry;
use storage::{CrashDisk, Disk, OpenError};

const NAME: &str = "0000000000000002.wal";

fn path(which: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wal-v1-{which}.wal"))
}

fn directory(which: &str) -> Directory {
    Directory([(NAME.to_owned(), std::fs::read(path(which)).unwrap())].into())
}

/// What is in the good file: three batches.
fn entries() -> [Vec<Entry>; 3] {
    let shared = body(b"a body of two entries".to_vec(), b"+trailer");
    [
        vec![record(1, b"first"), Entry { body: Some(shared.clone()), ..record(2, b"a") }],
        vec![Entry { body: Some(shared), ..record(3, b"b") }, snapshot(1, 3, Some(2)), snapshot(2, 4, None)],
        vec![record(u64::MAX, b""), end(1), Entry { body: Some(body(vec![7; 300], b"")), ..record(3, b"c") }],
    ]
}

fn seen() -> Vec<Seen> {
    (1..).zip(entries().iter().flatten()).map(|(sequence, entry)| Seen::of(sequence, entry)).collect()
}

#[test]
fn the_good_file_is_read() {
    let (opened, found) = open(&directory("good").disk(), &tiny()).unwrap();
    assert_eq!((found.entries, opened.next_sequence()), (seen(), 9));
    assert!(opened.damage().is_empty());
}

#[test]
fn the_torn_file_is_cut() {
    let (opened, found) = open(&directory("torn").disk(), &tiny()).unwrap();
    assert_eq!((found.entries, opened.next_sequence()), (seen()[..5].to_vec(), 6));
    assert!(opened.damage().is_empty());
}

#[test]
fn the_file_with_a_flipped_bit_is_refused() {
    let error = open(&directory("flipped").disk(), &tiny()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { offset: 128, .. }), "{error}");
}

#[test]
fn the_newer_file_is_refused() {
    let error = open(&directory("newer").disk(), &tiny()).err().unwrap();
    assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }), "{error}");
}

/// How the files were made. Not to be run again: that would make them files of today's version.
#[test]
#[ignore = "writes the fixtures"]
fn write_fixtures() {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(3));
    let (wal, _, _) = start(&disk, &tiny());
    for entries in entries() {
        wal.append(entries, true);
        wal.flush().unwrap();
    }
    wal.stop().unwrap();
    let good = Directory::of(&*disk).0.remove(NAME).unwrap();
    let found = batches(&good);
    let save = |which: &str, bytes: &[u8]| {
        assert!(!path(which).exists(), "there is one already");
        std::fs::write(path(which), bytes).unwrap();
    };
    save("good", &good);
    let mut torn = good.clone();
    let (at, length) = found[2];
    torn[at + 100..at + length].fill(0);
    save("torn", &torn);
    let mut flipped = good.clone();
    flipped[128 + 80] ^= 4;
    save("flipped", &flipped);
    let mut newer = good;
    newer[8] = 2;
    newer[12..16].fill(0);
    let checksum = crc32c::crc32c(&newer[..128]);
    newer[12..16].copy_from_slice(&checksum.to_le_bytes());
    save("newer", &newer);
}
