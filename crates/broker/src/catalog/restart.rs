//! What a restart of the node leaves, and what a command means for that.
//!
//! Invariant: after a restart there is no transient or exclusive queue, no transient exchange, no binding
//! that had one of these as an end, and no tracing; all else is as before. Nothing follows from what went:
//! a durable exchange that would have gone with its last binding stays without one, as in RabbitMQ, where
//! rows in memory vanish and are not deleted.

use super::Catalog;
use super::queue::Queue;
use super::topology::Change;
use super::vhost::Vhost;
use imbl::OrdSet;
use std::sync::Arc;
use types::{ExchangeName, QueueName, VhostName};

impl Catalog {
    /// Forgets what does not survive a restart; whether there was any of it.
    pub(crate) fn restart(&mut self, change: &mut Change<'_>) -> bool {
        let passing = |vhost: &&Arc<Vhost>| vhost.holds_passing_rows();
        let names: Vec<VhostName> =
            self.vhosts.values().filter(passing).map(|vhost| vhost.name.clone()).collect();
        for name in &names {
            if let Ok(vhost) = self.vhost_mut(name) {
                vhost.restart(change);
            }
        }
        self.exclusive_queues = OrdSet::new();
        !names.is_empty()
    }
}

impl Queue {
    /// Whether the queue is there again after a restart.
    pub(crate) fn survives_restart(&self) -> bool {
        self.durable && self.exclusive.is_none()
    }
}

impl Vhost {
    fn holds_passing_rows(&self) -> bool {
        self.tracing
            || self.queues.values().any(|queue| !queue.survives_restart())
            || self.exchanges.values().any(|exchange| !exchange.durable)
    }

    fn restart(&mut self, change: &mut Change<'_>) {
        self.tracing = false;
        let queues: Vec<QueueName> = self
            .queues
            .values()
            .filter(|queue| !queue.survives_restart())
            .map(|queue| queue.name.clone())
            .collect();
        for name in &queues {
            self.remove_queue_alone(name, change);
        }
        let exchanges: Vec<ExchangeName> = self
            .exchanges
            .values()
            .filter(|exchange| !exchange.durable)
            .map(|exchange| exchange.name.clone())
            .collect();
        for name in &exchanges {
            self.remove_exchange_alone(name, change);
        }
    }
}
