//! The disk that fails when it is told to.

use super::{create, path, read, write};
use std::io::ErrorKind;
use std::sync::Arc;
use storage::{CrashDisk, Disk, FaultKind, FaultyDisk, OpenMode};

fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new(Arc::new(CrashDisk::new(1)));
    disk.create_dir(&path("")).unwrap();
    disk
}

#[test]
fn one_operation_of_a_kind_fails_or_all_that_follow() {
    let disk = disk();
    let file = create(&disk, "a");
    disk.fail_at(FaultKind::Write, 2);
    write(&*file, 0, b"one").unwrap();
    file.sync().unwrap();
    assert!(write(&*file, 0, b"two").is_err());
    write(&*file, 0, b"six").unwrap();

    disk.fail_from(FaultKind::Sync, 1);
    assert!(file.sync().is_err() && file.sync().is_err() && disk.sync_dir(&path("")).is_err());
    write(&*file, 0, b"ten").unwrap();
    disk.heal();
    file.sync().unwrap();

    disk.fail_from(FaultKind::Any, 1);
    assert!(file.len().is_err() && disk.remove(&path("a")).is_err());
    assert!(disk.open(&path("b"), OpenMode::Create).is_err());
}

#[test]
fn operations_are_counted_by_kind() {
    let disk = disk();
    let file = create(&disk, "a");
    write(&*file, 0, b"one").unwrap();
    file.sync().unwrap();
    read(&disk, "a").unwrap();
    let counts = [FaultKind::Create, FaultKind::Write, FaultKind::Sync, FaultKind::Read]
        .map(|kind| disk.operations(kind));
    // A file's length is looked up once when it is opened by the disk itself, which is not counted.
    assert_eq!(counts, [2, 1, 1, 3]);
    assert_eq!(disk.operations(FaultKind::Any), 7);
}

#[test]
fn a_full_disk_takes_what_fits_and_goes_on_when_there_is_room() {
    let disk = disk();
    let (old, new) = (create(&disk, "old"), create(&disk, "new"));
    write(&*old, 0, &[1; 1000]).unwrap();
    disk.set_room(Some(100));
    assert_eq!(write(&*new, 0, &[2; 150]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(new.len().unwrap(), 100);
    write(&*old, 0, &[3; 1000]).unwrap();
    assert_eq!(
        disk.open(&path("more"), OpenMode::Create).err().map(|error| error.kind()),
        Some(ErrorKind::StorageFull)
    );
    new.set_len(5000).unwrap();
    assert_eq!(write(&*new, 200, &[2; 10]).unwrap_err().kind(), ErrorKind::StorageFull, "zeros take no room");

    disk.remove(&path("old")).unwrap();
    assert_eq!(disk.room(), Some(0), "it is still open");
    drop(old);
    assert_eq!(disk.room(), Some(1000));
    write(&*new, 100, &[2; 50]).unwrap();
    new.set_len(20).unwrap();
    assert_eq!(disk.room(), Some(1080));
}

#[test]
fn a_read_only_disk_is_read() {
    let disk = disk();
    let file = create(&disk, "a");
    write(&*file, 0, b"one").unwrap();
    disk.set_read_only(true);
    assert_eq!(write(&*file, 0, b"two").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(disk.remove(&path("a")).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read(&disk, "a"), Some(b"one".to_vec()));
    disk.set_read_only(false);
    write(&*file, 0, b"two").unwrap();
}
