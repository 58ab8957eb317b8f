//! A consumer of this node at a queue of another one: what has come for it, and what its home may send.
//!
//! Invariant: messages are handed out in the order they came. While the channel has a limit, the home sends no
//! more than it was allowed to. What still is too much for the channel, because several consumers share the
//! limit, goes back at once, and with it everything that is on its way behind, until the home has heard of it.

use super::frame::{self, Fate, Registration};
use super::home::Home;
use broker::queue::{Consumer, ConsumerError, Handed};
use engine::outlet::{Outlet, Taken};
use engine::queue::AddConsumer;
use engine::{Broker, Queue};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::ConsumerId;
use types::limits::FORWARD_DELIVERY_MAX_BYTES;

/// Credit that is given back in one go.
const CREDIT_STEP_BYTES: u64 = FORWARD_DELIVERY_MAX_BYTES as u64 / 4;
/// What a message costs beyond its record, bytes.
pub(super) const MESSAGE_COST_BYTES: u64 = 64;
/// How many messages a home may send whose consumer's channel has no limit.
pub(super) const ANY_NUMBER: u64 = u64::MAX;

/// What messages cost of a consumer's credit.
pub(super) fn cost(record_bytes: usize, count: u32) -> u64 {
    record_bytes as u64 + MESSAGE_COST_BYTES * u64::from(count)
}

/// What the home may send, as this side knows it.
enum Pace {
    /// Any number.
    Free,
    /// So many more.
    Allowed(u64),
    /// Nothing, but it has not heard of that yet; what is on its way goes back.
    Holding,
}

/// Waits for the home to say that the consumer has left.
struct Leaving {
    reply: oneshot::Sender<bool>,
    was_there: bool,
}

/// A consumer of this node.
pub(super) struct AwayConsumer {
    pub(super) id: ConsumerId,
    no_ack: bool,
    outlet: Arc<dyn Outlet>,
    /// Came and was not taken yet.
    backlog: VecDeque<Handed>,
    /// Taken or given back since the home last heard of it, as credit counts.
    used_bytes: u64,
    pace: Pace,
    leaving: Option<Leaving>,
    /// As the home knows it, and any other home of the queue will.
    registration: Registration,
    /// Who waits to hear that it is there, when the link ended before that.
    reply: Option<oneshot::Sender<Result<(), ConsumerError>>>,
}

impl AwayConsumer {
    /// A consumer whose home is told at once how many messages it may send.
    pub(super) fn new(registration: Registration, outlet: Arc<dyn Outlet>) -> AwayConsumer {
        let (id, no_ack) = (registration.consumer.id, registration.consumer.no_ack);
        let pace = match registration.room {
            ANY_NUMBER => Pace::Free,
            room => Pace::Allowed(room),
        };
        let (backlog, leaving, reply) = (VecDeque::new(), None, None);
        AwayConsumer { id, no_ack, outlet, backlog, used_bytes: 0, pace, leaving, registration, reply }
    }

    /// Its home has not said yet that it is there, and may not be able to any more.
    pub(super) fn unanswered(&mut self, reply: Option<oneshot::Sender<Result<(), ConsumerError>>>) {
        self.reply = reply;
    }

    /// Leaves this home for the queue's next one; None when it was about to leave altogether. What it has not
    /// handed out the next home has, too.
    pub(super) fn move_on(self) -> Option<AddConsumer> {
        if self.leaving.is_some() || self.outlet.is_closed() {
            self.say_goodbye();
            return None;
        }
        let Registration { consumer, tag, arguments, channel, .. } = self.registration;
        let consumer = Consumer { in_flight: 0, blocked: false, ..consumer };
        Some(AddConsumer { consumer, tag, arguments, outlet: self.outlet, channel, reply: self.reply })
    }

    /// Messages have come.
    pub(super) fn arrived(&mut self, queue: &Arc<Queue>, handed: Handed, home: &Home, broker: &Broker) {
        if let Pace::Allowed(count) = &mut self.pace {
            *count = count.saturating_sub(handed.count().into());
        }
        self.backlog.push_back(handed);
        if self.backlog.len() == 1 {
            self.hand_out(queue, home, broker);
        }
    }

