//! Measures a block store on the machine's disk: `block_speed <directory> [MiB] [block KiB]`.
//!
//! Prints how fast blocks are put (durable and volatile), how long a single put takes, and how fast
//! they are read back from the page cache.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;
use storage::{BlockConfig, BlockSink, BlockStore, Location, RealDisk};

struct Quiet;

impl BlockSink for Quiet {
    fn relocate(&self, _: u64, _: Vec<Location>) {}
    fn stalled(&self, why: Option<&str>) {
        println!("stalled: {why:?}");
    }
    fn failed(&self, why: &str) {
        println!("failed: {why}");
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("a directory to measure in");
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (total, block) = (number(2048) << 20, number(256) << 10);
    for (kind, config) in [
        ("durable", BlockConfig::durable(&Path::new(&dir).join("blocks"))),
        ("volatile", BlockConfig::volatile(&Path::new(&dir).join("paged"))),
    ] {
        measure(kind, config, total, block);
    }
}

fn measure(kind: &str, config: BlockConfig, total: usize, block: usize) {
    let open = BlockStore::open(Arc::new(RealDisk), config).expect("opens");
    let store = open.start(Arc::new(Quiet)).expect("starts");
    let (sender, answers) = mpsc::channel();
    let bytes: Arc<[u8]> = (0..block).map(|at| ((at * 7) >> 3) as u8).collect();
    let put = || {
        let (bytes, sender) = (bytes.clone(), sender.clone());
        store.put(
            1,
            Box::new(move |buffer| buffer.extend_from_slice(&bytes)),
            Box::new(move |outcome| sender.send(outcome.expect("is stored")).expect("is heard")),
        );
    };
    let (count, window) = (total / block, (64 << 20) / block + 1);
    let start = Instant::now();
    let mut locations = Vec::new();
    for n in 0..count {
        put();
        if n >= window {
            locations.push(answers.recv().expect("is answered"));
        }
    }
    locations.extend(answers.iter().take(count - locations.len()));
    report(kind, "put", count * block, start, store.stats().syncs);

    let start = Instant::now();
    let (done, loaded) = mpsc::sync_channel(16);
    for location in &locations {
        let done = done.clone();
        store.read(
            *location,
            Box::new(move |outcome| done.send(outcome.expect("is read").len()).expect("heard")),
        );
    }
    let read = loaded.iter().take(count).sum();
    report(kind, "read", read, start, 0);

    let start = Instant::now();
    for _ in 0..100 {
        put();
        locations.push(answers.recv().expect("is answered"));
    }
    println!("{kind}: one put alone takes {} us", start.elapsed().as_micros() / 100);
    let start = Instant::now();
    for location in locations {
        store.free(location);
    }
    store.stop();
    println!("{kind}: freed in {} ms", start.elapsed().as_millis());
}

fn report(kind: &str, what: &str, bytes: usize, start: Instant, syncs: u64) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{kind}: {what} {:.0} MB/s, {syncs} syncs", bytes as f64 / 1e6 / seconds);
}
