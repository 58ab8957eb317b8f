//! In each epoch of a mirrored queue one start of one node appends.

use super::{Invariant, Seen};
use crate::copies::world::World;
use std::collections::BTreeMap;
use types::{NodeId, QueueId};

/// Who appended.
#[derive(Default)]
pub(super) struct OneHome {
    homes: BTreeMap<(QueueId, u64), (NodeId, u64)>,
}

impl Invariant for OneHome {
    fn see(&mut self, _: &World, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Appended { queue, epoch, node, boot } = seen else { return Ok(()) };
        if *epoch == 0 {
            return Ok(());
        }
        let home = *self.homes.entry((*queue, *epoch)).or_insert((*node, *boot));
        if home == (*node, *boot) {
            return Ok(());
        }
        Err(format!("two homes append to queue {queue} in epoch {epoch}: {home:?} and {:?}", (node, boot)))
    }
}
