//! One queue of another node, as this node has it: what is posted goes to its home, and its consumers here get
//! what the home hands out.
//!
//! Invariant: a consumer gets its messages in the order in which they came; what its connection does not take
//! waits here, in the bounds of the credit that the home has for it. Lock order: consumers, then the
//! channel or the home.

use super::frame::{self, Fate, Question, Registration};
use super::home::{Home, Request};
use broker::catalog;
use broker::queue::{Handed, Range};
use engine::outlet::{Outlet, Taken};
use engine::queue::{AddConsumer, ConsumerListing, Enqueue, Forwarder, QueueListing, Ticket};
use engine::{Broker, Queue, QueueCommand};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;
use types::limits::FORWARD_DELIVERY_MAX_BYTES;
use types::{ConsumerId, QueueId};

/// Credit that is given back in one go.
const CREDIT_STEP_BYTES: u64 = FORWARD_DELIVERY_MAX_BYTES as u64 / 4;
/// What a message costs beyond its record, bytes.
pub(super) const MESSAGE_COST_BYTES: u64 = 64;

/// What messages cost of a consumer's credit.
pub(super) fn cost(record_bytes: usize, count: u32) -> u64 {
    record_bytes as u64 + MESSAGE_COST_BYTES * u64::from(count)
}

/// Waits for the home to say that the consumer has left.
struct Leaving {
    reply: oneshot::Sender<bool>,
    was_there: bool,
}

struct AwayConsumer {
    id: ConsumerId,
    no_ack: bool,
    outlet: Arc<dyn Outlet>,
    /// Came and was not taken yet.
    backlog: VecDeque<Handed>,
    /// Taken since the home last heard of it, as credit counts.
    used_bytes: u64,
    leaving: Option<Leaving>,
}

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
            QueueCommand::AddConsumer(add) => self.send_consumer(*add),
            QueueCommand::RemoveConsumer(consumer, reply) => self.send_leave(consumer, reply),
            QueueCommand::Unblock(consumer) => self.go_on(queue, consumer, broker),
            QueueCommand::Get { no_ack, outlet, done } => {
                let request = Request::Get { queue: queue.clone(), no_ack, outlet, done };
                self.home.ask(request, |out, number| frame::put_get(out, number, self.id, no_ack));
            }
            QueueCommand::Purge(reply) => self.ask(Request::Purge(reply), Question::Purge),
            QueueCommand::Fence(reply) => self.ask(Request::Fence(reply), Question::Fence),
            QueueCommand::CommitFence(reply) => self.ask(Request::CommitFence(reply), Question::CommitFence),
            QueueCommand::PrepareDelete(conditions, reply) => {
                let (if_unused, if_empty) = (conditions.if_unused, conditions.if_empty);
                let request = Request::PrepareDelete { queue: queue.clone(), reply };
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
        let refused = self.home.publish(ticket, count, |out, number| {
            frame::put_enqueue(out, self.id, number, cost as u64, &chunk, &picks);
        });
        if let Err(ticket) = refused {
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

    fn send_consumer(&self, add: AddConsumer) {
        let AddConsumer { consumer, tag, arguments, outlet, channel, reply } = add;
        let (id, no_ack) = (consumer.id, consumer.no_ack);
        let entry =
            AwayConsumer { id, no_ack, outlet, backlog: VecDeque::new(), used_bytes: 0, leaving: None };
        // Before the home knows of it, since deliveries may come before the answer.
        self.consumers.lock().push(entry);
        let registration = Registration { consumer, tag, arguments, channel };
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
        consumer.backlog.push_back(handed);
        if consumer.backlog.len() == 1 {
            self.hand_out(queue, consumer, broker);
        }
    }

    /// A consumer's connection has room again.
    fn go_on(&self, queue: &Arc<Queue>, id: ConsumerId, broker: &Broker) {
        let mut consumers = self.consumers.lock();
        let Some(at) = consumers.iter().position(|consumer| consumer.id == id) else { return };
        self.hand_out(queue, &mut consumers[at], broker);
        if consumers[at].backlog.is_empty() && consumers[at].leaving.is_some() {
            let gone = consumers.remove(at);
            drop(consumers);
            said_goodbye(gone);
        }
    }

    fn hand_out(&self, queue: &Arc<Queue>, consumer: &mut AwayConsumer, broker: &Broker) {
        while let Some(handed) = consumer.backlog.front_mut() {
            let Taken { count, .. } =
                consumer.outlet.deliver(queue, consumer.id, consumer.no_ack, &(&*handed).into());
            if count > 0 {
                broker.touch(&consumer.outlet);
            }
            handed.take(count);
            if handed.left() > 0 {
                break;
            }
            consumer.used_bytes += cost(handed.bytes(), handed.count());
            consumer.backlog.pop_front();
        }
        if consumer.used_bytes >= CREDIT_STEP_BYTES {
            let bytes = std::mem::take(&mut consumer.used_bytes);
            self.home.send(|out| frame::put_credit(out, consumer.id, bytes));
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
        let consumer = &mut consumers[at];
        consumer.leaving = Some(Leaving { reply, was_there });
        let waits = consumer.no_ack && !consumer.backlog.is_empty() && !consumer.outlet.is_closed();
        if waits {
            return;
        }
        let gone = consumers.remove(at);
        drop(consumers);
        if !gone.no_ack {
            for handed in &gone.backlog {
                self.send_fate(id, Fate::PutBack, &handed.ranges_left());
            }
        }
        said_goodbye(gone);
    }

    /// The home has taken the queue away from a consumer.
    pub(super) fn cancelled(&self, id: ConsumerId, broker: &Broker) {
        let mut consumers = self.consumers.lock();
        let Some(at) = consumers.iter().position(|consumer| consumer.id == id) else { return };
        let gone = consumers.remove(at);
        drop(consumers);
        cancel(gone, broker);
    }

    /// Nothing more comes: the queue is deleted or its home is out of reach.
    pub(super) fn cancel_all(&self, broker: &Broker) {
        let consumers = std::mem::take(&mut *self.consumers.lock());
        consumers.into_iter().for_each(|consumer| cancel(consumer, broker));
    }

    /// The link has ended: nobody will take what was sent.
    pub(super) fn cut_off(&self, broker: &Broker) {
        self.cancel_all(broker);
        if let Some(queue) = broker.queue(self.id) {
            self.release(&queue, usize::MAX);
        }
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

fn cancel(consumer: AwayConsumer, broker: &Broker) {
    consumer.outlet.cancelled(consumer.id);
    broker.touch(&consumer.outlet);
    said_goodbye(consumer);
}

fn said_goodbye(consumer: AwayConsumer) {
    if let Some(leaving) = consumer.leaving {
        let _ = leaving.reply.send(leaving.was_there);
    }
}

impl Forwarder for AwayQueue {
    fn forward(&self, queue: &Arc<Queue>, commands: &mut Vec<QueueCommand>, broker: &Broker) {
        let mut held = std::mem::take(&mut *self.held.lock());
        held.append(commands);
        if self.home.is_connecting(queue) {
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
        self.home.is_reachable()
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
