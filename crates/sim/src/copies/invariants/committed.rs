//! What a home takes for committed is on the disks of all that are in sync, unless a client is done with it; only what
//! is committed is handed out.

use super::{Invariant, Seen};
use crate::copies::contents::Payload;
use crate::copies::world::World;
use std::collections::BTreeSet;
use types::QueueId;

/// What was committed, and what clients were done with.
#[derive(Default)]
pub(super) struct Committed {
    committed: BTreeSet<(QueueId, u64, Payload)>,
    settled: BTreeSet<Payload>,
}

impl Committed {
    fn check(&self, world: &World, queue: QueueId, index: u64, payload: Payload) -> Result<(), String> {
        let picture = world.register.latest();
        let Some(row) = picture.queues.get(&queue) else { return Ok(()) };
        for node in &row.copies.in_sync {
            let machine = world.place_of(*node).and_then(|place| world.machines.get(place));
            let Some(machine) = machine else { continue };
            let copy = machine.disk.copies.get(&queue);
            if copy.is_none_or(|copy| copy.live.get(&index) != Some(&payload)) {
                return Err(format!(
                    "message {payload}, index {index} of queue {queue}, is taken for committed, and node {node} of {:?} \
                     does not have it on disk",
                    row.copies.in_sync
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for Committed {
    fn see(&mut self, world: &World, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Committed { queue, index, payload } => {
                self.committed.insert((*queue, *index, *payload));
                if self.settled.contains(payload) {
                    Ok(())
                } else {
                    self.check(world, *queue, *index, *payload)
                }
            }
            Seen::Settled { payload, .. } => {
                self.settled.insert(*payload);
                Ok(())
            }
            Seen::Delivered { queue, index, payload } => {
                if self.committed.contains(&(*queue, *index, *payload)) {
                    return Ok(());
                }
                Err(format!("message {payload} of queue {queue} is handed out and was not committed"))
            }
            _ => Ok(()),
        }
    }
}
