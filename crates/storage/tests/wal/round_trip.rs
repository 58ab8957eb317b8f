//! What is appended is what is replayed.

use super::observer::{Seen, body, end, open, record, snapshot, start, tiny, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::wal::{Entry, WalConfig};
use storage::{CrashDisk, Disk, RealDisk};

fn memory() -> Arc<dyn Disk> {
    Arc::new(CrashDisk::new(1))
}

#[test]
fn an_empty_directory_begins_at_one() {
    let disk = memory();
    let (opened, collected) = open(&disk, &tiny()).unwrap();
    assert_eq!((opened.next_sequence(), collected.entries.len()), (1, 0));
    let (wal, observer, _) = start(&disk, &tiny());
    assert_eq!((wal.synced(), wal.last_sequence(), wal.pending_bytes()), (0, 0, 0));
    assert_eq!(wal.append(vec![record(5, b"first")], true), 1);
    observer.wait(|told| told.committed == 1);
    assert_eq!((wal.synced(), wal.pending_bytes()), (1, 0));
    assert_eq!(observer.told().urgent, [[5]]);
    wal.stop().unwrap();
    assert!(wal.flush().is_ok());
}

#[test]
fn all_kinds_and_bodies_come_back_over_several_starts() {
    let disk = memory();
    let mut all: Vec<Seen> = Vec::new();
    for round in 0..5_u64 {
        let (wal, _, collected) = start(&disk, &tiny());
        assert_eq!(collected.entries, all, "round {round}");
        let large = body(vec![round as u8; 5_000], b"trailer");
        let small = body(b"small".to_vec(), b"");
        let entries = vec![
            record(1, b"plain"),
            Entry { body: Some(large.clone()), ..record(2, b"") },
            Entry { body: Some(small), ..record(3, b"x") },
            Entry { body: Some(body(Vec::new(), b"")), ..record(3, b"empty body") },
            Entry { body: Some(large), ..record(4, b"shares") },
            snapshot(1, all.len() as u64, Some(1)),
            end(9),
        ];
        let first = wal.last_sequence() + 1;
        all.extend((first..).zip(&entries).map(|(sequence, entry)| Seen::of(sequence, entry)));
        let last = wal.append(entries, false);
        assert_eq!(last, all.len() as u64);
        wal.flush().unwrap();
        assert_eq!((wal.synced(), wal.pending_bytes()), (last, 0));
        wal.stop().unwrap();
    }
}

#[test]
fn a_body_shared_in_a_batch_is_written_once_and_has_one_id() {
    let disk = memory();
    let mut config = tiny();
    config.file_bytes = 1 << 20;
    config.first_file_bytes = 1 << 20;
    config.batch_max_bytes = 1 << 20;
    let (wal, _, _) = start(&disk, &config);
    let shared = body(vec![7; 100_000], b"t");
    let mut entries: Vec<Entry> =
        (0..20).map(|log| Entry { body: Some(shared.clone()), ..record(log, b"h") }).collect();
    entries.push(Entry { body: Some(body(vec![7; 100_000], b"t")), ..record(99, b"h") });
    wal.append(entries, true);
    wal.flush().unwrap();
    assert!(wal.stats().bytes < 203_000, "{:?}", wal.stats());
    wal.stop().unwrap();
    let (_, collected) = open(&disk, &config).unwrap();
    assert!(collected.entries.iter().all(|seen| seen.body.as_ref().unwrap().len() == 100_001));
    let (alone, together) = collected.body_ids.split_last().unwrap();
    assert!(together.iter().all(|id| *id == together[0] && id != alone));
}

#[test]
fn an_entry_larger_than_a_file_gets_a_file_of_its_own() {
    let disk = memory();
    let (wal, _, _) = start(&disk, &tiny());
    let mut all = Vec::new();
    for length in [10_usize, 100_000, 20, 16 * 1024, 40_000, 30] {
        let entry = Entry { body: Some(body(vec![length as u8; length], b"end")), ..record(1, b"big") };
        all.push(Seen::of(all.len() as u64 + 1, &entry));
        wal.append(vec![entry], true);
    }
    wal.flush().unwrap();
    wal.stop().unwrap();
    let (wal, _, collected) = start(&disk, &tiny());
    assert_eq!(collected.entries, all);
    // Nobody needs them any more: the large files go, they are not kept as spares.
    wal.append(vec![end(1)], true);
    wal.flush().unwrap();
    until(|| wal.stats().files_in_use == 1, || format!("{:?}", wal.stats()));
    wal.stop().unwrap();
}

#[test]
fn actions_run_in_order_after_the_sync_and_at_once_afterwards() {
    let disk = memory();
    let (wal, _, _) = start(&disk, &tiny());
    let ran = Arc::new(AtomicU64::new(0));
    let action = |number: u64| {
        let (ran, log) = (ran.clone(), Arc::downgrade(&wal));
        Box::new(move || {
            assert!(log.upgrade().is_none_or(|log| log.synced() >= number));
            assert_eq!(ran.fetch_add(1, Ordering::SeqCst) + 1, number);
        })
    };
    wal.after_sync(2, action(2));
    wal.after_sync(1, action(1));
    wal.append(vec![record(1, b"a"), record(1, b"b"), record(1, b"c")], true);
    wal.flush().unwrap();
    wal.after_sync(1, action(3));
    wal.after_sync(50, action(4));
    wal.stop().unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

#[test]
fn entries_nobody_waits_for_are_written_after_a_moment() {
    let disk = memory();
    let (wal, observer, _) = start(&disk, &tiny());
    for sequence in 1..=20 {
        wal.append(vec![record(1, b"lazy")], false);
        observer.wait(|told| told.committed == sequence);
    }
    assert!(observer.told().urgent.iter().all(Vec::is_empty));
    // Many at once do not wait for the moment to be over.
    let mut config = tiny();
    config.lazy_ms = 3_600_000;
    config.lazy_bytes = 1_000;
    wal.stop().unwrap();
    let (wal, observer, _) = start(&disk, &config);
    for _ in 0..101 {
        wal.append(vec![record(1, b"0123456789")], false);
    }
    observer.wait(|told| told.committed >= 120);
    wal.stop().unwrap();
}

#[test]
fn the_real_disk_keeps_it_too() {
    let dir = std::env::temp_dir().join(format!("leveret-wal-{}", std::process::id()));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = WalConfig { dir: dir.join("wal"), ..tiny() };
    let (wal, _, _) = start(&disk, &config);
    for number in 0..2_000_u32 {
        wal.append(vec![record(1, &number.to_le_bytes())], number % 7 == 0);
    }
    wal.stop().unwrap();
    let (opened, collected) = open(&disk, &config).unwrap();
    assert_eq!(opened.next_sequence(), 2_001);
    let numbers: Vec<Vec<u8>> = collected.entries.into_iter().map(|seen| seen.head).collect();
    assert_eq!(numbers, (0..2_000_u32).map(|number| number.to_le_bytes().to_vec()).collect::<Vec<_>>());
    std::fs::remove_dir_all(dir).unwrap();
}
