//! What passes between machines: packets, calls and links, over a network that loses, delays and is cut.
//!
//! Invariant: what is under way is not lost by the sender's end; what comes to a process that stands still waits
//! for it.

use crate::machine::{Link, Place};
use crate::schedule::{Promise, Sleep};
use crate::world::{Node, World};
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use types::limits::LINK_SILENCE_MS;

/// Why a call comes back when no process listens.
pub const NOBODY: &str = "nobody is there";
/// How often links are looked at, milliseconds.
const LINKS_EVERY_MS: u64 = 100;

/// The state of the network.
#[derive(Default)]
pub struct Net {
    /// Directions in which nothing passes.
    pub cut: BTreeSet<(Place, Place)>,
    /// Packets of a thousand that are lost.
    pub loss: u32,
    /// What a way takes at most, milliseconds.
    pub slow_ms: u64,
}

/// Something asked of another node.
#[derive(Clone, Debug)]
pub enum Request {
    /// Who is there?
    Probe,
    /// Let this node join.
    Join(clustering::identity::NodeIdentity),
    /// Vote for who forms the cluster.
    Ballot(clustering::catalog::Ballot),
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Who is there.
    Identity(clustering::identity::NodeIdentity),
    /// The asking node itself.
    Myself,
    /// The cluster, and its members' addresses.
    Joined(clustering::identity::ClusterId, Vec<(types::NodeId, SocketAddr)>),
    /// The vote that was cast.
    Ballot(clustering::catalog::Ballot),
    /// No, for a reason.
    Refused(String),
}

impl World {
    /// Whether the way between two machines is open in both directions.
    pub fn is_linked(&self, one: Place, other: Place) -> bool {
        let net = self.net.borrow();
        !net.cut.contains(&(one, other)) && !net.cut.contains(&(other, one))
    }

    fn passes(&self, from: Place, to: Place) -> bool {
        let net = self.net.borrow();
        from == to || !net.cut.contains(&(from, to)) && !self.dice.permille(net.loss)
    }

    /// How long the next thing is under way.
    pub fn delay(&self) -> Duration {
        let slow = self.net.borrow().slow_ms;
        if slow > 0 && self.dice.permille(100) { self.dice.ms(1, slow) } else { self.dice.ms(0, 2) }
    }

    /// Does something at a machine's process: now, or when it goes on. Nothing if it does not run.
    pub fn at_process(self: &Rc<World>, place: Place, act: impl FnOnce(Node) + 'static) {
        let world = self.clone();
        let act = {
            let process = self.machine(place, |machine| machine.process.as_ref().map(|p| p.id));
            let Some(Some(process)) = process else { return };
            move || act(Node { world, place, process })
        };
        let mut act = Some(act);
        self.machine(place, |machine| {
            if let Some(process) = machine.process.as_mut().filter(|process| process.is_paused)
                && let Some(act) = act.take()
            {
                process.inbox.push(Box::new(act));
            }
        });
        if let Some(act) = act {
            act();
        }
    }

    /// Sends a packet of gossip.
    pub fn send_packet(self: &Rc<World>, from: Place, from_addr: SocketAddr, to: SocketAddr, body: Vec<u8>) {
        let world = self.clone();
        self.schedule.after(self.delay(), move || {
            let Some(place) = world.place_at(to).filter(|place| world.passes(from, *place)) else { return };
            world.at_process(place, move |node| {
                node.swim(|swim, now, out| swim.packet(&body, from_addr, now, out));
            });
        });
    }
}

impl Node {
    /// Asks whoever is at an address; None when no answer comes in time.
    pub fn call(
        &self,
        to: SocketAddr,
        request: Request,
        limit_ms: u64,
    ) -> impl Future<Output = Option<Reply>> + use<> {
        let answer = Promise::default();
        let limit: Sleep = self.world.schedule.sleep(Duration::from_millis(limit_ms));
        let (caller, world, promise) = (self.clone(), self.world.clone(), answer.clone());
        self.world.schedule.after(self.world.delay(), move || {
            let Some(place) = world.place_at(to) else {
                // Nobody listens there.
                promise.keep(Reply::Refused(NOBODY.to_owned()));
                return;
            };
            if !world.passes(caller.place, place) {
                return;
            }
            world.at_process(place, move |node| {
                let (owner, schedule) = (node.process, node.world.schedule.clone());
                schedule.spawn(owner, async move {
                    let Some(reply) = node.serve(&caller, request).await else { return };
                    node.reply(&caller, reply, promise);
                });
            });
        });
        answer.within(limit)
    }

