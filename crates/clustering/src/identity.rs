//! Who a node is, as it tells others.
//!
//! Invariant: the id is the node; name and address are labels that may change, the boot changes with every
//! start of the process.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use types::NodeId;

/// What nodes of this build speak: each side may be newer by minor versions.
pub const WIRE_VERSION: WireVersion = WireVersion { major: 1, minor: 0 };

/// Version of what passes between nodes. The same major number understands each other; what a minor
/// number adds is used once all nodes have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WireVersion {
    /// Changes when old nodes cannot be spoken to any more.
    pub major: u16,
    /// Changes with each addition.
    pub minor: u16,
}

/// Which cluster a node belongs to: a random number made when the cluster is formed; 0: none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// What a node says of itself when a link begins, and in gossip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The node.
    pub id: u64,
    /// Its name, like `rabbit@host`.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// This start of its process: random.
    pub boot: u64,
    /// What it speaks.
    pub wire: WireVersion,
    /// The product's version, for people.
    pub version: String,
    /// Where other nodes reach it (TCP and UDP).
    pub addr: SocketAddr,
}

impl NodeIdentity {
    /// The node.
    pub fn node(&self) -> NodeId {
        NodeId(self.id)
    }
}
