//! Many appenders share a sync.

use super::observer::{open, record, start, tiny};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use storage::{CrashDisk, Disk, FaultyDisk};

const THREADS: u64 = 8;
const EACH: u64 = 500;

#[test]
fn syncs_are_shared_and_the_order_of_each_log_is_kept() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(2))));
    faulty.set_sync_delay(Duration::from_micros(200));
    let disk: Arc<dyn Disk> = faulty.clone();
    let mut config = tiny();
    config.first_file_bytes = 1 << 20;
    config.file_bytes = 1 << 20;
    config.batch_max_bytes = 1 << 20;
    let (wal, observer, _) = start(&disk, &config);
    std::thread::scope(|scope| {
        for log in 0..THREADS {
            let wal = &wal;
            scope.spawn(move || {
                let mut last = 0;
                for number in 0..EACH {
                    let sequence = wal.append(vec![record(log, &number.to_le_bytes())], true);
                    assert!(sequence > last);
                    last = sequence;
                }
                wal.flush().unwrap();
                assert!(wal.synced() >= last);
            });
        }
    });
    let stats = wal.stats();
    assert_eq!((stats.entries, wal.synced()), (THREADS * EACH, THREADS * EACH));
    assert!(stats.syncs * 10 < stats.entries, "{stats:?}");
    let told = observer.wait(|told| told.committed == THREADS * EACH);
    assert!(told.urgent.iter().flatten().all(|log| *log < THREADS));
    wal.stop().unwrap();
    let (_, collected) = open(&disk, &config).unwrap();
    let mut next: HashMap<u64, u64> = HashMap::new();
    for seen in collected.entries {
        let number = next.entry(seen.log).or_default();
        assert_eq!(seen.head, number.to_le_bytes());
        *number += 1;
    }
    assert!(next.len() as u64 == THREADS && next.values().all(|count| *count == EACH));
}
