//! How fast the write-ahead log is on this machine's disk: one appender that waits for each entry,
//! several that do, a stream, and opening what was written.
//!
//! `cargo run --profile quick -p storage --example wal_speed [directory]`

use std::error::Error;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use storage::wal::{Body, Entry, EntryKind, Replay, ReplayedEntry, Sequence, Wal, WalConfig, WalSink};
use storage::{Disk, OpenMode, RealDisk};

const SPELL: Duration = Duration::from_secs(3);

/// Lets appenders wait for what they appended, and answers checkpoints.
#[derive(Default)]
struct Waiter {
    committed: Mutex<Sequence>,
    changed: Condvar,
    asked: Mutex<Vec<u64>>,
}

impl Waiter {
    fn wait(&self, sequence: Sequence) {
        let Ok(mut committed) = self.committed.lock() else { return };
        while *committed < sequence {
            let Ok(next) = self.changed.wait(committed) else { return };
            committed = next;
        }
    }
}

impl WalSink for Waiter {
    fn committed(&self, up_to: Sequence, _logs: &[u64]) {
        if let Ok(mut committed) = self.committed.lock() {
            *committed = up_to;
        }
        self.changed.notify_all();
    }

    fn checkpoint(&self, _up_to: Sequence, logs: Vec<u64>) {
        if let Ok(mut asked) = self.asked.lock() {
            asked.extend(logs);
        }
    }

    fn failed(&self, why: &str) {
        eprintln!("failed: {why}");
        std::process::exit(1);
    }

    fn stalled(&self, why: Option<&str>) {
        eprintln!("stalled: {why:?}");
    }
}

struct Count {
    entries: u64,
    bytes: u64,
}

impl Replay for Count {
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String> {
        self.entries += 1;
        self.bytes += (entry.head.len() + entry.body.map_or(0, |body| body.bytes.len())) as u64;
        Ok(())
    }
}

fn record(log: u64, bytes: usize, body: Option<Body>) -> Entry {
    Entry { log, kind: EntryKind::Record, head: vec![log as u8; bytes], body }
}

/// Appenders that wait for each entry: entries a second and microseconds at the median.
fn windows(wal: &Wal, waiter: &Waiter, appenders: u64) -> (f64, u128) {
    let end = Instant::now() + SPELL;
    let one = |log| {
        let mut times = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            waiter.wait(wal.append(vec![record(log, 150, None)], true));
            times.push(began.elapsed().as_micros());
        }
        times
    };
    let mut all: Vec<u128> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..appenders).map(|log| scope.spawn(move || one(log))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    all.sort_unstable();
    (all.len() as f64 / SPELL.as_secs_f64(), all.get(all.len() / 2).copied().unwrap_or(0))
}

/// Bodies of 256 KiB with at most 16 MiB waiting: MB a second.
fn stream(wal: &Wal, waiter: &Waiter) -> f64 {
    let end = Instant::now() + SPELL;
    let mut bytes = 0_u64;
    while Instant::now() < end {
        let body = Body { data: Arc::new(vec![7_u8; 256 * 1024]), trailer: Arc::from([]) };
        wal.append(vec![record(1, 20, Some(body))], true);
        bytes += 256 * 1024;
        while wal.pending_bytes() > 16 << 20 {
            std::thread::yield_now();
        }
        let asked = waiter.asked.lock().map(|mut asked| std::mem::take(&mut *asked)).unwrap_or_default();
        for log in asked {
            let kind = EntryKind::Snapshot { covers: wal.last_sequence(), needs_from: None };
            wal.append(vec![Entry { log, kind, head: vec![0; 100], body: None }], false);
        }
    }
    bytes as f64 / SPELL.as_secs_f64() / 1e6
}

/// What the disk itself does: writes of 256 bytes into a file that is written through, each synced.
fn bare(disk: &dyn Disk, path: &Path) -> Result<(f64, u128), Box<dyn Error>> {
    let file = disk.open(path, OpenMode::Create)?;
    file.write_at(0, &[IoSlice::new(&vec![0; 4 << 20])])?;
    file.sync()?;
    let (end, mut times) = (Instant::now() + SPELL, Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        file.write_at(times.len() as u64 * 256 % (4 << 20), &[IoSlice::new(&[1; 256])])?;
        file.sync()?;
        times.push(began.elapsed().as_micros());
    }
    times.sort_unstable();
    Ok((times.len() as f64 / SPELL.as_secs_f64(), times.get(times.len() / 2).copied().unwrap_or(0)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("leveret-wal-speed-{}", std::process::id()));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    std::fs::create_dir_all(&dir)?;
    let (rate, median) = bare(&*disk, &dir.join("bare"))?;
    println!("the disk itself: {rate:.0} syncs/s, {median} us at the median");
    let config = WalConfig::new(dir.join("wal"));
    let waiter = Arc::new(Waiter::default());
    let began = Instant::now();
    let mut count = Count { entries: 0, bytes: 0 };
    let wal = Wal::open(disk.clone(), config.clone(), &mut count)?.start(waiter.clone())?;
    println!("an empty log starts in {} ms", began.elapsed().as_millis());
    for appenders in [1, 1, 4, 64] {
        let (rate, median) = windows(&wal, &waiter, appenders);
        println!("{appenders} waiting: {rate:.0} entries/s, {median} us at the median");
    }
    println!("{:?}", wal.stats());
    println!("stream: {:.0} MB/s", stream(&wal, &waiter));
    println!("stream: {:.0} MB/s", stream(&wal, &waiter));
    println!("{:?}", wal.stats());
    wal.stop()?;
    drop(wal);
    let began = Instant::now();
    let opened = Wal::open(disk, config, &mut count)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "opening: {} entries, {:.0} MB in {seconds:.2} s, {:.0} MB/s",
        count.entries,
        count.bytes as f64 / 1e6,
        count.bytes as f64 / 1e6 / seconds
    );
    drop(opened);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
