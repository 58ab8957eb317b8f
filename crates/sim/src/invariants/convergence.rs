//! Once all faults are over, everything comes to rest: one catalog, one leader, everybody in, each queue run by
//! its home and nobody else.

use super::{Invariant, Seen};
use crate::world::World;
use std::collections::BTreeMap;
use types::QueueId;

/// Looks at the end.
pub(super) struct Convergence;

/// Why things are not at rest yet; None when they are. Whether gossip agrees is another question.
pub fn restlessness(world: &World) -> Option<String> {
    let machines = world.machines.borrow();
    let registers = world.registers.borrow();
    for (place, machine) in machines.iter().enumerate() {
        let Some(process) = &machine.process else {
            return Some(format!("machine {place} does not run"));
        };
        let Some(cluster) = machine.disk.cluster else {
            return Some(format!("machine {place} is in no cluster: {}", process.waits));
        };
        let Some(register) = registers.get(&cluster.0) else {
            return Some(format!("machine {place} is in a cluster that nobody formed"));
        };
        if register.leader.is_none() {
            return Some(format!("no leader: {:?} vote", register.voters));
        }
        if process.applied != Some(register.log.len()) || process.catalog.version != register.catalog.version
        {
            return Some(format!("machine {place} is behind: {:?}", process.applied));
        }
        if !process.is_serving {
            return Some(format!("machine {place} does not serve: {}", process.waits));
        }
        for other in machines.iter().filter(|other| other.disk.node != machine.disk.node) {
            let (node, peer) = (other.disk.node, other.process.as_ref());
            let link = process.links.get(&node).map(|link| link.peer);
            if link.is_none() || link != peer.map(|peer| peer.id) {
                let (known, is) = (process.peers.get(&node), peer.map(|peer| peer.addr));
                return Some(format!("{place} has no link to {node} at {is:?}, and knows it at {known:?}"));
            }
        }
        let row = register.catalog.nodes.get(&machine.disk.node);
        if row.is_none_or(|row| !row.up || row.boot != process.boot) {
            return Some(format!("machine {place}: its row is {row:?}"));
        }
        if register.added.len() != machines.len() {
            return Some(format!("the group has {:?}", register.added));
        }
    }
    None
}

impl Invariant for Convergence {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Quiet(world) = seen else { return Ok(()) };
        if let Some(why) = restlessness(world) {
            return Err(why);
        }
        for machine in world.machines.borrow().iter() {
            let Some(process) = &machine.process else { continue };
            let own = process.catalog.queues().filter(|queue| queue.home == machine.disk.node);
            let own: BTreeMap<QueueId, bool> = own.map(|queue| (queue.id, queue.durable)).collect();
            if own != process.hosted {
                let node = machine.disk.node;
                return Err(format!("node {node} runs {:?}, the catalog says {own:?}", process.hosted));
            }
        }
        Ok(())
    }
}
