//! What a queue at home sees of its clients on another node: their consumers, and who waits for confirms.
//!
//! Invariant: no consumer gets more than its credit, nor more messages than it is allowed. What a consumer holds is known here, so that it can go back
//! when the link ends, and so that an ack only ever settles what went out over this very link.

use super::Way;
use super::away_consumer::{ANY_NUMBER, MESSAGE_COST_BYTES, cost};
use super::frame::{self, Fate};
use super::mirror_frame;
use broker::message::{ChunkBuilder, RECORD_HEAD_BYTES};
use broker::queue::{Deliveries, Delivery, HandedRun, IndexSet, Range};
use engine::outlet::{Outlet, Taken};
use engine::queue::{MirrorLink, ToHome};
use engine::{Broker, Queue, QueueCommand};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::limits::{FORWARD_DELIVERY_MAX_BYTES, OUTBOX_HIGH_WATER_BYTES};
use types::{ConsumerId, QueueId};

/// A consumer on the other node.
struct GuestConsumer {
    queue: Arc<Queue>,
    /// What may still be sent before the other side says that it has taken some.
    credit: i64,
    /// Messages that may still be sent, for the sake of its channel's limit.
    allowed: u64,
    /// The queue waits for credit, or to be allowed more.
    starved: bool,
    /// It takes nothing more, but answers for what it holds.
    left: bool,
    held: IndexSet,
}

impl GuestConsumer {
    /// The queue that has waited and may go on.
    fn goes_on(&mut self) -> Option<Arc<Queue>> {
        let may = self.credit > 0 && self.allowed > 0;
        (may && std::mem::take(&mut self.starved)).then(|| self.queue.clone())
    }
}

#[derive(Default)]
struct GuestState {
    consumers: HashMap<ConsumerId, GuestConsumer>,
    /// What gets took, by queue.
    gets: HashMap<QueueId, (Arc<Queue>, IndexSet)>,
    /// Queues and consumers that wait for the link to take more.
    waiting: Vec<(Arc<Queue>, ConsumerId)>,
    confirmed: Vec<(u64, u64)>,
    refused: Vec<u64>,
    closed: bool,
}

/// The clients on one other node, as one outlet.
pub(super) struct GuestOutlet {
    way: Arc<dyn Way>,
    state: Mutex<GuestState>,
}

impl GuestOutlet {
    pub(super) fn new(way: Arc<dyn Way>) -> GuestOutlet {
        GuestOutlet { way, state: Mutex::default() }
    }

    pub(super) fn way(&self) -> &Arc<dyn Way> {
        &self.way
    }

    pub(super) fn add(&self, id: ConsumerId, queue: Arc<Queue>, allowed: u64) {
        let credit = FORWARD_DELIVERY_MAX_BYTES as i64;
        let held = IndexSet::default();
        let consumer = GuestConsumer { queue, credit, allowed, starved: false, left: false, held };
        self.state.lock().consumers.insert(id, consumer);
    }

    /// The consumer takes nothing more; what it holds it still answers for.
    pub(super) fn leave(&self, id: ConsumerId) {
        let mut state = self.state.lock();
        let Some(consumer) = state.consumers.get_mut(&id) else { return };
        consumer.left = true;
        if consumer.held.is_empty() {
            state.consumers.remove(&id);
        }
    }

    /// More may be sent; the queue, when it waits for that.
    pub(super) fn refill(&self, id: ConsumerId, bytes: u64) -> Option<Arc<Queue>> {
        let mut state = self.state.lock();
        let consumer = state.consumers.get_mut(&id)?;
        let most = FORWARD_DELIVERY_MAX_BYTES as i64;
        consumer.credit = consumer.credit.saturating_add_unsigned(bytes).min(most);
        consumer.goes_on()
    }

    /// More messages may be sent; the queue, when it waits for that.
    pub(super) fn allow(&self, id: ConsumerId, count: u64) -> Option<Arc<Queue>> {
        let mut state = self.state.lock();
        let consumer = state.consumers.get_mut(&id)?;
        consumer.allowed = consumer.allowed.saturating_add(count);
        consumer.goes_on()
    }

    /// Nothing more goes to a consumer until it is allowed; that is said behind the last that went.
    pub(super) fn hold(&self, queue: QueueId, id: ConsumerId) {
        let mut state = self.state.lock();
        if let Some(consumer) = state.consumers.get_mut(&id) {
            consumer.allowed = 0;
        }
        self.way.put(&mut |out| frame::put_held(out, queue, id));
    }

