//! The other nodes of a cluster, played here: what they would tell, and what is asked of them.
//!
//! Invariant: what the API knows of them it has asked for: the truth is told at a refresh only.

use crate::server::{Server, first_catalog};
use broker::catalog::{self, Catalog, Command, Node};
use broker::queue::QueueCounts;
use engine::cluster::{
    ClientCounts, ClusterStatus, ClusterView, Coming, NodeCounters, NodeNumbers, NodeState, NodeView,
    RemoteConnection,
};
use engine::queue::{ConsumerListing, Forwarder, Homes, Queue, QueueCommand, QueueListing};
use engine::registry::{ChannelListing, ConnectionListing};
use engine::{Broker, Outlet, Seat};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, Weak};
use types::{ConnectionId, ConsumerId, FieldTable, NodeId, UserName, VhostName};

/// Names of the nodes by id; the first one is the server.
pub const NODES: [(u64, &str); 3] = [(1, "leveret@test"), (2, "leveret@b"), (3, "c")];

/// What there is on the other nodes.
#[derive(Clone, Default)]
pub struct Truth {
    pub ready: u64,
    pub consumers: Vec<ConsumerListing>,
    pub connections: Vec<RemoteConnection>,
    pub counters: Vec<NodeCounters>,
}

#[derive(Default)]
pub struct State {
    pub truth: Truth,
    told: Truth,
    pub down: HashSet<u64>,
    pub not_ready: Option<String>,
    pub no_majority: bool,
    pub memory_alarm: bool,
    /// Refreshes begun, those at the same time, and the most of them.
    pub refreshes: usize,
    pub asking: usize,
    pub asking_most: usize,
    /// What was asked of other nodes.
    pub asked: Vec<String>,
    /// Why they do not do it.
    pub refusal: Option<String>,
}

#[derive(Default)]
pub struct Others {
    pub state: Mutex<State>,
}

pub fn catalog(nodes: usize) -> Catalog {
    let mut catalog = first_catalog();
    for (id, name) in NODES.into_iter().take(nodes) {
        let node = Node {
            id: NodeId(id),
            name: name.to_owned(),
            addr: format!("127.0.0.{id}:4369"),
            boot: id,
            up: true,
            feature_level: 1,
        };
        let command = match id {
            1 => Command::FormCluster { cluster: 0xabc, node },
            _ => Command::PutNode { node },
        };
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    catalog
}

/// The server as one of so many nodes.
pub fn start(nodes: usize) -> (Server, Arc<Others>) {
    let others = Arc::new(Others::default());
    let homes = Arc::new(FakeHomes(Arc::downgrade(&others)));
    let server = Server::start_in(catalog(nodes), Some(Seat { node: NodeId(1), boot: 1, homes }));
    server
        .broker
        .set_cluster(Arc::new(View { others: others.clone(), broker: Arc::downgrade(&server.broker) }));
    (server, others)
}

pub fn connection(node: &str, id: u64, name: &str, user: &str) -> RemoteConnection {
    let listing = ConnectionListing {
        name: name.to_owned(),
        user: user.into(),
        vhost: "/".into(),
        peer: "127.0.0.9:9000".parse().unwrap(),
        local: "127.0.0.2:5672".parse().unwrap(),
        tls: false,
        auth_mechanism: "PLAIN".to_owned(),
        client_properties: FieldTable::new(),
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat_s: 60,
        connected_at_ms: 1,
        received_bytes: 10,
        sent_bytes: 20,
        state: "running",
        channels: 1,
    };
    let channel = ChannelListing {
        number: 1,
        name: format!("{name} (1)"),
        confirm: false,
        transactional: false,
        prefetch: 7,
        global_prefetch: 0,
        consumers: 1,
        unacknowledged: 0,
        unconfirmed: 0,
        published: 0,
        delivered: 0,
        acknowledged: 0,
    };
    RemoteConnection { node: node.to_owned(), id: ConnectionId(id), listing, channels: vec![channel] }
}

pub fn consumer(tag: &str, channel: &str) -> ConsumerListing {
    ConsumerListing {
        id: ConsumerId(1),
        tag: tag.to_owned(),
        channel: channel.to_owned(),
        arguments: FieldTable::new(),
        priority: 0,
        no_ack: false,
        exclusive: false,
        prefetch: 0,
        active: true,
    }
}

impl Others {
    fn asked(&self, what: String) -> Result<(), String> {
        let mut state = self.state.lock().unwrap();
        state.asked.push(what);
        state.refusal.clone().map_or(Ok(()), Err)
    }
}

/// The cluster as the server sees it.
struct View {
    others: Arc<Others>,
    broker: Weak<Broker>,
}

impl View {
    fn node(&self, state: &State, row: &Node, catalog: &Catalog) -> NodeView {
        let (is_me, is_down) = (row.id == NodeId(1), state.down.contains(&row.id.0));
        let numbers = NodeNumbers {
            memory_alarm: state.memory_alarm && row.id == NodeId(2),
            connections: 5,
            memory_bytes: 4_711,
            disk_free_bytes: 815,
            started_s: 1,
            ready: true,
            http_addr: "127.0.0.2:15672".to_owned(),
            ..NodeNumbers::default()
        };
        NodeView {
            id: row.id,
            name: row.name.clone(),
            addr: row.addr.clone(),
            is_me,
            state: if is_down { NodeState::Down } else { NodeState::Up },
            version: Some("0.0.1".to_owned()),
            leads: row.id == NodeId(2),
            votes: true,
            lag: Some(row.id.0),
            homes: catalog.homes().filter(|(_, home)| *home == row.id).count() as u64,
            numbers: (!is_down).then_some(numbers),
        }
    }
}

impl ClusterView for View {
    fn status(&self) -> ClusterStatus {
        let state = self.others.state.lock().unwrap();
        let catalog = Arc::clone(&self.broker.upgrade().unwrap().catalog());
        ClusterStatus {
            id: Some(catalog.cluster),
            leader: Some("leveret@b".to_owned()),
            term: 3,
            catalog_version: catalog.version,
            has_majority: !state.no_majority,
            nodes: catalog.nodes.values().map(|row| self.node(&state, row, &catalog)).collect(),
        }
    }

    fn not_ready(&self) -> Option<String> {
        self.others.state.lock().unwrap().not_ready.clone()
    }

    fn name_of(&self, node: NodeId) -> Option<String> {
        NODES.iter().find(|(id, _)| NodeId(*id) == node).map(|(_, name)| (*name).to_owned())
    }

    fn refresh(&self) -> Coming<'_, ()> {
        Box::pin(async {
            {
                let mut state = self.others.state.lock().unwrap();
                state.refreshes += 1;
                state.asking += 1;
                state.asking_most = state.asking_most.max(state.asking);
            }
            // Other requests have their turn, and would ask too if they might.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let mut state = self.others.state.lock().unwrap();
            state.asking -= 1;
            state.told = state.truth.clone();
        })
    }

    fn connections(&self) -> Vec<RemoteConnection> {
        self.others.state.lock().unwrap().told.connections.clone()
    }

    fn counters(&self) -> Vec<NodeCounters> {
        self.others.state.lock().unwrap().told.counters.clone()
    }

    fn clients(&self, _: VhostName, _: UserName) -> Coming<'_, ClientCounts> {
        Box::pin(std::future::ready(ClientCounts::default()))
    }

    fn close_connection(
        &self,
        node: String,
        id: ConnectionId,
        reason: String,
    ) -> Coming<'_, Result<(), String>> {
        Box::pin(async move { self.others.asked(format!("close {id} at {node}: {reason}")) })
    }

    fn forget(&self, name: String, force: bool) -> Coming<'_, Result<(), String>> {
        Box::pin(async move { self.others.asked(format!("forget {name}, force: {force}")) })
    }

    fn leave(&self, force: bool) -> Coming<'_, Result<(), String>> {
        Box::pin(async move { self.others.asked(format!("leave, force: {force}")) })
    }
}

