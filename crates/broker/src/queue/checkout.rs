//! Who gets which ready messages.
//!
//! Invariant: an offer takes nothing; only what its consumer took leaves the ready messages. Offers to
//! several consumers are in the messages' order and in turn, as RabbitMQ serves them.

use super::consumers::Eligible;
use super::handed::Handed;
use super::index_set::Range;
use super::machine::QueueMachine;
use super::tail::Tail;
use crate::message::{Chunk, Record};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::ConsumerId;
use types::limits::QUEUE_SHARE_COUNT_MAX;

/// Messages offered to an only consumer in a go.
const OFFER_COUNT_MAX: u64 = 8_192;

/// Longest run of neighbours that one of several consumers gets in its turn.
const SHARE_RUN_MAX: u64 = 16;

/// Ready messages for one consumer, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Who they are for.
    pub consumer: ConsumerId,
    /// Settled when taken.
    pub no_ack: bool,
    /// Which messages.
    pub ranges: Vec<Range>,
}

impl Offer {
    /// How many messages it holds.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }
}

/// One message on its way to a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its place in the queue's log.
    pub index: u64,
    /// How often it came back before.
    pub returns: u32,
    /// Whether a client may have seen it before.
    pub redelivered: bool,
    /// The message.
    pub record: Record<'a>,
    /// Where the record's bytes live.
    pub chunk: &'a Arc<Chunk>,
}

/// The messages of an offer, to be walked by whoever delivers them.
pub struct Deliveries<'a>(Source<'a>);

