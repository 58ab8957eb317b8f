//! How many publishes are confirmed, whatever mixture of single and multiple confirms comes.
//!
//! Invariant: every tag counts once, and the count never goes back.

use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub struct Confirms {
    /// Every tag up to this one is confirmed.
    low: u64,
    /// Confirmed tags above it.
    ahead: BTreeSet<u64>,
    /// What was confirmed since the last `take_new`, as first and last tag.
    new: Vec<(u64, u64)>,
}

impl Confirms {
    pub fn confirm(&mut self, tag: u64, multiple: bool) {
        self.note_new(tag, multiple);
        if multiple {
            self.low = self.low.max(tag);
            self.ahead = self.ahead.split_off(&(self.low + 1));
        } else if tag == self.low + 1 {
            self.low = tag;
        } else if tag > self.low {
            self.ahead.insert(tag);
            return;
        }
        while self.ahead.first() == Some(&(self.low + 1)) {
            self.ahead.pop_first();
            self.low += 1;
        }
    }

    /// Every tag up to this one is confirmed.
    pub fn low(&self) -> u64 {
        self.low
    }

    fn note_new(&mut self, tag: u64, multiple: bool) {
        if !multiple {
            if tag > self.low && !self.ahead.contains(&tag) {
                self.new.push((tag, tag));
            }
            return;
        }
        let mut first = self.low + 1;
        for known in self.ahead.range(..=tag) {
            if first < *known {
                self.new.push((first, known - 1));
            }
            first = known + 1;
        }
        if first <= tag {
            self.new.push((first, tag));
        }
    }

    /// Ranges of tags, each tag once.
    pub fn take_new(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.new)
    }

    pub fn count(&self) -> u64 {
        self.low + self.ahead.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_counts_each_tag_once() {
        let mut confirms = Confirms::default();
        let steps = [
            (1, false, 1),
            (3, false, 2),
            (5, false, 3),
            (3, false, 3),
            (2, false, 4),
            (4, true, 5),
            (4, true, 5),
            (9, false, 6),
            (7, true, 8),
            (8, false, 9),
            (2, true, 9),
            (20, true, 20),
        ];
        for (tag, multiple, count) in steps {
            confirms.confirm(tag, multiple);
            assert_eq!(confirms.count(), count, "after {tag} multiple={multiple}");
        }
        assert!(confirms.ahead.is_empty());
        let mut new: Vec<u64> =
            confirms.take_new().into_iter().flat_map(|(first, last)| first..=last).collect();
        new.sort_unstable();
        assert_eq!(new, (1..=20).collect::<Vec<u64>>());
        assert!(confirms.take_new().is_empty());
    }
}
