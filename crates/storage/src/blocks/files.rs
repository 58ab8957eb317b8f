//! What is in the files of a store: which blocks are needed, how much of each file that is.
//!
//! Invariant: the sums are those of the files. A file that is no longer written to and in which
//! nothing is needed stands in `empty` until it is taken from there to be removed.

use super::Location;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Files {
    files: BTreeMap<u64, File>,
    /// Files to be removed; their bytes are in no sum.
    empty: Vec<u64>,
    disk_bytes: u64,
    live_bytes: u64,
    /// Bytes of needed blocks whose owners were asked to put them elsewhere.
    asked_bytes: u64,
}

#[derive(Default)]
struct File {
    bytes: u64,
    live: u64,
    /// Whether the writer still appends to it.
    written: bool,
    /// Whether the owners of all its blocks were asked to put them elsewhere.
    asked: bool,
    /// Needed blocks by their offset.
    blocks: BTreeMap<u32, Block>,
}

struct Block {
    log: u64,
    length: u32,
    asked: bool,
}

impl Files {
    /// A file of an earlier process.
    pub(super) fn found(&mut self, number: u64, bytes: u64) {
        self.disk_bytes += bytes;
        self.files.insert(number, File { bytes, ..File::default() });
    }

    /// A file that the writer begins.
    pub(super) fn create(&mut self, number: u64) {
        self.files.insert(number, File { written: true, ..File::default() });
    }

