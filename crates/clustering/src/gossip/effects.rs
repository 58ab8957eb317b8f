//! What comes out of a step of gossip, besides the picture of the others.

use crate::identity::NodeIdentity;
use std::fmt;
use std::net::SocketAddr;

/// What is to be done after a step.
#[derive(Debug, Default)]
pub struct Effects {
    /// Bodies to be sealed and sent, in order.
    pub send: Vec<(SocketAddr, Vec<u8>)>,
    /// The picture of the others changed.
    pub changed: bool,
    /// What operators should hear of.
    pub oddities: Vec<Oddity>,
}

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A datagram that opened and cannot be read.
    Malformed {
        /// Its sender's address.
        from: SocketAddr,
    },
    /// A node of another cluster calls.
    OtherCluster {
        /// Its address.
        from: SocketAddr,
        /// Who it is.
        identity: NodeIdentity,
    },
    /// A node calls that speaks another wire version.
    OtherWire {
        /// Its address.
        from: SocketAddr,
        /// Who it is.
        identity: NodeIdentity,
    },
    /// Another process uses this node's id.
    SameId {
        /// This node.
        identity: NodeIdentity,
    },
}

impl Oddity {
    /// Whom it is about.
    pub fn from(&self) -> SocketAddr {
        match self {
            Oddity::Malformed { from }
            | Oddity::OtherCluster { from, .. }
            | Oddity::OtherWire { from, .. } => *from,
            Oddity::SameId { identity } => identity.addr,
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Oddity::Malformed { from } => {
                write!(
                    f,
                    "a gossip packet from {from} was sealed with the cluster's secret and cannot be read"
                )
            }
            Oddity::OtherCluster { from, identity } => write!(
                f,
                "node '{}' at {from} belongs to another cluster ({:032x}): take it out of this node's join list or \
                 give it another secret",
                identity.name, identity.cluster.0
            ),
            Oddity::OtherWire { from, identity } => write!(
                f,
                "node '{}' at {from} (version {}) speaks wire version {}.{}: this node cannot; update the older one",
                identity.name, identity.version, identity.wire.major, identity.wire.minor
            ),
            Oddity::SameId { identity } => write!(
                f,
                "another process claims the id {} of this node ('{}'): was its data directory copied?",
                identity.id, identity.name
            ),
        }
    }
}

/// Counters of what was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwimStats {
    /// Packets that opened.
    pub heard: u64,
    /// Packets that cannot be read.
    pub malformed: u64,
    /// Packets of nodes of another cluster.
    pub other_cluster: u64,
    /// Packets of nodes that speak another wire version.
    pub other_wire: u64,
    /// Packets of a process whose id another uses by now.
    pub outranked: u64,
    /// Packets for an earlier life of this node.
    pub outdated: u64,
    /// Packets that are this node's own or for somebody else.
    pub ignored: u64,
    /// Steps that the failure detector refused.
    pub errors: u64,
    /// Times this node was held up.
    pub stalls: u64,
}
