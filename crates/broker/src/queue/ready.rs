//! Messages that wait for a consumer: by priority, and in log order within one.
//!
//! Invariant: a queue without `x-max-priority` has everything at level 0, so its order is the log's.

use super::index_set::{IndexSet, Range};
use std::collections::BTreeMap;

/// Ready messages.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Level 0, by far the most used.
    base: IndexSet,
    /// Levels above 0, empty ones left out.
    above: BTreeMap<u8, IndexSet>,
    count: u64,
}

impl Ready {
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn insert(&mut self, level: u8, range: Range) {
        let set = if level == 0 { &mut self.base } else { self.above.entry(level).or_default() };
        let before = set.count();
        set.insert(range);
        self.count += set.count() - before;
    }

    /// Takes what of `range` is ready out, at whatever level.
    pub(super) fn remove(&mut self, range: Range) -> u64 {
        let mut removed = self.base.remove(range);
        if !self.above.is_empty() {
            removed += self.above.values_mut().map(|set| set.remove(range)).sum::<u64>();
            self.above.retain(|_, set| !set.is_empty());
        }
        self.count -= removed;
        removed
    }

    /// Levels from the highest on.
    pub(super) fn levels(&self) -> impl Iterator<Item = &IndexSet> {
        self.above.values().rev().chain(std::iter::once(&self.base)).filter(|set| !set.is_empty())
    }

    /// Parts of `range` that are ready, level by level.
    pub(super) fn within(&self, range: Range) -> Vec<Range> {
        let mut parts: Vec<Range> = self.levels().flat_map(|set| set.within(range)).collect();
        parts.sort_unstable();
        parts
    }

    /// How many of `range` are ready.
    pub(super) fn count_within(&self, range: Range) -> u64 {
        self.levels().map(|set| set.count_within(range)).sum()
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.levels().any(|set| set.contains(index))
    }

    /// The oldest ready message at any level.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.levels().filter_map(IndexSet::first).min()
    }

    /// The next `count` messages in the order they would be delivered.
    pub(super) fn front(&self, count: u64) -> Vec<Range> {
        let mut left = count;
        let mut front = Vec::new();
        for (start, end) in self.levels().flat_map(IndexSet::ranges) {
            if left == 0 {
                break;
            }
            let taken = (end - start).min(left);
            front.push((start, start + taken));
            left -= taken;
        }
        front
    }

    pub(super) fn clear(&mut self) {
        self.base.clear();
        self.above.clear();
        self.count = 0;
    }
}
