//! A confirmed message that no client is done with is at its queue's home, whenever that serves.

use super::{Invariant, Seen, latest_home};
use crate::copies::contents::{Contents, Payload};
use crate::copies::world::World;
use std::collections::{BTreeMap, BTreeSet};
use types::QueueId;

/// What must not be lost.
#[derive(Default)]
pub(super) struct Kept {
    confirmed: BTreeMap<QueueId, BTreeSet<Payload>>,
    settled: BTreeSet<Payload>,
}

impl Kept {
    fn check(&self, queue: QueueId, contents: &Contents) -> Result<(), String> {
        let has: BTreeSet<Payload> = contents.live.values().copied().collect();
        let confirmed = self.confirmed.get(&queue);
        match confirmed.and_then(|confirmed| confirmed.difference(&has).next()) {
            Some(lost) => Err(format!("confirmed message {lost} of queue {queue} is lost")),
            None => Ok(()),
        }
    }
}

impl Invariant for Kept {
    fn see(&mut self, world: &World, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Confirmed { queue, payload } if !self.settled.contains(payload) => {
                self.confirmed.entry(*queue).or_default().insert(*payload);
                Ok(())
            }
            Seen::Settled { queue, payload } => {
                self.settled.insert(*payload);
                self.confirmed.entry(*queue).or_default().remove(payload);
                Ok(())
            }
            Seen::Established { queue, .. } | Seen::SettleCommitted { queue, .. } => {
                match latest_home(world, *queue) {
                    Some((contents, true)) => self.check(*queue, contents),
                    _ => Ok(()),
                }
            }
            Seen::Quiet => {
                let queues: Vec<QueueId> = self.confirmed.keys().copied().collect();
                queues.into_iter().try_for_each(|queue| match latest_home(world, queue) {
                    Some((contents, true)) => self.check(queue, contents),
                    _ => Err(format!("queue {queue} has no home that serves")),
                })
            }
            _ => Ok(()),
        }
    }
}
