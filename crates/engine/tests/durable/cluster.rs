//! Nodes of a cluster in this process: catalogs that change together, and frames between copies of queues.
//!
//! Invariant: frames from one node to another arrive in order; what is on its way to a node that is held back waits.

use crate::node::{Node, first_catalog, vhost};
use broker::catalog::copies::next_steps;
use broker::catalog::{self, Catalog, Command, Node as Row, Outcome};
use engine::catalog::{CatalogStore, Change};
use engine::queue::{
    ConsumerListing, Forwarder, Homes, MirrorFrame, MirrorLink, Mirrors, QueueListing, ToHome, ToMirror,
};
use engine::storage::ClusterLog;
use engine::{Broker, Outlet, Queue, QueueCommand, Seat};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use storage::wal::{EntryKind, Sequence};
use storage::{CrashDisk, Disk};
use tokio::task::JoinHandle;
use types::{AmqpError, FieldTable, FieldValue, NodeId, QueueId};

/// The one link that there ever is between two nodes.
const LINK: u64 = 1;

enum Frame {
    ToMirror(ToMirror),
    ToHome(ToHome),
}

/// The node that sends, and the one that gets what it sends.
type Direction = (u64, u64);
/// A frame and the queue that it is for.
type Addressed = (QueueId, Frame);

/// What is between the nodes.
#[derive(Default)]
struct Net {
    brokers: OnceLock<Vec<Weak<Broker>>>,
    ways: Mutex<BTreeMap<Direction, VecDeque<Addressed>>>,
    held: Mutex<BTreeSet<u64>>,
}

impl Net {
    fn broker(&self, node: u64) -> Option<Arc<Broker>> {
        self.brokers.get()?.get(usize::try_from(node).ok()?.checked_sub(1)?)?.upgrade()
    }

    fn put(&self, way: Direction, queue: QueueId, frame: Frame) {
        self.ways.lock().unwrap().entry(way).or_default().push_back((queue, frame));
    }

    /// The next frame of a node that is not held back.
    fn next(&self) -> Option<(Direction, QueueId, Frame)> {
        let held = self.held.lock().unwrap().clone();
        let mut ways = self.ways.lock().unwrap();
        let (way, frames) = ways.iter_mut().find(|((_, to), way)| !held.contains(to) && !way.is_empty())?;
        frames.pop_front().map(|(queue, frame)| (*way, queue, frame))
    }