    /// The file is now so long.
    pub(super) fn set_bytes(&mut self, number: u64, bytes: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            self.disk_bytes = self.disk_bytes + bytes - file.bytes;
            file.bytes = bytes;
        }
    }

    /// The writer is done with the file.
    pub(super) fn close(&mut self, number: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.written = false;
        }
        self.drop_if_empty(number);
    }

    /// A block that `log` needs; the text says why it cannot be.
    pub(super) fn add(&mut self, log: u64, location: Location) -> Result<(), String> {
        let Some(file) = self.files.get_mut(&location.file) else {
            return Err("there is no such file".into());
        };
        if location.end() > file.bytes {
            return Err(format!("it ends at {}, the block at {}", file.bytes, location.end()));
        }
        if let Some(other) = file.blocks.get(&location.offset) {
            return Err(format!("log {} has the block there already", other.log));
        }
        file.blocks.insert(location.offset, Block { log, length: location.length, asked: false });
        file.live += u64::from(location.length);
        self.live_bytes += u64::from(location.length);
        Ok(())
    }

    /// A block that is needed no more; false if it was not there. The file may be empty now.
    pub(super) fn free(&mut self, location: Location) -> bool {
        let Some(file) = self.files.get_mut(&location.file) else {
            return false;
        };
        let Some(block) = file.blocks.get(&location.offset).filter(|block| block.length == location.length)
        else {
            return false;
        };
        let (length, asked) = (u64::from(block.length), block.asked);
        file.blocks.remove(&location.offset);
        file.live -= length;
        self.live_bytes -= length;
        if asked {
            self.asked_bytes -= length;
        }
        self.drop_if_empty(location.file);
        true
    }

    fn drop_if_empty(&mut self, number: u64) {
        if self.files.get(&number).is_some_and(|file| file.blocks.is_empty() && !file.written)
            && let Some(file) = self.files.remove(&number)
        {
            self.disk_bytes -= file.bytes;
            self.empty.push(number);
        }
    }

    /// Takes out all files in which nothing is needed; gives their numbers and lengths.
    pub(super) fn take_unused(&mut self) -> Vec<(u64, u64)> {
        let unused: Vec<_> =
            self.files.extract_if(.., |_, file| file.blocks.is_empty() && !file.written).collect();
        self.disk_bytes -= unused.iter().map(|(_, file)| file.bytes).sum::<u64>();
        unused.into_iter().map(|(number, file)| (number, file.bytes)).collect()
    }

    /// Files to be removed.
    pub(super) fn take_empty(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.empty)
    }

    pub(super) fn has_empty(&self) -> bool {
        !self.empty.is_empty()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.files.contains_key(&number)
    }

    /// Bytes on disk above what may be: twice what is needed and two files.
    pub(super) fn excess(&self, file_bytes: u64) -> u64 {
        self.disk_bytes.saturating_sub(2 * self.live_bytes + 2 * file_bytes)
    }

    /// Whether [`Files::relocate`] may find something.
    pub(super) fn may_relocate(&self, file_bytes: u64, asked_max: u64) -> bool {
        self.asked_bytes < asked_max && self.excess(file_bytes) > 0
    }

    /// The blocks whose owners are to put them elsewhere now, by log: those of the emptiest files, until
    /// enough space would come back or `asked_max` bytes are on their way.
    pub(super) fn relocate(&mut self, file_bytes: u64, asked_max: u64) -> BTreeMap<u64, Vec<Location>> {
        let mut asks: BTreeMap<u64, Vec<Location>> = BTreeMap::new();
        if !self.may_relocate(file_bytes, asked_max) {
            return asks;
        }
        let mut missing = self.excess(file_bytes);
        let mut sparse = Vec::new();
        for (number, file) in &self.files {
            if file.asked {
                missing = missing.saturating_sub(file.bytes - file.live);
            } else if !file.written && 2 * file.live < file.bytes {
                sparse.push((file.live, *number));
            }
        }
        sparse.sort_unstable();
        for (_, number) in sparse {
            if missing == 0 || self.asked_bytes >= asked_max {
                break;
            }
            let Some(file) = self.files.get_mut(&number) else { continue };
            missing = missing.saturating_sub(file.bytes - file.live);
            self.asked_bytes += file.live;
            file.asked = true;
            for (&offset, block) in &mut file.blocks {
                block.asked = true;
                asks.entry(block.log).or_default().push(Location {
                    file: number,
                    offset,
                    length: block.length,
                });
            }
        }
        asks
    }

    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_BYTES: u64 = 1000;

    /// Closed files of 1000 bytes with so many blocks of 100 bytes each.
    fn files(blocks: &[u32]) -> Files {
        let mut files = Files::default();
        for (number, count) in (1..).zip(blocks) {
            files.create(number);
            files.set_bytes(number, FILE_BYTES);
            for nth in 0..*count {
                files.add(number, Location { file: number, offset: nth * 100, length: 100 }).unwrap();
            }
            files.close(number);
        }
        files
    }

    fn asked(files: &mut Files, asked_max: u64) -> Vec<u64> {
        files.relocate(FILE_BYTES, asked_max).into_keys().collect()
    }

    #[test]
    fn the_emptiest_files_are_relocated_first_and_no_more_than_needed() {
        // 6000 bytes, 1500 needed: 1000 too many.
        let mut files = files(&[4, 1, 3, 2, 1, 4]);
        assert_eq!(files.excess(FILE_BYTES), 1000);
        assert_eq!(asked(&mut files, u64::MAX), [2, 5], "each gives 900 back");
        assert_eq!(asked(&mut files, u64::MAX), [], "what was asked for will be enough");
        for number in [2, 5] {
            assert!(files.free(Location { file: number, offset: 0, length: 100 }));
        }
        assert_eq!(files.take_empty(), [2, 5]);
        assert_eq!((files.disk_bytes(), files.live_bytes(), files.excess(FILE_BYTES)), (4000, 1300, 0));
    }

    #[test]
    fn what_is_asked_for_at_a_time_is_bounded() {
        let mut files = files(&[1; 20]);
        assert_eq!(asked(&mut files, 250), [1, 2, 3]);
        assert_eq!(asked(&mut files, 250), []);
        assert!(files.free(Location { file: 2, offset: 0, length: 100 }));
        assert_eq!(asked(&mut files, 250), [4], "an answer makes room for the next");
    }

    #[test]
    fn files_that_are_half_needed_or_written_stay() {
        let mut files = files(&[5, 5, 9]);
        files.create(4);
        files.set_bytes(4, 900);
        assert_eq!(asked(&mut files, u64::MAX), []);
        assert_eq!(files.take_empty(), []);
        files.close(4);
        assert_eq!(files.take_empty(), [4]);
    }
}
