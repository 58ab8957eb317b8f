//! A full disk: nothing fails, nothing is lost, and it goes on.

use super::observer::{body, end, open, record, snapshot, start, tiny, until};
use std::sync::Arc;
use storage::wal::Entry;
use storage::{CrashDisk, Disk, FaultyDisk};

fn kilobyte(log: u64) -> Entry {
    Entry { body: Some(body(vec![log as u8; 1_000], b"")), ..record(log, b"large") }
}

#[test]
fn a_full_disk_stalls_and_goes_on_when_there_is_room() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(0))));
    let disk: Arc<dyn Disk> = faulty.clone();
    let (wal, observer, _) = start(&disk, &tiny());
    faulty.set_room(Some(30_000));
    let mut appended = 0;
    while observer.told().stalls.is_empty() {
        appended = wal.append(vec![kilobyte(1)], true);
        wal.flush().unwrap();
        assert!(appended < 200, "no stall");
    }
    assert_eq!(observer.told().stalls, [true]);
    // The last spare is still used: settles and snapshots get through.
    assert_eq!(wal.append(vec![record(1, b"settle")], true), appended + 1);
    wal.flush().unwrap();
    // Then it waits, without failing.
    for _ in 0..40 {
        wal.append(vec![kilobyte(1)], true);
    }
    let last = wal.last_sequence();
    until(|| wal.stats().file_waits > 0, || format!("{:?}", wal.stats()));
    assert!(wal.synced() < last && observer.told().failed.is_none());
    faulty.set_room(None);
    wal.flush().unwrap();
    let told = observer.wait(|told| told.stalls.last() == Some(&false));
    assert!(told.failed.is_none() && wal.synced() == last);
    wal.stop().unwrap();
    let (_, found) = open(&disk, &tiny()).unwrap();
    assert_eq!(found.entries.len() as u64, last);
}

#[test]
fn a_full_disk_is_drained_by_snapshots() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(0))));
    let disk: Arc<dyn Disk> = faulty.clone();
    let (wal, observer, _) = start(&disk, &tiny());
    faulty.set_room(Some(60_000));
    while observer.told().stalls.is_empty() {
        wal.append(vec![kilobyte(1)], true);
        wal.flush().unwrap();
    }
    for _ in 0..10 {
        let covers = wal.last_sequence();
        wal.append(vec![snapshot(1, covers, None)], true);
        wal.flush().unwrap();
    }
    observer.wait(|told| told.stalls.last() == Some(&false));
    assert!(observer.told().failed.is_none());
    wal.stop().unwrap();
}

#[test]
fn a_log_that_cannot_make_its_first_file_starts_stalled() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(0))));
    let disk: Arc<dyn Disk> = faulty.clone();
    faulty.set_room(Some(100));
    let (wal, observer, _) = start(&disk, &tiny());
    wal.append(vec![record(1, b"waits")], true);
    observer.wait(|told| told.stalls == [true]);
    faulty.set_room(None);
    wal.flush().unwrap();
    observer.wait(|told| told.stalls == [true, false]);
    wal.stop().unwrap();
}

#[test]
fn a_stop_on_a_full_disk_says_what_is_not_durable() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(0))));
    let disk: Arc<dyn Disk> = faulty.clone();
    faulty.set_room(Some(100));
    let (wal, _, _) = start(&disk, &tiny());
    wal.append(vec![record(1, b"waits")], true);
    let error = wal.stop().unwrap_err();
    assert!(error.contains("no room"), "{error}");
    assert_eq!(wal.synced(), 0);
}

#[test]
fn checkpoints_are_asked_for_above_the_budget_and_files_go() {
    let memory = CrashDisk::new(0);
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let (wal, observer, _) = start(&disk, &tiny());
    // So few that the first entry of each is in the first file: all of them hold on to it.
    const LOGS: u64 = 3;
    for log in 0..200 {
        wal.append(vec![kilobyte(log % LOGS)], true);
        wal.flush().unwrap();
    }
    let told = observer.wait(|told| told.checkpoints.len() > 3);
    let logs: Vec<u64> = told.checkpoints.iter().flat_map(|(_, logs)| logs.clone()).collect();
    assert!(logs.iter().all(|log| *log < LOGS) && logs.contains(&(LOGS - 1)), "{logs:?}");
    assert!(memory.used_bytes() > 200_000);
    // One log answers: nothing goes as long as others hold on. Then all do.
    for log in 0..LOGS {
        let files = wal.stats().files_in_use;
        wal.append(vec![snapshot(log, wal.last_sequence(), None)], true);
        wal.flush().unwrap();
        assert!(log == LOGS - 1 || wal.stats().files_in_use >= files, "log {log}");
    }
    wal.append(vec![end(77)], true);
    wal.flush().unwrap();
    let limit = 6 * tiny().file_bytes;
    until(|| memory.used_bytes() <= limit, || format!("{} bytes, {:?}", memory.used_bytes(), wal.stats()));
    assert!(wal.stats().spare_files <= 2);
    wal.stop().unwrap();
    let (_, found) = open(&disk, &tiny()).unwrap();
    assert!(found.entries.first().unwrap().sequence > 150);
}

#[test]
fn fifty_thousand_logs_with_snapshots_stay_quick() {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(0));
    let mut config = tiny();
    config.file_bytes = 1 << 20;
    config.first_file_bytes = 1 << 20;
    config.batch_max_bytes = 1 << 18;
    let (wal, _, _) = start(&disk, &config);
    let began = std::time::Instant::now();
    wal.append((0..50_000).map(|log| record(log, b"one")).collect(), true);
    for round in 0..4 {
        let covers = wal.last_sequence();
        wal.append((0..50_000).map(|log| snapshot(log, covers, None)).collect(), true);
        wal.flush().unwrap();
        assert!(wal.stats().bytes_in_use < (8 + 4 * round) << 20);
    }
    wal.stop().unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}
