//! What must hold, whatever happens. One file each.
//!
//! Invariant: they look and never change anything.

mod convergence;
mod durable;
mod homes;
mod losses;
mod messages;
mod one_cluster;
mod passing;
mod rows;

use crate::world::World;
use broker::catalog::{Catalog, Command, Event};
use clustering::identity::ClusterId;
use types::{NodeId, QueueId};

pub use convergence::restlessness;

/// Something that happened.
pub enum Seen<'a> {
    /// A node has formed a cluster.
    Formed {
        /// It.
        cluster: ClusterId,
    },
    /// A change was agreed on, or refused.
    Changed {
        /// It.
        command: &'a Command,
        /// The catalog before it.
        before: &'a Catalog,
        /// The catalog with it.
        after: &'a Catalog,
        /// What the catalog told of it.
        events: &'a [Event],
    },
    /// A node has come to know a newer catalog.
    Applied {
        /// It.
        node: NodeId,
        /// The catalog.
        catalog: &'a Catalog,
    },
    /// A process has ended.
    Ended {
        /// Its node.
        node: NodeId,
        /// Its start.
        boot: u64,
        /// What was agreed on then.
        catalog: &'a Catalog,
    },
    /// A node's disk is gone.
    Wiped {
        /// It.
        node: NodeId,
    },
    /// A message is in a durable queue.
    Confirmed {
        /// The queue.
        queue: QueueId,
        /// The message.
        message: u64,
        /// The queue's home.
        home: NodeId,
    },
    /// All faults are over, and everything has come to rest.
    Quiet(&'a World),
}

/// Something that must hold.
pub trait Invariant {
    /// Looks at what happened.
    ///
    /// # Errors
    /// What does not hold, for people.
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String>;
}

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(one_cluster::OneCluster::default()),
        Box::new(homes::Homes),
        Box::new(durable::Durable),
        Box::new(passing::Passing::default()),
        Box::new(rows::Rows),
        Box::new(losses::Losses),
        Box::new(messages::Messages::default()),
        Box::new(convergence::Convergence),
    ]
}
