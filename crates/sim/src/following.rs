//! How a node comes to know the agreed changes, one by one or by a jump, and what it does about them.
//!
//! Invariant: a node runs the queues whose home it is, as far as it knows; their messages are on its disk.

use crate::bug::Bug;
use crate::invariants::Seen;
use crate::machine::{Disk, Process, Saved, pristine};
use crate::world::Node;
use broker::catalog::{Catalog, Event};
use types::QueueId;

/// Steps of a thousand in which a node that is behind gets all at once.
const JUMPS: u32 = 100;
/// Looks of a thousand after which a node hears nothing for a while.
const HELD_UP: u32 = 10;
/// How long at most, milliseconds.
const HELD_UP_MS: u64 = 1_500;

/// Queues that a catalog has at a node and that are there again after a start.
fn claimed(catalog: &Catalog, disk: &Disk) -> Vec<QueueId> {
    let queues = catalog.queues();
    let own = queues.filter(|queue| queue.home == disk.node && queue.durable && queue.exclusive.is_none());
    own.map(|queue| queue.id).collect()
}

impl Process {
    /// Takes over what is on the disk.
    pub fn recover(&mut self, disk: &mut Disk, drops_unclaimed: bool) {
        let Saved { catalog, applied } = match &disk.saved {
            Some(saved) => saved.clone(),
            None => Saved { catalog: pristine(), applied: 0 },
        };
        self.applied = disk.saved.is_some().then_some(applied);
        self.hosted = claimed(&catalog, disk).into_iter().map(|id| (id, true)).collect();
        self.peers = catalog
            .nodes
            .values()
            .filter(|node| node.id != disk.node)
            .filter_map(|node| Some((node.id, node.addr.parse().ok()?)))
            .collect();
        self.catalog = catalog;
        if drops_unclaimed {
            self.drop_unclaimed(disk);
        }
    }

    /// Logs of queues that are not at home here any more go.
    fn drop_unclaimed(&self, disk: &mut Disk) {
        disk.messages.retain(|id, _| self.hosted.contains_key(id));
    }

    fn obey(&mut self, disk: &mut Disk, event: &Event) {
        match event {
            Event::QueueDeclared(queue) | Event::QueueMoved { queue, .. } if queue.home == disk.node => {
                self.hosted.insert(queue.id, queue.durable);
                if queue.durable {
                    disk.messages.entry(queue.id).or_default();
                }
            }
            Event::QueueDeleted(queue) | Event::QueueMoved { queue, .. } => {
                self.hosted.remove(&queue.id);
                disk.messages.remove(&queue.id);
            }
            _ => {}
        }
    }
}

impl Node {
    /// Follows the cluster's catalog for as long as the process runs.
    pub async fn follow(self) -> Option<()> {
        loop {
            let pause = if self.world.dice.permille(HELD_UP) { HELD_UP_MS } else { 20 };
            self.sleep(1, pause).await;
            self.take_next()?;
        }
    }

    fn take_next(&self) -> Option<()> {
        let (cluster, node, applied, hears) =
            self.with(|process, disk| (disk.cluster, disk.node, process.applied, process.leader.is_some()))?;
        let Some(cluster) = cluster.filter(|_| hears) else { return Some(()) };
        let registers = self.world.registers.borrow();
        let Some(register) = registers.get(&cluster.0).filter(|it| it.added.contains(&node)) else {
            return Some(());
        };
        let length = register.log.len();
        if applied == Some(length) {
            drop(registers);
            return self.settle();
        }
        let jumps = self.world.dice.permille(JUMPS);
        let next = applied.filter(|_| !jumps).and_then(|at| Some((register.log.get(at).cloned()?, at + 1)));
        let whole = register.catalog.clone();
        drop(registers);
        let (newer, events, at) = match next {
            Some((command, at)) => {
                let mut catalog = self.with(|process, _| process.catalog.clone())?;
                let mut events = Vec::new();
                if let Err(why) = self.world.apply(&mut catalog, command, &mut events) {
                    self.world.fail(format!("node {node} refuses what was agreed on: {why}"));
                }
                (catalog, events, at)
            }
            None => {
                self.say(|| format!("jumps from {applied:?} to {length}"));
                let events = self.with(|process, _| process.catalog.difference(&whole))?;
                (whole, events, length)
            }
        };
        let obeys = next_obeys(self.world.has(Bug::JumpWithoutDifference), applied, at);
        self.take(newer, if obeys { events } else { Vec::new() }, at)
    }

    fn take(&self, newer: Catalog, events: Vec<Event>, at: usize) -> Option<()> {
        let keeps = self.world.dice.permille(500);
        self.with(|process, disk| {
            events.iter().for_each(|event| process.obey(disk, event));
            process.catalog = newer.clone();
            process.applied = Some(at);
            if keeps || disk.saved.is_none() {
                disk.saved = Some(Saved { catalog: newer, applied: at });
            }
        })?;
        for event in &events {
            match event {
                Event::NodeChanged(node) => {
                    if let Ok(addr) = node.addr.parse() {
                        self.know(node.id, addr);
                    }
                }
                Event::NodeForgotten(gone) => {
                    let is_me = self.with(|process, disk| {
                        process.peers.remove(&gone.id);
                        process.links.remove(&gone.id);
                        disk.has_left |= gone.id == disk.node;
                        gone.id == disk.node
                    })?;
                    if is_me {
                        self.world.crash(self.place, "it was taken out of its cluster");
                        return None;
                    }
                    self.swim(|swim, now, out| swim.forget(gone.id.0, now, out));
                }
                _ => {}
            }
        }
        let me = self.with(|_, disk| disk.node)?;
        self.with(|process, _| process.catalog.clone())
            .map(|catalog| self.world.show(&Seen::Applied { node: me, catalog: &catalog }))
    }

    /// Nothing is left to be applied.
    fn settle(&self) -> Option<()> {
        let now = self.world.now();
        self.with(|process, disk| {
            if process.has_caught_up && process.lease_until > now {
                process.drop_unclaimed(disk);
            }
        })
    }
}

/// Whether a node does something about what is new.
fn next_obeys(bug: bool, applied: Option<usize>, at: usize) -> bool {
    !bug || applied.is_some_and(|applied| applied + 1 == at)
}
