//! A copy that is in sync is not dropped, and no copy goes back to an earlier epoch.

use super::{Invariant, Seen};
use crate::copies::world::World;

/// Looks at each change of a copy by itself.
pub(super) struct CopiesStay;

impl Invariant for CopiesStay {
    fn see(&mut self, world: &World, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Dropped { queue, node } => {
                let picture = world.register.latest();
                match picture.queues.get(queue) {
                    Some(row) if row.copies.in_sync.contains(node) => {
                        Err(format!("node {node} drops its copy of queue {queue}, which is in sync: {row:?}"))
                    }
                    _ => Ok(()),
                }
            }
            Seen::Reset { queue, node, from, to } if to < from => {
                Err(format!("node {node} goes back from epoch {from} to {to} of queue {queue}"))
            }
            _ => Ok(()),
        }
    }
}
