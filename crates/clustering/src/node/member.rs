//! The node itself: how it is started and stopped, and what its parts share.
//!
//! Invariant: the data directory is opened before anything speaks to other nodes, and nothing is served to
//! clients before the node is a member.

use super::config::{ClusterConfig, Sockets};
use super::identity_file;
use super::links::{Links, MeshCalls};
use super::placement::Place;
use super::service::Desk;
use crate::catalog::{CatalogGroup, GroupConfig, Member};
use crate::forward::{ForwardHomes, Placement};
use crate::gossip::{Gossip, GossipConfig};
use crate::identity::{ClusterId, NodeIdentity, WIRE_VERSION};
use crate::transport::{Me, Mesh, TransportConfig};
use broker::catalog::{Catalog, Command, Node};
use engine::storage::ClusterLog;
use engine::{Broker, Seat};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{Notify, watch};
use types::NodeId;
use types::limits::CLUSTER_FEATURE_LEVEL;

/// A node whose data directory is about to be opened.
pub struct Prepared {
    config: ClusterConfig,
    node: NodeId,
    boot: u64,
    sockets: Sockets,
    member: Member,
    homes: Arc<ForwardHomes>,
}

impl Prepared {
    /// Reads who the node is and binds its addresses; the data directory must be there.
    ///
    /// # Errors
    /// A text for the operator: which file or key, and what to do.
    pub fn new(config: ClusterConfig) -> Result<Prepared, String> {
        let node = identity_file::node_id(&config.data_dir)?;
        let sockets = Sockets::bind(&config)?;
        let boot = engine::route::random().max(1);
        let homes = Arc::new(ForwardHomes::default());
        let member = if config.recover { Member::recovering(node) } else { Member::new(node) };
        Ok(Prepared { node, boot, sockets, member, homes, config })
    }

    /// The node's place, for the broker.
    pub fn seat(&self) -> Seat {
        Seat { node: self.node, boot: self.boot, homes: self.homes.clone() }
    }

    /// What reads the cluster's log while the data directory is opened.
    pub fn log(&mut self) -> &mut dyn ClusterLog {
        &mut self.member
    }
}

/// What the parts of a node share.
pub(super) struct Shared {
    pub(super) config: ClusterConfig,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) addr: SocketAddr,
    pub(super) broker: Arc<Broker>,
    pub(super) homes: Arc<ForwardHomes>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) gossip: Arc<Gossip>,
    pub(super) group: OnceLock<Arc<CatalogGroup>>,
    /// Why the node serves no clients yet; None once it does.
    pub(super) waits: watch::Sender<Option<String>>,
    /// Why the node has to stop.
    pub(super) ends: watch::Sender<Option<String>>,
    pub(super) seen: Mutex<super::told::Seen>,
    /// Something changed that the watch should look at soon.
    pub(super) look: Notify,
    pub(super) started_s: u64,
    /// A node that is gone is being taken out of the group.
    pub(super) is_removing: AtomicBool,
    /// Why a node was last refused that wanted to join.
    pub(super) told_refusal: Mutex<Option<String>>,
}

/// A running node of a cluster.
pub struct ClusterNode {
    shared: Arc<Shared>,
}

/// What a node says of itself, while its parts are being made.
fn identity_of(prepared: &Prepared, cluster: ClusterId) -> NodeIdentity {
    NodeIdentity {
        id: prepared.node.0,
        name: prepared.config.node_name.clone(),
        cluster,
        boot: prepared.boot,
        wire: WIRE_VERSION,
        version: prepared.config.version.clone(),
        addr: prepared.sockets.addr,
    }
}

impl ClusterNode {
    /// Starts the node's parts; it looks for its cluster by itself from then on. To be called within a runtime
    /// of tokio that lives as long as the node.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn start(prepared: Prepared, broker: Arc<Broker>) -> Result<ClusterNode, String> {
        // The cluster's id is learnt when the group knows it.
        let cluster = Arc::new(Mutex::new(prepared.member.cluster().unwrap_or_default()));
        let me: Me = {
            let (identity, cluster) = (identity_of(&prepared, ClusterId::default()), cluster.clone());
            Arc::new(move || NodeIdentity { cluster: *cluster.lock(), ..identity.clone() })
        };
        let Prepared { config, node, boot, sockets, member, homes } = prepared;
        let desk = Arc::new(Desk::default());
        let links = Arc::new(Links { homes: homes.clone(), broker: broker.clone() });
        let transport =
            TransportConfig { tls: config.tls.clone(), ..TransportConfig::new(config.secret.clone()) };
        let mesh = Mesh::start(transport, me.clone(), sockets.tcp, desk.clone(), links)?;
        let (secret, periods) = (config.secret.clone(), config.periods.clone());
        let gossip = Gossip::start(GossipConfig { secret, socket: sockets.udp, me, periods }, Vec::new())?;
        let calls = Arc::new(MeshCalls::default());
        calls.connect(&mesh);
        let names = Arc::downgrade(&broker);
        let group_config = GroupConfig {
            name_of: Arc::new(move |node| name_of(&names, node)),
            ..GroupConfig::new(node, boot)
        };
        let shared = Arc::new(Shared {
            node,
            boot,
            addr: sockets.addr,
            broker: broker.clone(),
            homes,
            mesh,
            gossip,
            group: OnceLock::new(),
            waits: watch::Sender::new(Some("the node is looking for its cluster".to_owned())),
            ends: watch::Sender::new(None),
            seen: Mutex::default(),
            look: Notify::new(),
            started_s: engine::clock::wall_ms() / 1000,
            is_removing: AtomicBool::new(false),
            told_refusal: Mutex::default(),
            config,
        });
        shared.refuse_twin().await?;
        let _ = desk.node.set(Arc::downgrade(&shared));
        shared.know_members(&broker.catalog());
        shared.homes.set_placement(Box::new(Chooser(Arc::downgrade(&shared))));
        let observer = Arc::downgrade(&shared);
        shared.homes.observe(Box::new(move |node, is_member| {
            if let Some(shared) = observer.upgrade() {
                shared.node_changed(node, is_member);
            }
        }));
        let group = CatalogGroup::start_on(group_config, member, &broker, calls).await?;
        let failed = group.clone();
        let _ = shared.group.set(group);
        let ending = shared.clone();
        tokio::spawn(async move {
            let why = failed.failed().await;
            ending.end(&format!("the catalog cannot go on at this node: {why}"));
        });
        broker.set_cluster(shared.clone());
        tokio::spawn(shared.clone().keep_identity(cluster));
        tokio::spawn(shared.clone().find_cluster());
        tokio::spawn(shared.clone().watch());
        tokio::spawn(shared.clone().doubt_membership());
        Ok(ClusterNode { shared })
    }

    /// Comes back when the node is a member and may serve clients, or after a while when its cluster is known
    /// but does not answer: then it serves what is here.
    pub async fn ready(&self) {
        let mut waits = self.shared.waits.subscribe();
        // An error means that the node is gone.
        let _ = waits.wait_for(Option::is_none).await;
    }

    /// Comes back with the reason when the node has to stop.
    pub async fn ended(&self) -> String {
        let mut ends = self.shared.ends.subscribe();
        match ends.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Where other nodes reach this one.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Says goodbye and ends all parts.
    pub async fn stop(self) {
        let shared = self.shared;
        shared.ends.send_if_modified(|why| {
            let running = why.is_none();
            why.get_or_insert_with(|| "the node is stopping".to_owned());
            running
        });
        let stopped = tokio::task::spawn_blocking(move || {
            shared.gossip.leave();
            shared.gossip.stop();
            if let Some(group) = shared.group.get() {
                group.stop();
            }
            shared.mesh.stop();
        });
        if stopped.await.is_err() {
            tracing::error!("the parts of the node did not stop as they should");
        }
    }
}

