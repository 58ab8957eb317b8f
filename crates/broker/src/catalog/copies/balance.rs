//! Homes of mirrored queues, spread over the nodes, or away from one.
//!
//! Invariant: a home only moves to a node that is up and in sync, so nothing has to be sent for it, and that is to
//! have a copy, so that it does not have to move on; no step makes the nodes less even than they were.

use super::{Catalog, CopyChange, CopyStep};
use crate::catalog::Queue;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::NodeId;

fn mirrored(catalog: &Catalog) -> impl Iterator<Item = &Arc<Queue>> {
    catalog.queues().filter(|row| row.copies.is_some())
}

/// How many mirrored queues each of these nodes is home of.
fn homes(catalog: &Catalog, nodes: &[NodeId]) -> BTreeMap<NodeId, usize> {
    let mut homes: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    for row in mirrored(catalog) {
        if let Some(count) = homes.get_mut(&row.home) {
            *count += 1;
        }
    }
    homes
}

/// Who could be the home of a queue besides the one it has: of those that may, the one with the fewest homes.
fn lightest(catalog: &Catalog, row: &Queue, homes: &BTreeMap<NodeId, usize>) -> Option<(NodeId, usize)> {
    let wanted = catalog.wanted_copies(row).nodes;
    let in_sync = row.copies.iter().flat_map(|copies| &copies.in_sync);
    let able = in_sync.filter(|node| **node != row.home && wanted.contains(node));
    able.filter_map(|node| Some((*node, *homes.get(node)?))).min_by_key(|(node, count)| (*count, *node))
}

/// Steps that spread homes over the nodes that serve, no more than `most`. Nothing moves while the fullest node has
/// no more than a fifth above the average, and one more.
pub fn balancing_steps(catalog: &Catalog, serving: &[NodeId], most: usize) -> Vec<CopyChange> {
    let up: Vec<NodeId> = serving.iter().copied().filter(|node| catalog.is_up(*node)).collect();
    let mut homes = homes(catalog, &up);
    let total: usize = homes.values().sum();
    let average = total / up.len().max(1);
    let allowed = average + average / 5 + 1;
    let mut steps = Vec::new();
    for row in mirrored(catalog) {
        if steps.len() >= most {
            break;
        }
        let Some(held) = homes.get(&row.home).copied().filter(|held| *held > allowed) else { continue };
        let Some((to, count)) = lightest(catalog, row, &homes).filter(|(_, count)| *count + 1 < held) else {
            continue;
        };
        steps.push(CopyChange::of(row, CopyStep::HandOver(to)));
        homes.insert(row.home, held - 1);
        homes.insert(to, count + 1);
    }
    steps
}

/// Steps that take homes away from a node, as far as others may have them.
pub fn leaving_steps(catalog: &Catalog, node: NodeId, most: usize) -> Vec<CopyChange> {
    let up: Vec<NodeId> =
        catalog.nodes.values().filter(|row| row.up && row.id != node).map(|row| row.id).collect();
    let mut homes = homes(catalog, &up);
    let mut steps = Vec::new();
    for row in mirrored(catalog).filter(|row| row.home == node) {
        if steps.len() >= most {
            break;
        }
        let Some((to, count)) = lightest(catalog, row, &homes) else { continue };
        homes.insert(to, count + 1);
        steps.push(CopyChange::of(row, CopyStep::HandOver(to)));
    }
    steps
}
