//! Disks that fail or are full.

use crate::rig::{DIR, PATIENCE, Rig, Told, config, fresh, open, pattern, start, try_start};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, mpsc};
use storage::{BlockConfig, CrashDisk, Disk, FaultKind, FaultyDisk, Location, OpenMode, ReadError};

#[test]
fn after_a_failed_sync_nothing_is_stored_any_more() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let disk: Arc<dyn Disk> = faulty.clone();
    let rig = fresh(&disk, config());
    let good = rig.put(1, &pattern(1, 500)).unwrap();
    faulty.fail_at(FaultKind::Sync, 1);
    let why = rig.put(1, &pattern(2, 500)).unwrap_err().to_string();
    assert!(why.contains("0000000000000001.blk cannot be synced"), "{why}");
    assert_eq!(rig.told.recv_timeout(PATIENCE), Ok(Told::Failed(why.clone())));
    let syncs = faulty.operations(FaultKind::Sync);
    for _ in 0..3 {
        assert_eq!(rig.put(1, &pattern(3, 500)).unwrap_err().to_string(), why, "though the disk works again");
    }
    assert_eq!(faulty.operations(FaultKind::Sync), syncs, "no sync is tried again");
    assert_eq!(rig.read(good).unwrap(), pattern(1, 500), "reading goes on");
    rig.store.stop();
    assert_eq!(rig.told.try_iter().count(), 0, "it is told once");
}

/// Puts and frees; gives what was told to be stored and is still needed.
fn script(disk: &Arc<dyn Disk>) -> Option<Vec<(u64, Location)>> {
    let opened = open(disk, test_config()).ok()?;
    let rig = try_start(opened).ok()?;
    let mut stored = Vec::new();
    for n in 0..12 {
        if let Ok(location) = rig.put(n, &pattern(n, 1000)) {
            stored.push((n, location));
        }
        if n % 4 == 3 && !stored.is_empty() {
            rig.store.free(stored.remove(0).1);
        }
    }
    for (n, location) in &stored {
        match rig.read(*location) {
            Ok(bytes) => assert_eq!(bytes, pattern(*n, 1000)),
            Err(error) => assert!(matches!(error, ReadError::Io(_)), "{error}"),
        }
    }
    rig.store.stop();
    Some(stored)
}

fn test_config() -> BlockConfig {
    BlockConfig { reserve_bytes: 8000, ..config() }
}

#[test]
fn an_error_of_any_operation_loses_nothing_that_was_told_to_be_stored() {
    let whole = FaultyDisk::new(Arc::new(CrashDisk::new(1)));
    let whole = Arc::new(whole);
    let disk: Arc<dyn Disk> = whole.clone();
    assert_eq!(script(&disk).unwrap().len(), 9);
    let count = whole.operations(FaultKind::Any);
    assert!(count > 50, "{count}");
    let mut stored_count = 0;
    for nth in 1..=count {
        for for_good in [false, true] {
            let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(nth))));
            if for_good {
                faulty.fail_from(FaultKind::Any, nth);
            } else {
                faulty.fail_at(FaultKind::Any, nth);
            }
            let disk: Arc<dyn Disk> = faulty.clone();
            let stored = script(&disk).unwrap_or_default();
            faulty.heal();
            let again = open(&disk, test_config()).unwrap();
            for (n, location) in &stored {
                again.adopt(*n, *location).unwrap();
                assert_eq!(again.read(*location).unwrap(), pattern(*n, 1000), "operation {nth}");
            }
            stored_count += stored.len();
            let rig = start(again);
            assert!(rig.put(1, &[1; 10]).is_ok(), "a healed disk works after a restart");
        }
    }
    assert!(stored_count as u64 > 4 * count, "the test would prove nothing");
}

#[test]
fn a_failed_write_fails_its_puts_and_the_next_file_takes_over() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let disk: Arc<dyn Disk> = faulty.clone();
    let rig = fresh(&disk, config());
    let one = rig.put(1, &pattern(1, 500)).unwrap();
    faulty.fail_at(FaultKind::Write, 1);
    assert!(rig.put(1, &pattern(2, 500)).is_err());
    let two = rig.put(1, &pattern(3, 500)).unwrap();
    assert_eq!((one.file, two.file), (1, 2));
    faulty.fail_at(FaultKind::Write, 1);
    assert!(rig.put(1, &[1]).is_err());
    faulty.fail_at(FaultKind::Create, 1);
    assert!(rig.put(1, &[1]).is_err());
    assert!(rig.put(1, &[1]).is_ok());
    assert_eq!(rig.read(one).unwrap(), pattern(1, 500));
    assert_eq!(rig.read(two).unwrap(), pattern(3, 500));
    assert_eq!(rig.told.try_iter().count(), 0);
}

