//! Starts and ends of nodes.
//!
//! Invariant: a start knows its disk and its operator's list, nothing else; each has a boot of its own.

use crate::bug::Bug;
use crate::invariants::Seen;
use crate::machine::{Disk, Machine, Place, Process, pristine};
use crate::world::{Node, World};
use clustering::gossip::{GossipPeriods, Swim, SwimSettings};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use types::NodeId;

impl World {
    /// Adds a machine with an empty disk.
    pub fn add_machine(&self) {
        let place = self.places().len();
        let (name, addr, disk) = (format!("n{place}"), self.new_addr(), self.new_disk());
        self.machines.borrow_mut().push(Machine { name, addr, disk, process: None });
    }

    /// An address that nobody had.
    pub fn new_addr(&self) -> SocketAddr {
        let number = u16::try_from(self.number() % 50_000).unwrap_or(0);
        SocketAddr::from(([10, 0, 0, 1], 10_000 + number))
    }

    fn new_disk(&self) -> Disk {
        Disk::new(NodeId(1 + self.dice.any() % 1_000_000))
    }

    /// Starts the node of a machine.
    pub fn start(self: &Rc<World>, place: Place) {
        let (id, boot, now) = (self.number(), self.dice.any().max(1), self.now());
        let (seed, drops) = (self.dice.any(), self.has(Bug::UnclaimedDroppedAtStart));
        let made = self.machine(place, |machine| {
            let has_left = machine.disk.has_left;
            if machine.process.is_some() || has_left {
                return Ok(false);
            }
            let mut process = Process::new(id, boot, machine, now, seed)?;
            process.recover(&mut machine.disk, drops);
            machine.process = Some(process);
            Ok::<bool, String>(true)
        });
        match made {
            Some(Ok(true)) => {}
            Some(Err(why)) => return self.fail(why),
            _ => return,
        }
        let node = Node { world: self.clone(), place, process: id };
        let me = node.with(|process, disk| (disk.node, process.addr));
        node.say(|| format!("starts: {me:?}"));
        let peers = node.with(|process, _| process.peers.clone()).unwrap_or_default();
        peers.into_iter().for_each(|(peer, addr)| node.know(peer, addr));
        for task in [0, 1, 2, 3] {
            let node = node.clone();
            self.schedule.spawn(id, async move {
                // They end with the process.
                let _ = match task {
                    0 => node.find_cluster().await,
                    1 => node.watch().await,
                    2 => node.follow().await,
                    _ => node.keep_identity().await,
                };
            });
        }
        node.swim(|swim, now, out| swim.time(now, out));
    }

    /// Ends the node of a machine as a crash does.
    pub fn crash(self: &Rc<World>, place: Place, why: &str) {
        let ended = self.machine(place, |machine| {
            let process = machine.process.take()?;
            Some((process.id, process.boot, machine.disk.node, machine.disk.cluster))
        });
        let Some(Some((id, boot, node, cluster))) = ended else { return };
        self.say(|| format!("{place}: node {node} ends: {why}"));
        self.schedule.end(id);
        let catalog = {
            let registers = self.registers.borrow();
            cluster.and_then(|cluster| Some(registers.get(&cluster.0)?.catalog.clone()))
        };
        if let Some(catalog) = catalog {
            self.show(&Seen::Ended { node, boot, catalog: &catalog });
        }
        if self.dice.permille(500) {
            // The machine lives: links to the process are reset.
            for machine in self.machines.borrow_mut().iter_mut() {
                if let Some(process) = &mut machine.process {
                    process.links.retain(|_, link| link.peer != id);
                }
            }
        }
    }

    /// Takes the disk of a machine whose node does not run away: it becomes another node, of the same name.
    pub fn wipe(&self, place: Place) {
        let disk = self.new_disk();
        let new = disk.node;
        let old = self.machine(place, |machine| std::mem::replace(&mut machine.disk, disk));
        let Some(old) = old else { return };
        self.say(|| format!("{place}: the disk of node {} is gone; it is node {new} now", old.node));
        self.show(&Seen::Wiped { node: old.node });
    }
}

impl Process {
    fn new(id: u64, boot: u64, machine: &Machine, now: Duration, seed: u64) -> Result<Process, String> {
        let identity = clustering::identity::NodeIdentity {
            id: machine.disk.node.0,
            name: machine.name.clone(),
            cluster: machine.disk.cluster.unwrap_or_default(),
            boot,
            wire: clustering::identity::WIRE_VERSION,
            version: "sim".to_owned(),
            addr: machine.addr,
        };
        let generation = 1_000 + u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let periods = GossipPeriods::default();
        let settings = SwimSettings { me: identity, generation, seed, periods, seeds: Vec::new() };
        Ok(Process {
            id,
            boot,
            addr: machine.addr,
            since: now,
            swim: Swim::new(settings, now)?,
            swim_at: None,
            is_paused: false,
            inbox: Vec::new(),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            catalog: pristine(),
            applied: None,
            has_caught_up: false,
            hosted: BTreeMap::new(),
            leader: None,
            heard_at: now,
            lease_until: now,
            is_serving: false,
            waits: String::new(),
            connections: 0,
        })
    }
}

impl Node {
    /// Has gossip say which cluster the node is in.
    async fn keep_identity(self) -> Option<()> {
        loop {
            self.sleep(90, 110).await;
            let me = self.identity()?;
            self.swim(|swim, now, out| {
                // An identity that was good at the start is good now.
                let _ = swim.set_me(me, now, out);
            });
        }
    }
}
