//! The loss of one start of a node changes nothing once another start is known.

use super::{Invariant, Seen};
use broker::catalog::Command;

/// Looks at each loss by itself.
pub(super) struct Losses;

impl Invariant for Losses {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Changed { command: Command::NodeLost { id, boot }, before, after, events } = seen else {
            return Ok(());
        };
        let known = before.nodes.get(id);
        if known.is_some_and(|known| known.boot == *boot) {
            return Ok(());
        }
        if before.version == after.version && events.is_empty() {
            return Ok(());
        }
        Err(format!("the loss of start {boot} of node {id} hit {known:?}"))
    }
}
