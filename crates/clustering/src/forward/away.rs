//! One queue of another node, as this node has it: what is posted goes to its home, and its consumers here get
//! what the home hands out.
//!
//! Invariant: a consumer gets its messages in the order in which they came; what its connection does not take
//! waits here, in the bounds of the credit that the home has for it; what its channel may not take goes back.
//! Lock order: consumers, then the channel or the home.

use super::away_consumer::{ANY_NUMBER, AwayConsumer};
use super::drift::Drift;
use super::frame::{self, Fate, Outgoing, Question, Registration};
use super::home::{Home, Request};
use broker::catalog;
use broker::queue::{Handed, Range};
use engine::queue::{AddConsumer, Clients, ConsumerListing, Enqueue, Forwarder, QueueListing, Ticket};
use engine::{Broker, Queue, QueueCommand};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;
use types::{ConsumerId, NodeId, QueueId};

/// A queue whose home is another node.
pub(super) struct AwayQueue {
    pub(super) id: QueueId,
    pub(super) home: Arc<Home>,
    consumers: Mutex<Vec<AwayConsumer>>,
    /// Posted before there was a link; goes first when there is one.
    held: Mutex<Vec<QueueCommand>>,
    /// Memory of publishes that the home has not taken yet.
    owed_bytes: AtomicUsize,
    seen: Mutex<(QueueListing, Vec<ConsumerListing>)>,
    /// Whether clients wait for another home, or for this one to come back.
    drift: Drift,
}

impl AwayQueue {
    pub(super) fn new(row: &catalog::Queue, home: Arc<Home>) -> AwayQueue {
        AwayQueue {
            id: row.id,
            home,
            consumers: Mutex::default(),
            held: Mutex::default(),
            owed_bytes: AtomicUsize::new(0),
            seen: Mutex::default(),
            drift: Drift::default(),
        }
    }

    /// Notes what the home said of the queue.
    pub(super) fn set_seen(&self, listing: QueueListing, consumers: Vec<ConsumerListing>) {
        *self.seen.lock() = (listing, consumers);
    }

