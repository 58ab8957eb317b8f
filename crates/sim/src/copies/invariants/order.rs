//! Messages that took the same way are in the queue in the order they were published.

use super::{Invariant, Seen};
use crate::copies::clients::Way;
use crate::copies::world::World;
use std::collections::BTreeMap;

/// Looks at each home that serves.
pub(super) struct Order;

impl Invariant for Order {
    fn see(&mut self, world: &World, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Established { queue, contents, .. } = seen else { return Ok(()) };
        let mut last: BTreeMap<Way, u64> = BTreeMap::new();
        for (index, payload) in &contents.live {
            let Some(way) = world.clients.ways.get(payload) else { continue };
            if let Some(before) = last.insert(*way, *payload).filter(|before| before > payload) {
                return Err(format!(
                    "message {payload} of queue {queue} is at {index}, behind {before} that was published later"
                ));
            }
        }
        Ok(())
    }
}
