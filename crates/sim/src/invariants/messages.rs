//! A confirmed message is on the disk of its queue's home, as long as the queue is there and that disk is.

use super::{Invariant, Seen};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use types::{NodeId, QueueId};

/// What was confirmed.
#[derive(Default)]
pub(super) struct Messages {
    confirmed: BTreeMap<QueueId, BTreeSet<(u64, NodeId)>>,
    wiped: BTreeSet<NodeId>,
}

impl Messages {
    fn quiet(&self, world: &World) -> Result<(), String> {
        let registers = world.registers.borrow();
        for register in registers.values() {
            for queue in register.catalog.queues() {
                let machines = world.machines.borrow();
                let home = machines.iter().find(|machine| machine.disk.node == queue.home);
                let on_disk = home.and_then(|machine| machine.disk.messages.get(&queue.id));
                for (message, node) in self.confirmed.get(&queue.id).into_iter().flatten() {
                    let is_there = on_disk.is_some_and(|on_disk| on_disk.contains(message));
                    if !is_there && !self.wiped.contains(node) {
                        return Err(format!(
                            "message {message} of queue {} at node {node} is lost",
                            queue.id
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Invariant for Messages {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Confirmed { queue, message, home } => {
                self.confirmed.entry(*queue).or_default().insert((*message, *home));
                Ok(())
            }
            Seen::Wiped { node } => {
                self.wiped.insert(*node);
                Ok(())
            }
            Seen::Quiet(world) => self.quiet(world),
            _ => Ok(()),
        }
    }
}
