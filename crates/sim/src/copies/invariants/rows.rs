//! Rows of queues: who is in sync is the home or a mirror, and never fewer than the minimum, unless a disk is gone; a new
//! home was in sync; epochs ascend.

use super::{Invariant, Seen};
use crate::copies::register::Row;
use crate::copies::world::World;
use broker::catalog::Command;

/// Looks at each change by itself.
pub(super) struct Rows;

fn check(before: Option<&Row>, after: &Row, is_replaced: bool) -> Result<(), &'static str> {
    let copies = &after.copies;
    let is_copy = |node: &types::NodeId| *node == after.home || copies.mirrors.contains(node);
    let least = usize::try_from(copies.min_in_sync).unwrap_or(usize::MAX);
    if !copies.in_sync.contains(&after.home) || copies.mirrors.contains(&after.home) {
        return Err("the home is a mirror, or not in sync");
    }
    if !copies.in_sync.iter().all(is_copy) {
        return Err("who has no copy is in sync");
    }
    let Some(before) = before.filter(|before| before.copies != *copies) else { return Ok(()) };
    if copies.epoch == 0 || before.copies.epoch == 0 {
        let is_moved = before.home != after.home;
        return if is_moved { Err("a queue without mirrors moved") } else { Ok(()) };
    }
    if copies.in_sync.len() < least && copies.in_sync.len() < before.copies.in_sync.len() && !is_replaced {
        return Err("fewer are in sync than the minimum");
    }
    if copies.version != before.copies.version + 1 {
        return Err("the version did not go up by one");
    }
    if copies.epoch != before.copies.epoch && !before.copies.in_sync.contains(&after.home) {
        return Err("the new home was not in sync");
    }
    if copies.epoch < before.copies.epoch
        || (before.home != after.home && copies.epoch == before.copies.epoch)
    {
        return Err("the epoch is not a new one");
    }
    Ok(())
}

impl Invariant for Rows {
    fn see(&mut self, _: &World, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Changed { change, before, after } = seen else { return Ok(()) };
        // A new node that takes the place of one has nothing of what that one had.
        let nodes = &before.catalog.nodes;
        let is_replaced = matches!(change, Command::PutNode { node } if !nodes.contains_key(&node.id));
        after.queues.iter().try_for_each(|(queue, row)| {
            let before = before.queues.get(queue);
            check(before, row, is_replaced)
                .map_err(|why| format!("queue {queue}: {why}: {change:?} made {row:?} of {before:?}"))
        })
    }
}
