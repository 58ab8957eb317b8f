//! A cluster of three nodes of which the server is the first; the others are played here.
//!
//! Invariant: what is asked of the cluster is noted, and refused when a refusal is set.

use crate::server::{Server, catalog};
use broker::catalog::{self, Catalog, Command, Node};
use engine::cluster::{
    ClientCounts, ClusterStatus, ClusterView, Coming, NodeCounters, NodeNumbers, NodeState, NodeView,
    RemoteConnection,
};
use engine::queue::{ConsumerListing, Forwarder, Homes, Queue, QueueCommand, QueueListing};
use engine::{Broker, Outlet, Seat};
use std::sync::{Arc, Mutex};
use types::{ConnectionId, NodeId, UserName, VhostName};

pub const NODES: [&str; 3] = ["leveret@test", "leveret@b", "c"];

#[derive(Default)]
pub struct State {
    /// The third node is down.
    pub c_is_down: bool,
    pub no_majority: bool,
    /// The second node is short of disk.
    pub disk_alarm: bool,
    pub not_ready: Option<String>,
    pub refusal: Option<String>,
    pub asked: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Others(pub Arc<Mutex<State>>);

fn row(at: usize) -> Node {
    Node {
        id: NodeId(at as u64 + 1),
        name: NODES[at].to_owned(),
        addr: format!("127.0.0.{}:4369", at + 1),
        boot: 1,
        up: true,
        feature_level: 1,
    }
}

pub fn start() -> (Server, Others) {
    let others = Others::default();
    let mut catalog = catalog();
    let commands = [
        Command::FormCluster { cluster: 7, node: row(0) },
        Command::PutNode { node: row(1) },
        Command::PutNode { node: row(2) },
    ];
    for command in commands {
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    let seat = Seat { node: NodeId(1), boot: 1, homes: Arc::new(others.clone()) };
    let server = Server::start_in(catalog, Some(seat));
    server.broker.set_cluster(Arc::new(others.clone()));
    (server, others)
}

impl Others {
    fn asked(&self, what: String) -> Result<(), String> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(what);
        state.refusal.clone().map_or(Ok(()), Err)
    }
}

impl ClusterView for Others {
    fn status(&self) -> ClusterStatus {
        let state = self.0.lock().unwrap();
        let node = |at: usize| {
            let row = row(at);
            let is_down = at == 2 && state.c_is_down;
            let numbers = NodeNumbers { disk_alarm: at == 1 && state.disk_alarm, ..NodeNumbers::default() };
            NodeView {
                id: row.id,
                name: row.name,
                addr: row.addr,
                is_me: at == 0,
                state: if is_down { NodeState::Down } else { NodeState::Up },
                version: Some("1.2.3".to_owned()),
                leads: at == 1,
                votes: true,
                lag: (at == 1).then_some(4),
                homes: at as u64,
                numbers: (!is_down).then_some(numbers),
            }
        };
        ClusterStatus {
            id: Some(7),
            leader: Some(NODES[1].to_owned()),
            term: 3,
            catalog_version: 9,
            has_majority: !state.no_majority,
            nodes: (0..3).map(node).collect(),
        }
    }

    fn not_ready(&self) -> Option<String> {
        self.0.lock().unwrap().not_ready.clone()
    }

    fn name_of(&self, node: NodeId) -> Option<String> {
        NODES.get(node.0 as usize - 1).map(|name| (*name).to_owned())
    }

    fn refresh(&self) -> Coming<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn connections(&self) -> Vec<RemoteConnection> {
        Vec::new()
    }

    fn counters(&self) -> Vec<NodeCounters> {
        Vec::new()
    }

    fn clients(&self, _: VhostName, _: UserName) -> Coming<'_, ClientCounts> {
        Box::pin(std::future::ready(ClientCounts::default()))
    }

    fn close_connection(&self, _: String, _: ConnectionId, _: String) -> Coming<'_, Result<(), String>> {
        Box::pin(async { self.asked("close".to_owned()) })
    }

    fn forget(&self, name: String, force: bool) -> Coming<'_, Result<(), String>> {
        Box::pin(async move { self.asked(format!("forget {name} {force}")) })
    }

    fn leave(&self, force: bool) -> Coming<'_, Result<(), String>> {
        Box::pin(async move { self.asked(format!("leave {force}")) })
    }
}

impl Homes for Others {
    fn forwarder(&self, row: &Arc<catalog::Queue>) -> Arc<dyn Forwarder> {
        Arc::new(Way { home: row.home, others: self.clone() })
    }

    fn node_changed(&self, _: &Node, _: bool) {}

    fn place(&self, command: Command, _: &Catalog) -> Command {
        command
    }

    fn is_current(&self) -> bool {
        true
    }

    fn reply_outlet(&self, _: NodeId) -> Option<Arc<dyn Outlet>> {
        None
    }
}

struct Way {
    home: NodeId,
    others: Others,
}

impl Forwarder for Way {
    fn forward(&self, _: &Arc<Queue>, commands: &mut Vec<QueueCommand>, _: &Broker) {
        commands.clear();
    }

    fn is_reachable(&self) -> bool {
        self.home != NodeId(3) || !self.others.0.lock().unwrap().c_is_down
    }

    fn home_name(&self) -> String {
        self.others.name_of(self.home).unwrap_or_default()
    }

    fn listing(&self) -> QueueListing {
        QueueListing::default()
    }

    fn consumers(&self) -> Vec<ConsumerListing> {
        Vec::new()
    }
}