    /// The home has taken publishes.
    pub(super) fn release(&self, queue: &Queue, bytes: usize) {
        // Never more than was counted, whatever the peer says.
        let owed = self
            .owed_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |owed| Some(owed.saturating_sub(bytes)));
        queue.release(bytes.min(owed.unwrap_or(0)));
    }

    fn send(&self, queue: &Arc<Queue>, command: QueueCommand, broker: &Broker) {
        match command {
            QueueCommand::Enqueue(enqueue) => self.send_enqueue(queue, enqueue, broker),
            QueueCommand::Settle(consumer, ranges) => self.send_fate(consumer, Fate::Settled, &ranges),
            QueueCommand::Return(consumer, ranges) => self.send_fate(consumer, Fate::Returned, &ranges),
            QueueCommand::Reject(consumer, ranges) => self.send_fate(consumer, Fate::Rejected, &ranges),
            QueueCommand::PutBack(consumer, ranges) => self.send_fate(consumer, Fate::PutBack, &ranges),
            QueueCommand::SettleLate(ranges) => {
                self.send_fate(ConsumerId::default(), Fate::Settled, &ranges);
            }
            QueueCommand::AddConsumer(add) => self.send_consumer(queue, *add),
            QueueCommand::RemoveConsumer(consumer, reply) => self.send_leave(consumer, reply),
            QueueCommand::Unblock(consumer) => self.go_on(queue, consumer, broker),
            QueueCommand::Get { no_ack, outlet, done } => {
                let request = Request::Get { queue: queue.clone(), no_ack, outlet, done };
                self.home.ask(request, |out, number| frame::put_get(out, number, self.id, no_ack));
            }
            QueueCommand::Purge(reply) => self.ask(Request::Purge(self.id, reply), Question::Purge),
            QueueCommand::Fence(reply) => self.ask(Request::Fence(self.id, reply), Question::Fence),
            QueueCommand::CommitFence(reply) => {
                self.ask(Request::CommitFence(self.id, reply), Question::CommitFence);
            }
            QueueCommand::PrepareDelete(conditions, reply) => {
                let (if_unused, if_empty) = (conditions.if_unused, conditions.if_empty);
                let request = Request::PrepareDelete { queue: queue.clone(), conditions, reply };
                self.ask(request, Question::PrepareDelete { if_unused, if_empty });
            }
            QueueCommand::Deleted => {
                self.home.forget_queue(self.id);
                self.cancel_all(broker);
            }
            // What the home does for itself.
            QueueCommand::Configure(_)
            | QueueCommand::Tick
            | QueueCommand::Committed(_)
            | QueueCommand::DeadLettered(_)
            | QueueCommand::LettersCameBack(_)
            | QueueCommand::Paged(..)
            | QueueCommand::Loaded(..)
            | QueueCommand::Checkpoint(_)
            | QueueCommand::Relocate(_)
            | QueueCommand::RowChanged
            | QueueCommand::ToMirror(_)
            | QueueCommand::FromMirror(..)
            | QueueCommand::PeerLink(..)
            | QueueCommand::LookAtCopies
            | QueueCommand::Early(_)
            | QueueCommand::PageOut
            | QueueCommand::Housekeep => {}
        }
    }

    fn ask(&self, request: Request, question: Question) {
        self.home.ask(request, |out, number| frame::put_ask(out, number, self.id, question));
    }

    fn send_enqueue(&self, queue: &Arc<Queue>, enqueue: Enqueue, broker: &Broker) {
        let cost = enqueue.mailbox_bytes();
        let Enqueue { chunk, picks, ticket, .. } = enqueue;
        if queue.is_gone() {
            // As at home: what a deleted queue was still to get counts as confirmed.
            queue.release(cost);
            tell(ticket, false, broker);
            return;
        }
        self.owed_bytes.fetch_add(cost, Ordering::Relaxed);
        let count = u64::from(picks.len());
        let outgoing = Outgoing { queue: self.id, cost: cost as u64, chunk: &chunk, picks: &picks };
        if let Err(ticket) = self.home.publish(ticket, &outgoing) {
            self.release(queue, cost);
            if ticket.is_none() {
                broker.metrics().forward_dropped.add(count);
            }
            tell(ticket, true, broker);
        }
    }

    fn send_fate(&self, consumer: ConsumerId, fate: Fate, ranges: &[Range]) {
        self.home.send(|out| frame::put_settle(out, self.id, consumer, fate, ranges));
    }

    fn send_consumer(&self, queue: &Arc<Queue>, add: AddConsumer) {
        let AddConsumer { consumer, tag, arguments, outlet, channel, reply } = add;
        let (id, no_ack) = (consumer.id, consumer.no_ack);
        let room = outlet.room(queue, id, no_ack).unwrap_or(ANY_NUMBER);
        let registration = Registration { consumer, tag, arguments, channel, room };
        // Before the home knows of it, since deliveries may come before the answer.
        self.consumers.lock().push(AwayConsumer::new(registration.clone(), outlet));
        let request = Request::AddConsumer { queue: self.id, consumer: id, reply };
        let sent = self.home.ask(request, |out, number| {
            frame::put_add_consumer(out, number, self.id, &registration);
        });
        if !sent {
            self.drop_consumer(id);
        }
    }

    fn send_leave(&self, consumer: ConsumerId, reply: oneshot::Sender<bool>) {
        let request = Request::RemoveConsumer { queue: self.id, consumer, reply };
        self.home.ask(request, |out, number| frame::put_remove_consumer(out, number, self.id, consumer));
    }

    /// Takes a consumer off the list.
    pub(super) fn drop_consumer(&self, id: ConsumerId) {
        self.consumers.lock().retain(|consumer| consumer.id != id);
    }

    /// Messages for a consumer have come.
    pub(super) fn arrived(&self, queue: &Arc<Queue>, id: ConsumerId, handed: Handed, broker: &Broker) {
        let mut consumers = self.consumers.lock();
        let Some(consumer) = consumers.iter_mut().find(|consumer| consumer.id == id) else {
            drop(consumers);
            self.send_fate(id, Fate::PutBack, &handed.ranges_left());
            return;
        };
        consumer.arrived(queue, handed, &self.home, broker);
    }

    /// A consumer's connection has room again.
    fn go_on(&self, queue: &Arc<Queue>, id: ConsumerId, broker: &Broker) {
        let mut consumers = self.consumers.lock();
        let Some(at) = consumers.iter().position(|consumer| consumer.id == id) else { return };
        consumers[at].hand_out(queue, &self.home, broker);
        if consumers[at].is_over() {
            let gone = consumers.remove(at);
            drop(consumers);
            gone.end(self.id, &self.home);
        }
    }

    /// The home sends nothing more to a consumer until it is allowed to.
    pub(super) fn holds(&self, queue: &Arc<Queue>, id: ConsumerId) {
        let mut consumers = self.consumers.lock();
        if let Some(consumer) = consumers.iter_mut().find(|consumer| consumer.id == id) {
            consumer.is_held(queue, &self.home);
        }
    }

    /// The home has taken a consumer off; what came before is still handed out, unless nobody takes it.
    pub(super) fn left(&self, id: ConsumerId, was_there: bool, reply: oneshot::Sender<bool>) {
        let mut consumers = self.consumers.lock();
        let Some(at) = consumers.iter().position(|consumer| consumer.id == id) else {
            drop(consumers);
            let _ = reply.send(was_there);
            return;
        };
        if consumers[at].leave(was_there, reply) {
            return;
        }
        let gone = consumers.remove(at);
        drop(consumers);
        gone.end(self.id, &self.home);
    }

    /// The home has taken the queue away from a consumer.
    pub(super) fn cancelled(&self, id: ConsumerId, broker: &Broker) {
        let mut consumers = self.consumers.lock();
        let Some(at) = consumers.iter().position(|consumer| consumer.id == id) else { return };
        let gone = consumers.remove(at);
        drop(consumers);
        gone.cancel(broker);
    }

    /// Nothing more comes: the queue is deleted or its home is out of reach.
    pub(super) fn cancel_all(&self, broker: &Broker) {
        let consumers = std::mem::take(&mut *self.consumers.lock());
        consumers.into_iter().for_each(|consumer| consumer.cancel(broker));
    }

    /// The link has ended: nobody will take what was sent. Clients of a queue that may get another home wait for
    /// it, or for this one to come back.
    /// Gives whether they do.
    pub(super) fn cut_off(&self, broker: &Broker) -> bool {
        let drifts = self.drift.begin();
        if !drifts {
            self.cancel_all(broker);
        }
        if let Some(queue) = broker.queue(self.id) {
            self.release(&queue, usize::MAX);
        }
        drifts
    }
}

