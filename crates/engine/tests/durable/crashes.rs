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

/// A disk over some generations of brokers; gives how many publishes were confirmed.
async fn live_through(seed: u64, generations: u64) -> Result<usize, String> {
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
    Ok(driver.confirmed)
}

#[tokio::test]
async fn what_was_promised_survives_any_crash() {
    let first = number("LEVERET_ENGINE_SEED").unwrap_or(1);
    let rounds = number("LEVERET_ENGINE_ROUNDS").unwrap_or(ROUNDS);
    let began = Instant::now();
    let mut confirmed = 0;
    for seed in first..first + rounds {
        match live_through(seed, GENERATIONS).await {
            Ok(count) => confirmed += count,
            Err(why) => panic!("seed {seed} (LEVERET_ENGINE_SEED={seed} LEVERET_ENGINE_ROUNDS=1): {why}"),
        }
    }
    println!("{} crashes, {confirmed} publishes confirmed, {:?}", rounds * GENERATIONS, began.elapsed());
    assert!(confirmed > 0, "nothing was ever confirmed");
}