fn name_of(broker: &Weak<Broker>, node: NodeId) -> String {
    let known = broker.upgrade().and_then(|broker| {
        let catalog = broker.catalog();
        catalog.nodes.get(&node).map(|row| row.name.clone())
    });
    known.unwrap_or_else(|| format!("{:016x}", node.0))
}

impl Shared {
    /// This node as a row of the catalog.
    pub(super) fn row(&self) -> Node {
        Node {
            id: self.node,
            name: self.config.node_name.clone(),
            addr: self.addr.to_string(),
            boot: self.boot,
            up: true,
            feature_level: CLUSTER_FEATURE_LEVEL,
        }
    }

    /// This node in the words of a handshake.
    pub(super) fn identity(&self) -> NodeIdentity {
        NodeIdentity {
            id: self.node.0,
            name: self.config.node_name.clone(),
            cluster: self.group.get().and_then(|group| group.cluster()).unwrap_or_default(),
            boot: self.boot,
            wire: WIRE_VERSION,
            version: self.config.version.clone(),
            addr: self.addr,
        }
    }

    /// Has the mesh and gossip know the members that the catalog has.
    fn know_members(&self, catalog: &Catalog) {
        catalog.nodes.values().for_each(|node| self.node_changed(node, true));
    }

    fn node_changed(&self, node: &Node, is_member: bool) {
        if node.id == self.node {
            if !is_member {
                self.left();
            }
        } else if !is_member {
            self.mesh.forget_peer(node.id);
            self.gossip.forget(node.id);
        } else if let Ok(addr) = node.addr.parse() {
            self.know(node.id, addr);
        }
        self.look.notify_one();
    }

    /// Where a node is reached.
    pub(super) fn know(&self, node: NodeId, addr: SocketAddr) {
        if node != self.node {
            self.mesh.set_peer(node, addr);
            self.gossip.add_seed(addr);
        }
    }

    /// The node has to stop.
    pub(super) fn end(&self, why: &str) {
        self.ends.send_if_modified(|ends| {
            let first = ends.is_none();
            ends.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ends.borrow().is_some()
    }

    /// The node may serve clients.
    pub(super) fn serve(&self) {
        self.waits.send_if_modified(|waits| waits.take().is_some());
    }

    /// Why it does not yet.
    pub(super) fn wait_for(&self, why: String) {
        self.waits.send_if_modified(|waits| match waits {
            Some(known) if *known != why => {
                tracing::info!("{why}");
                *known = why;
                true
            }
            _ => false,
        });
    }

    /// Keeps what is said in handshakes up to date: the cluster is learnt after the start.
    async fn keep_identity(self: Arc<Shared>, cluster: Arc<Mutex<ClusterId>>) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
        while !self.is_ending() {
            tick.tick().await;
            if let Some(known) = self.group.get().and_then(|group| group.cluster()) {
                *cluster.lock() = known;
                return;
            }
        }
    }
}

/// Chooses homes by what this node knows of the others.
struct Chooser(Weak<Shared>);

impl Placement for Chooser {
    fn place(&self, command: Command, catalog: &Catalog) -> Command {
        let Some(shared) = self.0.upgrade().filter(|_| catalog.is_cluster()) else { return command };
        let others = catalog.nodes.keys().copied().filter(|node| shared.homes.is_reachable(*node));
        let place = Place {
            me: shared.node,
            default: shared.config.locator,
            reachable: others.chain([shared.node]).collect(),
            random: engine::route::random(),
        };
        place.command(command, catalog)
    }

    fn is_current(&self) -> bool {
        let Some(shared) = self.0.upgrade() else { return true };
        shared.group.get().is_some_and(|group| group.lease_held())
    }
}
