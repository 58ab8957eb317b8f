//! A queue on a node that is not its home: what is posted to it goes there.
//!
//! Invariant: commands are forwarded in the order they were posted, by one thread at a time, as a queue at home
//! does them. What can no longer be forwarded is refused, never dropped: publishes count as not accepted,
//! questions go without an answer.

use super::{AddConsumer, ConsumerListing, Mirrors, Queue, QueueCommand, QueueListing};
use crate::copies::NoMirrors;
use crate::node::Broker;
use crate::outlet::Outlet;
use broker::catalog::{self, Catalog, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::{AmqpError, NodeId};

/// The way to one queue's home.
pub trait Forwarder: Send + Sync {
    /// Takes what was posted. Memory of publishes counts as waiting until `Queue::release` is called for it.
    fn forward(&self, queue: &Arc<Queue>, commands: &mut Vec<QueueCommand>, broker: &Broker);

    /// Whether the home can be asked now.
    fn is_reachable(&self) -> bool;

    /// What the home's node is called.
    fn home_name(&self) -> String;

    /// What the home last said of the queue.
    fn listing(&self) -> QueueListing;

    /// The consumers the home last told of.
    fn consumers(&self) -> Vec<ConsumerListing>;

    /// The node that it leads to.
    fn leads_to(&self) -> NodeId {
        NodeId::default()
    }

    /// Gives up its clients, because the queue has another home.
    fn take_clients(&self, _queue: &Queue) -> Clients {
        Clients::default()
    }

    /// Whether the queue may get another home: then its clients wait for a while when this one is out of reach.
    fn set_movable(&self, _movable: bool) {}
}

/// Clients of a queue on their way to another home of it.
#[derive(Default)]
pub struct Clients {
    /// Its consumers.
    pub consumers: Vec<AddConsumer>,
    /// What was posted and not sent yet, in order.
    pub held: Vec<QueueCommand>,
}

/// The ways to all queues of other nodes.
pub trait Homes: Send + Sync {
    /// The way to a queue.
    fn forwarder(&self, row: &Arc<catalog::Queue>) -> Arc<dyn Forwarder>;

    /// A node of the cluster is another one than before, or does not belong to it any more.
    fn node_changed(&self, node: &catalog::Node, is_member: bool);

    /// Gives a declare its home; other changes stay as they are.
    fn place(&self, command: Command, catalog: &Catalog) -> Command;

    /// Whether this node knows all that is declared: what it cannot route then has no queue.
    fn is_current(&self) -> bool;

    /// The ways to other nodes' copies of queues that are at home here.
    fn mirrors(&self) -> Arc<dyn Mirrors> {
        Arc::new(NoMirrors)
    }

    /// The way to direct reply-to consumers of another node; None when it cannot be reached.
    fn reply_outlet(&self, node: NodeId) -> Option<Arc<dyn Outlet>>;
}

impl Queue {
    /// Whether its messages can be got at: it is here, or its home is there.
    #[inline]
    pub fn is_reachable(&self) -> bool {
        !self.is_away() || self.forwarder().is_none_or(|away| away.is_reachable())
    }

    /// Whether its home is another node.
    #[inline]
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// The way to its home when that is another node.
    pub(super) fn forwarder(&self) -> Option<Arc<dyn Forwarder>> {
        self.is_away().then(|| self.away.load_full())?.map(|away| (*away).clone())
    }

    /// Its home is another node from now on, or this one.
    pub(crate) fn set_away(&self, away: Option<Arc<dyn Forwarder>>) {
        let is_away = away.is_some();
        self.away.store(away.map(Arc::new));
        self.is_away.store(is_away, Ordering::Release);
    }

    /// Why nobody can get at it, in RabbitMQ's words; None when it can be got at.
    pub fn unreachable(&self) -> Option<AmqpError> {
        let away = self.forwarder().filter(|away| !away.is_reachable())?;
        let row = self.row.load();
        Some(if row.durable {
            AmqpError::not_found(format!(
                "home node '{}' of durable queue '{}' in vhost '{}' is down or inaccessible",
                away.home_name(),
                row.name,
                row.vhost
            ))
        } else {
            AmqpError::not_found(format!("no queue '{}' in vhost '{}'", row.name, row.vhost))
        })
    }

    /// What somebody is told whose question was not answered.
    pub fn no_answer(&self) -> AmqpError {
        self.unreachable().unwrap_or_else(|| {
            let row = self.row.load();
            AmqpError::not_found(format!("no queue '{}' in vhost '{}'", row.name, row.vhost))
        })
    }

    /// The home has taken publishes of so many bytes.
    pub fn release(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// The part of a turn that is done elsewhere.
    pub(super) fn forward(
        self: &Arc<Queue>,
        away: &Arc<dyn Forwarder>,
        commands: &mut Vec<QueueCommand>,
        broker: &Broker,
    ) {
        let is_publish = |command: &&QueueCommand| matches!(command, QueueCommand::Enqueue(_));
        let done = |command: &QueueCommand| command.mailbox_bytes();
        let bytes: usize = commands.iter().filter(|command| !is_publish(command)).map(done).sum();
        away.forward(self, commands, broker);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