/// Where they are: in the queue, or handed over by the queue's home.
enum Source<'a> {
    Queue { tail: &'a Tail, returns: &'a BTreeMap<u64, u32>, seen_below: u64, ranges: &'a [Range] },
    Handed(&'a Handed),
}

impl<'a> From<&'a Handed> for Deliveries<'a> {
    fn from(handed: &'a Handed) -> Deliveries<'a> {
        Deliveries(Source::Handed(handed))
    }
}

impl<'a> Deliveries<'a> {
    /// The first `count` messages.
    pub fn first(&self, count: u32) -> impl Iterator<Item = Delivery<'a>> {
        let mut first = Vec::new();
        self.walk(|delivery| {
            let wanted = (first.len() as u64) < u64::from(count);
            if wanted {
                first.push(delivery);
            }
            wanted
        });
        first.into_iter()
    }

    /// Walks the messages in order until `take` says no or one is not in memory.
    #[inline]
    pub fn walk(&self, mut take: impl FnMut(Delivery<'a>) -> bool) {
        let Source::Queue { tail, returns: counts, seen_below, ranges } = self.0 else {
            if let Source::Handed(handed) = self.0 {
                handed.walk(take);
            }
            return;
        };
        for &(start, end) in ranges {
            let mut index = start;
            while index < end {
                let Some(segment) = tail.segment(index) else { return };
                let Some(chunk) = &segment.chunk else { return };
                let stop = end.min(segment.range().1);
                while index < stop {
                    let Some(record) = segment.record(index) else { return };
                    let returns =
                        if counts.is_empty() { 0 } else { counts.get(&index).copied().unwrap_or(0) };
                    let redelivered = returns > 0 || index < seen_below;
                    if !take(Delivery { index, returns, redelivered, record, chunk }) {
                        return;
                    }
                    index += 1;
                }
                index = stop;
            }
        }
    }
}

impl QueueMachine {
    /// What can be delivered now and to whom; empty when nothing is ready or nobody has credit.
    pub fn offers(&self) -> Vec<Offer> {
        if self.ready.count() == 0 || self.consumers.len() == 0 {
            return Vec::new();
        }
        let eligible = self.consumers.eligible(self.state.config.single_active_consumer);
        match eligible.as_slice() {
            [] => Vec::new(),
            [only] => {
                let ranges = self.ready.front(only.credit.min(OFFER_COUNT_MAX));
                vec![Offer { consumer: only.id, no_ack: only.no_ack, ranges }]
            }
            many => self.share(many),
        }
    }

    /// Deals the next messages out in turn, in the messages' order: one each while there are few, short runs
    /// when there are many. Whoever hands them out stops at the first that is not taken, so nobody gets a
    /// message from before one he already has.
    fn share(&self, eligible: &[Eligible]) -> Vec<Offer> {
        let mut credits: Vec<u64> = eligible.iter().map(|consumer| consumer.credit).collect();
        let run_max = (self.ready.count() / (16 * eligible.len() as u64)).clamp(1, SHARE_RUN_MAX);
        let mut offers = Vec::new();
        let mut turn = 0;
        for (mut start, end) in self.ready.front(QUEUE_SHARE_COUNT_MAX as u64) {
            while start < end {
                let mut order = (turn..eligible.len()).chain(0..turn);
                let Some(next) = order.find(|at| credits[*at] > 0) else { return offers };
                let run = run_max.min(credits[next]).min(end - start);
                let consumer = &eligible[next];
                let ranges = vec![(start, start + run)];
                offers.push(Offer { consumer: consumer.id, no_ack: consumer.no_ack, ranges });
                credits[next] -= run;
                start += run;
                turn = (next + 1) % eligible.len();
            }
        }
        offers
    }

    /// The messages of `ranges`.
    pub fn deliveries<'a>(&'a self, ranges: &'a [Range]) -> Deliveries<'a> {
        let (tail, returns, seen_below) = (&self.tail, &self.state.returns, self.seen_below);
        Deliveries(Source::Queue { tail, returns, seen_below, ranges })
    }

    /// The consumer took the first `count` messages of its offer, `bytes` of bodies; `blocked` when its
    /// connection takes no more for now.
    pub fn accept(&mut self, offer: &Offer, count: u32, bytes: u64, blocked: bool) {
        let taken = first_of(&offer.ranges, count.into());
        for range in &taken {
            self.ready.remove(*range);
            self.handed = self.handed.max(range.1);
        }
        self.take_ready_bytes(bytes);
        let redelivered = self.count_returned(&taken);
        self.totals.redeliver += redelivered;
        if let Some(consumer) = self.consumers.get_mut(offer.consumer) {
            consumer.blocked = blocked;
            if !offer.no_ack {
                consumer.in_flight += count;
            }
        }
        if count > 0 {
            self.consumers.served(offer.consumer);
        }
        if offer.no_ack {
            self.totals.deliver_no_ack += u64::from(count);
            self.forget(taken);
        } else {
            self.totals.deliver += u64::from(count);
            self.unacked_count += u64::from(count);
            self.unacked_bytes += bytes;
        }
    }

    pub(super) fn count_returned(&self, ranges: &[Range]) -> u64 {
        if self.state.returns.is_empty() {
            return 0;
        }
        ranges.iter().map(|(start, end)| self.state.returns.range(*start..*end).count() as u64).sum()
    }

    /// The next message for a basic.get.
    pub fn next_for_get(&self) -> Option<Offer> {
        let ranges = self.ready.front(1);
        (!ranges.is_empty()).then(|| Offer { consumer: ConsumerId::default(), no_ack: false, ranges })
    }

    /// A basic.get took its message.
    pub fn got(&mut self, offer: &Offer, bytes: u64, no_ack: bool) {
        for range in &offer.ranges {
            self.ready.remove(*range);
            self.handed = self.handed.max(range.1);
        }
        self.take_ready_bytes(bytes);
        self.totals.redeliver += self.count_returned(&offer.ranges);
        if no_ack {
            self.totals.get_no_ack += 1;
            self.forget(offer.ranges.clone());
        } else {
            self.totals.get += 1;
            self.unacked_count += 1;
            self.unacked_bytes += bytes;
        }
    }
}

/// The first `count` indexes of `ranges`.
fn first_of(ranges: &[Range], count: u64) -> Vec<Range> {
    let mut left = count;
    let mut first = Vec::with_capacity(ranges.len());
    for &(start, end) in ranges {
        if left == 0 {
            break;
        }
        let taken = (end - start).min(left);
        first.push((start, start + taken));
        left -= taken;
    }
    first
}
