//! The way from a queue back to a client: what the server gives the engine for each channel.
//!
//! Invariant: an outlet never waits. It takes what its connection has room for and says when it is
//! full; `flush` is called once at the end of a turn for every outlet that was touched.

use crate::queue::Queue;
use broker::message::Record;
use broker::queue::{Deliveries, Delivery};
use std::sync::Arc;
use types::ConsumerId;

/// How much of an offer was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Messages taken, from the front of the offer.
    pub count: u32,
    /// Their bodies' bytes.
    pub bytes: u64,
    /// Nothing more fits until the outlet posts an unblock to the queue.
    pub blocked: bool,
    /// It is blocked because its channel may hold no more, not because its connection takes no more.
    pub over_limit: bool,
}

/// One channel's end of deliveries and confirms. What an outlet is not asked for it need not have: it then
/// takes no deliveries and nobody hears of the rest.
pub trait Outlet: Send + Sync {
    /// Takes deliveries for a consumer of this channel.
    fn deliver(
        &self,
        _queue: &Arc<Queue>,
        _consumer: ConsumerId,
        _no_ack: bool,
        _deliveries: &Deliveries<'_>,
    ) -> Taken {
        Taken { blocked: true, ..Taken::default() }
    }

    /// Messages that a consumer may get before its channel holds as many as it may; None: any number. When
    /// there is no room now, an unblock is posted to the queue as soon as there is some.
    fn room(&self, _queue: &Arc<Queue>, _consumer: ConsumerId, _no_ack: bool) -> Option<u64> {
        None
    }

    /// The answer to a basic.get; `remaining` messages are left in the queue.
    fn got(&self, _queue: &Arc<Queue>, _no_ack: bool, _delivery: Option<Delivery<'_>>, _remaining: u64) {}

    /// The queue is gone or was taken away: the consumer is cancelled by the broker.
    fn cancelled(&self, _consumer: ConsumerId) {}

    /// The queue has another home; what this one had for the consumer is void. Only for outlets of other nodes,
    /// which join the new home by themselves.
    fn moved(&self, _queue: &Arc<Queue>, _consumer: ConsumerId) {}

    /// Whether it stands for clients of another node.
    fn is_remote(&self) -> bool {
        false
    }

    /// Publishes numbered `first..=last` are committed in one of their queues; those in `refused` were
    /// not accepted there.
    fn confirmed(&self, _ranges: &[(u64, u64)], _refused: &[u64]) {}

    /// Publishes with these numbers did not reach one of their queues: its home is out of reach.
    fn cut_off(&self, ranges: &[(u64, u64)]) {
        let refused: Vec<u64> = ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
        self.confirmed(ranges, &refused);
    }

    /// A message for the direct reply-to consumer of this channel; false when there is none.
    fn reply(&self, _record: &Record<'_>) -> bool {
        false
    }

    /// Whether it takes nothing any more, now or later.
    fn is_closed(&self) -> bool {
        false
    }

    /// Sends what was written since the last flush.
    fn flush(&self);
}