impl AwayQueue {
    /// Whether clients wait for another home.
    pub(super) fn is_adrift(&self) -> bool {
        self.drift.is_adrift()
    }

    /// Whether questions that a lost link leaves open may be asked again.
    pub(super) fn is_movable(&self) -> bool {
        self.drift.is_movable()
    }

    /// The home was asked and the link has ended: it is asked again, before anything that waits.
    pub(super) fn ask_again(&self, request: Request) {
        match request {
            Request::AddConsumer { consumer, reply, .. } => {
                let mut consumers = self.consumers.lock();
                if let Some(known) = consumers.iter_mut().find(|known| known.id == consumer) {
                    known.unanswered(reply);
                }
            }
            Request::RemoveConsumer { consumer, reply, .. } => {
                // Whatever home comes next never hears of it.
                self.drop_consumer(consumer);
                let _ = reply.send(true);
            }
            Request::Get { no_ack, outlet, done, .. } => {
                self.held.lock().push(QueueCommand::Get { no_ack, outlet, done });
            }
            Request::Purge(_, reply) => self.held.lock().push(QueueCommand::Purge(reply)),
            Request::Fence(_, reply) => self.held.lock().push(QueueCommand::Fence(reply)),
            Request::CommitFence(_, reply) => self.held.lock().push(QueueCommand::CommitFence(reply)),
            Request::PrepareDelete { conditions, reply, .. } => {
                self.held.lock().push(QueueCommand::PrepareDelete(conditions, reply));
            }
        }
    }

