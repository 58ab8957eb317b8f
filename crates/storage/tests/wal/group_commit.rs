//! Many appenders share a sync.

use super::observer::{open, record, start, tiny};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::wal::{Sequence, WalSink};
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

/// Lets one appender sleep until its entry is durable.
#[derive(Default)]
struct Sleeper {
    committed: Mutex<Sequence>,
    changed: Condvar,
}

impl WalSink for Sleeper {
    fn committed(&self, up_to: Sequence, _logs: &[u64]) {
        *self.committed.lock() = up_to;
        self.changed.notify_all();
    }

    fn checkpoint(&self, _up_to: Sequence, _logs: Vec<u64>) {}

    fn failed(&self, why: &str) {
        panic!("{why}");
    }

    fn stalled(&self, _why: Option<&str>) {}
}

/// `LEVERET_WAL_WAKES` sets how many entries are waited for.
#[test]
fn no_wake_is_lost_when_the_thread_is_about_to_sleep() {
    let wakes = std::env::var("LEVERET_WAL_WAKES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(2));
    let sleeper = Arc::new(Sleeper::default());
    let wal = open(&disk, &tiny()).unwrap().0.start(sleeper.clone()).unwrap();
    // As long as the thread looks for work before it sleeps, and a bit less or more.
    let pauses = (0..100_u64).map(|step| Duration::from_nanos(step * 500));
    for pause in pauses.cycle().take(wakes) {
        let sequence = wal.append(vec![record(1, b"x")], true);
        let mut committed = sleeper.committed.lock();
        while *committed < sequence {
            let late = sleeper.changed.wait_for(&mut committed, Duration::from_secs(20)).timed_out();
            assert!(!late, "{sequence} is not durable: {:?}", wal.stats());
        }
        drop(committed);
        let began = Instant::now();
        while began.elapsed() < pause {
            std::hint::spin_loop();
        }
    }
    wal.stop().unwrap();
}