/// The ways to queues of other nodes.
struct FakeHomes(Weak<Others>);

impl Homes for FakeHomes {
    fn forwarder(&self, row: &Arc<catalog::Queue>) -> Arc<dyn Forwarder> {
        Arc::new(Way { home: row.home.0, others: self.0.upgrade().unwrap() })
    }

    fn node_changed(&self, _: &Node, _: bool) {}

    fn place(&self, command: Command, _: &Catalog) -> Command {
        match command {
            Command::DeclareQueue { .. } => {
                Command::DeclareAt { home: NodeId(1), command: Box::new(command) }
            }
            other => other,
        }
    }

    fn is_current(&self) -> bool {
        true
    }

    fn reply_outlet(&self, _: NodeId) -> Option<Arc<dyn Outlet>> {
        None
    }
}

struct Way {
    home: u64,
    others: Arc<Others>,
}

impl Forwarder for Way {
    fn forward(&self, queue: &Arc<Queue>, commands: &mut Vec<QueueCommand>, _: &Broker) {
        for command in commands.drain(..) {
            let (what, bytes) = match &command {
                QueueCommand::Enqueue(enqueue) => ("enqueue", enqueue.mailbox_bytes()),
                QueueCommand::Get { .. } => ("get", 0),
                QueueCommand::Purge(_) => ("purge", 0),
                QueueCommand::PrepareDelete(..) => ("delete", 0),
                _ => continue,
            };
            queue.release(bytes);
            // Refused questions go without an answer.
            if self.others.asked(format!("{what} at {}", self.home)).is_err() {
                continue;
            }
            match command {
                QueueCommand::Get { no_ack, outlet, done } => {
                    outlet.got(queue, no_ack, None, 0);
                    let _ = done.send(());
                }
                QueueCommand::Purge(reply) => drop(reply.send(1)),
                QueueCommand::PrepareDelete(_, reply) => drop(reply.send(Ok(0))),
                _ => {}
            }
        }
    }

    fn is_reachable(&self) -> bool {
        !self.others.state.lock().unwrap().down.contains(&self.home)
    }

    fn home_name(&self) -> String {
        NODES.iter().find(|(id, _)| *id == self.home).map_or(String::new(), |(_, name)| (*name).to_owned())
    }

    fn listing(&self) -> QueueListing {
        let ready = self.others.state.lock().unwrap().told.ready;
        let consumers = self.consumers().len() as u32;
        QueueListing {
            counts: QueueCounts { ready, consumers, ..QueueCounts::default() },
            ..QueueListing::default()
        }
    }

    fn consumers(&self) -> Vec<ConsumerListing> {
        self.others.state.lock().unwrap().told.consumers.clone()
    }
}