    /// The parts of `ranges` that went out over this link and are answered now, and the others.
    pub(super) fn answered(
        &self,
        queue: QueueId,
        id: ConsumerId,
        ranges: &[Range],
    ) -> (Vec<Range>, Vec<Range>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let held = match id {
            ConsumerId(0) => state.gets.get_mut(&queue).map(|(_, held)| held),
            _ => state.consumers.get_mut(&id).map(|consumer| &mut consumer.held),
        };
        let Some(held) = held else { return (Vec::new(), ranges.to_vec()) };
        let known: Vec<Range> = ranges.iter().flat_map(|range| held.within(*range)).collect();
        let unknown = ranges.iter().flat_map(|range| held.gaps(*range)).collect();
        for range in &known {
            held.remove(*range);
        }
        let over = |consumer: &GuestConsumer| consumer.left && consumer.held.is_empty();
        if state.consumers.get(&id).is_some_and(over) {
            state.consumers.remove(&id);
        }
        (known, unknown)
    }

    /// The link takes more again: those who waited for it go on.
    pub(super) fn room(&self, broker: &Broker) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for (queue, consumer) in waiting {
            broker.post(&queue, QueueCommand::Unblock(consumer));
        }
    }

    pub(super) fn confirm(&self, first: u64, last: u64, refused: bool) {
        let mut state = self.state.lock();
        state.confirmed.push((first, last));
        if refused {
            state.refused.extend(first..=last);
        }
    }

    /// The link has ended: consumers leave, and what they hold goes back.
    pub(super) fn close(&self, broker: &Broker) {
        let state = {
            let mut state = self.state.lock();
            let closed = GuestState { closed: true, ..GuestState::default() };
            std::mem::replace(&mut *state, closed)
        };
        // Of a queue whose home is elsewhere by now the clients have gone there by themselves.
        let is_here = |consumer: &GuestConsumer| !consumer.left && !consumer.queue.is_away();
        for (id, consumer) in state.consumers.iter().filter(|(_, consumer)| is_here(consumer)) {
            let (reply, _) = tokio::sync::oneshot::channel();
            broker.post(&consumer.queue, QueueCommand::RemoveConsumer(*id, reply));
        }
        let held = state.consumers.into_iter().map(|(id, consumer)| (id, consumer.queue, consumer.held));
        let got = state.gets.into_values().map(|(queue, held)| (ConsumerId::default(), queue, held));
        for (id, queue, held) in held.chain(got) {
            let ranges: Vec<Range> = held.ranges().collect();
            if !ranges.is_empty() && !queue.is_away() {
                broker.post(&queue, QueueCommand::Return(id, ranges));
            }
        }
    }

    pub(super) fn note_got(&self, queue: &Arc<Queue>, index: u64) {
        let mut state = self.state.lock();
        let (_, held) = state.gets.entry(queue.id).or_insert_with(|| (queue.clone(), IndexSet::default()));
        held.insert((index, index + 1));
    }
}

/// The command that tells a queue what became of deliveries.
pub(super) fn command_of(fate: Fate, consumer: ConsumerId, ranges: Vec<Range>) -> QueueCommand {
    match fate {
        Fate::Settled => QueueCommand::Settle(consumer, ranges),
        Fate::Returned => QueueCommand::Return(consumer, ranges),
        Fate::Rejected => QueueCommand::Reject(consumer, ranges),
        Fate::PutBack => QueueCommand::PutBack(consumer, ranges),
    }
}

/// Adds a message to the runs.
fn extend(runs: &mut Vec<HandedRun>, delivery: &Delivery<'_>) {
    let Delivery { index, returns, redelivered, .. } = *delivery;
    if let Some(last) = runs.last_mut()
        && last.first + u64::from(last.count) == index
        && (last.returns, last.redelivered) == (returns, redelivered)
    {
        last.count += 1;
        return;
    }
    runs.push(HandedRun { first: index, count: 1, returns, redelivered });
}

/// The run of a single message.
pub(super) fn run_of(delivery: &Delivery<'_>) -> HandedRun {
    let Delivery { index, returns, redelivered, .. } = *delivery;
    HandedRun { first: index, count: 1, returns, redelivered }
}

