//! A queue as one would write it down: one entry per message, every question answered by looking at all.

use super::step::Message;
use broker::message::DeathReason;
use broker::queue::{Consumer, Overflow, QueueConfig, QueueTotals};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use types::ConsumerId;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waits at a level of priority.
    Ready(u8),
    Held(ConsumerId),
    /// On its way to the dead-letter exchange.
    Discarding(DeathReason),
}

/// A message that has not ended.
#[derive(Clone, Debug)]
pub struct Known {
    /// What its body is made of.
    pub serial: u32,
    pub message: Message,
    pub added_at_ms: u64,
    pub returns: u32,
    pub place: Place,
}

#[derive(Debug, Default)]
pub struct Model {
    /// By index; a message that ended is not in it.
    pub messages: BTreeMap<u64, Known>,
    pub next: u64,
    pub consumers: Vec<Consumer>,
    pub active: Option<ConsumerId>,
    pub config: QueueConfig,
    pub totals: QueueTotals,
    pub now_ms: u64,
}

pub fn body(serial: u32, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (serial as usize * 7 + at) as u8).collect()
}

impl Model {
    fn level(&self, message: &Message) -> u8 {
        self.config.max_priority.map_or(0, |max| message.priority.min(max))
    }

    /// Ready messages in the order in which they would be delivered.
    pub fn ready(&self) -> Vec<u64> {
        let mut ready: Vec<(Reverse<u8>, u64)> = self
            .messages
            .iter()
            .filter_map(|(index, known)| match known.place {
                Place::Ready(level) => Some((Reverse(level), *index)),
                _ => None,
            })
            .collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, index)| index).collect()
    }

    pub fn bytes_where(&self, matches: impl Fn(Place) -> bool) -> u64 {
        let of = self.messages.values().filter(|known| matches(known.place));
        of.map(|known| known.message.bytes as u64).sum()
    }

    fn ready_bytes(&self) -> u64 {
        self.bytes_where(|place| matches!(place, Place::Ready(_)))
    }

    /// How many of these may come in.
    pub fn room(&self, messages: &[&Message]) -> usize {
        if self.config.overflow == Overflow::DropHead {
            return messages.len();
        }
        let (mut count, mut bytes) = (self.ready().len() as u64, self.ready_bytes());
        let fits = |message: &&&Message| {
            count += 1;
            bytes += message.bytes as u64;
            self.config.max_length.is_none_or(|max| count <= max)
                && self.config.max_length_bytes.is_none_or(|max| bytes <= max)
        };
        messages.iter().take_while(fits).count()
    }

    pub fn enqueue(&mut self, serial: u32, message: &Message) -> u64 {
        let place = Place::Ready(self.level(message));
        let known = Known { serial, message: message.clone(), added_at_ms: self.now_ms, returns: 0, place };
        self.messages.insert(self.next, known);
        self.next += 1;
        self.totals.publish += 1;
        self.next - 1
    }

    /// The message leaves; a second end of the same message is a failure.
    pub fn end(&mut self, index: u64) {
        assert!(self.messages.remove(&index).is_some(), "message {index} ended twice");
    }

    pub fn let_go(&mut self, index: u64, reason: DeathReason) {
        match reason {
            DeathReason::Rejected => self.totals.rejected += 1,
            DeathReason::Expired => self.totals.expired += 1,
            DeathReason::MaxLength => self.totals.max_length += 1,
            DeathReason::DeliveryLimit => self.totals.delivery_limit += 1,
        }
        if self.config.dead_letter_exchange.is_some() {
            self.place(index, Place::Discarding(reason));
        } else {
            self.end(index);
        }
    }

    pub fn place(&mut self, index: u64, place: Place) {
        self.messages.get_mut(&index).expect("a message that has not ended").place = place;
    }

    /// When a message's time is over.
    pub fn deadline_ms(&self, known: &Known) -> Option<u64> {
        let ttl = [known.message.ttl_ms, self.config.message_ttl_ms].into_iter().flatten().min()?;
        Some(known.added_at_ms + ttl)
    }

    pub fn expire(&mut self) {
        for index in self.ready() {
            let deadline_ms = self.deadline_ms(&self.messages[&index]);
            if deadline_ms.is_some_and(|at| at <= self.now_ms) {
                self.let_go(index, DeathReason::Expired);
            }
        }
    }

    pub fn enforce_length(&mut self) {
        let too_much = |model: &Model| {
            model.config.max_length.is_some_and(|max| model.ready().len() as u64 > max)
                || model.config.max_length_bytes.is_some_and(|max| model.ready_bytes() > max)
        };
        while too_much(self) {
            let head = self.ready()[0];
            self.let_go(head, DeathReason::MaxLength);
        }
    }

    /// A message goes to a consumer or to a basic.get.
    pub fn deliver(&mut self, index: u64, to: ConsumerId, no_ack: bool) {
        let known = &self.messages[&index];
        assert!(matches!(known.place, Place::Ready(_)), "message {index} was {:?}", known.place);
        self.totals.redeliver += u64::from(known.returns > 0);
        if no_ack {
            self.end(index);
            return;
        }
        self.place(index, Place::Held(to));
        if let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == to) {
            consumer.in_flight += 1;
        }
    }

    /// The node stopped and started again.
    pub fn restart(&mut self, next: u64) {
        self.consumers.clear();
        self.active = None;
        self.totals = QueueTotals::default();
        self.messages.retain(|_, known| known.message.persistent);
        assert!(self.messages.keys().all(|index| *index < next));
        self.next = next;
        let max = self.config.max_priority;
        for known in self.messages.values_mut() {
            if let Place::Held(_) | Place::Ready(_) = known.place {
                known.place = Place::Ready(max.map_or(0, |max| known.message.priority.min(max)));
            }
        }
    }

    fn leave_holder(&mut self, index: u64) {
        if let Place::Held(holder) = self.messages[&index].place
            && let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == holder)
        {
            consumer.in_flight -= 1;
        }
    }

    pub fn settle(&mut self, index: u64) {
        self.leave_holder(index);
        self.totals.ack += 1;
        self.end(index);
    }

    pub fn take_back(&mut self, index: u64) {
        self.leave_holder(index);
        let level = self.level(&self.messages[&index].message);
        self.place(index, Place::Ready(level));
        let known = self.messages.get_mut(&index).expect("just placed");
        known.returns += 1;
        let returns = u64::from(known.returns);
        if self.config.delivery_limit.is_some_and(|limit| returns > limit) {
            self.let_go(index, DeathReason::DeliveryLimit);
        }
    }

    pub fn reject(&mut self, index: u64) {
        self.leave_holder(index);
        self.let_go(index, DeathReason::Rejected);
    }

    /// What a consumer may get now.
    pub fn credit(&self, consumer: &Consumer) -> u64 {
        if consumer.blocked {
            0
        } else if consumer.no_ack || consumer.prefetch == 0 {
            u64::MAX
        } else {
            u64::from(consumer.prefetch.saturating_sub(consumer.in_flight))
        }
    }
}
