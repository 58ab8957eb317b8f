//! Bindings in numbered slots, for exchanges that pick one of them by a number.
//!
//! Invariant: slots are numbered from 0 without holes, and each binding knows its slot.

use super::target::Target;
use crate::catalog::binding::BySource;
use imbl::{OrdMap, Vector};

#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    list: Vector<(BySource, Target)>,
    places: OrdMap<BySource, usize>,
}

impl Slots {
    pub(crate) fn insert(&mut self, row: &BySource, target: &Target) {
        self.places.insert(row.clone(), self.list.len());
        self.list.push_back((row.clone(), target.clone()));
    }

    /// Empties the slot of `row` and moves the last one there.
    pub(crate) fn remove(&mut self, row: &BySource) {
        let Some(at) = self.places.remove(row) else { return };
        let Some(last) = self.list.pop_back() else { return };
        if at < self.list.len() {
            self.places.insert(last.0.clone(), at);
            self.list.set(at, last);
        }
    }

    /// The bindings in the order of their slots.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &BySource> {
        self.list.iter().map(|(row, _)| row)
    }

    /// The target that `number` falls on.
    pub(crate) fn pick(&self, number: u64) -> Option<&Target> {
        let count = self.list.len() as u64;
        let at = number.checked_rem(count)?;
        self.list.get(at as usize).map(|(_, target)| target)
    }
}
