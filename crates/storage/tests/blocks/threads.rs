//! Many threads put, read and free at the same time, and owners answer from within the store's calls.

use crate::rig::{MachineDir, PATIENCE, config, pattern};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::Instant;
use storage::{BlockConfig, BlockSink, BlockStore, Disk, Location, RealDisk};

/// The owner of all logs: which blocks are needed, and what was put in each.
#[derive(Default)]
struct Owner {
    store: OnceLock<Weak<BlockStore>>,
    live: Mutex<BTreeMap<Location, (u64, usize)>>,
}

/// The sink of the store, which hands on to the owner.
struct Sink(Arc<Owner>);

impl Owner {
    fn put(
        self: &Arc<Self>,
        log: u64,
        number: u64,
        length: usize,
        old: Option<Location>,
    ) -> mpsc::Receiver<Location> {
        let (sender, stored) = mpsc::channel();
        let (owner, store) = (self.clone(), self.store.get().and_then(Weak::upgrade).unwrap());
        store.put(
            log,
            Box::new(move |buffer| buffer.extend_from_slice(&pattern(number, length))),
            Box::new(move |outcome| {
                let new = outcome.unwrap();
                // The old block may have been freed in the meantime; then nobody needs the new one.
                let mut live = owner.live.lock().unwrap();
                let needed = old.is_none_or(|old| live.remove(&old).is_some());
                if needed {
                    live.insert(new, (number, length));
                }
                drop(live);
                if let Some(store) = owner.store.get().and_then(Weak::upgrade) {
                    match old {
                        Some(old) if needed => store.free(old),
                        _ if !needed => store.free(new),
                        _ => {}
                    }
                }
                let _ = sender.send(new);
            }),
        );
        stored
    }

    fn free(&self, location: Location) {
        let needed = self.live.lock().unwrap().remove(&location).is_some();
        if needed {
            self.store.get().and_then(Weak::upgrade).unwrap().free(location);
        }
    }
}

impl BlockSink for Sink {
    fn relocate(&self, log: u64, blocks: Vec<Location>) {
        for old in blocks {
            let there = self.0.live.lock().unwrap().get(&old).copied();
            if let Some((number, length)) = there {
                drop(self.0.put(log, number, length, Some(old)));
            }
        }
    }

    fn stalled(&self, why: Option<&str>) {
        panic!("{why:?}");
    }

    fn failed(&self, why: &str) {
        panic!("{why}");
    }
}

fn work(owner: &Arc<Owner>, store: &BlockStore, log: u64) {
    let mut mine = Vec::new();
    for n in 0..250 {
        let (number, length) = (log * 1000 + n, (n as usize * 37) % 1500 + 1);
        mine.push((owner.put(log, number, length, None).recv_timeout(PATIENCE).unwrap(), number, length));
        // Seven of eight blocks are freed later, so that what is left is sparse.
        if n % 8 != 0 && mine.len() > 20 {
            owner.free(mine.swap_remove(n as usize % 20).0);
        }
        let (location, number, length) = mine[n as usize % mine.len()];
        let (sender, read) = mpsc::channel();
        store.read(location, Box::new(move |outcome| sender.send(outcome).unwrap()));
        // It may have been relocated, then it is missing, but it is never another one.
        if let Ok(bytes) = read.recv_timeout(PATIENCE).unwrap() {
            assert_eq!(bytes, pattern(number, length));
        }
    }
}

#[test]
fn nothing_is_lost_or_mixed_up_among_threads() {
    let dir = MachineDir::new("threads");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = BlockConfig { dir: dir.0.join("blocks"), ..config() };
    let owner = Arc::new(Owner::default());
    let store =
        BlockStore::open(disk.clone(), config.clone()).unwrap().start(Arc::new(Sink(owner.clone()))).unwrap();
    owner.store.set(Arc::downgrade(&store)).unwrap();
    std::thread::scope(|scope| {
        for log in 0..4 {
            let (owner, store) = (&owner, &store);
            scope.spawn(move || work(owner, store, log));
        }
    });
    let begun = Instant::now();
    let bounded = |stats: &storage::BlockStats| stats.disk_bytes <= 2 * stats.live_bytes + 2 * 4096;
    while !bounded(&store.stats()) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", store.stats());
        std::thread::yield_now();
    }
    store.stop();
    assert!(store.stats().relocations > 0);
    let live = owner.live.lock().unwrap().clone();
    assert_eq!(store.stats().live_bytes, live.keys().map(|location| u64::from(location.length)).sum::<u64>());
    drop(store);
    let again = BlockStore::open(disk, config).unwrap();
    for (location, (number, length)) in live {
        again.adopt(number / 1000, location).unwrap();
        assert_eq!(again.read(location).unwrap(), pattern(number, length));
    }
}
