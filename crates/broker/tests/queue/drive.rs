//! Does each step to the machine and to the model, and compares them.

use super::compare;
use super::disk::Disk;
use super::model::{Model, Place, body};
use super::step::{Answer, Appetite, Message, Step};
use broker::message::{ChunkBuilder, RecordHead};
use broker::queue::{Consumer, LogState, Offer, Overflow, Picks, QueueConfig, QueueMachine, Range};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::ConsumerId;

/// Who holds what a basic.get took.
const GETTER: ConsumerId = ConsumerId(0);

pub struct Pair {
    pub machine: QueueMachine,
    pub model: Model,
    /// The machine's log, applied to an empty state.
    replayed: LogState,
    serial: u32,
    consumers: u64,
    /// The first index after the last restart.
    first_new: u64,
    /// Where bodies are that left memory, and the log on disk.
    disk: Disk,
    /// What each consumer got first and in which order, while nobody left a part of an offer.
    last_new: BTreeMap<(ConsumerId, u8), u64>,
}

/// Does all the steps to an empty queue.
pub fn run(config: QueueConfig, steps: &[Step]) -> Pair {
    let mut pair = Pair::new(config);
    steps.iter().for_each(|step| pair.step(step));
    pair
}

fn ranges_of(indexes: &[u64]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some(last) if last.1 == *index => last.1 += 1,
            _ => ranges.push((*index, index + 1)),
        }
    }
    ranges
}

impl Pair {
    pub fn new(config: QueueConfig) -> Pair {
        Pair {
            machine: QueueMachine::new(config.clone(), true, 0),
            replayed: LogState { config: config.clone(), ..LogState::default() },
            model: Model { config, ..Model::default() },
            serial: 0,
            consumers: 0,
            first_new: 0,
            disk: Disk::default(),
            last_new: BTreeMap::new(),
        }
    }

    pub fn step(&mut self, step: &Step) {
        let now_ms = self.model.now_ms;
        // Those that look at records find them in memory, as the engine sees to.
        if matches!(step, Step::Deliver(_) | Step::Get { .. } | Step::DeadLetter(_)) {
            self.disk.load_all(&mut self.machine);
        }
        match step {
            Step::Enqueue(messages) => self.enqueue(messages),
            Step::AddConsumer { priority, no_ack, exclusive, prefetch } => {
                self.consumers += 1;
                self.add_consumer(Consumer {
                    id: ConsumerId(self.consumers),
                    priority: *priority,
                    no_ack: *no_ack,
                    exclusive: *exclusive,
                    prefetch: *prefetch,
                    in_flight: 0,
                    blocked: false,
                });
            }
            Step::RemoveConsumer(at) => self.remove_consumer(*at),
            Step::Unblock(at) => {
                if let Some(consumer) = self.model.consumers.get_mut(*at) {
                    consumer.blocked = false;
                    self.machine.unblock(consumer.id);
                }
            }
            Step::Deliver(appetites) => self.deliver(appetites),
            Step::Get { no_ack } => self.get(*no_ack),
            Step::Answer { answer, holder, from, count } => self.answer(*answer, *holder, *from, *count),
            Step::Stray { answer, start, count } => self.stray(*answer, (*start, start + count)),
            Step::Wait(ms) => self.wait(now_ms + ms),
            Step::EnforceLength => {
                self.machine.enforce_length(now_ms);
                self.model.enforce_length();
            }
            Step::Purge => {
                let ready = self.model.ready();
                assert_eq!(self.machine.purge(), ready.len() as u64);
                ready.into_iter().for_each(|index| self.model.end(index));
            }
            Step::Configure(config) => {
                self.machine.configure((**config).clone(), now_ms);
                self.model.config = (**config).clone();
                self.last_new.clear();
            }
            Step::DeadLetter(count) => self.dead_letter(*count),
            Step::SettleDown => self.machine.settle_down(self.model.next.saturating_sub(20)),
            Step::PageOut(keep) => self.disk.page_out(&mut self.machine, *keep),
            Step::Written => self.disk.written(&mut self.machine),
            Step::GiveUp => self.disk.give_up(&mut self.machine),
            Step::Checkpoint => self.disk.checkpoint(&mut self.machine, now_ms),
            Step::Restart => self.restart(),
        }
        let commands = self.machine.take_log();
        commands.iter().for_each(|command| self.replayed.apply(command));
        self.disk.append(&mut self.machine, &commands);
        compare::same(&self.machine, &self.model, &self.replayed, self.disk.is_used());
    }

