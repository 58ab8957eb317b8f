//! Power cuts at random moments: what was told to be stored is there.
//!
//! `LEVERET_BLOCK_ROUNDS` sets how many seeds are tried.

use crate::rig::{Rig, Told, config, open, pattern, try_start};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use storage::{BlockConfig, CrashDisk, Disk, Location};

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Blocks that were told to be stored and are still needed: their log, number and length.
type Stored = BTreeMap<Location, (u64, u64, usize)>;

fn rounds() -> u64 {
    std::env::var("LEVERET_BLOCK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

fn test_config() -> BlockConfig {
    BlockConfig { reserve_bytes: 2000, ..config() }
}

/// Opens what a crash left; all that is needed has to be there.
fn recover(disk: &CrashDisk, stored: &Stored, seed: u64) -> Option<Rig> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = open(&disk, test_config()).ok()?;
    for (location, (log, number, length)) in stored {
        match open.adopt(*log, *location) {
            Ok(()) => {}
            Err(text) if text.contains("machine of this disk is dead") => return None,
            Err(text) => panic!("seed {seed}: {text}"),
        }
        match open.read(*location) {
            Ok(bytes) => assert!(bytes == pattern(*number, *length), "seed {seed}: {location:?}"),
            Err(error) if error.to_string().contains("machine of this disk is dead") => return None,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    open.recovered().ok()?;
    try_start(open).ok()
}

/// Puts, frees and relocates until the power is gone or enough is done.
fn work(rig: &Rig, stored: &mut Stored, numbers: &mut u64, chance: &mut Chance) {
    for _ in 0..chance.below(40) {
        let mut begun: Vec<(u64, u64, usize, Option<Location>, Receiver<_>)> = Vec::new();
        for _ in 0..chance.below(8) + 1 {
            *numbers += 1;
            let (log, length) = (chance.below(5), chance.below(1500) as usize + 1);
            begun.push((log, *numbers, length, None, rig.begin_put(log, pattern(*numbers, length))));
        }
        for told in rig.told.try_iter() {
            let Told::Relocate(_, blocks) = told else { continue };
            for old in blocks {
                if let Some(&(log, number, length)) = stored.get(&old) {
                    begun.push((log, number, length, Some(old), rig.begin_put(log, pattern(number, length))));
                }
            }
        }
        for (log, number, length, old, outcome) in begun {
            let Ok(new) = outcome.recv().unwrap() else { continue };
            stored.insert(new, (log, number, length));
            if let Some(old) = old {
                stored.remove(&old);
                rig.store.free(old);
            }
        }
        for _ in 0..chance.below(8) {
            let nth = chance.below(stored.len() as u64 + 1) as usize;
            if let Some(&location) = stored.keys().nth(nth) {
                stored.remove(&location);
                rig.store.free(location);
            }
        }
    }
}

#[test]
fn what_was_told_to_be_stored_is_there_after_any_power_cut() {
    let mut survived = 0;
    for seed in 0..rounds() {
        let mut chance = Chance(seed);
        let (mut disk, mut stored, mut numbers) = (CrashDisk::new(seed), Stored::new(), 0);
        for _ in 0..4 {
            disk.cut_after(chance.below(150));
            if let Some(rig) = recover(&disk, &stored, seed) {
                work(&rig, &mut stored, &mut numbers, &mut chance);
                // The process dies with its disk.
                disk = if chance.below(4) == 0 { disk.kill() } else { disk.crash() };
            } else {
                disk = disk.crash();
            }
        }
        survived += stored.len();
        assert!(recover(&disk, &stored, seed).is_some());
    }
    assert!(survived as u64 > rounds(), "the test would prove nothing");
}
