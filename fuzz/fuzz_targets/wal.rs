//! The write-ahead log: a directory with one file of any bytes is opened or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use storage::wal::{Replay, ReplayedEntry, Wal, WalConfig};
use storage::{CrashDisk, Disk, OpenMode};

struct InOrder(u64);

impl Replay for InOrder {
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String> {
        assert!(entry.sequence > self.0);
        self.0 = entry.sequence;
        Ok(())
    }
}

/// Makes checksums right, so that what they guard is reached: bit 0 of `which` the file's head, bit 1
/// the batches that lie one behind the other.
fn mend(bytes: &mut [u8], which: u8) {
    if which & 1 > 0 && bytes.len() >= 128 {
        bytes[..12].copy_from_slice(b"LVRT-WAL\x01\0\0\0");
        bytes[12..16].fill(0);
        bytes[16..24].copy_from_slice(&2_u64.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..128]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    }
    let salt: Option<[u8; 8]> = bytes.get(32..40).and_then(|salt| salt.try_into().ok());
    let mut before = crc32c::crc32c(&2_u64.to_le_bytes());
    let (mut at, mut number) = (128, 1_u64);
    while which & 2 > 0 && at + 64 <= bytes.len() {
        let left = (bytes.len() - at) / 64;
        let batch = &mut bytes[at..];
        batch[..4].copy_from_slice(b"LVWB");
        let units = 1 + usize::from(batch[8]) % left;
        batch[8..12].copy_from_slice(&(units as u32).to_le_bytes());
        batch[13..16].fill(0);
        batch[16..24].copy_from_slice(&2_u64.to_le_bytes());
        batch[24..32].copy_from_slice(&number.to_le_bytes());
        batch[48..56].copy_from_slice(&salt.unwrap_or_default());
        batch[56..60].copy_from_slice(&before.to_le_bytes());
        let sum = crc32c::crc32c(&batch[64..64 * units]);
        batch[60..64].copy_from_slice(&sum.to_le_bytes());
        before = crc32c::crc32c(&batch[8..64]);
        batch[4..8].copy_from_slice(&before.to_le_bytes());
        at += 64 * units;
        number += 1;
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    mend(&mut bytes, *which);
    let disk = CrashDisk::new(0);
    let mut config = WalConfig::new(PathBuf::from("/wal"));
    disk.create_dir(&config.dir).unwrap();
    let file = disk.open(&config.dir.join("0000000000000002.wal"), OpenMode::Create).unwrap();
    file.write_at(0, &[IoSlice::new(&bytes)]).unwrap();
    for accept_damage in [false, true] {
        config.accept_damage = accept_damage;
        if let Err(error) = Wal::open(Arc::new(disk.clone()), config.clone(), &mut InOrder(0)) {
            assert!(error.to_string().contains("/wal"));
        }
    }
});
