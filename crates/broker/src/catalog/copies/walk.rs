//! The way from a queue's copies to those that are wanted, one step at a time.
//!
//! Invariant: no step takes a copy away that the wanted ones do not replace yet; what a step needs of the row is
//! checked again when the catalog takes it.

use super::{Catalog, Copies, CopyChange, CopyStep};
use crate::catalog::Queue;
use types::NodeId;

/// The next steps of all queues, one each, and no more than `most`.
pub fn next_steps(catalog: &Catalog, most: usize) -> Vec<CopyChange> {
    let queues = catalog.vhosts.values().flat_map(|vhost| vhost.queues.values());
    let steps = queues.filter(|row| Catalog::may_want_copies(row)).filter_map(|row| {
        let (epoch, version) = row.copies.as_ref().map_or((0, 0), |copies| (copies.epoch, copies.version));
        let step = next_step(catalog, row)?;
        let (vhost, name) = (row.vhost.clone(), row.name.clone());
        Some(CopyChange { vhost, name, queue: row.id, epoch, version, step })
    });
    steps.take(most).collect()
}

fn next_step(catalog: &Catalog, row: &Queue) -> Option<CopyStep> {
    let wanted = catalog.wanted_copies(row);
    let is_up = |node: &NodeId| catalog.nodes.get(node).is_some_and(|row| row.up);
    let is_wanted = |node: &NodeId| wanted.nodes.contains(node);
    let Some(copies) = row.copies.as_deref() else {
        let needs = wanted.nodes != [row.home] && is_up(&row.home);
        return needs.then_some(CopyStep::Start);
    };
    let Copies { mirrors, in_sync, min_in_sync, .. } = copies;
    let has = |node: &NodeId| *node == row.home || mirrors.contains(node);
    if let Some(missing) = wanted.nodes.iter().find(|node| !has(node)) {
        return Some(CopyStep::AddMirror(*missing));
    }
    if *min_in_sync > wanted.min_in_sync {
        return Some(CopyStep::SetMinimum(wanted.min_in_sync));
    }
    let all_there = wanted.nodes.iter().filter(|node| is_up(node)).all(|node| in_sync.contains(node));
    if all_there && !is_wanted(&row.home) {
        let heir = wanted.nodes.iter().find(|node| is_up(node) && in_sync.contains(node));
        if let Some(heir) = heir {
            return Some(CopyStep::HandOver(*heir));
        }
    }
    let leaves = |node: &&NodeId| **node != row.home && (!is_up(node) || (all_there && !is_wanted(node)));
    if let Some(node) = in_sync.iter().find(leaves)
        && in_sync.len() > (*min_in_sync).max(1) as usize
    {
        return Some(CopyStep::LeaveSync(*node));
    }
    if let Some(node) = mirrors.iter().find(|node| !is_wanted(node) && !in_sync.contains(node))
        && all_there
    {
        return Some(CopyStep::DropMirror(*node));
    }
    if *min_in_sync < wanted.min_in_sync && in_sync.len() >= wanted.min_in_sync as usize {
        return Some(CopyStep::SetMinimum(wanted.min_in_sync));
    }
    (mirrors.is_empty() && wanted.nodes == [row.home]).then_some(CopyStep::Stop)
}
