//! Space comes back: owners are asked for the blocks of sparse files, and disk use stays bounded.

use crate::rig::{PATIENCE, Rig, Told, config, fresh, open, pattern, start};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{CrashDisk, Disk, Location};

const FILE_BYTES: u64 = 4096;

/// A store and what its owners know of it.
struct Model {
    disk: Arc<dyn Disk>,
    rig: Rig,
    /// Needed blocks: their log and what was put.
    live: BTreeMap<Location, (u64, u64, usize)>,
    puts: u64,
}

impl Model {
    fn new() -> Model {
        let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(1));
        Model { rig: fresh(&disk, config()), disk, live: BTreeMap::new(), puts: 0 }
    }

    fn put(&mut self, log: u64, length: usize) {
        self.puts += 1;
        let location = self.rig.put(log, &pattern(self.puts, length)).unwrap();
        assert_eq!(self.live.insert(location, (log, self.puts, length)), None, "a place is used once");
    }

    fn nth(&self, index: usize) -> Option<Location> {
        let count = self.live.len();
        self.live.keys().nth(index % count.max(1)).copied()
    }

    fn free(&mut self, location: Location) {
        self.live.remove(&location);
        self.rig.store.free(location);
    }

    /// Answers what the store asks for until it asks no more; gives how many blocks that were.
    fn answer(&mut self) -> usize {
        let mut count = 0;
        loop {
            self.rig.settle();
            let asks: Vec<Told> = self.rig.told.try_iter().collect();
            if asks.is_empty() {
                return count;
            }
            for ask in asks {
                let Told::Relocate(log, blocks) = ask else { panic!("{ask:?}") };
                for old in blocks {
                    // It may have been freed after it was asked for.
                    let Some((owner, number, length)) = self.live.remove(&old) else { continue };
                    assert_eq!(owner, log);
                    let new = self.rig.put(log, &pattern(number, length)).unwrap();
                    self.live.insert(new, (log, number, length));
                    self.rig.store.free(old);
                    count += 1;
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.rig.store.stop();
        let open = open(&self.disk, config()).unwrap();
        for (location, (log, ..)) in &self.live {
            open.adopt(*log, *location).unwrap();
        }
        open.recovered().unwrap();
        self.rig = start(open);
    }

    fn check(&self) {
        for (location, (_, number, length)) in &self.live {
            assert_eq!(self.rig.read(*location).unwrap(), pattern(*number, *length));
        }
        let stats = self.rig.store.stats();
        assert_eq!(
            stats.live_bytes,
            self.live.keys().map(|location| u64::from(location.length)).sum::<u64>()
        );
        let bound = 2 * stats.live_bytes + 2 * FILE_BYTES;
        assert!(stats.disk_bytes <= bound, "{} bytes on disk, at most {bound} are allowed", stats.disk_bytes);
        let on_disk: usize = crate::rig::contents(&*self.disk).iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(on_disk as u64, stats.disk_bytes);
    }
}

#[test]
fn owners_of_sparse_files_are_asked_once_and_the_space_comes_back() {
    let mut model = Model::new();
    for n in 0..100 {
        model.put(n % 3, 480);
    }
    let all: Vec<_> = model.live.keys().copied().collect();
    for (n, location) in all.iter().enumerate() {
        if n % 8 != 0 {
            model.free(*location);
        }
    }
    model.rig.settle();
    let asked: Vec<_> = model
        .rig
        .told
        .try_iter()
        .flat_map(|told| if let Told::Relocate(_, blocks) = told { blocks } else { panic!("{told:?}") })
        .collect();
    let mut unique = asked.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), asked.len(), "once each");
    assert!(asked.len() >= 5, "{asked:?}");
    model.rig.settle();
    assert_eq!(model.rig.told.try_iter().count(), 0, "nobody is asked again before it has answered");
    for old in asked {
        if let Some((log, number, length)) = model.live.remove(&old) {
            let new = model.rig.put(log, &pattern(number, length)).unwrap();
            model.live.insert(new, (log, number, length));
            model.rig.store.free(old);
        }
    }
    model.answer();
    model.check();
    assert!(model.rig.store.stats().relocations >= 5);
}

#[test]
fn sparse_files_of_an_earlier_process_are_relocated_at_once() {
    let mut model = Model::new();
    for n in 0..80 {
        model.put(n % 3, 480);
    }
    model.rig.store.stop();
    let mut n = 0;
    model.live.retain(|_, _| {
        n += 1;
        n % 8 == 0
    });
    let open = open(&model.disk, config()).unwrap();
    for (location, (log, ..)) in &model.live {
        open.adopt(*log, *location).unwrap();
    }
    model.rig = start(open);
    let told = model.rig.told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(told, Told::Relocate(..)), "{told:?}");
    model.reopen();
    assert!(model.answer() > 0);
    model.check();
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, usize),
    Free(usize),
    FreeMany(usize),
    Answer,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u64, 1..1200_usize).prop_map(|(log, length)| Step::Put(log, length)),
        1 => (0..4_u64, 3900..9000_usize).prop_map(|(log, length)| Step::Put(log, length)),
        5 => any::<usize>().prop_map(Step::Free),
        1 => (1..30_usize).prop_map(Step::FreeMany),
        1 => Just(Step::Answer),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_map_of_bounded_size(steps in prop::collection::vec(step(), 1..150)) {
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Put(log, length) => model.put(log, length),
                Step::Free(index) => {
                    if let Some(location) = model.nth(index) {
                        model.free(location);
                    }
                }
                Step::FreeMany(count) => {
                    for index in 0..count {
                        if let Some(location) = model.nth(index * 7) {
                            model.free(location);
                        }
                    }
                }
                Step::Answer => {
                    model.answer();
                    model.check();
                }
                Step::Reopen => model.reopen(),
            }
        }
        model.answer();
        model.check();
        model.reopen();
        model.answer();
        model.check();
    }
}
