//! Power cuts and kills at any moment, compared with a model of what was promised.
//!
//! `LEVERET_WAL_ROUNDS` sets how many seeds are run.

use super::observer::{Collected, Observer, Seen, body, end, record, snapshot, tiny};
use std::collections::HashMap;
use std::sync::Arc;
use storage::wal::{Body, Entry, EntryKind, Sequence, Wal};
use storage::{CrashDisk, Disk};

/// A small generator, so that a seed says everything about a run but the timing of threads.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// All that was ever appended and may be on the disk.
#[derive(Default)]
struct Model {
    /// By sequence, from 1 on.
    entries: Vec<Seen>,
    /// What was reported as committed, or was replayed after a crash.
    safe: Sequence,
    /// The first sequence that the last start found.
    first: Sequence,
}

impl Model {
    fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            let sequence = self.entries.len() as u64 + 1;
            self.entries.push(Seen::of(sequence, entry));
        }
    }

    /// The oldest sequence that each log needs when all up to `up_to` is durable.
    fn needs(&self, up_to: Sequence) -> HashMap<u64, Sequence> {
        let mut needs = HashMap::new();
        for seen in &self.entries[..up_to as usize] {
            match seen.kind {
                EntryKind::Record => {
                    needs.entry(seen.log).or_insert(seen.sequence);
                }
                EntryKind::Snapshot { needs_from, .. } => {
                    needs.insert(seen.log, needs_from.unwrap_or(seen.sequence).min(seen.sequence));
                }
                EntryKind::End => {
                    needs.remove(&seen.log);
                }
            }
        }
        needs
    }

    /// Compares with what a start found, and goes on from there.
    fn check(&mut self, next: Sequence, found: &Collected, context: &str) {
        let last = next - 1;
        assert!(last >= self.safe, "{context}: {last} found, {} was committed", self.safe);
        assert!(last <= self.entries.len() as u64, "{context}: {last} was never appended");
        let first = found.entries.first().map_or(next, |seen| seen.sequence);
        self.first = first;
        let expected = &self.entries[first as usize - 1..last as usize];
        assert!(found.entries == expected, "{context}: entries {first} to {last} are not what was appended");
        if let Some(oldest) = self.needs(last).values().min() {
            assert!(first <= *oldest, "{context}: {oldest} is needed, {first} is the first found");
        }
        self.entries.truncate(last as usize);
        self.safe = last;
    }
}

/// Entries for one append; the model has them already.
fn some_entries(random: &mut Random, model: &mut Model) -> Vec<Entry> {
    let shared = body(vec![random.next() as u8; random.below(3_000) as usize], b"trailer");
    let count = 1 + random.below(6);
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(some_entry(random, model, &shared));
        model.append(&entries[entries.len() - 1..]);
    }
    entries
}

fn some_entry(random: &mut Random, model: &Model, shared: &Body) -> Entry {
    let log = random.below(6);
    let head = random.next().to_le_bytes();
    match random.below(16) {
        0 => end(log),
        1..=4 => {
            let last = model.entries.len() as u64;
            // A log never needs again what it said it needs no more.
            let need = model.needs(last).get(&log).copied().unwrap_or(last + 1);
            let from = need + random.below(last + 2 - need);
            snapshot(log, last, (random.below(2) == 0).then_some(from))
        }
        5..=7 => Entry { body: Some(shared.clone()), ..record(log, &head) },
        8 => {
            let length = random.below(9_000) as usize;
            Entry { body: Some(body(vec![random.next() as u8; length], b"")), ..record(log, &head) }
        }
        9 if random.below(8) == 0 => Entry { body: Some(body(vec![3; 20_000], b"")), ..record(log, &head) },
        _ => record(log, &head[..random.below(9) as usize]),
    }
}

/// Appends at random until the power goes or enough was done; keeps the model level.
fn work(wal: &Wal, observer: &Observer, model: &mut Model, random: &mut Random) {
    for _ in 0..random.below(60) {
        let entries = some_entries(random, model);
        let last = wal.append(entries, random.below(3) > 0);
        assert_eq!(last, model.entries.len() as u64);
        if random.below(4) == 0 && wal.flush().is_err() {
            break;
        }
        let told = observer.told();
        if let Some((up_to, logs)) = told.checkpoints.last() {
            let states: Vec<Entry> = logs.iter().map(|log| snapshot(*log, *up_to, None)).collect();
            if random.below(3) == 0 {
                model.append(&states);
                wal.append(states, false);
            }
        }
    }
}

/// One process, up to the moment before it ends: the log and its sink, if it got that far.
fn one_life(
    disk: &CrashDisk,
    model: &mut Model,
    random: &mut Random,
    context: &str,
) -> Option<(Arc<Wal>, Arc<Observer>)> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut found = Collected::default();
    // Some starts are cut short, too.
    let in_start = random.below(4) == 0;
    if in_start {
        disk.cut_after(random.below(30));
    }
    let opened = match Wal::open(shared, tiny(), &mut found) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(in_start && error.to_string().contains("is dead"), "{context}: {error}");
            return None;
        }
    };
    assert_eq!(opened.damage(), &[] as &[String], "{context}");
    let next = opened.next_sequence();
    let observer = Arc::new(Observer::default());
    let Ok(wal) = opened.start(observer.clone()) else {
        assert!(in_start, "{context}");
        // Nothing was promised yet, and what was found may still be lost.
        return None;
    };
    model.check(next, &found, context);
    if random.below(3) > 0 {
        disk.cut_after(random.below(300));
    }
    work(&wal, &observer, model, random);
    let graceful = random.below(4) == 0;
    let stopped = if graceful { wal.stop() } else { Ok(()) };
    if graceful && stopped.is_ok() {
        assert_eq!(wal.synced(), model.entries.len() as u64, "{context}");
    }
    Some((wal, observer))
}

/// Runs a seed; gives how many starts found that files had been let go.
fn run(seed: u64) -> u64 {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut disk = CrashDisk::new(seed);
    let mut model = Model::default();
    let mut let_go = 0;
    for life in 0..12 {
        let context = format!("seed {seed}, life {life}");
        let process = one_life(&disk, &mut model, &mut random, &context);
        disk = if random.below(4) == 0 { disk.kill() } else { disk.crash() };
        let Some((wal, observer)) = process else { continue };
        drop(wal);
        model.safe = model.safe.max(observer.told().committed);
        let_go += u64::from(model.first > 1);
    }
    let_go
}

#[test]
fn what_was_committed_is_there_after_every_crash() {
    let rounds = std::env::var("LEVERET_WAL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let first = std::env::var("LEVERET_WAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let let_go: u64 = (first..first + rounds).map(run).sum();
    assert!(let_go > rounds, "files were let go in only {let_go} of {} lives", rounds * 12);
}
