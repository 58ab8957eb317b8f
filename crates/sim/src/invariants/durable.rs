//! A durable queue goes when somebody deletes it, or forgets its home: never by a crash, a restart or a cut.

use super::{Invariant, Seen};
use broker::catalog::Command;
use std::collections::BTreeSet;

/// Looks at each change by itself.
pub(super) struct Durable;

impl Invariant for Durable {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Changed { command, before, after, .. } = seen else { return Ok(()) };
        let left: BTreeSet<_> = after.queues().map(|queue| queue.id).collect();
        for queue in before.queues().filter(|queue| queue.durable && !left.contains(&queue.id)) {
            let is_wanted = match command {
                Command::DeleteQueue { name, .. } => *name == queue.name,
                Command::ForgetNode { id } => queue.home == *id,
                _ => false,
            };
            if !is_wanted {
                return Err(format!("durable queue {} '{}' went with {command:?}", queue.id, queue.name));
            }
        }
        Ok(())
    }
}
