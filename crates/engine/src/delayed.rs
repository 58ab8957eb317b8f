//! Messages that an `x-delayed-message` exchange holds until their time, in a queue of its own.
//!
//! Invariant: the delay is the held message's time to live; when it is over the message is routed once,
//! at or after its time, and leaves the queue when those who got it have committed it. The queue is
//! durable as its exchange is, and gone with it.

use crate::node::Broker;
use crate::outlet::Outlet;
use crate::queue::Queue;
use broker::catalog::Exchange;
use broker::message::{Chunk, Record, RecordHead};
use std::sync::Arc;
use types::{ExchangeName, VhostName};

impl Broker {
    /// The queue in which a delayed exchange holds its messages.
    pub(crate) fn holding_queue(&self, exchange: &Exchange) -> Option<Arc<Queue>> {
        self.queue(exchange.holding?)
    }

    /// Holds a message for `delay_ms`; `confirm` hears of the commit.
    pub(crate) fn hold(
        &self,
        holding: &Arc<Queue>,
        delay_ms: u64,
        message: &Record<'_>,
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) {
        self.enqueue_copy(holding, Arc::new(held(message, delay_ms)), confirm);
    }

    /// How many messages an exchange holds.
    pub fn delayed_count(&self, vhost: &VhostName, exchange: &ExchangeName) -> u64 {
        let catalog = self.catalog();
        let row = catalog.vhost(vhost.as_str()).and_then(|vhost| vhost.exchange(exchange.as_str()));
        row.and_then(|row| self.holding_queue(row)).map_or(0, |queue| queue.counts().ready)
    }
}

/// The message as its exchange's queue keeps it: with the delay in the place of its own time to live,
/// which its properties still have.
fn held(message: &Record<'_>, delay_ms: u64) -> Chunk {
    let head = RecordHead { ttl_ms: Some(delay_ms), priority: 0, ..message.head };
    Chunk::single(head, message.route.into(), message.properties, message.body)
}
