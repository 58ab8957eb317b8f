//! Dead letters: messages that left their queue, on the way to its dead-letter exchange.

use crate::clock;
use crate::node::Broker;
use crate::queue::{DeadLetterCopy, Queue};
use broker::message::dead_letter;
use std::sync::Arc;

impl Broker {
    /// Publishes what left a queue. Runs without any queue's lock.
    pub(crate) fn publish_dead_letters(&self, queue: &Arc<Queue>, letters: Vec<DeadLetterCopy>) {
        let row = queue.row();
        let now_s = clock::wall_ms() / 1000;
        self.metrics().dead_lettered.add(letters.len() as u64);
        for letter in letters {
            let Some(exchange) = &row.config.dead_letter_exchange else { continue };
            let record = letter.chunk.record(0);
            let made = dead_letter(&record, row.name.as_str(), letter.reason, &row.config, now_s);
            tracing::trace!(queue = %row.name, index = letter.index, reason = letter.reason.as_str(), "dead letter");
            self.publish_internal(
                &row.vhost,
                exchange.as_str(),
                &made.routing_key,
                &made.properties,
                record.body,
                &made.cycle_queues,
            );
        }
    }
}
