//! All nodes as homes of queues.
//!
//! Invariant: one `Home` for each node for as long as this process runs, so that queues keep their way while
//! links come and go.

use super::Way;
use super::away::AwayQueue;
use super::home::{Home, HomeLink};
use super::mirror_frame;
use broker::catalog::{self, Catalog, Command, Node};
use dashmap::DashMap;
use engine::Broker;
use engine::outlet::Outlet;
use engine::queue::{ConsumerListing, Forwarder, Homes, Mirrors, QueueListing, ToMirror};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use types::limits::FORWARD_CONNECT_MS;
use types::{NodeId, QueueId};

/// The ways to queues of other nodes.
#[derive(Default)]
pub struct ForwardHomes {
    homes: Arc<AllHomes>,
    observer: OnceLock<NodeObserver>,
    placement: OnceLock<Box<dyn Placement>>,
}

/// Chooses homes, and knows whether this node is up to date.
pub trait Placement: Send + Sync {
    /// Gives a declare its home.
    fn place(&self, command: Command, catalog: &Catalog) -> Command;

    /// Whether this node knows all that is declared.
    fn is_current(&self) -> bool;
}

/// Hears of every change of a node's row; the flag says whether it still is a member.
pub type NodeObserver = Box<dyn Fn(&Node, bool) + Send + Sync>;

/// Homes by their nodes.
#[derive(Default)]
struct AllHomes(DashMap<NodeId, Arc<Home>>);

impl Mirrors for AllHomes {
    fn put(&self, node: NodeId, queue: QueueId, message: &ToMirror) -> bool {
        self.0.get(&node).is_some_and(|home| home.put(|out| mirror_frame::put_to_mirror(out, queue, message)))
    }

    fn buffered_bytes(&self, node: NodeId) -> usize {
        self.0.get(&node).map_or(0, |home| home.buffered_bytes())
    }

    fn link(&self, node: NodeId) -> Option<u64> {
        self.0.get(&node)?.link()
    }

    fn outlet(&self, node: NodeId) -> Option<Arc<dyn Outlet>> {
        self.0.get(&node).map(|home| home.outlet().clone())
    }
}

impl ForwardHomes {
    fn home(&self, node: NodeId) -> Arc<Home> {
        self.homes.0.entry(node).or_insert_with(|| Home::new(node)).clone()
    }

    /// Has `observer` told of the nodes' rows, from the thread that changes them.
    pub fn observe(&self, observer: NodeObserver) {
        let _ = self.observer.set(observer);
    }

    /// Has `placement` choose homes.
    pub fn set_placement(&self, placement: Box<dyn Placement>) {
        let _ = self.placement.set(placement);
    }

    /// Whether queues with their home on a node can be asked.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        self.homes.0.get(&node).is_some_and(|home| home.is_reachable())
    }

    /// A node is there, says the catalog: what is posted to its queues may wait a moment for the link.
    pub fn expect(&self, node: NodeId, name: &str) {
        self.home(node).expect(name, Instant::now() + Duration::from_millis(FORWARD_CONNECT_MS));
    }

    /// What a node is called, also while it is away.
    pub fn rename(&self, node: NodeId, name: &str) {
        self.home(node).rename(name);
    }

    /// The link to a node's queues is up.
    pub fn link_up(&self, node: NodeId, way: Arc<dyn Way>, broker: &Arc<Broker>) -> HomeLink {
        self.home(node).link_up(way, broker)
    }

    /// Ends waiting for first links whose time is over; to be called a few times a second.
    pub fn tick(&self, broker: &Broker) {
        let now = Instant::now();
        let homes: Vec<_> = self.homes.0.iter().map(|entry| entry.value().clone()).collect();
        for home in homes {
            home.give_up_connecting(now, broker);
            home.give_up_drifting(now, broker);
        }
    }

    /// Notes what the home of a queue said of it.
    pub fn set_seen(
        &self,
        node: NodeId,
        queue: QueueId,
        listing: QueueListing,
        consumers: Vec<ConsumerListing>,
    ) {
        if let Some(away) = self.home(node).queue(queue) {
            away.set_seen(listing, consumers);
        }
    }
}

impl Homes for ForwardHomes {
    fn forwarder(&self, row: &Arc<catalog::Queue>) -> Arc<dyn Forwarder> {
        let home = self.home(row.home);
        let away = Arc::new(AwayQueue::new(row, home.clone()));
        home.add_queue(row.id, &away);
        away
    }

    fn node_changed(&self, node: &Node, is_member: bool) {
        if is_member && node.up {
            self.expect(node.id, &node.name);
        } else {
            self.rename(node.id, &node.name);
            self.home(node.id).hurry();
        }
        if let Some(observer) = self.observer.get() {
            observer(node, is_member);
        }
    }

    fn place(&self, command: Command, catalog: &Catalog) -> Command {
        match self.placement.get() {
            Some(placement) => placement.place(command, catalog),
            None => command,
        }
    }

    fn is_current(&self) -> bool {
        self.placement.get().is_none_or(|placement| placement.is_current())
    }

    fn mirrors(&self) -> Arc<dyn Mirrors> {
        self.homes.clone()
    }

    fn reply_outlet(&self, node: NodeId) -> Option<Arc<dyn Outlet>> {
        let home = self.homes.0.get(&node)?.clone();
        home.is_reachable().then(|| home.outlet().clone())
    }
}
