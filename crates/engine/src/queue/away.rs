//! A queue on a node that is not its home: what is posted to it goes there.
//!
//! Invariant: commands are forwarded in the order they were posted, by one thread at a time, as a queue at home
//! does them. What can no longer be forwarded is refused, never dropped: publishes count as not accepted,
//! questions go without an answer.

use super::{ConsumerListing, Queue, QueueCommand, QueueListing};
use crate::node::Broker;
use crate::outlet::Outlet;
use broker::catalog;
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
}

/// The ways to all queues of other nodes.
pub trait Homes: Send + Sync {
    /// The way to a queue.
    fn forwarder(&self, row: &Arc<catalog::Queue>) -> Arc<dyn Forwarder>;

    /// A node of the cluster is another one than before, or does not belong to it any more.
    fn node_changed(&self, node: &catalog::Node, is_member: bool);

    /// The way to direct reply-to consumers of another node; None when it cannot be reached.
    fn reply_outlet(&self, node: NodeId) -> Option<Arc<dyn Outlet>>;
}

impl Queue {
    /// Whether its messages can be got at: it is here, or its home is there.
    #[inline]
    pub fn is_reachable(&self) -> bool {
        self.away.as_ref().is_none_or(|away| away.is_reachable())
    }

    /// Whether its home is another node.
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Why nobody can get at it, in RabbitMQ's words; None when it can be got at.
    pub fn unreachable(&self) -> Option<AmqpError> {
        let away = self.away.as_ref().filter(|away| !away.is_reachable())?;
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

    /// A turn of a queue that is elsewhere; true when there were commands.
    pub(super) fn turn_away(self: &Arc<Queue>, away: &Arc<dyn Forwarder>, broker: &Broker) -> bool {
        let mut commands = std::mem::take(&mut self.mailbox.lock().commands);
        let had_commands = !commands.is_empty();
        let is_publish = |command: &&QueueCommand| matches!(command, QueueCommand::Enqueue(_));
        let done = |command: &QueueCommand| command.mailbox_bytes();
        let bytes: usize = commands.iter().filter(|command| !is_publish(command)).map(done).sum();
        away.forward(self, &mut commands, broker);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        had_commands
    }
}
