//! Putting, reading, freeing, opening again.

use crate::rig::{MachineDir, Rig, config, contents, fresh, open, pattern, set_content, start};
use std::sync::{Arc, mpsc};
use storage::{BlockConfig, CrashDisk, Disk, FaultKind, FaultyDisk, Location, ReadError, RealDisk};

fn memory() -> Arc<dyn Disk> {
    Arc::new(CrashDisk::new(1))
}

#[test]
fn blocks_of_any_size_come_back_as_they_were_put() {
    let disk = memory();
    let rig = fresh(&disk, config());
    let sizes = [1, 2, 23, 24, 25, 511, 512, 1000, 2047, 2048, 2049, 4039, 4040, 4041, 4096, 5000, 100_000];
    let puts: Vec<_> = sizes
        .map(|size| (size, rig.begin_put(size as u64, pattern(size as u64, size))))
        .into_iter()
        .collect();
    for (size, put) in puts {
        let location = put.recv().unwrap().unwrap();
        assert_eq!(location.length as usize, size + 24);
        assert_eq!(rig.read(location).unwrap(), pattern(size as u64, size), "{size} bytes");
        assert_eq!(Location::decode(&location.encode()), location);
    }
    let stats = rig.store.stats();
    assert_eq!((stats.puts, stats.reads), (17, 17));
    assert_eq!(stats.live_bytes, sizes.iter().map(|size| *size as u64 + 24).sum::<u64>());
    for (name, bytes) in contents(&*disk) {
        assert!(
            bytes.len() <= 4096
                || bytes.len() == 5000 + 56
                || bytes.len() == 100_000 + 56
                || bytes.len() == 4096 + 56
                || bytes.len() == 4041 + 56,
            "{name}: {}",
            bytes.len()
        );
    }
}

#[test]
fn the_disk_of_the_machine_keeps_blocks_too() {
    let dir = MachineDir::new("machine");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = BlockConfig { dir: dir.0.join("blocks"), reserve_bytes: 3 << 20, ..config() };
    let rig = fresh(&disk, config.clone());
    let locations: Vec<_> = (0..50).map(|n| rig.put(n, &pattern(n, 700)).unwrap()).collect();
    rig.store.stop();
    drop(rig);
    assert_eq!(std::fs::metadata(config.dir.join("reserve")).unwrap().len(), 3 << 20);
    let again = open(&disk, config.clone()).unwrap();
    for (n, location) in locations.iter().enumerate() {
        again.adopt(n as u64, *location).unwrap();
    }
    let rig = start(again);
    for (n, location) in locations.iter().enumerate() {
        assert_eq!(rig.read(*location).unwrap(), pattern(n as u64, 700));
        rig.store.free(*location);
    }
    rig.store.stop();
    assert_eq!(disk.list(&config.dir).unwrap(), ["reserve"]);
}

#[test]
fn a_block_bigger_than_a_round_has_a_file_of_its_own() {
    let dir = MachineDir::new("big");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let rig = fresh(&disk, BlockConfig { reserve_bytes: 0, ..BlockConfig::durable(&dir.0) });
    let big: Vec<u8> = (0..40 << 20).map(|at: u32| (at >> 9) as u8).collect();
    let puts =
        [rig.begin_put(1, vec![1; 1000]), rig.begin_put(2, big.clone()), rig.begin_put(3, vec![3; 1000])];
    let [before, location, after] = puts.map(|put| put.recv().unwrap().unwrap());
    assert_eq!([before.file, location.file, after.file], [1, 2, 3]);
    assert!(rig.read(location).unwrap() == big);
    assert_eq!(std::fs::metadata(dir.0.join("0000000000000002.blk")).unwrap().len(), (40 << 20) + 56);
    rig.store.free(location);
    rig.settle();
    assert!(!dir.0.join("0000000000000002.blk").exists());
}

#[test]
fn logs_share_files_and_syncs() {
    let faulty = Arc::new(FaultyDisk::new(memory()));
    let disk: Arc<dyn Disk> = faulty.clone();
    let rig = fresh(&disk, BlockConfig { file_bytes: 1 << 20, round_max_bytes: 1 << 20, ..config() });
    // The first fill holds the writer until all others have been put.
    let (release, held) = mpsc::channel::<()>();
    rig.store.put(
        1,
        Box::new(move |buffer| {
            held.recv().unwrap();
            buffer.push(1);
        }),
        Box::new(|outcome| assert!(outcome.is_ok())),
    );
    let before = faulty.operations(FaultKind::Sync);
    let puts: Vec<_> = (0..100).map(|log| rig.begin_put(log, pattern(log, 300))).collect();
    release.send(()).unwrap();
    for put in puts {
        assert_eq!(put.recv().unwrap().unwrap().file, 1);
    }
    let syncs = faulty.operations(FaultKind::Sync) - before;
    assert!(syncs <= 3, "one for the first round, one of its directory, one for all others, not {syncs}");
    assert_eq!(rig.store.stats().files, 1);
}

#[test]
fn answers_come_in_the_order_of_the_puts() {
    let rig = fresh(&memory(), config());
    let (sender, answers) = mpsc::channel();
    for n in 0..300_usize {
        let sender = sender.clone();
        let bytes = pattern(n as u64, if n % 7 == 3 { 0 } else { n * 5 % 900 + 1 });
        rig.store.put(
            1,
            Box::new(move |buffer| buffer.extend_from_slice(&bytes)),
            Box::new(move |outcome| sender.send((n, outcome.is_ok())).unwrap()),
        );
    }
    for n in 0..300 {
        assert_eq!(answers.recv().unwrap(), (n, n % 7 != 3), "an empty block is refused in its turn");
    }
}

