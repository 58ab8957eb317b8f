//! A mirror lets go of a message only when a home has committed that it is settled.

use super::{Invariant, Seen};
use crate::copies::world::World;
use std::collections::BTreeSet;
use types::QueueId;

/// What homes have committed.
#[derive(Default)]
pub(super) struct Settles {
    committed: BTreeSet<(QueueId, u64)>,
}

impl Invariant for Settles {
    fn see(&mut self, _: &World, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::SettleCommitted { queue, indexes } => {
                self.committed.extend(indexes.iter().map(|index| (*queue, *index)));
                Ok(())
            }
            Seen::LetGo { queue, node, indexes, why } if why.contains("mirror") => {
                match indexes.iter().find(|index| !self.committed.contains(&(*queue, **index))) {
                    Some(index) => Err(format!(
                        "node {node} lets go of message {index} of queue {queue}, whose settle is not committed"
                    )),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