    /// Hands out what has come, and lets the home send what the channel has room for.
    pub(super) fn hand_out(&mut self, queue: &Arc<Queue>, home: &Home, broker: &Broker) {
        let mut too_much = matches!(self.pace, Pace::Holding);
        while let Some(handed) = self.backlog.front_mut().filter(|_| !too_much) {
            let Taken { count, over_limit, .. } =
                self.outlet.deliver(queue, self.id, self.no_ack, &(&*handed).into());
            if count > 0 {
                broker.touch(&self.outlet);
            }
            handed.take(count);
            if handed.left() > 0 {
                too_much = over_limit;
                break;
            }
            self.used_bytes += cost(handed.bytes(), handed.count());
            self.backlog.pop_front();
        }
        if too_much {
            self.give_back(queue, home);
        }
        self.allow(queue, home);
        if self.used_bytes >= CREDIT_STEP_BYTES {
            let bytes = std::mem::take(&mut self.used_bytes);
            home.send(|out| frame::put_credit(out, self.id, bytes));
        }
    }

    /// What the channel does not take goes back for others; unless nothing can be behind it, the home is to say
    /// what was the last that it sent before it heard of that.
    fn give_back(&mut self, queue: &Queue, home: &Home) {
        for handed in std::mem::take(&mut self.backlog) {
            self.used_bytes += cost(handed.bytes(), handed.count());
            home.send(|out| {
                frame::put_settle(out, queue.id, self.id, Fate::PutBack, &handed.ranges_left());
            });
        }
        if !matches!(self.pace, Pace::Holding | Pace::Allowed(0)) {
            home.send(|out| frame::put_hold(out, queue.id, self.id));
            self.pace = Pace::Holding;
        }
    }

    /// Lets the home send what the channel has room for now. Without room the channel has the queue unblocked
    /// as soon as there is some.
    fn allow(&mut self, queue: &Arc<Queue>, home: &Home) {
        let Pace::Allowed(count) = self.pace else { return };
        let more = match self.outlet.room(queue, self.id, self.no_ack) {
            None => ANY_NUMBER,
            Some(room) => {
                let waiting: u64 = self.backlog.iter().map(|handed| u64::from(handed.left())).sum();
                room.saturating_sub(count.saturating_add(waiting))
            }
        };
        if more > 0 {
            home.send(|out| frame::put_allow(out, self.id, more));
            self.pace = if more == ANY_NUMBER { Pace::Free } else { Pace::Allowed(count + more) };
        }
    }

    /// The home has heard that it is to hold: nothing of before is on its way.
    pub(super) fn is_held(&mut self, queue: &Arc<Queue>, home: &Home) {
        if matches!(self.pace, Pace::Holding) {
            self.pace = Pace::Allowed(0);
            self.allow(queue, home);
        }
    }

    /// The home has taken it off; true when what came before is still to be handed out.
    pub(super) fn leave(&mut self, was_there: bool, reply: oneshot::Sender<bool>) -> bool {
        self.leaving = Some(Leaving { reply, was_there });
        self.no_ack && !self.backlog.is_empty() && !self.outlet.is_closed()
    }

    /// Whether it has left and everything was handed out.
    pub(super) fn is_over(&self) -> bool {
        self.backlog.is_empty() && self.leaving.is_some()
    }

    /// It is off the list: what it did not take goes back, and who asked for that hears of it.
    pub(super) fn end(self, queue: types::QueueId, home: &Home) {
        if !self.no_ack {
            for handed in &self.backlog {
                home.send(|out| {
                    frame::put_settle(out, queue, self.id, Fate::PutBack, &handed.ranges_left());
                });
            }
        }
        self.say_goodbye();
    }

    /// The queue was taken away from it.
    pub(super) fn cancel(self, broker: &Broker) {
        self.outlet.cancelled(self.id);
        broker.touch(&self.outlet);
        self.say_goodbye();
    }

    fn say_goodbye(self) {
        if let Some(leaving) = self.leaving {
            let _ = leaving.reply.send(leaving.was_there);
        }
    }
}
