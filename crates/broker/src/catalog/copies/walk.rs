//! The way from a queue's copies to those that are wanted, one step at a time.
//!
//! Invariant: a step that is proposed is one that the catalog takes, so that whoever goes on asking comes to an
//! end. A copy in sync that is not wanted stays while a wanted one is missing and nobody else stands in for it.

use super::wanted::in_turn;
use super::{Catalog, Copies, CopyChange, CopyStep, Wanted};
use crate::catalog::Queue;
use types::NodeId;

/// The next steps of all queues, one each, and no more than `most`. Queues whose home is down have none: nobody
/// could follow them.
pub fn next_steps(catalog: &Catalog, most: usize) -> Vec<CopyChange> {
    if !catalog.knows_mirrors() {
        return Vec::new();
    }
    let queues = catalog.queues().filter(|row| Catalog::may_want_copies(row));
    queues.filter_map(|row| Some(CopyChange::of(row, next_step(catalog, row)?))).take(most).collect()
}

fn next_step(catalog: &Catalog, row: &Queue) -> Option<CopyStep> {
    if !catalog.is_up(row.home) {
        return None;
    }
    let wanted = catalog.wanted_copies(row);
    let Some(copies) = row.copies.as_deref() else {
        return (wanted.nodes != [row.home]).then_some(CopyStep::Start);
    };
    let walk = Walk { catalog, row, copies, wanted };
    walk.add()
        .or_else(|| walk.lower_minimum())
        .or_else(|| walk.hand_over())
        .or_else(|| walk.leave())
        .or_else(|| walk.drop_mirror())
        .or_else(|| walk.raise_minimum())
        .or_else(|| walk.stop())
}

/// A mirrored queue whose home is up, and where it is to come to.
struct Walk<'a> {
    catalog: &'a Catalog,
    row: &'a Queue,
    copies: &'a Copies,
    wanted: Wanted,
}

impl Walk<'_> {
    fn is_up(&self, node: NodeId) -> bool {
        self.catalog.is_up(node)
    }

    fn is_wanted(&self, node: NodeId) -> bool {
        self.wanted.nodes.contains(&node)
    }

    fn in_sync(&self, node: NodeId) -> bool {
        self.copies.in_sync.contains(&node)
    }

    /// A wanted node that is down gets its copy when it is back.
    fn add(&self) -> Option<CopyStep> {
        let lacks = |node: &&NodeId| **node != self.row.home && !self.copies.mirrors.contains(node);
        let missing = self.wanted.nodes.iter().filter(lacks).find(|node| self.is_up(**node));
        missing.map(|node| CopyStep::AddMirror(*node))
    }

    fn lower_minimum(&self) -> Option<CopyStep> {
        let minimum = self.wanted.min_in_sync;
        (self.copies.min_in_sync > minimum && self.copies.has_in_sync(minimum))
            .then_some(CopyStep::SetMinimum(minimum))
    }

    fn hand_over(&self) -> Option<CopyStep> {
        if self.is_wanted(self.row.home) {
            return None;
        }
        let able = self.wanted.nodes.iter().copied();
        let able = able.filter(|node| self.in_sync(*node) && self.is_up(*node)).collect();
        in_turn(able, self.row.id).first().map(|heir| CopyStep::HandOver(*heir))
    }

    /// Who is down is not waited for; who is not wanted only stays in place of one that is.
    fn leave(&self) -> Option<CopyStep> {
        let others = || self.copies.in_sync.iter().copied().filter(|node| *node != self.row.home);
        let is_spare = |node: &NodeId| !self.is_wanted(*node) && self.copies.are_spare(&self.wanted);
        let leaver = others().find(|node| !self.is_up(*node)).or_else(|| others().find(is_spare));
        leaver.filter(|_| self.copies.may_shrink()).map(CopyStep::LeaveSync)
    }

    /// Copies that are not wanted go when there are enough, or when they are down and all that is wanted is there.
    fn drop_mirror(&self) -> Option<CopyStep> {
        let mut wanted = self.wanted.nodes.iter().filter(|node| self.is_up(**node));
        let all_there = wanted.all(|node| self.in_sync(*node));
        let may_go =
            |node: &NodeId| self.copies.are_enough(&self.wanted) || (all_there && !self.is_up(*node));
        let mut extra =
            self.copies.mirrors.iter().copied().filter(|node| !self.is_wanted(*node) && !self.in_sync(*node));
        extra.find(may_go).map(CopyStep::DropMirror)
    }

    fn raise_minimum(&self) -> Option<CopyStep> {
        let minimum = self.wanted.min_in_sync;
        (self.copies.min_in_sync < minimum && self.copies.has_in_sync(minimum))
            .then_some(CopyStep::SetMinimum(minimum))
    }

    fn stop(&self) -> Option<CopyStep> {
        (self.copies.mirrors.is_empty() && self.wanted.nodes == [self.row.home]).then_some(CopyStep::Stop)
    }
}
