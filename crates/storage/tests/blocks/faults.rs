//! Disks that fail or are full.

use crate::rig::{PATIENCE, Told, config, fresh, pattern};
use std::sync::Arc;
use storage::{CrashDisk, Disk, FaultKind, FaultyDisk};

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
