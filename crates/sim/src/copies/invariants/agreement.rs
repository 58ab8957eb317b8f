//! An index of a committed message names that message for ever, in every copy in sync.

use super::{Invariant, Seen};
use crate::copies::contents::Payload;
use crate::copies::register::Picture;
use crate::copies::world::World;
use std::collections::BTreeMap;
use types::{NodeId, QueueId};

/// What each index names.
#[derive(Default)]
pub(super) struct Agreement {
    names: BTreeMap<(QueueId, u64), Payload>,
}

impl Agreement {
    /// What a node has on disk is what was committed.
    fn check(&self, world: &World, queue: QueueId, node: NodeId) -> Result<(), String> {
        let machine = world.place_of(node).and_then(|place| world.machines.get(place));
        let Some(copy) = machine.and_then(|machine| machine.disk.copies.get(&queue)) else { return Ok(()) };
        let differs = copy
            .live
            .iter()
            .find(|(index, payload)| self.names.get(&(queue, **index)).is_some_and(|name| name != *payload));
        match differs {
            Some((index, payload)) => Err(format!(
                "index {index} of queue {queue} names {payload} at node {node}, and {:?} was committed",
                self.names.get(&(queue, *index))
            )),
            None => Ok(()),
        }
    }

    fn check_all(&self, world: &World, picture: &Picture) -> Result<(), String> {
        picture.queues.iter().try_for_each(|(queue, row)| {
            row.copies.in_sync.iter().try_for_each(|node| self.check(world, *queue, *node))
        })
    }
}

impl Invariant for Agreement {
    fn see(&mut self, world: &World, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Committed { queue, index, payload } => {
                let name = *self.names.entry((*queue, *index)).or_insert(*payload);
                if name == *payload {
                    return Ok(());
                }
                Err(format!("index {index} of queue {queue} was committed as {name} and as {payload}"))
            }
            Seen::Changed { after, .. } => self.check_all(world, after),
            Seen::Quiet => self.check_all(world, &world.register.latest()),
            _ => Ok(()),
        }
    }
}