    /// As a turn of a queue does it: what fits comes in, the rest is refused.
    fn enqueue(&mut self, messages: &[Message]) {
        let mut builder = ChunkBuilder::default();
        let route: Arc<[u8]> = Arc::from(&b"\x02ex\x03key"[..]);
        let (mut picks, mut picked) = (Picks::Span(0, 0), Vec::new());
        for message in messages {
            self.serial += 1;
            let head = RecordHead {
                ttl_ms: message.ttl_ms,
                priority: message.priority,
                persistent: message.persistent,
                ..Default::default()
            };
            let ordinal = builder.push(head, &route, &[0, 0], &body(self.serial, message.bytes));
            if message.picked {
                picks.push(ordinal);
                picked.push((self.serial, message));
            }
        }
        let chunk = Arc::new(builder.finish());
        let room = self.machine.room_for(&chunk, &picks);
        let wanted: Vec<&Message> = picked.iter().map(|(_, message)| *message).collect();
        assert_eq!(room as usize, self.model.room(&wanted), "room");
        let now_ms = self.model.now_ms;
        let rest = picks.split_off(room);
        let bytes = |some: &[(u32, &Message)]| some.iter().map(|(_, message)| message.bytes as u64).sum();
        let (inside, outside) = picked.split_at(room as usize);
        if !inside.is_empty() {
            let first = self.machine.enqueue(chunk.clone(), picks, bytes(inside), now_ms);
            assert_eq!(first, self.model.next);
            inside.iter().for_each(|(serial, message)| {
                self.model.enqueue(*serial, message);
            });
        }
        if !outside.is_empty() && self.model.config.overflow == Overflow::RejectPublishDlx {
            let first = self.machine.enqueue(chunk, rest, bytes(outside), now_ms);
            self.machine.refuse((first, first + outside.len() as u64), now_ms);
            for (serial, message) in outside {
                let index = self.model.enqueue(*serial, message);
                self.model.let_go(index, broker::message::DeathReason::MaxLength);
            }
        }
    }

    fn add_consumer(&mut self, consumer: Consumer) {
        let others = &self.model.consumers;
        let refused = others.iter().any(|other| other.exclusive)
            || (consumer.exclusive && (!others.is_empty() || self.model.config.single_active_consumer));
        assert_eq!(self.machine.add_consumer(consumer.clone()).is_err(), refused);
        if refused {
            return;
        }
        self.model.active = self.model.active.or(Some(consumer.id));
        let at = others.iter().position(|other| other.priority < consumer.priority);
        self.model.consumers.insert(at.unwrap_or(others.len()), consumer);
    }

    fn remove_consumer(&mut self, at: usize) {
        if at >= self.model.consumers.len() {
            assert!(!self.machine.remove_consumer(ConsumerId(u64::MAX), self.model.now_ms));
            return;
        }
        let gone = self.model.consumers.remove(at);
        assert!(self.machine.remove_consumer(gone.id, self.model.now_ms));
        if self.model.active == Some(gone.id) {
            self.model.active = self.model.consumers.first().map(|first| first.id);
        }
        if self.model.config.single_active_consumer {
            assert_eq!(self.machine.active_consumer(), self.model.active);
        }
    }

    fn deliver(&mut self, appetites: &[Appetite]) {
        let offers = self.machine.offers();
        compare::offers(&offers, &self.model);
        for (offer, appetite) in offers.iter().zip(appetites.iter().cycle()) {
            let offered = offer.count();
            let (count, blocked) = match appetite {
                Appetite::All => (offered as u32, false),
                Appetite::UpTo(count) => ((*count).min(offered as u32), false),
                Appetite::Blocked(count) => ((*count).min(offered as u32), true),
            };
            self.accept(offer, count, blocked);
            if u64::from(count) < offered {
                // As the engine does: nobody gets anything from behind what was not taken.
                break;
            }
        }
    }

    fn accept(&mut self, offer: &Offer, count: u32, blocked: bool) {
        let mut taken = Vec::new();
        let mut bytes = 0;
        for delivery in self.machine.deliveries(&offer.ranges).first(count) {
            let known = &self.model.messages[&delivery.index];
            assert_eq!(delivery.returns, known.returns, "returns of {}", delivery.index);
            assert_eq!(delivery.record.body, body(known.serial, known.message.bytes));
            if delivery.index >= self.first_new {
                assert_eq!(delivery.redelivered, known.returns > 0, "nobody had {} before", delivery.index);
            }
            bytes += delivery.record.body.len() as u64;
            taken.push(delivery.index);
        }
        assert_eq!(taken.len(), count as usize);
        self.machine.accept(offer, count, bytes, blocked);
        for index in taken {
            self.note_order(offer.consumer, index);
            self.model.deliver(index, offer.consumer, offer.no_ack);
        }
        let totals = &mut self.model.totals;
        let total = if offer.no_ack { &mut totals.deliver_no_ack } else { &mut totals.deliver };
        *total += u64::from(count);
        if let Some(consumer) = self.model.consumers.iter_mut().find(|consumer| consumer.id == offer.consumer)
        {
            consumer.blocked = blocked;
        }
    }