    fn reply(&self, caller: &Node, reply: Reply, promise: Promise<Reply>) {
        let (from, to, world) = (self.place, caller.place, self.world.clone());
        self.world.schedule.after(self.world.delay(), move || {
            if world.passes(from, to) {
                promise.keep(reply);
            }
        });
    }

    async fn serve(&self, caller: &Node, request: Request) -> Option<Reply> {
        if caller.place == self.place {
            return Some(Reply::Myself);
        }
        let (me, asking) = (self.identity()?, caller.identity()?);
        let none = clustering::identity::ClusterId::default();
        if me.cluster != asking.cluster && me.cluster != none && asking.cluster != none {
            return Some(Reply::Refused("another cluster".to_owned()));
        }
        match request {
            Request::Probe => Some(Reply::Identity(me)),
            Request::Join(newcomer) => self.admit(newcomer).await,
            Request::Ballot(ballot) => self.cast(ballot).await,
        }
    }

    /// Keeps a link to a node.
    pub fn know(&self, node: types::NodeId, addr: SocketAddr) {
        let is_other = self.with(|process, disk| {
            if disk.node != node {
                process.peers.insert(node, addr);
            }
            disk.node != node
        });
        if is_other == Some(true) {
            self.swim(|swim, now, out| swim.add_seed(addr, now, out));
        }
    }
}

/// Looks after links for as long as the play goes.
pub async fn keep_links(world: Rc<World>) {
    loop {
        world.schedule.sleep(Duration::from_millis(LINKS_EVERY_MS)).await;
        for one in world.places() {
            world.look_at_links(one);
        }
    }
}

/// Another process, as links see it.
struct Other {
    node: types::NodeId,
    process: u64,
    /// It can answer.
    answers: bool,
    /// One of the two knows where the other is.
    is_known: bool,
}

impl World {
    fn others(&self, one: Place) -> Vec<Other> {
        let machines = self.machines.borrow();
        let Some(me) = machines.get(one) else { return Vec::new() };
        let Some(process) = &me.process else { return Vec::new() };
        let other = |(place, machine): (Place, &crate::machine::Machine)| {
            let peer = machine.process.as_ref().filter(|_| place != one)?;
            let node = machine.disk.node;
            Some(Other {
                node,
                process: peer.id,
                answers: !peer.is_paused && self.is_linked(one, place),
                is_known: process.peers.get(&node) == Some(&peer.addr)
                    || peer.peers.get(&me.disk.node) == Some(&process.addr),
            })
        };
        machines.iter().enumerate().filter_map(other).collect()
    }

    fn look_at_links(&self, one: Place) {
        let others = self.others(one);
        let (now, silence) = (self.now(), Duration::from_millis(LINK_SILENCE_MS));
        let redials = self.dice.permille(600);
        self.machine(one, |machine| {
            let Some(process) = machine.process.as_mut().filter(|process| !process.is_paused) else { return };
            process.links.retain(|node, link| {
                let peer = others.iter().find(|other| other.node == *node && other.process == link.peer);
                if peer.is_some_and(|peer| peer.answers) {
                    link.silent_since = None;
                    return true;
                }
                let since = *link.silent_since.get_or_insert(now);
                now.saturating_sub(since) < silence
            });
            for other in others.iter().filter(|other| redials && other.is_known && other.answers) {
                let link = process.links.get(&other.node);
                if link.is_none_or(|link| link.peer != other.process) {
                    process.links.insert(other.node, Link { peer: other.process, silent_since: None });
                }
            }
        });
    }
}
