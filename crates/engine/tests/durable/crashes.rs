//! Power cuts and kills at any moment, one after the other on the same disk.

use crate::chance::Chance;
use crate::driver::Driver;
use crate::node::{Node, Pulse, data_dir, small};
use std::sync::Arc;
use std::time::Instant;
use storage::{CrashDisk, Disk};

/// Disks that are tried; `LEVERET_ENGINE_ROUNDS` says otherwise.
const ROUNDS: u64 = 30;
const GENERATIONS: u64 = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is '{value}'")))
}

/// Lets the power go after so many operations more; gives who knows when it has.
fn cut_after(disk: &CrashDisk, operations: Option<u64>) -> Pulse {
    let Some(operations) = operations else { return Arc::new(|| false) };
    let last = disk.operations() + operations;
    disk.cut_after(operations);
    let disk = disk.clone();
    Arc::new(move || disk.operations() > last)
}

fn open(disk: &CrashDisk, pulse: Pulse) -> Result<Node, String> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Node::open(&small(disk, &data_dir()), pulse)
}

fn some_operations(chance: &mut Chance) -> Option<u64> {
    let most = *chance.one(&[0, 30, 150, 400, 1000]);
    (most > 0).then(|| chance.below(most))
}

/// What happened in all lives, so that a test that tests nothing is seen.
#[derive(Debug, Default)]
struct Happened {
    confirmed: usize,
    blocks_written: u64,
    blocks_read: u64,
    blocks_relocated: u64,
    log_batches: u64,
}

impl Happened {
    fn add(&mut self, node: &Node) {
        let Some(storage) = node.broker.storage() else { return };
        for blocks in storage.block_stats() {
            self.blocks_written += blocks.puts;
            self.blocks_read += blocks.reads;
            self.blocks_relocated += blocks.relocations;
        }
        self.log_batches += storage.wal_stats().batches;
    }
}

/// A disk over some generations of brokers.
async fn live_through(seed: u64, generations: u64, happened: &mut Happened) -> Result<(), String> {
    let mut disk = CrashDisk::new(seed);
    let mut driver = Driver::new(seed);
    let mut was_killed = false;
    for generation in 0..generations {
        let in_generation = |why: String| format!("generation {generation}: {why}");
        let operations = some_operations(&mut driver.chance);
        let mut pulse: Pulse = Arc::new(|| false);
        if !was_killed {
            pulse = cut_after(&disk, operations);
        }
        match open(&disk, pulse.clone()) {
            Ok(mut node) => {
                if was_killed {
                    driver.check(&node, true).await.map_err(in_generation)?;
                    node.set_pulse(cut_after(&disk, operations));
                }
                let steps = 20 + driver.chance.below(130);
                let _ = driver.work(&node, steps).await;
                happened.add(&node);
            }
            Err(_) if pulse() => {}
            Err(why) => return Err(in_generation(why)),
        }
        driver.lose_node();
        was_killed = driver.chance.percent(25);
        if was_killed {
            disk = disk.kill();
            continue;
        }
        let left = disk.crash();
        // Nothing is unsynced on a disk that was just switched on, so these are the same.
        let copy = left.crash();
        disk = left.crash();
        let node = open(&copy, Arc::new(|| false)).map_err(in_generation)?;
        driver.check(&node, false).await.map_err(in_generation)?;
    }
    happened.confirmed += driver.confirmed;
    Ok(())
}

#[tokio::test]
async fn what_was_promised_survives_any_crash() {
    let first = number("LEVERET_ENGINE_SEED").unwrap_or(1);
    let rounds = number("LEVERET_ENGINE_ROUNDS").unwrap_or(ROUNDS);
    let began = Instant::now();
    let mut happened = Happened::default();
    for seed in first..first + rounds {
        if let Err(why) = live_through(seed, GENERATIONS, &mut happened).await {
            panic!("seed {seed} (LEVERET_ENGINE_SEED={seed} LEVERET_ENGINE_ROUNDS=1): {why}");
        }
    }
    println!("{} crashes in {:?}, {happened:?}", rounds * GENERATIONS, began.elapsed());
    let Happened { confirmed, blocks_written, blocks_read, .. } = happened;
    assert!(confirmed > 0 && blocks_written > 0 && blocks_read > 0, "nothing much happened");
}