    /// The home is back: its clients join it again, and what waited goes there.
    pub(super) fn come_back(&self, queue: &Arc<Queue>) {
        if !self.drift.end() {
            return;
        }
        let consumers = std::mem::take(&mut *self.consumers.lock());
        for add in consumers.into_iter().filter_map(AwayConsumer::move_on) {
            self.send_consumer(queue, add);
        }
    }

    /// Ends waiting for a home when its time is over; true when it has.
    pub(super) fn give_up(&self, now: Instant, broker: &Broker) -> bool {
        let over = self.drift.is_over(now) && self.drift.end();
        if over {
            self.cancel_all(broker);
        }
        over
    }

    /// The home is said to be lost: another one is known in a moment, or there is none.
    pub(super) fn hurry(&self) {
        self.drift.hurry();
    }
}

/// Whether somebody waits for the answer.
fn is_question(command: &QueueCommand) -> bool {
    matches!(
        command,
        QueueCommand::AddConsumer(_)
            | QueueCommand::RemoveConsumer(..)
            | QueueCommand::Get { .. }
            | QueueCommand::Purge(_)
            | QueueCommand::Fence(_)
            | QueueCommand::CommitFence(_)
            | QueueCommand::PrepareDelete(..)
    )
}

/// Tells a publisher what became of its messages.
pub(super) fn tell(ticket: Option<Ticket>, cut_off: bool, broker: &Broker) {
    let Some(ticket) = ticket else { return };
    match cut_off {
        true => ticket.outlet.cut_off(&ticket.ranges),
        false => ticket.outlet.confirmed(&ticket.ranges, &[]),
    }
    broker.touch(&ticket.outlet);
}

impl Forwarder for AwayQueue {
    fn forward(&self, queue: &Arc<Queue>, commands: &mut Vec<QueueCommand>, broker: &Broker) {
        let mut held = std::mem::take(&mut *self.held.lock());
        held.append(commands);
        if self.drift.is_adrift() || self.home.is_connecting(queue) {
            *self.held.lock() = held;
            return;
        }
        let is_awaited = held.iter().any(is_question);
        held.drain(..).for_each(|command| self.send(queue, command, broker));
        if is_awaited {
            // Whoever asked waits for the answer before the thread's work is done.
            self.home.flush();
        } else {
            self.home.touch(broker);
        }
    }

    fn is_reachable(&self) -> bool {
        self.home.is_reachable() || self.drift.is_adrift()
    }

    fn leads_to(&self) -> NodeId {
        self.home.node()
    }

    fn take_clients(&self, queue: &Queue) -> Clients {
        self.home.forget_queue(self.id);
        for request in self.home.take_requests(self.id) {
            self.ask_again(request);
        }
        self.drift.end();
        self.release(queue, usize::MAX);
        let consumers = std::mem::take(&mut *self.consumers.lock());
        let consumers = consumers.into_iter().filter_map(AwayConsumer::move_on).collect();
        Clients { consumers, held: std::mem::take(&mut *self.held.lock()) }
    }

    fn set_movable(&self, movable: bool) {
        self.drift.set_movable(movable);
    }

    fn home_name(&self) -> String {
        self.home.name()
    }

    fn listing(&self) -> QueueListing {
        self.seen.lock().0.clone()
    }

    fn consumers(&self) -> Vec<ConsumerListing> {
        self.seen.lock().1.clone()
    }
}
