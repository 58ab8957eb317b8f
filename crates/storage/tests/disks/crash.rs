//! The disk that loses power.

use super::{create, path, read, write};
use std::collections::BTreeSet;
use storage::{CrashDisk, Disk, OpenMode};

fn disk(seed: u64) -> CrashDisk {
    let disk = CrashDisk::new(seed);
    disk.create_dir(&path("")).unwrap();
    disk
}

#[test]
fn what_was_synced_is_there_and_the_rest_by_chance() {
    let (mut lengths, mut mixed) = (BTreeSet::new(), 0);
    for seed in 0..200 {
        let disk = disk(seed);
        let file = create(&disk, "a");
        write(&*file, 0, &[1; 2048]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(&path("")).unwrap();
        write(&*file, 512, &[2; 2048]).unwrap();
        let found = read(&disk.crash(), "a").unwrap();
        assert_eq!(found[..512], [1; 512], "nobody wrote there");
        for sector in found.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "sectors are whole");
        }
        mixed += u32::from(found[512..2048].contains(&1) && found.contains(&2));
        lengths.insert(found.len());
    }
    assert!(lengths.contains(&2048) && lengths.contains(&2560), "{lengths:?}");
    assert!(mixed > 10, "torn writes happen");
}

#[test]
fn files_are_sure_only_once_the_directory_is_synced() {
    let (mut created, mut renamed, mut removed) = (0, 0, 0);
    for seed in 0..200 {
        let disk = disk(seed);
        for name in ["old", "gone"] {
            write(&*create(&disk, name), 0, name.as_bytes()).unwrap();
            disk.open(&path(name), OpenMode::Write).unwrap().sync().unwrap();
        }
        disk.sync_dir(&path("")).unwrap();
        create(&disk, "new").sync().unwrap();
        disk.rename(&path("old"), &path("other")).unwrap();
        disk.remove(&path("gone")).unwrap();
        let left = disk.crash();
        created += u32::from(read(&left, "new").is_some());
        removed += u32::from(read(&left, "gone").is_none());
        let (old, other) = (read(&left, "old"), read(&left, "other"));
        renamed += u32::from(other.is_some());
        assert_eq!(old.or(other), Some(b"old".to_vec()), "a rename is atomic");
        assert_eq!(read(&left, "old").is_some(), read(&left, "other").is_none());
    }
    for times in [created, renamed, removed] {
        assert!((50..150).contains(&times), "{created} {renamed} {removed}");
    }
}

#[test]
fn the_same_seed_leaves_the_same() {
    let run = |seed| {
        let disk = disk(seed);
        for name in ["a", "b", "c"] {
            let file = create(&disk, name);
            for offset in 0..8 {
                write(&*file, offset * 700, &[offset as u8 + 1; 1500]).unwrap();
            }
        }
        let left = disk.crash();
        ["a", "b", "c"].map(|name| read(&left, name))
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn the_dead_change_nothing() {
    let disk = disk(1);
    let file = create(&disk, "a");
    write(&*file, 0, b"alive").unwrap();
    let next = disk.kill();
    assert!(write(&*file, 0, b"ghost").is_err());
    assert!(file.sync().is_err() && file.set_len(0).is_err() && file.len().is_err());
    assert!(disk.open(&path("b"), OpenMode::Create).is_err() && disk.remove(&path("a")).is_err());
    assert_eq!(read(&next, "a"), Some(b"alive".to_vec()), "a killed process leaves what it wrote");
}

#[test]
fn what_a_killed_process_wrote_is_not_synced() {
    let lost = (0..50).filter(|seed| {
        let disk = disk(*seed);
        write(&*create(&disk, "a"), 0, b"written").unwrap();
        read(&disk.kill().crash(), "a").as_deref() != Some(b"written")
    });
    assert!((20..50).contains(&lost.count()));
}

#[test]
fn power_goes_after_a_number_of_operations() {
    let disk = disk(1);
    let file = create(&disk, "a");
    disk.sync_dir(&path("")).unwrap();
    disk.cut_after(2);
    write(&*file, 0, b"one").unwrap();
    file.sync().unwrap();
    assert!(write(&*file, 0, b"two").is_err());
    assert!(file.sync().is_err());
    let found = read(&disk.crash(), "a").unwrap();
    assert!(found == b"one" || found == b"two");
}