#[test]
fn a_full_disk_lives_on_the_reserve_then_waits_and_loses_nothing() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let disk: Arc<dyn Disk> = faulty.clone();
    let rig = fresh(&disk, test_config());
    assert!(disk.open(&Path::new(DIR).join("reserve"), OpenMode::Read).is_ok());
    faulty.set_room(Some(5000));
    let puts: Vec<_> = (0..30).map(|n| rig.begin_put(n, pattern(n, 1000))).collect();
    let told = rig.told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&told, Told::Stalled(Some(why)) if why.contains(DIR)), "{told:?}");

    // What was in the reserve is used, then the rest waits.
    let first: Vec<_> = puts[..10].iter().map(|put| put.recv_timeout(PATIENCE).unwrap().unwrap()).collect();
    assert!(disk.open(&Path::new(DIR).join("reserve"), OpenMode::Read).is_err());
    assert!(matches!(puts[29].try_recv(), Err(mpsc::TryRecvError::Empty)));
    assert!(rig.store.stats().stalled);
    assert_eq!(rig.read(first[9]).unwrap(), pattern(9, 1000), "reading goes on");

    // Freeing makes room: the files of these blocks go while the writer waits.
    for location in &first {
        rig.store.free(*location);
    }
    assert!(puts[15].recv_timeout(PATIENCE).unwrap().is_ok());
    assert_eq!(rig.told.try_iter().filter(|told| matches!(told, Told::Stalled(_))).count(), 0);

    faulty.set_room(Some(100_000));
    for (n, put) in puts.iter().enumerate().skip(16) {
        let location = put.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(rig.read(location).unwrap(), pattern(n as u64, 1000));
    }
    assert_eq!(next_stall(&rig), Told::Stalled(None));
    assert!(disk.open(&Path::new(DIR).join("reserve"), OpenMode::Read).is_ok());
    assert!(!rig.store.stats().stalled);
}

fn next_stall(rig: &Rig) -> Told {
    loop {
        let told = rig.told.recv_timeout(PATIENCE).unwrap();
        if matches!(told, Told::Stalled(_)) {
            return told;
        }
    }
}

#[test]
fn a_full_disk_does_not_hold_up_the_end() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let disk: Arc<dyn Disk> = faulty.clone();
    let rig = fresh(&disk, config());
    let stored = rig.put(0, &pattern(0, 100)).unwrap();
    faulty.set_room(Some(0));
    let puts: Vec<_> = (0..30).map(|n| rig.begin_put(n, pattern(n, 1000))).collect();
    assert!(matches!(rig.told.recv_timeout(PATIENCE), Ok(Told::Stalled(Some(_)))));
    rig.store.stop();
    for put in puts {
        assert_eq!(put.recv().unwrap().unwrap_err().kind(), ErrorKind::StorageFull);
    }
    let again = open(&disk, config()).unwrap();
    again.adopt(0, stored).unwrap();
    assert_eq!(again.read(stored).unwrap(), pattern(0, 100));
}

#[test]
fn a_store_without_reserve_tells_when_there_is_room_again() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let disk: Arc<dyn Disk> = faulty.clone();
    faulty.set_room(Some(0));
    let rig = fresh(&disk, BlockConfig { durable: false, ..config() });
    let put = rig.begin_put(1, pattern(1, 1000));
    assert!(matches!(rig.told.recv_timeout(PATIENCE), Ok(Told::Stalled(Some(_)))));
    faulty.set_room(Some(10_000));
    let location = put.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(rig.told.recv_timeout(PATIENCE), Ok(Told::Stalled(None)));
    assert_eq!(rig.read(location).unwrap(), pattern(1, 1000));
}

#[test]
fn a_disk_without_room_for_the_reserve_still_starts() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let disk: Arc<dyn Disk> = faulty.clone();
    faulty.set_room(Some(5000));
    let rig = fresh(&disk, test_config());
    assert!(rig.put(1, &[1; 10]).is_ok());
    assert!(disk.open(&Path::new(DIR).join("reserve"), OpenMode::Read).is_err());
}

#[test]
fn a_read_only_disk_is_refused_with_its_directory_named() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    faulty.set_read_only(true);
    let disk: Arc<dyn Disk> = faulty;
    let error = open(&disk, config()).err().unwrap();
    assert!(error.to_string().contains("block store /data/blocks: read-only"), "{error}");
}
