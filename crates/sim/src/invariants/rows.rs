//! Once things are quiet, the row of each node that runs says that it is up, with its present start and address.

use super::{Invariant, Seen};

/// Looks at the end.
pub(super) struct Rows;

impl Invariant for Rows {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Quiet(world) = seen else { return Ok(()) };
        let machines = world.machines.borrow();
        for viewer in machines.iter().filter_map(|machine| machine.process.as_ref()) {
            for machine in machines.iter() {
                let Some(process) = &machine.process else { continue };
                let node = machine.disk.node;
                let row = viewer.catalog.nodes.get(&node);
                let is_right = row.is_some_and(|row| {
                    row.up && row.boot == process.boot && row.addr == process.addr.to_string()
                });
                if !is_right {
                    return Err(format!("node {node} runs as {}, its row says {row:?}", process.boot));
                }
            }
            if viewer.catalog.nodes.len() != machines.iter().filter(|m| m.process.is_some()).count() {
                return Err(format!("there are rows of nodes that are gone: {:?}", viewer.catalog.nodes));
            }
        }
        Ok(())
    }
}
