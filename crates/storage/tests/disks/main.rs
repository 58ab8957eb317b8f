//! The disks that tests break: what they promise to the tests that use them.

mod crash;
mod faulty;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Disk, DiskFile, OpenMode};

fn create(disk: &dyn Disk, name: &str) -> Arc<dyn DiskFile> {
    disk.open(&path(name), OpenMode::Create).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new("/data").join(name)
}

fn write(file: &dyn DiskFile, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.write_at(offset, &[IoSlice::new(bytes)])
}

fn read(disk: &dyn Disk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&path(name), OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    Some(bytes)
}