    /// Messages that were never delivered before reach a consumer in the log's order.
    fn note_order(&mut self, consumer: ConsumerId, index: u64) {
        let known = &self.model.messages[&index];
        let Place::Ready(level) = known.place else { return };
        if known.returns == 0 {
            let before = self.last_new.insert((consumer, level), index);
            assert!(before.is_none_or(|before| before < index), "{consumer} got {index} after {before:?}");
        }
    }

    fn get(&mut self, no_ack: bool) {
        let offer = self.machine.next_for_get();
        let expected = self.model.ready().first().copied();
        assert_eq!(offer.as_ref().map(|offer| offer.ranges[0].0), expected);
        let (Some(offer), Some(index)) = (offer, expected) else { return };
        assert_eq!(offer.ranges, [(index, index + 1)]);
        self.machine.got(&offer, self.model.messages[&index].message.bytes as u64, no_ack);
        self.model.deliver(index, GETTER, no_ack);
        let totals = &mut self.model.totals;
        *if no_ack { &mut totals.get_no_ack } else { &mut totals.get } += 1;
    }

    fn answer(&mut self, answer: Answer, holder: usize, from: usize, count: usize) {
        let mut held: BTreeMap<ConsumerId, Vec<u64>> = BTreeMap::new();
        for (index, known) in &self.model.messages {
            if let Place::Held(holder) = known.place {
                held.entry(holder).or_default().push(*index);
            }
        }
        if held.is_empty() {
            return;
        }
        let (holder, indexes) = held.iter().cycle().nth(holder).expect("not empty");
        let (holder, indexes) = (*holder, indexes.iter().copied());
        let indexes: Vec<u64> = indexes.skip(from).step_by(1 + from % 2).take(count).collect();
        self.tell(answer, holder, &ranges_of(&indexes), &indexes);
    }

    /// Nothing is told of messages that others hold: a channel only answers for its own.
    fn stray(&mut self, answer: Answer, (start, end): Range) {
        let place = |index: &u64| self.model.messages.get(index).map(|known| known.place);
        let told: Vec<u64> =
            (start..end).filter(|index| !matches!(place(index), Some(Place::Held(_)))).collect();
        let known: Vec<u64> =
            told.iter().copied().filter(|index| matches!(place(index), Some(Place::Ready(_)))).collect();
        let consumer = self.model.consumers.first().map_or(GETTER, |consumer| consumer.id);
        self.tell(answer, consumer, &ranges_of(&told), &known);
    }

    fn tell(&mut self, answer: Answer, consumer: ConsumerId, ranges: &[Range], indexes: &[u64]) {
        let now_ms = self.model.now_ms;
        match answer {
            Answer::Settle => {
                assert_eq!(self.machine.settle(consumer, ranges), indexes.len() as u64);
                indexes.iter().for_each(|index| self.model.settle(*index));
            }
            Answer::Return => {
                self.machine.take_back(consumer, ranges, now_ms);
                indexes.iter().for_each(|index| self.model.take_back(*index));
            }
            Answer::Reject => {
                self.machine.reject(consumer, ranges, now_ms);
                indexes.iter().for_each(|index| self.model.reject(*index));
            }
        }
    }

    fn wait(&mut self, until_ms: u64) {
        self.model.now_ms = until_ms;
        self.machine.expire(until_ms);
        self.model.expire();
        let next = self.machine.next_deadline_ms();
        assert!(next.is_none_or(|at| at > until_ms), "a deadline that is over stays");
    }

    /// The machine is made from its log: what was held is ready, what is transient is gone.
    fn restart(&mut self) {
        let now_ms = self.model.now_ms;
        let (machine, lost) = self.disk.recover().finish(self.model.config.clone(), now_ms);
        assert_eq!(lost, 0, "messages without bytes");
        let before = self.machine.state().next;
        self.machine = machine;
        self.first_new = self.machine.state().next;
        self.model.restart(self.first_new);
        assert!(self.machine.state().next <= before);
        self.replayed = self.machine.state().clone();
        self.last_new.clear();
    }

    fn dead_letter(&mut self, count: usize) {
        let letters = self.machine.dead_letters(count);
        let discarding = |(index, known): (&u64, &super::model::Known)| match known.place {
            Place::Discarding(reason) => Some((*index, reason)),
            _ => None,
        };
        let expected: Vec<_> = self.model.messages.iter().filter_map(discarding).take(count).collect();
        assert_eq!(letters, expected);
        self.machine.dead_lettered(letters.iter().map(|(index, _)| *index));
        letters.into_iter().for_each(|(index, _)| self.model.end(index));
    }
}
