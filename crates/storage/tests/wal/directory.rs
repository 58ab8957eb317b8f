//! A log's directory as plain bytes, for tests that change them.
//!
//! Invariant: `disk` gives a disk with exactly these files.

use super::observer::tiny;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use storage::{CrashDisk, Disk, OpenMode};

/// Names and bytes of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory(pub BTreeMap<String, Vec<u8>>);

impl Directory {
    pub fn of(disk: &dyn Disk) -> Directory {
        let dir = tiny().dir;
        let read = |name: String| {
            let file = disk.open(&dir.join(&name), OpenMode::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            (name, bytes)
        };
        Directory(disk.list(&dir).unwrap().into_iter().map(read).collect())
    }

    pub fn disk(&self) -> Arc<dyn Disk> {
        let disk = CrashDisk::new(0);
        let dir = tiny().dir;
        disk.create_dir(&dir).unwrap();
        for (name, bytes) in &self.0 {
            let file = disk.open(&dir.join(name), OpenMode::Create).unwrap();
            file.write_at(0, &[IoSlice::new(bytes)]).unwrap();
        }
        Arc::new(disk)
    }

    /// Names of the files that hold part of the log, in order.
    pub fn begun(&self) -> Vec<String> {
        let own = |(name, bytes): &(&String, &Vec<u8>)| {
            bytes.starts_with(b"LVRT-WAL")
                && u64::from_str_radix(&name[..16], 16) == Ok(number(bytes, 16))
                && name.ends_with(".wal")
        };
        self.0.iter().filter(own).map(|(name, _)| name.clone()).collect()
    }

    pub fn bytes(&mut self, name: &str) -> &mut Vec<u8> {
        self.0.get_mut(name).unwrap()
    }
}

/// Offsets and lengths of the batches of a file.
pub fn batches(file: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 128;
    while file[at..].starts_with(b"LVWB") && number(file, at + 16) == number(file, 16) {
        let length = 64 * u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize;
        found.push((at, length));
        at += length;
    }
    found
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
