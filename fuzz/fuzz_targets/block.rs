//! Block files: whatever bytes are in one, adopting and reading a block in it gives an error or a
//! block that fits, and opening refuses only newer versions.
//!
//! The first 24 bytes are the log and the location that is asked for, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use storage::{BlockConfig, BlockStore, CrashDisk, Disk, Location, OpenMode};

fuzz_target!(|data: &[u8]| {
    let Some((log, rest)) = data.split_first_chunk::<8>() else { return };
    let Some((place, bytes)) = rest.split_first_chunk::<{ Location::ENCODED_BYTES }>() else { return };
    let (log, location) = (u64::from_le_bytes(*log), Location::decode(place));
    assert_eq!(location.encode(), *place);
    let dir = Path::new("/blocks");
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(1));
    disk.create_dir(dir).unwrap();
    let path = dir.join(format!("{:016x}.blk", location.file));
    disk.open(&path, OpenMode::Create).unwrap().write_at(0, &[IoSlice::new(bytes)]).unwrap();
    let Ok(open) = BlockStore::open(disk, BlockConfig::durable(dir)) else { return };
    let adopted = open.adopt(log, location);
    match open.read(location) {
        Ok(block) => assert!(block.len() + 24 == location.length as usize && block.len() < bytes.len()),
        Err(error) => assert!(error.to_string().contains(".blk")),
    }
    let removed = open.recovered().unwrap();
    assert!(removed == 0 || adopted.is_err() || bytes.is_empty());
});
