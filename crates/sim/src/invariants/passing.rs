//! A transient or exclusive queue goes with the start of the node that held it, everywhere, and never comes back.

use super::{Invariant, Seen};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use types::QueueId;

/// What is known of such queues.
#[derive(Default)]
pub(super) struct Passing {
    /// Queues that went with a process.
    lost: BTreeMap<QueueId, String>,
    /// Queues that were deleted.
    gone: BTreeSet<QueueId>,
}

impl Passing {
    fn quiet(&self, world: &World) -> Result<(), String> {
        for machine in world.machines.borrow().iter() {
            let Some(process) = &machine.process else { continue };
            let node = machine.disk.node;
            if let Some((id, why)) = self.lost.iter().find(|(id, _)| process.hosted.contains_key(id)) {
                return Err(format!("node {node} runs queue {id}, {why}"));
            }
            for queue in process.catalog.queues() {
                if let Some(why) = self.lost.get(&queue.id) {
                    return Err(format!("node {node} still has queue {}, {why}", queue.id));
                }
            }
        }
        Ok(())
    }
}

impl Invariant for Passing {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Ended { node, boot, catalog } => {
                let held = catalog.queues().filter(|queue| queue.home == *node && !queue.durable);
                let why = format!("which went with start {boot} of node {node}");
                self.lost.extend(held.map(|queue| (queue.id, why.clone())));
                Ok(())
            }
            Seen::Changed { before, after, .. } => {
                let left: BTreeSet<_> = after.queues().map(|queue| queue.id).collect();
                self.gone.extend(before.queues().map(|queue| queue.id).filter(|id| !left.contains(id)));
                match left.intersection(&self.gone).next() {
                    Some(id) => Err(format!("queue {id} was deleted and is back")),
                    None => Ok(()),
                }
            }
            Seen::Quiet(world) => self.quiet(world),
            _ => Ok(()),
        }
    }
}