    /// Brings frames to where they go, as they come.
    async fn carry(self: Arc<Net>) {
        loop {
            while let Some(((from, to), queue, frame)) = self.next() {
                let Some(broker) = self.broker(to) else { continue };
                match frame {
                    Frame::ToMirror(message) => {
                        let link = Arc::new(Back { net: self.clone(), way: (to, from) });
                        broker.mirror_frame(queue, MirrorFrame { from: NodeId(from), link, message });
                    }
                    Frame::ToHome(message) => {
                        broker.heard_of_copy(NodeId(from), LINK, queue, Box::new(message));
                    }
                }
                broker.flush();
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

/// The way from a mirror back to its home.
struct Back {
    net: Arc<Net>,
    way: Direction,
}

impl MirrorLink for Back {
    fn put(&self, queue: QueueId, message: &ToHome) {
        self.net.put(self.way, queue, Frame::ToHome(message.clone()));
    }

    fn outlet(&self) -> Arc<dyn Outlet> {
        Arc::new(Silent)
    }

    fn number(&self) -> u64 {
        LINK
    }
}

/// Nothing is gathered that would have to be flushed.
struct Silent;

impl Outlet for Silent {
    fn flush(&self) {}
}

/// The other nodes, as one of them sees them.
struct Others {
    me: u64,
    net: Arc<Net>,
}

impl Mirrors for Others {
    fn put(&self, node: NodeId, queue: QueueId, message: &ToMirror) -> bool {
        self.net.put((self.me, node.0), queue, Frame::ToMirror(message.clone()));
        true
    }

    fn buffered_bytes(&self, _node: NodeId) -> usize {
        0
    }

    fn link(&self, _node: NodeId) -> Option<u64> {
        Some(LINK)
    }

    fn outlet(&self, _node: NodeId) -> Option<Arc<dyn Outlet>> {
        None
    }
}

impl Homes for Others {
    fn forwarder(&self, row: &Arc<catalog::Queue>) -> Arc<dyn Forwarder> {
        Arc::new(Nowhere(row.home))
    }

    fn node_changed(&self, _: &Row, _: bool) {}

    fn place(&self, command: Command, _: &Catalog) -> Command {
        match command {
            Command::DeclareQueue { .. } => {
                Command::DeclareAt { home: NodeId(self.me), command: Box::new(command) }
            }
            other => other,
        }
    }

    fn is_current(&self) -> bool {
        true
    }

    fn mirrors(&self) -> Arc<dyn Mirrors> {
        Arc::new(Others { me: self.me, net: self.net.clone() })
    }

    fn reply_outlet(&self, _: NodeId) -> Option<Arc<dyn Outlet>> {
        None
    }
}

/// The way to a home for clients, of which there are none at other nodes.
struct Nowhere(NodeId);

impl Forwarder for Nowhere {
    fn forward(&self, _: &Arc<Queue>, commands: &mut Vec<QueueCommand>, _: &Broker) {
        commands.clear();
    }

    fn is_reachable(&self) -> bool {
        true
    }

    fn home_name(&self) -> String {
        format!("n{}", self.0)
    }

    fn listing(&self) -> QueueListing {
        QueueListing::default()
    }

    fn consumers(&self) -> Vec<ConsumerListing> {
        Vec::new()
    }

    fn leads_to(&self) -> NodeId {
        self.0
    }
}

/// A cluster that agrees with everything: each change is applied on all nodes at once.
struct Together(Arc<Net>, u64);

impl CatalogStore for Together {
    fn propose(&self, command: Command) -> Change<'_> {
        let outcomes: BTreeMap<u64, Result<Outcome, AmqpError>> = (1..)
            .map_while(|node| {
                let broker = self.0.broker(node)?;
                let outcome = broker.apply_committed(command.clone());
                broker.publish_committed();
                Some((node, outcome))
            })
            .collect();
        let own = outcomes.into_iter().find(|(node, _)| *node == self.1).expect("this node is there").1;
        Box::pin(std::future::ready(own))
    }
}

/// A cluster's log of which only the catalog that it has is of interest.
struct Log(Catalog);

impl ClusterLog for Log {
    fn replay(&mut self, _: EntryKind, _: &[u8], _: Sequence) -> Result<(), String> {
        Ok(())
    }

    fn catalog(&mut self, _: &[String]) -> Result<Option<Catalog>, String> {
        Ok(Some(self.0.clone()))
    }
}

/// All nodes.
pub struct Cluster {
    nodes: Vec<Node>,
    disks: Vec<CrashDisk>,
    net: Arc<Net>,
    tasks: Vec<JoinHandle<()>>,
}

/// Nodes 1 to `count`, with boots of ten times their ids.
fn cluster_catalog(count: u64) -> Catalog {
    let mut catalog = first_catalog().unwrap();
    for id in 1..=count {
        let (name, addr) = (format!("n{id}"), format!("127.0.0.{id}:25672"));
        let node = Row { id: NodeId(id), name, addr, boot: 10 * id, up: true, feature_level: 2 };
        let command = match id {
            1 => Command::FormCluster { cluster: 7, node },
            _ => Command::PutNode { node },
        };
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    catalog
}

impl Cluster {
    pub fn new(count: u64) -> Cluster {
        let (net, catalog) = (Arc::new(Net::default()), cluster_catalog(count));
        let disks: Vec<CrashDisk> = (1..=count).map(CrashDisk::new).collect();
        let open = |(id, disk): (u64, &CrashDisk)| {
            let homes = Arc::new(Others { me: id, net: net.clone() });
            let seat = Seat { node: NodeId(id), boot: 10 * id, homes };
            let disk = Arc::new(disk.clone()) as Arc<dyn Disk>;
            let node = Node::seated(&disk, &mut Log(catalog.clone()), Some(seat)).unwrap();
            node.broker.set_catalog_store(Arc::new(Together(net.clone(), id)));
            node
        };
        let nodes: Vec<Node> = (1..).zip(&disks).map(open).collect();
        let brokers = nodes.iter().map(|node| Arc::downgrade(&node.broker)).collect();
        assert!(net.brokers.set(brokers).is_ok());
        let mut tasks = vec![tokio::spawn(net.clone().carry())];
        for node in &nodes {
            tasks.push(tokio::spawn(node.broker.clone().run_copy_steps()));
            tasks.push(tokio::spawn(node.broker.clone().run_copy_watch()));
        }
        Cluster { nodes, disks, net, tasks }
    }

    /// A node, from 1.
    pub fn node(&self, id: u64) -> &Node {
        &self.nodes[id as usize - 1]
    }

    /// Frames to a node stay where they are, or go on.
    pub fn hold(&self, id: u64, is_held: bool) {
        let mut held = self.net.held.lock().unwrap();
        if is_held {
            held.insert(id)
        } else {
            held.remove(&id)
        };
    }

    /// Has queues whose names begin with `m` mirrored as a policy says.
    pub async fn mirror(&self, definition: &[(&str, FieldValue)]) {
        let definition: FieldTable = definition.iter().map(|(key, value)| (*key, value.clone())).collect();
        let policy = Command::SetPolicy {
            vhost: vhost(),
            name: "mirrors".into(),
            pattern: "^m".into(),
            apply_to: "queues".into(),
            priority: 0,
            definition,
            operator: false,
        };
        self.node(1).change(policy).await.unwrap();
    }

    /// Has the copies of all queues walk to what policies ask for, as far as they can by now.
    pub async fn walk(&self) {
        loop {
            let changes = next_steps(&self.node(1).broker.catalog(), usize::MAX);
            if changes.is_empty() {
                return;
            }
            self.node(1).change(Command::ChangeCopies { changes }).await.unwrap();
        }
    }

    /// Bytes that queues need of a node's blocks.
    pub fn stored(&self, id: u64, durable: bool) -> u64 {
        self.node(id).broker.storage().unwrap().block_stats()[usize::from(!durable)].live_bytes
    }

    /// Stops a node and tells how many logs on its disk no queue of the catalog has.
    pub fn unclaimed(mut self, id: u64) -> usize {
        let catalog = (**self.node(1).broker.catalog()).clone();
        let node = self.nodes.remove(id as usize - 1);
        let disk = Arc::new(self.disks[id as usize - 1].clone()) as Arc<dyn Disk>;
        node.close().unwrap();
        let node = Node::seated(&disk, &mut Log(catalog), None).unwrap();
        node.broker.unclaimed_count()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
