//! A machine of the play: its disk, and the node's process while it runs.
//!
//! Invariant: a process knows nothing of the one before but what was on the disk.

use crate::schedule::{Action, ProcessId};
use broker::catalog::{Catalog, Command};
use clustering::catalog::Ballot;
use clustering::gossip::Swim;
use clustering::identity::{ClusterId, NodeIdentity, WIRE_VERSION};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use types::limits::CLUSTER_FEATURE_LEVEL;
use types::{NodeId, QueueId};

/// A machine's number.
pub type Place = usize;

/// A machine.
pub struct Machine {
    /// What its node is called, whatever is on its disk.
    pub name: String,
    /// Its address; a start may get another one.
    pub addr: SocketAddr,
    /// What survives a crash.
    pub disk: Disk,
    /// The node, while it runs.
    pub process: Option<Process>,
}

/// What a node has written.
pub struct Disk {
    /// The node that it belongs to.
    pub node: NodeId,
    /// The cluster it is in.
    pub cluster: Option<ClusterId>,
    /// Its one vote on who forms a cluster.
    pub ballot: Option<Ballot>,
    /// The catalog at some change, perhaps not the last one that was seen: what was known to be agreed on.
    pub saved: Option<Saved>,
    /// Messages by queue.
    pub messages: BTreeMap<QueueId, BTreeSet<u64>>,
    /// The node was taken out of its cluster.
    pub has_left: bool,
}

/// A catalog, and how many changes are in it.
#[derive(Clone)]
pub struct Saved {
    /// It.
    pub catalog: Catalog,
    /// Changes of the cluster's catalog.
    pub applied: usize,
}

/// A link to another node.
pub struct Link {
    /// The process at its other end.
    pub peer: ProcessId,
    /// Since when nothing came.
    pub silent_since: Option<Duration>,
}

/// A running node.
pub struct Process {
    /// This start.
    pub id: ProcessId,
    /// The number by which others know this start.
    pub boot: u64,
    /// Where others reach it.
    pub addr: SocketAddr,
    /// When it was started.
    pub since: Duration,
    /// Its gossip.
    pub swim: Swim,
    /// When its gossip is called next.
    pub swim_at: Option<Duration>,
    /// It stands still.
    pub is_paused: bool,
    /// What came while it stood still.
    pub inbox: Vec<Action>,
    /// Nodes it keeps links to.
    pub peers: BTreeMap<NodeId, SocketAddr>,
    /// Its links.
    pub links: BTreeMap<NodeId, Link>,
    /// The catalog as it knows it.
    pub catalog: Catalog,
    /// How many changes of the cluster's catalog are in it; None: it has none of it yet.
    pub applied: Option<usize>,
    /// It has had all that was agreed on when it started.
    pub has_caught_up: bool,
    /// Queues it runs: whether they are durable.
    pub hosted: BTreeMap<QueueId, bool>,
    /// Who leads, as it believes.
    pub leader: Option<NodeId>,
    /// When it heard of a leader.
    pub heard_at: Duration,
    /// Until when its catalog is known to be the cluster's.
    pub lease_until: Duration,
    /// It serves clients.
    pub is_serving: bool,
    /// Why it waits, for traces.
    pub waits: String,
    /// Numbers for connections.
    pub connections: u64,
}

impl Process {
    /// The node in the words of a handshake.
    pub fn identity(&self, name: &str, disk: &Disk) -> NodeIdentity {
        NodeIdentity {
            id: disk.node.0,
            name: name.to_owned(),
            cluster: disk.cluster.unwrap_or_default(),
            boot: self.boot,
            wire: WIRE_VERSION,
            version: "sim".to_owned(),
            addr: self.addr,
        }
    }
}

impl Disk {
    /// An empty one, for a new node.
    pub fn new(node: NodeId) -> Disk {
        Disk { node, cluster: None, ballot: None, saved: None, messages: BTreeMap::new(), has_left: false }
    }
}

/// The catalog row of a node.
pub fn row(identity: &NodeIdentity) -> broker::catalog::Node {
    broker::catalog::Node {
        id: identity.node(),
        name: identity.name.clone(),
        addr: identity.addr.to_string(),
        boot: identity.boot,
        up: true,
        feature_level: CLUSTER_FEATURE_LEVEL,
    }
}

/// What every node starts with.
pub fn pristine() -> Catalog {
    let mut catalog = Catalog::new();
    let vhost = Command::AddVhost {
        name: "/".into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    // A vhost can always be added.
    let _ = catalog.apply(vhost, &mut Vec::new());
    catalog
}
