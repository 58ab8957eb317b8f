//! What the catalog's leader proposes for a queue, one step at a time, so that it has the copies that are wanted.
//!
//! Invariant: the minimum rises only when so many are in sync; no copy goes while it is needed.

use super::register::{MayShrink, Picture, Row};
use broker::catalog::copies::CopyStep;
use types::NodeId;

/// How many copies a commit should need.
pub fn wanted_minimum(row: &Row) -> u32 {
    u32::try_from(if row.wanted > 2 { row.wanted / 2 + 1 } else { 1 }).unwrap_or(1)
}

/// The next step towards what is wanted.
pub fn next_step(picture: &Picture, row: &Row, first: usize) -> Option<CopyStep> {
    let copies = &row.copies;
    let minimum = wanted_minimum(row);
    let all: Vec<NodeId> = std::iter::once(row.home).chain(copies.mirrors.iter().copied()).collect();
    let running = all.iter().filter(|node| picture.is_up(**node)).count();
    if copies.min_in_sync > minimum {
        return Some(CopyStep::SetMinimum(minimum));
    }
    if running < row.wanted {
        let others: Vec<NodeId> = picture
            .nodes
            .keys()
            .copied()
            .filter(|node| picture.is_up(*node) && !all.contains(node))
            .collect();
        if let Some(node) = others.get(first % others.len().max(1)) {
            return Some(CopyStep::AddMirror(*node));
        }
    }
    if all.len() > row.wanted {
        // Who does not run goes first, and who is not in sync.
        let mut mirrors: Vec<NodeId> = copies.mirrors.clone();
        mirrors.sort_by_key(|node| (picture.is_up(*node), copies.in_sync.contains(node)));
        let goes = mirrors.first().filter(|node| !picture.is_up(**node) || running > row.wanted)?;
        if !copies.in_sync.contains(goes) {
            return Some(CopyStep::DropMirror(*goes));
        }
        if copies.may_shrink() && copies.in_sync.len() > row.wanted {
            return Some(CopyStep::LeaveSync(*goes));
        }
    }
    let is_enough = usize::try_from(minimum).is_ok_and(|minimum| copies.in_sync.len() >= minimum);
    (copies.min_in_sync < minimum && is_enough).then_some(CopyStep::SetMinimum(minimum))
}
