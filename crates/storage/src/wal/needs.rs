//! The oldest entry that each log still needs.
//!
//! Invariant: both views hold the same pairs; a log is in them from its first entry to its end.

use super::entry::{EntryKind, Sequence};
use std::collections::{BTreeSet, HashMap};

/// What each log needs.
#[derive(Debug, Default)]
pub(super) struct Needs {
    by_log: HashMap<u64, Sequence>,
    by_sequence: BTreeSet<(Sequence, u64)>,
}

impl Needs {
    /// Takes in an entry that is durable, in order.
    pub fn apply(&mut self, sequence: Sequence, log: u64, kind: EntryKind) {
        match kind {
            EntryKind::Record => {
                if let std::collections::hash_map::Entry::Vacant(vacant) = self.by_log.entry(log) {
                    vacant.insert(sequence);
                    self.by_sequence.insert((sequence, log));
                }
            }
            EntryKind::Snapshot { needs_from, .. } => {
                let need = needs_from.map_or(sequence, |from| from.min(sequence));
                if let Some(before) = self.by_log.insert(log, need) {
                    self.by_sequence.remove(&(before, log));
                }
                self.by_sequence.insert((need, log));
            }
            EntryKind::End => {
                if let Some(before) = self.by_log.remove(&log) {
                    self.by_sequence.remove(&(before, log));
                }
            }
        }
    }

    /// The oldest sequence that any log needs.
    pub fn oldest(&self) -> Option<Sequence> {
        self.by_sequence.first().map(|(sequence, _)| *sequence)
    }

    /// The logs that need something at or before `sequence`.
    pub fn holders(&self, sequence: Sequence) -> Vec<u64> {
        self.by_sequence.range(..=(sequence, u64::MAX)).map(|(_, log)| *log).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_needs_what_follows_its_snapshot() {
        let snapshot = |needs_from| EntryKind::Snapshot { covers: 1, needs_from };
        let mut needs = Needs::default();
        assert_eq!(needs.oldest(), None);
        needs.apply(1, 7, EntryKind::Record);
        needs.apply(2, 8, EntryKind::Record);
        needs.apply(3, 7, EntryKind::Record);
        assert_eq!((needs.oldest(), needs.holders(1), needs.holders(2)), (Some(1), vec![7], vec![7, 8]));
        needs.apply(4, 7, snapshot(Some(3)));
        assert_eq!((needs.oldest(), needs.holders(3)), (Some(2), vec![8, 7]));
        needs.apply(5, 8, snapshot(None));
        assert_eq!(needs.holders(5), vec![7, 8]);
        // Nothing later than the snapshot itself.
        needs.apply(6, 7, snapshot(Some(90)));
        assert_eq!(needs.oldest(), Some(5));
        needs.apply(7, 8, EntryKind::End);
        needs.apply(8, 8, EntryKind::End);
        assert_eq!((needs.oldest(), needs.holders(6)), (Some(6), vec![7]));
    }
}
