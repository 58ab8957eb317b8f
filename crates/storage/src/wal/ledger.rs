//! The files that are in use, and which of them are still needed.
//!
//! Invariant: files are in the order of their generations and of their entries; only the last one may
//! still be written to.

use super::entry::Sequence;
use std::collections::VecDeque;

/// A file that holds part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileInUse {
    pub generation: u64,
    /// Bytes on disk.
    pub length: u64,
    /// The last sequence in it, or the last before it where it has none.
    pub last_sequence: Sequence,
}

/// The files in use.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    files: VecDeque<FileInUse>,
    /// How many at the front have been asked to go.
    asked: usize,
    bytes: u64,
    asked_bytes: u64,
    asked_up_to: Sequence,
}

impl Ledger {
    /// Adds the newest file.
    pub fn push(&mut self, file: FileInUse) {
        self.bytes += file.length;
        self.files.push_back(file);
    }

    /// The newest file holds entries up to `sequence`.
    pub fn reached(&mut self, sequence: Sequence) {
        if let Some(file) = self.files.back_mut() {
            file.last_sequence = sequence;
        }
    }

    /// Files in use and their bytes.
    pub fn size(&self) -> (usize, u64) {
        (self.files.len(), self.bytes)
    }

    /// How many files at the front nobody needs when the oldest entry needed is `oldest`. The newest
    /// counts only if it is `closed`.
    pub fn idle(&self, oldest: Option<Sequence>, closed: bool) -> usize {
        let open = usize::from(!closed);
        let candidates = self.files.len().saturating_sub(open);
        let is_idle = |file: &&FileInUse| oldest.is_none_or(|oldest| file.last_sequence < oldest);
        self.files.iter().take(candidates).take_while(is_idle).count()
    }

    /// Generation of the file behind the first `count`.
    pub fn generation_after(&self, count: usize) -> Option<u64> {
        self.files.get(count).map(|file| file.generation)
    }

    /// Takes out the files of generations below `oldest`.
    pub fn release(&mut self, oldest: u64) -> Vec<FileInUse> {
        let mut released = Vec::new();
        while let Some(file) = self.files.pop_front_if(|file| file.generation < oldest) {
            self.bytes -= file.length;
            if self.asked > 0 {
                self.asked -= 1;
                self.asked_bytes -= file.length;
            }
            released.push(file);
        }
        released
    }

    /// The last sequence of the next file that should go, if more than `budget` bytes would stay without
    /// asking. The newest file is never asked for.
    pub fn ask(&mut self, budget: u64) -> Option<Sequence> {
        while self.bytes - self.asked_bytes > budget && self.asked + 1 < self.files.len() {
            let file = self.files.get(self.asked)?;
            self.asked += 1;
            self.asked_bytes += file.length;
            // Else it has no entries of its own.
            if file.last_sequence > self.asked_up_to {
                self.asked_up_to = file.last_sequence;
                return Some(file.last_sequence);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for generation in 1..=4 {
            ledger.push(FileInUse { generation, length: 100, last_sequence: generation * 10 });
        }
        ledger
    }

    #[test]
    fn files_before_the_oldest_need_are_idle() {
        let ledger = ledger();
        assert_eq!(ledger.idle(Some(10), false), 0);
        assert_eq!(ledger.idle(Some(11), false), 1);
        assert_eq!((ledger.idle(None, false), ledger.idle(None, true)), (3, 4));
        assert_eq!((ledger.generation_after(1), ledger.generation_after(4)), (Some(2), None));
    }

    #[test]
    fn each_file_is_asked_for_once_while_too_much_would_stay() {
        let mut ledger = ledger();
        assert_eq!(ledger.ask(400), None);
        assert_eq!((ledger.ask(250), ledger.ask(250), ledger.ask(250)), (Some(10), Some(20), None));
        assert_eq!(ledger.release(2).len(), 1);
        assert_eq!(ledger.ask(250), None);
        assert_eq!((ledger.ask(0), ledger.ask(0)), (Some(30), None));
        assert_eq!(ledger.size(), (3, 300));
    }
}
