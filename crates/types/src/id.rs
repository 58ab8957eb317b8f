//! Ids: what the broker's own words for "which one" are made of.
//!
//! Invariant: an id is given once in a node's life and never means another thing later.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A queue, given by the catalog when the queue is declared. Logs are keyed by it, never by name.
    QueueId
}
id! {
    /// A client's connection on this node.
    ConnectionId
}
id! {
    /// A consumer on this node; consumer tags are only unique within a channel.
    ConsumerId
}
id! {
    /// A record's place in its queue's log, from 0 without holes.
    LogIndex
}

id! {
    /// A node of a cluster: a random number kept in its data directory. Names are labels, addresses change.
    /// 0 stands for the one node of a broker that is no cluster.
    NodeId
}

/// A channel's number within its connection, 1 to channel-max.
pub type ChannelNumber = u16;