#[test]
fn a_file_in_which_nothing_is_needed_is_removed() {
    let disk = memory();
    let rig = fresh(&disk, config());
    let locations: Vec<_> = (0..20).map(|n| rig.put(n, &pattern(n, 1000)).unwrap()).collect();
    assert_eq!(contents(&*disk).len(), 7, "three blocks fit in a file");
    for location in &locations {
        assert!(rig.read(*location).is_ok());
        rig.store.free(*location);
    }
    rig.settle();
    assert_eq!(contents(&*disk).len(), 1, "only the file that is written is left");
    assert_eq!(rig.store.stats().live_bytes, 0);
    assert!(
        matches!(rig.read(locations[0]), Err(ReadError::Missing(text)) if text.contains("0000000000000001.blk"))
    );
    rig.store.stop();
    assert_eq!(contents(&*disk), [], "that one goes at the end");
}

#[test]
fn a_block_freed_twice_is_freed_once() {
    let rig = fresh(&memory(), config());
    let (one, two) = (rig.put(1, &[1; 500]).unwrap(), rig.put(1, &[2; 500]).unwrap());
    rig.store.free(one);
    rig.store.free(one);
    rig.store.free(Location { length: two.length - 1, ..two });
    assert_eq!(rig.store.stats().live_bytes, 524);
    assert_eq!(rig.read(two).unwrap(), [2; 500]);
}

#[test]
fn the_next_process_finds_what_it_adopts_and_removes_the_rest() {
    let disk = memory();
    let rig = fresh(&disk, config());
    let locations: Vec<_> = (0..12).map(|n| rig.put(n, &pattern(n, 1000)).unwrap()).collect();
    rig.store.stop();
    set_content(&*disk, "notes.txt", b"of somebody else");
    set_content(&*disk, "1.blk", b"of somebody else");

    let again = open(&disk, config()).unwrap();
    again.adopt(0, locations[0]).unwrap();
    again.adopt(11, locations[11]).unwrap();
    assert_eq!(again.read(locations[11]).unwrap(), pattern(11, 1000));
    assert_eq!(again.recovered().unwrap(), 2 * (32 + 3 * 1024), "two of four files");
    let names: Vec<_> = contents(&*disk).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["0000000000000001.blk", "0000000000000004.blk", "1.blk", "notes.txt"]);

    let rig = start(again);
    let new = rig.put(5, &pattern(99, 10)).unwrap();
    assert_eq!(new.file, 5, "a file of an earlier process is never written");
    assert_eq!(rig.read(locations[0]).unwrap(), pattern(0, 1000));
    rig.store.free(locations[0]);
    rig.settle();
    assert!(matches!(rig.read(locations[0]), Err(ReadError::Missing(_))));
}

#[test]
fn a_block_is_adopted_only_by_its_log_and_once() {
    let disk = memory();
    let rig = fresh(&disk, config());
    let location = rig.put(7, &[7; 100]).unwrap();
    rig.store.stop();
    let again = open(&disk, config()).unwrap();
    let refused = |log, location| again.adopt(log, location).unwrap_err();
    assert!(refused(8, location).contains("it is of log 7, not 8"));
    assert!(
        refused(7, Location { file: 9, ..location })
            .contains("0000000000000009.blk, block at 32: the file is not there")
    );
    assert!(refused(7, Location { offset: 33, ..location }).contains("the file ends at"));
    assert!(refused(7, Location { offset: 33, length: 30, ..location }).contains("no block starts there"));
    assert!(refused(7, Location { length: 50, ..location }).contains("100 bytes after its head"));
    assert!(refused(7, Location { offset: 0, ..location }).contains("no block can be there"));
    again.adopt(7, location).unwrap();
    assert!(refused(7, location).contains("already"));
}

#[test]
fn a_volatile_store_is_never_synced_and_empty_when_opened() {
    let faulty = Arc::new(FaultyDisk::new(memory()));
    let disk: Arc<dyn Disk> = faulty.clone();
    let config = BlockConfig { durable: false, ..config() };
    let rig = fresh(&disk, config.clone());
    let locations: Vec<_> = (0..12).map(|n| rig.put(n, &pattern(n, 1000)).unwrap()).collect();
    assert_eq!(rig.read(locations[3]).unwrap(), pattern(3, 1000));
    rig.store.stop();
    set_content(&*disk, "notes.txt", b"of somebody else");
    assert_eq!(contents(&*disk).len(), 5);
    let again = open(&disk, config).unwrap();
    assert_eq!(contents(&*disk).len(), 1);
    assert!(again.adopt(3, locations[3]).is_err());
    assert_eq!(faulty.operations(FaultKind::Sync), 0);
}

#[test]
fn a_stopped_store_says_so() {
    let rig = fresh(&memory(), config());
    let puts: Vec<_> = (0..50).map(|n| rig.begin_put(n, vec![1; 900])).collect();
    rig.store.stop();
    for put in puts {
        assert!(put.recv().unwrap().is_ok(), "what was put before is stored");
    }
    assert!(rig.put(1, &[1]).unwrap_err().to_string().contains("has stopped"));
    let location = Location { file: 1, offset: 32, length: 25 };
    assert!(matches!(rig.read(location), Err(ReadError::Io(_))));
}

#[test]
fn reads_do_not_wait_for_syncs() {
    let faulty = Arc::new(FaultyDisk::new(memory()));
    let disk: Arc<dyn Disk> = faulty.clone();
    let rig: Rig = fresh(&disk, config());
    let location = rig.put(1, &[1; 100]).unwrap();
    // The writer is held in a fill, as it would be in a sync.
    let (release, held) = mpsc::channel::<()>();
    rig.store.put(1, Box::new(move |_| held.recv().unwrap()), Box::new(|_| {}));
    assert_eq!(rig.read(location).unwrap(), [1; 100]);
    release.send(()).unwrap();
}
