//! A store under test: puts and reads that are waited for, and a sink that remembers what it was told.
//!
//! Invariant: waiting ends after [`PATIENCE`] with a failed test.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::{
    BlockConfig, BlockError, BlockSink, BlockStore, Disk, Location, OpenBlocks, OpenMode, ReadError,
};

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const DIR: &str = "/data/blocks";

/// What a sink was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Relocate(u64, Vec<Location>),
    Stalled(Option<String>),
    Failed(String),
}

struct Sink(Mutex<Sender<Told>>);

impl BlockSink for Sink {
    fn relocate(&self, log: u64, blocks: Vec<Location>) {
        let _ = self.0.lock().unwrap().send(Told::Relocate(log, blocks));
    }

    fn stalled(&self, why: Option<&str>) {
        let _ = self.0.lock().unwrap().send(Told::Stalled(why.map(str::to_owned)));
    }

    fn failed(&self, why: &str) {
        let _ = self.0.lock().unwrap().send(Told::Failed(why.to_owned()));
    }
}

pub struct Rig {
    pub store: Arc<BlockStore>,
    pub told: Receiver<Told>,
}

/// Small files, so that a test has many.
pub fn config() -> BlockConfig {
    BlockConfig {
        file_bytes: 4096,
        round_max_bytes: 2048,
        reserve_bytes: 0,
        ..BlockConfig::durable(Path::new(DIR))
    }
}

pub fn open(disk: &Arc<dyn Disk>, config: BlockConfig) -> Result<OpenBlocks, BlockError> {
    BlockStore::open(disk.clone(), config)
}

pub fn start(open: OpenBlocks) -> Rig {
    try_start(open).unwrap()
}

pub fn try_start(open: OpenBlocks) -> io::Result<Rig> {
    let (sender, told) = mpsc::channel();
    Ok(Rig { store: open.start(Arc::new(Sink(Mutex::new(sender))))?, told })
}

pub fn fresh(disk: &Arc<dyn Disk>, config: BlockConfig) -> Rig {
    start(open(disk, config).unwrap())
}

impl Rig {
    /// Puts without waiting.
    pub fn begin_put(&self, log: u64, bytes: Vec<u8>) -> Receiver<io::Result<Location>> {
        let (sender, receiver) = mpsc::channel();
        self.store.put(
            log,
            Box::new(move |buffer| buffer.extend_from_slice(&bytes)),
            Box::new(move |outcome| {
                let _ = sender.send(outcome);
            }),
        );
        receiver
    }

    pub fn put(&self, log: u64, bytes: &[u8]) -> io::Result<Location> {
        self.begin_put(log, bytes.to_vec()).recv_timeout(PATIENCE).unwrap()
    }

    pub fn read(&self, location: Location) -> Result<Vec<u8>, ReadError> {
        let (sender, receiver) = mpsc::channel();
        self.store.read(
            location,
            Box::new(move |outcome| {
                let _ = sender.send(outcome);
            }),
        );
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until the writer has done all that it was given before.
    pub fn settle(&self) {
        assert!(self.put(0, &[]).is_err(), "an empty block is refused");
        assert!(self.put(0, &[]).is_err());
    }
}

/// Bytes that follow from a number.
pub fn pattern(number: u64, length: usize) -> Vec<u8> {
    let mut value = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (value >> 56) as u8
        })
        .collect()
}

/// All files of a directory with their bytes.
pub fn contents(disk: &dyn Disk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list(Path::new(DIR)).unwrap();
    names.into_iter().map(|name| (name.clone(), content(disk, &name))).collect()
}

pub fn content(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let file = disk.open(&Path::new(DIR).join(name), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Makes a file anew with these bytes.
pub fn set_content(disk: &dyn Disk, name: &str, bytes: &[u8]) {
    let path = Path::new(DIR).join(name);
    let _ = disk.remove(&path);
    disk.create_dir(Path::new(DIR)).unwrap();
    let file = disk.open(&path, OpenMode::Create).unwrap();
    file.write_at(0, &[io::IoSlice::new(bytes)]).unwrap();
}

/// A directory of the machine that is removed when the test is over, however it ends.
pub struct MachineDir(pub PathBuf);

impl MachineDir {
    pub fn new(name: &str) -> MachineDir {
        MachineDir(std::env::temp_dir().join(format!("leveret-blocks-{name}-{}", std::process::id())))
    }
}

impl Drop for MachineDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
