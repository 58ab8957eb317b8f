//! A set of log indexes, kept as ranges: a backlog in order is one range whatever its length.
//!
//! Invariant: ranges are not empty, do not overlap and do not touch; `count` is their total length.

use std::collections::BTreeMap;

/// A half-open range of indexes.
pub type Range = (u64, u64);

/// Indexes as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSet {
    ranges: BTreeMap<u64, u64>,
    count: u64,
}

impl IndexSet {
    /// How many indexes there are.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The smallest index.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(start, _)| *start)
    }

    /// Whether `index` is in it.
    pub fn contains(&self, index: u64) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, end)| index < *end)
    }

    /// Ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.ranges.iter().map(|(start, end)| (*start, *end))
    }

    /// Parts of `start..end` that are in the set.
    pub fn within(&self, (start, end): Range) -> impl Iterator<Item = Range> + '_ {
        let from = match self.ranges.range(..=start).next_back() {
            Some((first, last)) if *last > start => *first,
            _ => start,
        };
        self.ranges
            .range(from..end.max(from))
            .map(move |(first, last)| ((*first).max(start), (*last).min(end)))
    }

    /// Parts of `start..end` that are not in the set.
    pub fn gaps(&self, (start, end): Range) -> impl Iterator<Item = Range> + '_ {
        let mut inside = self.within((start, end));
        let mut at = start;
        std::iter::from_fn(move || {
            while at < end {
                let (next, behind) = inside.next().unwrap_or((end, end));
                let gap = (at, next);
                at = behind;
                if gap.0 < gap.1 {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// How many of `start..end` are in the set.
    pub fn count_within(&self, range: Range) -> u64 {
        self.within(range).map(|(start, end)| end - start).sum()
    }

    /// Adds `start..end`.
    pub fn insert(&mut self, (mut start, mut end): Range) {
        if start >= end {
            return;
        }
        // The common case: the next messages of a queue that is read in order.
        if let Some(mut last) = self.ranges.last_entry()
            && *last.get() == start
        {
            self.count += end - start;
            *last.get_mut() = end;
            return;
        }
        if let Some((first, last)) = self.ranges.range(..=start).next_back().map(|(a, b)| (*a, *b))
            && last >= start
        {
            self.ranges.remove(&first);
            self.count -= last - first;
            start = first;
            end = end.max(last);
        }
        while let Some((first, last)) = self.ranges.range(start..=end).next().map(|(a, b)| (*a, *b)) {
            self.ranges.remove(&first);
            self.count -= last - first;
            end = end.max(last);
        }
        self.count += end - start;
        self.ranges.insert(start, end);
    }

    /// Takes `start..end` out; tells how many of them were in it.
    pub fn remove(&mut self, (start, end): Range) -> u64 {
        if start >= end {
            return 0;
        }
        let before = self.count;
        if let Some((first, last)) = self.ranges.range(..start).next_back().map(|(a, b)| (*a, *b))
            && last > start
        {
            self.ranges.insert(first, start);
            self.count -= last - start;
            if last > end {
                self.ranges.insert(end, last);
                self.count += last - end;
            }
        }
        while let Some((first, last)) = self.ranges.range(start..end).next().map(|(a, b)| (*a, *b)) {
            self.ranges.remove(&first);
            self.count -= last - first;
            if last > end {
                self.ranges.insert(end, last);
                self.count += last - end;
            }
        }
        before - self.count
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(steps in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..80)) {
            let mut ours = IndexSet::default();
            let mut plain = BTreeSet::new();
            for (insert, start, length) in steps {
                let range = (start, start + length);
                if insert {
                    ours.insert(range);
                    plain.extend(range.0..range.1);
                } else {
                    let removed = (range.0..range.1).filter(|index| plain.remove(index)).count();
                    prop_assert_eq!(ours.remove(range), removed as u64);
                }
                let flat: Vec<u64> = ours.ranges().flat_map(|(a, b)| a..b).collect();
                prop_assert_eq!(&flat, &plain.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(ours.count(), plain.len() as u64);
                let gaps = ours.ranges().zip(ours.ranges().skip(1)).all(|(a, b)| a.1 < b.0);
                prop_assert!(gaps, "ranges touch");
                let inside: Vec<u64> = ours.within((10, 30)).flat_map(|(a, b)| a..b).collect();
                prop_assert_eq!(inside, plain.range(10..30).copied().collect::<Vec<_>>());
                let outside: Vec<u64> = ours.gaps((10, 30)).flat_map(|(a, b)| a..b).collect();
                prop_assert_eq!(outside, (10..30).filter(|index| !plain.contains(index)).collect::<Vec<_>>());
                prop_assert_eq!(ours.count_within((10, 30)), plain.range(10..30).count() as u64);
            }
        }
    }
}
