//! What the rest of the node may ask of the cluster it belongs to.
//!
//! Invariant: a view is as old as the last word from the other nodes; nothing that must be right rests on it.

use crate::registry::{ChannelListing, ConnectionListing};
use std::future::Future;
use std::pin::Pin;
use types::{ConnectionId, NodeId, UserName, VhostName};

/// An answer to come.
pub type Coming<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is known of how a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It answers.
    Up,
    /// It has not answered for a moment.
    Suspect,
    /// It does not answer.
    Down,
}

impl NodeState {
    /// The word operators see.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Up => "up",
            NodeState::Suspect => "suspect",
            NodeState::Down => "down",
        }
    }
}

/// What a node tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // bytes, counts and seconds of Unix time, as the names say
pub struct NodeNumbers {
    pub memory_alarm: bool,
    pub disk_alarm: bool,
    pub connections: u32,
    pub queues: u32,
    pub memory_bytes: u64,
    pub disk_free_bytes: u64,
    pub catalog_version: u64,
    pub amqp_addr: String,
    pub http_addr: String,
    pub started_s: u64,
    pub ready: bool,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// It.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub addr: String,
    /// Whether it is this node.
    pub is_me: bool,
    /// How it is.
    pub state: NodeState,
    /// Its software's version, where that is known.
    pub version: Option<String>,
    /// Whether it leads the catalog.
    pub leads: bool,
    /// Whether it votes on changes of the catalog.
    pub votes: bool,
    /// How many changes of the catalog it is behind; only the leader knows of others.
    pub lag: Option<u64>,
    /// Queues with their home there.
    pub homes: u64,
    /// What it tells of itself; None while nothing was heard.
    pub numbers: Option<NodeNumbers>,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Its id; None while this node belongs to none yet.
    pub id: Option<u128>,
    /// The name of the node that leads the catalog.
    pub leader: Option<String>,
    /// How often that was asked for.
    pub term: u64,
    /// The version of the catalog here.
    pub catalog_version: u64,
    /// Whether changes of the catalog can be made.
    pub has_majority: bool,
    /// Its members, by name.
    pub nodes: Vec<NodeView>,
}

/// A connection to another node.
#[derive(Clone, Debug)]
pub struct RemoteConnection {
    /// The other node's name.
    pub node: String,
    /// Its id there.
    pub id: ConnectionId,
    /// What it told.
    pub listing: ConnectionListing,
    /// Its channels.
    pub channels: Vec<ChannelListing>,
}

/// How many connections there are, for the limits of a vhost and of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// To the vhost.
    pub vhost: u64,
    /// Of the user.
    pub user: u64,
}

/// What another node has counted since its process was started, by the names of [`crate::metrics::Metrics`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as the names say
pub struct NodeCounters {
    pub node: NodeId,
    pub values: Vec<(String, u64)>,
}

/// The cluster this node belongs to.
pub trait ClusterView: Send + Sync {
    /// As it is known now.
    fn status(&self) -> ClusterStatus;

    /// Why this node should get no clients, if it should not.
    fn not_ready(&self) -> Option<String>;

    /// The name of a node; None for a node that is no member.
    fn name_of(&self, node: NodeId) -> Option<String>;

    /// Asks the other nodes what is in their queues, who is connected to them and what they have counted. Comes back after a second
    /// at the latest; who has not answered by then is shown as it was.
    fn refresh(&self) -> Coming<'_, ()>;

    /// Connections to other nodes, as of the last refresh.
    fn connections(&self) -> Vec<RemoteConnection>;

    /// What other nodes that are there have counted, as of the last refresh.
    fn counters(&self) -> Vec<NodeCounters>;

    /// Asks the other nodes how many connections they have. Comes back after a second at the latest; who has not
    /// answered by then has none.
    fn clients(&self, vhost: VhostName, user: UserName) -> Coming<'_, ClientCounts>;

    /// Closes a connection to another node.
    fn close_connection(
        &self,
        node: String,
        id: ConnectionId,
        reason: String,
    ) -> Coming<'_, Result<(), String>>;

    /// Takes a node out that will not come back. Refuses with the queues that would go with it, unless forced.
    fn forget(&self, name: String, force: bool) -> Coming<'_, Result<(), String>>;

    /// Takes this node out, which then stops. Refuses with the queues that would be lost, unless forced.
    fn leave(&self, force: bool) -> Coming<'_, Result<(), String>>;
}
