//! Where a match leads, and counted sets of it.
//!
//! Invariant: a target is in a set as long as one binding puts it there.

use super::compact_map::CompactMap;
use types::{ExchangeName, QueueId};

/// What a binding leads to, resolved when it is bound: a queue's name may mean another queue later,
/// its id never does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Queue(QueueId),
    Exchange(ExchangeName),
}

impl Target {
    /// Before every other target.
    pub(crate) const FIRST: Target = Target::Queue(QueueId(0));
}

/// Targets, each with the number of bindings that lead to it.
pub(crate) type Targets = CompactMap<Target, u32>;

impl Targets {
    pub(crate) fn add(&mut self, target: &Target) {
        *self.get_or_insert_with(target.clone(), || 0) += 1;
    }

    pub(crate) fn take(&mut self, target: &Target) {
        if let Some(count) = self.get_mut(target) {
            *count -= 1;
            if *count == 0 {
                self.remove(target);
            }
        }
    }
}
