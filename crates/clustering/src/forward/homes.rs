//! All nodes as homes of queues.
//!
//! Invariant: one `Home` for each node for as long as this process runs, so that queues keep their way while
//! links come and go.

use super::Way;
use super::away::AwayQueue;
use super::home::{Home, HomeLink};
use broker::catalog::{self, Node};
use dashmap::DashMap;
use engine::Broker;
use engine::outlet::Outlet;
use engine::queue::{ConsumerListing, Forwarder, Homes, QueueListing};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use types::limits::FORWARD_CONNECT_MS;
use types::{NodeId, QueueId};

/// The ways to queues of other nodes.
#[derive(Default)]
pub struct ForwardHomes {
    homes: DashMap<NodeId, Arc<Home>>,
    observer: OnceLock<NodeObserver>,
}

/// Hears of every change of a node's row; the flag says whether it still is a member.
pub type NodeObserver = Box<dyn Fn(&Node, bool) + Send + Sync>;

impl ForwardHomes {
    fn home(&self, node: NodeId) -> Arc<Home> {
        self.homes.entry(node).or_insert_with(|| Home::new(node)).clone()
    }

    /// Has `observer` told of the nodes' rows, from the thread that changes them.
    pub fn observe(&self, observer: NodeObserver) {
        let _ = self.observer.set(observer);
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
        let homes: Vec<_> = self.homes.iter().map(|entry| entry.value().clone()).collect();
        homes.iter().for_each(|home| home.give_up_connecting(Instant::now(), broker));
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
        }
        if let Some(observer) = self.observer.get() {
            observer(node, is_member);
        }
    }

    fn reply_outlet(&self, node: NodeId) -> Option<Arc<dyn Outlet>> {
        let home = self.homes.get(&node)?.clone();
        home.is_reachable().then(|| home.outlet().clone())
    }
}
