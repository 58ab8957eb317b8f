//! Nodes for tests of gossip: a socket, an identity that can be changed, and the running thing.
#![allow(dead_code, reason = "each test file uses a part of it")]

use clustering::gossip::{Gossip, GossipConfig, GossipPeriods, Liveness, Member, NodeFacts};
use clustering::identity::{ClusterId, NodeIdentity, WIRE_VERSION};
use clustering::secret::ClusterSecret;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use types::NodeId;

pub const SECRET: &str = "correct horse battery";
pub const CLUSTER: ClusterId = ClusterId(77);
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub gossip: Arc<Gossip>,
    pub me: Arc<Mutex<NodeIdentity>>,
    pub addr: SocketAddr,
    pub id: NodeId,
    socket: UdpSocket,
}

impl Node {
    pub fn start(id: u64, boot: u64, socket: UdpSocket, seeds: &[SocketAddr]) -> Node {
        Node::start_with(id, boot, socket, seeds, SECRET, CLUSTER)
    }

    pub fn start_with(
        id: u64,
        boot: u64,
        socket: UdpSocket,
        seeds: &[SocketAddr],
        secret: &str,
        cluster: ClusterId,
    ) -> Node {
        let addr = socket.local_addr().unwrap();
        let me = Arc::new(Mutex::new(identity(id, boot, addr, cluster)));
        let read_me = Arc::clone(&me);
        let config = GossipConfig {
            secret: ClusterSecret::new(secret).unwrap(),
            socket: socket.try_clone().unwrap(),
            me: Arc::new(move || read_me.lock().unwrap().clone()),
            periods: GossipPeriods::default(),
        };
        let gossip = Gossip::start(config, seeds.to_vec()).unwrap();
        Node { gossip, me, addr, id: NodeId(id), socket }
    }

    /// The node's socket, for its next process: packets that come meanwhile wait in it.
    pub fn socket(&self) -> UdpSocket {
        self.socket.try_clone().unwrap()
    }

    pub fn member(&self, other: &Node) -> Option<Member> {
        self.gossip.member(other.id)
    }

    pub fn sees(&self, other: &Node) -> Option<Liveness> {
        self.member(other).map(|member| member.state)
    }
}

pub fn identity(id: u64, boot: u64, addr: SocketAddr, cluster: ClusterId) -> NodeIdentity {
    let name = format!("rabbit@host{id}");
    NodeIdentity { id, name, cluster, boot, wire: WIRE_VERSION, version: "0.1.0".to_owned(), addr }
}

pub fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

pub fn three() -> Vec<Node> {
    let sockets = [socket(), socket(), socket()];
    let seeds: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    (1..).zip(sockets).map(|(id, socket)| Node::start(id, id * 10, socket, &seeds)).collect()
}

/// A node sees all others of a list as up.
pub fn sees(node: &Node, all: &[Node]) -> bool {
    all.iter().filter(|other| other.id != node.id).all(|other| node.sees(other) == Some(Liveness::Up))
}

pub fn sees_down(node: &Node, other: &Node) -> bool {
    node.sees(other) == Some(Liveness::Down)
}

pub fn has_facts(node: &Node, other: &Node, facts: &NodeFacts) -> bool {
    node.member(other).and_then(|member| member.facts).as_ref() == Some(facts)
}

/// Waits until something holds and tells how long it took.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}
