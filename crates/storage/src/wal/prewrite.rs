//! Writes a new file through with zeros.
//!
//! Invariant: once it came back, all blocks of the file are there and synced; writing into them changes
//! no metadata, which halves the time of a sync.

use crate::disk::{Disk, OpenMode};
use std::io::{self, IoSlice};
use std::path::Path;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// Written between two syncs: more at once would make the log's own syncs wait behind it.
const STEP_BYTES: u64 = 2 * 1024 * 1024;

/// Makes the file at `path`, `length` bytes of zeros. It is given up, half done, as soon as `goes_on`
/// says no; the result says whether it is complete.
pub(super) fn prewrite(
    disk: &dyn Disk,
    path: &Path,
    length: u64,
    goes_on: impl Fn() -> bool,
) -> io::Result<bool> {
    let file = disk.open(path, OpenMode::Create)?;
    let mut at = 0;
    while at < length {
        if !goes_on() {
            return Ok(false);
        }
        let step = STEP_BYTES.min(length - at);
        let full = step / ZEROS.len() as u64;
        let rest = (step % ZEROS.len() as u64) as usize;
        let mut parts = vec![IoSlice::new(&ZEROS); full as usize];
        parts.push(IoSlice::new(&ZEROS[..rest]));
        file.write_at(at, &parts)?;
        file.sync()?;
        at += step;
    }
    Ok(true)
}
