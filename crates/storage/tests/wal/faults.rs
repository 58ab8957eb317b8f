//! A disk that fails at one operation, whichever.

use super::observer::{Collected, Observer, Seen, body, end, open, record, snapshot, tiny};
use std::sync::Arc;
use storage::wal::{Entry, Wal};
use storage::{CrashDisk, Disk, FaultKind, FaultyDisk};

/// Appends that need several files and let some go again.
fn workload() -> Vec<Vec<Entry>> {
    let mut appends = Vec::new();
    for round in 0..16_u64 {
        let large = body(vec![round as u8; 1_500], b"t");
        appends.push(vec![record(round % 3, &round.to_le_bytes()), record(7, b"seven")]);
        appends.push(vec![Entry { body: Some(large), ..record(round % 3, b"large") }]);
        if round % 4 == 3 {
            appends.push((0..3).map(|log| snapshot(log, 1, None)).collect());
            appends.push(vec![end(7)]);
        }
    }
    appends.push(vec![Entry { body: Some(body(vec![9; 30_000], b"")), ..record(1, b"own file") }]);
    appends
}

/// Runs the workload as far as it goes; what was appended, and the last sequence told as committed.
fn run(disk: &Arc<dyn Disk>) -> (Vec<Seen>, u64, bool) {
    let mut seen = Vec::new();
    let Ok(opened) = Wal::open(disk.clone(), tiny(), &mut Collected::default()) else {
        return (seen, 0, false);
    };
    let observer = Arc::new(Observer::default());
    let Ok(wal) = opened.start(observer.clone()) else { return (seen, 0, false) };
    let mut failed = false;
    for entries in workload() {
        let first = wal.last_sequence() + 1;
        seen.extend((first..).zip(&entries).map(|(sequence, entry)| Seen::of(sequence, entry)));
        wal.append(entries, true);
        let flushed = wal.flush();
        assert!(!failed || flushed.is_err(), "durable again after a failure");
        if failed {
            assert_eq!(observer.told().committed, wal.synced());
        }
        failed = flushed.is_err();
    }
    let stopped = wal.stop();
    let told = observer.told();
    assert_eq!(told.failed.is_some(), stopped.is_err(), "{told:?}");
    assert_eq!(told.committed, wal.synced());
    (seen, told.committed, stopped.is_ok())
}

/// Fails the `nth` operation (and, if `goes_on`, all after it), then looks at what a start finds.
fn fail_at(nth: u64, goes_on: bool, crash: bool) -> bool {
    let memory = CrashDisk::new(nth);
    let faulty = Arc::new(FaultyDisk::new(Arc::new(memory.clone())));
    if goes_on {
        faulty.fail_from(FaultKind::Any, nth);
    } else {
        faulty.fail_at(FaultKind::Any, nth);
    }
    let disk: Arc<dyn Disk> = faulty.clone();
    let (seen, committed, all) = run(&disk);
    let after: Arc<dyn Disk> = Arc::new(if crash { memory.crash() } else { memory.kill() });
    let (opened, found) = open(&after, &tiny()).unwrap_or_else(|error| panic!("operation {nth}: {error}"));
    let last = opened.next_sequence() - 1;
    assert!(last >= committed && last <= seen.len() as u64, "operation {nth}: {last} of {committed}");
    let first = found.entries.first().map_or(last + 1, |entry| entry.sequence);
    assert!(found.entries == seen[first as usize - 1..last as usize], "operation {nth}: other entries");
    // Logs 0 to 2 need what follows their last snapshot, log 7 what follows its end.
    let needed =
        seen[..last as usize].iter().rev().find(|entry| matches!(entry.head[..], [] | [b's', b't', ..]));
    let needed = needed.map_or(1, |entry| entry.sequence.saturating_sub(3).max(1));
    assert!(first <= needed, "operation {nth}: {first} is the first found, {needed} is needed");
    // And it goes on.
    let wal = opened.start(Arc::new(Observer::default())).unwrap();
    assert_eq!(wal.append(vec![record(1, b"again")], true), last + 1);
    wal.stop().unwrap();
    all
}

#[test]
fn a_fault_at_any_operation_loses_nothing_that_was_committed() {
    let memory: Arc<dyn Disk> = Arc::new(CrashDisk::new(0));
    let counting = Arc::new(FaultyDisk::new(memory));
    let disk: Arc<dyn Disk> = counting.clone();
    assert!(run(&disk).2);
    let operations = counting.operations(FaultKind::Any);
    assert!(operations > 100, "{operations}");
    let mut survived = 0;
    for nth in 1..=operations {
        survived += u64::from(fail_at(nth, false, nth % 2 == 0));
        fail_at(nth, true, nth % 2 == 1);
    }
    // Only removing a file that is over may fail without a consequence.
    assert!(survived < operations / 5, "{survived} of {operations} faults had no consequence");
}

#[test]
fn a_read_only_disk_is_a_clear_error() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(0))));
    let disk: Arc<dyn Disk> = faulty.clone();
    assert!(run(&disk).2);
    faulty.set_read_only(true);
    let error = match open(&disk, &tiny()) {
        Err(error) => error.to_string(),
        Ok((opened, _)) => opened
            .start(Arc::new(Observer::default()))
            .err()
            .expect("started on a read-only disk")
            .to_string(),
    };
    assert!(error.contains("/data/wal") && error.contains("read-only"), "{error}");
}

#[test]
fn what_cannot_be_read_is_refused_even_if_damage_is_accepted() {
    let faulty = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(0))));
    let disk: Arc<dyn Disk> = faulty.clone();
    assert!(run(&disk).2);
    let before = faulty.operations(FaultKind::Read);
    open(&disk, &tiny()).map(drop).unwrap();
    let reads = faulty.operations(FaultKind::Read) - before;
    let mut config = tiny();
    config.accept_damage = true;
    for nth in 1..=reads {
        faulty.fail_at(FaultKind::Read, nth);
        let error = open(&disk, &config).err().unwrap_or_else(|| panic!("read {nth} did not matter"));
        assert!(error.to_string().contains("/data/wal"), "{error}");
    }
}