impl Outlet for GuestOutlet {
    fn deliver(
        &self,
        queue: &Arc<Queue>,
        id: ConsumerId,
        no_ack: bool,
        deliveries: &Deliveries<'_>,
    ) -> Taken {
        let blocked = Taken { blocked: true, ..Taken::default() };
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(consumer) = state.consumers.get_mut(&id).filter(|_| !state.closed) else { return blocked };
        if self.way.buffered_bytes() > OUTBOX_HIGH_WATER_BYTES {
            state.waiting.push((queue.clone(), id));
            return blocked;
        }
        let mut builder = ChunkBuilder::default();
        let mut runs: Vec<HandedRun> = Vec::new();
        let mut taken = Taken::default();
        let mut spent = 0;
        deliveries.walk(|delivery| {
            if spent >= consumer.credit || consumer.allowed == u64::from(taken.count) {
                taken.blocked = true;
                return false;
            }
            let record = &delivery.record;
            let bytes = RECORD_HEAD_BYTES + record.properties.len() + record.body.len();
            spent = spent.saturating_add_unsigned(bytes as u64 + MESSAGE_COST_BYTES);
            builder.copy(record);
            extend(&mut runs, &delivery);
            taken.count += 1;
            taken.bytes += record.body.len() as u64;
            true
        });
        if taken.count > 0 {
            let chunk = builder.finish();
            debug_assert_eq!(spent as u64, cost(chunk.data_bytes(), chunk.len()));
            if !self.way.put(&mut |out| frame::put_deliver(out, queue.id, id, &runs, &chunk)) {
                return blocked;
            }
            consumer.credit -= spent;
            if consumer.allowed != ANY_NUMBER {
                consumer.allowed -= u64::from(taken.count);
            }
            if !no_ack {
                for run in &runs {
                    consumer.held.insert((run.first, run.first + u64::from(run.count)));
                }
            }
        }
        consumer.starved |= taken.blocked;
        taken
    }

    fn cancelled(&self, id: ConsumerId) {
        let Some(consumer) = self.state.lock().consumers.remove(&id) else { return };
        self.way.put(&mut |out| frame::put_cancelled(out, consumer.queue.id, id));
    }

    fn moved(&self, queue: &Arc<Queue>, id: ConsumerId) {
        let mut state = self.state.lock();
        state.consumers.remove(&id);
        state.gets.remove(&queue.id);
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn confirmed(&self, ranges: &[(u64, u64)], refused: &[u64]) {
        let mut state = self.state.lock();
        state.confirmed.extend_from_slice(ranges);
        state.refused.extend_from_slice(refused);
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn flush(&self) {
        let (confirmed, refused) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.confirmed), std::mem::take(&mut state.refused))
        };
        if !confirmed.is_empty() {
            self.way.put(&mut |out| frame::put_confirmed(out, &confirmed, &refused));
        }
        self.way.flush();
    }
}

/// The way back to a home of which a mirror is here.
pub(super) struct GuestLink {
    outlet: Arc<GuestOutlet>,
    number: u64,
}

impl GuestLink {
    pub(super) fn new(outlet: Arc<GuestOutlet>) -> GuestLink {
        static LAST: AtomicU64 = AtomicU64::new(0);
        GuestLink { outlet, number: LAST.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl MirrorLink for GuestLink {
    fn put(&self, queue: QueueId, message: &ToHome) {
        self.outlet.way.put(&mut |out| mirror_frame::put_to_home(out, queue, message));
    }

    fn outlet(&self) -> Arc<dyn Outlet> {
        self.outlet.clone()
    }

    fn number(&self) -> u64 {
        self.number
    }
}

/// Where the message of one get goes.
pub(super) struct GetOutlet {
    pub(super) guest: Arc<GuestOutlet>,
    pub(super) request: u64,
}

impl Outlet for GetOutlet {
    fn got(&self, queue: &Arc<Queue>, no_ack: bool, delivery: Option<Delivery<'_>>, remaining: u64) {
        let Some(delivery) = delivery else {
            self.guest.way.put(&mut |out| frame::put_got(out, self.request, 0, None));
            return;
        };
        let mut builder = ChunkBuilder::default();
        builder.copy(&delivery.record);
        let (run, chunk) = (run_of(&delivery), builder.finish());
        if !no_ack {
            self.guest.note_got(queue, delivery.index);
        }
        self.guest.way.put(&mut |out| frame::put_got(out, self.request, remaining, Some((run, &chunk))));
    }

    fn flush(&self) {
        self.guest.way.flush();
    }
}
