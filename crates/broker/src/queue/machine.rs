//! The queue machine: arrivals, settlements, returns, discards and limits.
//!
//! Invariant (see `validate`): every live message is ready, checked out, or on its way to the
//! dead-letter exchange; counts and byte sums agree with the sets.

use super::config::{Overflow, QueueConfig};
use super::consumers::{Consumer, ConsumerError, Consumers};
use super::gate::Pending;
use super::index_set::{IndexSet, Range};
use super::log_state::{LogCommand, LogState};
use super::picks::Picks;
use super::ready::Ready;
use super::record;
use super::tail::Tail;
use crate::message::{Chunk, DeathReason, Persistence, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::ConsumerId;

/// What a queue has done since it was declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in the HTTP API's message_stats
pub struct QueueTotals {
    pub publish: u64,
    pub deliver: u64,
    pub deliver_no_ack: u64,
    pub get: u64,
    pub get_no_ack: u64,
    pub get_empty: u64,
    pub ack: u64,
    pub redeliver: u64,
    pub expired: u64,
    pub rejected: u64,
    pub max_length: u64,
    pub delivery_limit: u64,
}

/// What is in a queue now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that wait.
    pub ready: u64,
    /// Bodies of messages that wait.
    pub ready_bytes: u64,
    /// Messages that consumers hold.
    pub unacked: u64,
    /// Bodies of messages that consumers hold.
    pub unacked_bytes: u64,
    /// Consumers.
    pub consumers: u32,
    /// Consumers that could take a message now.
    pub consumers_with_credit: u32,
}

/// A queue.
#[derive(Debug)]
pub struct QueueMachine {
    pub(super) state: LogState,
    pub(super) tail: Tail,
    pub(super) ready: Ready,
    pub(super) ready_bytes: u64,
    pub(super) unacked_count: u64,
    pub(super) unacked_bytes: u64,
    pub(super) deadlines: BTreeSet<(u64, u64)>,
    pub(super) consumers: Consumers,
    pub(super) totals: QueueTotals,
    pub(super) used_at_ms: u64,
    had_consumers: bool,
    /// Live messages of a logged queue that are not to survive a crash.
    pub(super) volatile: IndexSet,
    /// Behind the last message that was ever handed out.
    pub(super) handed: u64,
    /// What the log knows of that.
    pub(super) logged_handed: u64,
    /// Messages below may have been seen before the node last stopped.
    pub(super) seen_below: u64,
    /// Dead letters that are being published.
    pub(super) lettered: BTreeSet<u64>,
    /// Commands since the log last took them.
    pub(super) log: Vec<LogCommand>,
    /// Whether anybody wants the commands.
    pub(super) logged: bool,
    /// Messages wait for their commit.
    pub(super) gated: bool,
    pub(super) pending: Pending,
    /// Returns that are counted and not committed yet, by message.
    pub(super) early_returns: BTreeMap<u64, u32>,
    /// It is a mirror.
    pub(super) following: bool,
    /// Segments of a mirror whose places in the log are not known yet: their first indexes.
    pub(super) unplaced: Vec<u64>,
    /// One more whenever what is on its way to blocks is not what is here any more.
    pub(super) era: u64,
    /// What is on its way to blocks: from the first index to behind the last.
    pub(super) jobs: Vec<Range>,
}

impl QueueMachine {
    /// An empty queue. `logged` is false for a queue whose log keeps nothing.
    pub fn new(config: QueueConfig, logged: bool, now_ms: u64) -> QueueMachine {
        QueueMachine {
            state: LogState { config, ..Default::default() },
            tail: Tail::default(),
            ready: Ready::default(),
            ready_bytes: 0,
            unacked_count: 0,
            unacked_bytes: 0,
            deadlines: BTreeSet::new(),
            consumers: Consumers::default(),
            totals: QueueTotals::default(),
            used_at_ms: now_ms,
            had_consumers: false,
            volatile: IndexSet::default(),
            handed: 0,
            logged_handed: 0,
            seen_below: 0,
            lettered: BTreeSet::new(),
            log: Vec::new(),
            logged,
            gated: false,
            pending: Pending::default(),
            early_returns: BTreeMap::new(),
            following: false,
            unplaced: Vec::new(),
            era: 0,
            jobs: Vec::new(),
        }
    }

    /// The logged part.
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// The settings.
    pub fn config(&self) -> &QueueConfig {
        &self.state.config
    }

    /// Commands since the last call, for the log.
    pub fn take_log(&mut self) -> Vec<LogCommand> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn commit(&mut self, command: LogCommand) {
        self.state.apply(&command);
        if self.logged {
            self.log.push(command);
        }
    }

    /// How many of the next `picks` may come in now: all, unless the queue refuses what is too much.
    pub fn room_for(&self, chunk: &Chunk, picks: &Picks) -> u32 {
        let config = &self.state.config;
        if config.overflow == Overflow::DropHead
            || (config.max_length.is_none() && config.max_length_bytes.is_none())
        {
            return picks.len();
        }
        let by_count = config
            .max_length
            .map_or(u64::MAX, |max| max.saturating_sub(self.ready.count() + self.pending.count));
        let count = by_count.min(picks.len().into()) as u32;
        let Some(bytes_max) = config.max_length_bytes else { return count };
        let mut bytes = self.ready_bytes + self.pending.bytes;
        (0..count)
            .take_while(|position| {
                bytes += u64::from(chunk.head(picks.ordinal(*position)).body_bytes);
                bytes <= bytes_max
            })
            .count() as u32
    }

    /// Takes messages in; gives the index of the first. `bytes` is the sum of their bodies.
    pub fn enqueue(&mut self, chunk: Arc<Chunk>, picks: Picks, bytes: u64, now_ms: u64) -> u64 {
        let first = self.state.next;
        let count = picks.len();
        let range = (first, first + u64::from(count));
        // A log does not carry others' bytes: then the copy may as well serve memory too.
        let (chunk, picks) = if self.logged && count * 2 < chunk.len() {
            let ordinals = (0..count).map(|position| picks.ordinal(position));
            (Arc::new(chunk.extract(ordinals)), Picks::Span(0, count))
        } else {
            (chunk, picks)
        };
        let uniform = chunk.is_uniform();
        if self.logged && !self.gated {
            self.note_volatile(first, &chunk, &picks);
        }
        self.tail.append(first, chunk.clone(), picks.clone(), now_ms);
        // Every copy has every message: none is left out because a crash may forget it.
        let written = self.gated.then(|| record::encode_all(first, &chunk, &picks, now_ms, self.handed));
        let command = LogCommand::Enqueue { first, chunk, picks, at_ms: now_ms };
        match written {
            None => self.commit(command),
            Some(written) => {
                self.state.apply(&command);
                self.write(written);
            }
        }
        self.totals.publish += u64::from(count);
        if self.gated {
            self.pending.push(range, bytes);
            return first;
        }
        self.ready_bytes += bytes;
        if uniform {
            self.ready.insert(0, range);
        } else {
            self.make_ready(range);
            self.note_deadlines(range);
        }
        first
    }

    fn note_volatile(&mut self, first: u64, chunk: &Chunk, picks: &Picks) {
        match chunk.persistence() {
            Persistence::All => {}
            Persistence::None => self.volatile.insert((first, first + u64::from(picks.len()))),
            Persistence::Some => {
                let transient = |position: &u32| !chunk.head(picks.ordinal(*position)).persistent;
                for index in (0..picks.len()).filter(transient).map(|position| first + u64::from(position)) {
                    self.volatile.insert((index, index + 1));
                }
            }
        }
    }

    /// Puts messages that are in the tail among the ready ones, each at its priority.
    pub(super) fn make_ready(&mut self, range: Range) {
        let Some(max) = self.state.config.max_priority else {
            self.ready.insert(0, range);
            return;
        };
        for index in range.0..range.1 {
            let priority = self.tail.segment(index).map_or(0, |segment| segment.traits_of(index).1);
            self.ready.insert(priority.min(max), (index, index + 1));
        }
    }

    /// Messages are done with; gives how many there were.
    pub fn settle(&mut self, consumer: ConsumerId, ranges: &[Range]) -> u64 {
        let live = self.answerable(ranges);
        let count = self.leave_unacked(consumer, &live);
        self.totals.ack += count;
        self.forget(live);
        count
    }

    /// Parts of `ranges` that clients still answer for: live and not yet on the way to the dead-letter
    /// exchange. An answer after a failover may name messages that are ready again.
    fn answerable(&self, ranges: &[Range]) -> Vec<Range> {
        let live: Vec<Range> = match ranges {
            [only] => self.state.live.within(*only).collect(),
            many => many.iter().flat_map(|range| self.state.live.within(*range)).collect(),
        };
        if self.state.discarding.is_empty() {
            return live;
        }
        let mut parts = Vec::with_capacity(live.len());
        for (mut start, end) in live {
            for index in self.state.discarding.range(start..end).map(|(index, _)| *index) {
                parts.push((start, index));
                start = index + 1;
            }
            parts.push((start, end));
        }
        parts.retain(|(start, end)| start < end);
        parts
    }

    /// Takes messages out of the checked-out counts and gives their consumer its credit back.
    fn leave_unacked(&mut self, consumer: ConsumerId, ranges: &[Range]) -> u64 {
        let mut count = 0;
        let mut held = 0;
        for range in ranges {
            let ready = self.ready.within(*range);
            let ready_count: u64 = ready.iter().map(|(a, b)| b - a).sum();
            let bytes = self.tail.body_bytes(*range);
            let ready_bytes: u64 = ready.iter().map(|range| self.tail.body_bytes(*range)).sum();
            self.ready.remove(*range);
            self.take_ready_bytes(ready_bytes);
            let left = range.1 - range.0 - ready_count;
            self.unacked_count = self.unacked_count.saturating_sub(left);
            let bytes = bytes.saturating_sub(ready_bytes);
            // Of a block that was read before the node last stopped, the sum of some bodies is an estimate.
            self.unacked_bytes =
                if self.unacked_count == 0 { 0 } else { self.unacked_bytes.saturating_sub(bytes) };
            count += range.1 - range.0;
            held += left;
        }
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.in_flight = consumer.in_flight.saturating_sub(held as u32);
        }
        count
    }

    /// Settles live messages that are neither ready nor counted as checked out any more.
    pub(super) fn forget(&mut self, ranges: Vec<Range>) {
        if ranges.is_empty() {
            return;
        }
        let command = LogCommand::Settle(ranges);
        self.state.apply(&command);
        let LogCommand::Settle(ranges) = &command else { return };
        for range in ranges {
            self.tail.settle(*range, &self.state.live);
        }
        if self.logged {
            self.log.push(command);
        }
    }

    /// Ready bodies leave; of a part of a block in a backlog their sum is an estimate, none left is none.
    pub(super) fn take_ready_bytes(&mut self, bytes: u64) {
        self.ready_bytes = if self.ready.count() == 0 { 0 } else { self.ready_bytes.saturating_sub(bytes) };
    }

    /// Takes ready messages out, wherever they go.
    pub(super) fn take_ready(&mut self, ranges: &[Range]) {
        for range in ranges {
            let bytes = self.tail.body_bytes(*range);
            self.ready.remove(*range);
            self.take_ready_bytes(bytes);
        }
    }

    /// Messages come back from a consumer, to their old places; those over the limit leave.
    pub fn take_back(&mut self, consumer: ConsumerId, ranges: &[Range], now_ms: u64) {
        let live = self.answerable(ranges);
        self.leave_unacked(consumer, &live);
        if live.is_empty() {
            return;
        }
        self.commit(LogCommand::Return(live.clone()));
        self.note_early_returns(&live);
        let mut over: Vec<Range> = Vec::new();
        let limit = self.state.config.delivery_limit;
        for (start, end) in live {
            self.make_ready((start, end));
            self.note_deadlines((start, end));
            self.ready_bytes += self.tail.body_bytes((start, end));
            if let Some(limit) = limit {
                let returns = &self.state.returns;
                let beyond = |index: &u64| returns.get(index).is_some_and(|count| u64::from(*count) > limit);
                over.extend((start..end).filter(beyond).map(|index| (index, index + 1)));
            }
        }
        self.discard(over, DeathReason::DeliveryLimit, now_ms);
    }

    /// Messages come back that no client has seen: they were on their way. They count neither as returned nor as
    /// delivered.
    pub fn put_back(&mut self, consumer: ConsumerId, ranges: &[Range]) {
        let live = self.answerable(ranges);
        let count = self.leave_unacked(consumer, &live);
        self.totals.deliver = self.totals.deliver.saturating_sub(count);
        self.totals.redeliver = self.totals.redeliver.saturating_sub(self.count_returned(&live));
        for range in live {
            self.make_ready(range);
            self.note_deadlines(range);
            self.ready_bytes += self.tail.body_bytes(range);
        }
    }

    /// A consumer refused messages.
    pub fn reject(&mut self, consumer: ConsumerId, ranges: &[Range], now_ms: u64) {
        let live = self.answerable(ranges);
        self.leave_unacked(consumer, &live);
        self.let_go(live, DeathReason::Rejected, now_ms);
    }

    /// Ready messages leave for `reason`.
    pub(super) fn discard(&mut self, ranges: Vec<Range>, reason: DeathReason, now_ms: u64) {
        self.take_ready(&ranges);
        self.let_go(ranges, reason, now_ms);
    }

    fn let_go(&mut self, ranges: Vec<Range>, reason: DeathReason, now_ms: u64) {
        if ranges.is_empty() {
            return;
        }
        let count: u64 = ranges.iter().map(|(start, end)| end - start).sum();
        match reason {
            DeathReason::Rejected => self.totals.rejected += count,
            DeathReason::Expired => self.totals.expired += count,
            DeathReason::MaxLength => self.totals.max_length += count,
            DeathReason::DeliveryLimit => self.totals.delivery_limit += count,
        }
        let config = &self.state.config;
        if config.dead_letter_exchange.is_some() || config.release_by.is_some() {
            self.commit(LogCommand::Discard(ranges, reason, now_ms));
        } else {
            self.forget(ranges);
        }
    }

    /// Drops what is too much from the head, after consumers have had their chance. The head is what would
    /// be delivered next: with priorities that is the highest one, as RabbitMQ documents.
    pub fn enforce_length(&mut self, now_ms: u64) {
        let config = &self.state.config;
        let over = config.max_length.map_or(0, |max| self.ready.count().saturating_sub(max));
        if over > 0 {
            let head = self.ready.front(over);
            self.discard(head, DeathReason::MaxLength, now_ms);
        }
        let Some(bytes_max) = self.state.config.max_length_bytes else { return };
        while self.ready_bytes > bytes_max && self.ready.count() > 0 {
            let mut excess = self.ready_bytes - bytes_max;
            let mut head = Vec::new();
            'ranges: for (start, end) in self.ready.front(1024) {
                for index in start..end {
                    head.push((index, index + 1));
                    excess = excess.saturating_sub(self.tail.body_bytes((index, index + 1)));
                    if excess == 0 {
                        break 'ranges;
                    }
                }
            }
            self.discard(head, DeathReason::MaxLength, now_ms);
        }
    }

    /// Refuses messages just taken in (overflow `reject-publish-dlx`), so that they are dead-lettered.
    pub fn refuse(&mut self, range: Range, now_ms: u64) {
        if self.gated {
            self.pending.drop_from(range.0);
            return self.let_go(vec![range], DeathReason::MaxLength, now_ms);
        }
        self.discard(vec![range], DeathReason::MaxLength, now_ms);
    }

    /// Messages that are to be dead-lettered and are in memory: as many as make `count` with those that
    /// are on the way. Each is named once; they stay until `dead_lettered`.
    pub fn dead_letters(&mut self, count: usize) -> Vec<(u64, DeathReason)> {
        if self.state.discarding.len() == self.lettered.len() {
            return Vec::new();
        }
        let room = count.saturating_sub(self.lettered.len());
        let waiting = self.state.discarding.iter().filter(|(index, _)| !self.lettered.contains(index));
        let letters: Vec<_> = waiting
            .take(room)
            .map(|(index, reason)| (*index, *reason))
            .take_while(|(index, _)| self.record(*index).is_some())
            .collect();
        self.lettered.extend(letters.iter().map(|(index, _)| *index));
        letters
    }

    /// Dead letters that wait to be published, up to so many, those on the way among them.
    pub fn letters_waiting(&self, most: usize) -> usize {
        if self.state.discarding.len() > self.lettered.len() {
            self.state.discarding.len().min(most)
        } else {
            0
        }
    }

    /// Dead letters could not be brought where they should be: they are named again.
    pub fn letters_came_back(&mut self, indexes: impl Iterator<Item = u64>) {
        for index in indexes {
            self.lettered.remove(&index);
        }
    }

    /// Dead letters have arrived where they should.
    pub fn dead_lettered(&mut self, indexes: impl Iterator<Item = u64>) {
        let mut ranges: Vec<Range> = Vec::new();
        for index in indexes {
            self.lettered.remove(&index);
            // A purge of the whole queue may have been first.
            if !self.state.discarding.contains_key(&index) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.1 == index => last.1 += 1,
                _ => ranges.push((index, index + 1)),
            }
        }
        self.forget(ranges);
    }

    /// Drops all ready messages; gives how many there were.
    pub fn purge(&mut self) -> u64 {
        let count = self.ready.count();
        let ranges = self.ready.front(count);
        self.ready.clear();
        self.ready_bytes = 0;
        self.deadlines.clear();
        let command = LogCommand::Purge(ranges.clone());
        self.commit(command);
        for range in ranges {
            self.tail.settle(range, &self.state.live);
        }
        self.drop_loaded(false);
        count
    }

    /// Everything goes, whoever holds it: the queue is deleted.
    pub fn clear(&mut self) {
        self.purge();
        self.pending.clear();
        self.state.discarding.clear();
        self.lettered.clear();
        (self.unacked_count, self.unacked_bytes) = (0, 0);
        let all: Vec<Range> = self.state.live.ranges().collect();
        self.forget(all);
    }

    /// New settings; they hold for what is in the queue too.
    pub fn configure(&mut self, config: QueueConfig, now_ms: u64) {
        self.commit(LogCommand::Configure(Box::new(config)));
        self.deadlines.clear();
        self.index_deadlines(&self.ready.front(u64::MAX));
        self.used_at_ms = now_ms;
    }

    /// Registers a consumer.
    pub fn add_consumer(&mut self, consumer: Consumer) -> Result<(), ConsumerError> {
        let single_active = self.state.config.single_active_consumer;
        self.consumers.add(consumer, single_active)?;
        self.had_consumers = true;
        Ok(())
    }

    /// Takes a consumer away; what it holds stays checked out until it is settled or returned.
    pub fn remove_consumer(&mut self, id: ConsumerId, now_ms: u64) -> bool {
        self.used_at_ms = now_ms;
        self.consumers.remove(id)
    }

    /// Takes all consumers away.
    pub fn clear_consumers(&mut self) {
        self.consumers.clear();
    }

    /// Whether it had consumers and has none left.
    pub fn is_abandoned(&self) -> bool {
        self.had_consumers && self.consumers.len() == 0
    }

    /// A consumer's connection takes messages again.
    pub fn unblock(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.blocked = false;
        }
    }

    /// Consumers in the order they are served.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    /// The consumer that is served while there is a single active one.
    pub fn active_consumer(&self) -> Option<ConsumerId> {
        self.consumers.active()
    }

    /// The message at `index`, if it is live.
    pub fn record(&self, index: u64) -> Option<Record<'_>> {
        self.tail.segment(index)?.record(index)
    }

    /// End of a turn that began with index `from`: what stays lets go of memory it does not need.
    pub fn settle_down(&mut self, from: u64) {
        self.tidy_deadlines();
        if !self.tail.loaded.is_empty() {
            self.drop_loaded(false);
        }
        if self.ready.count() + self.unacked_count > 0 {
            self.tail.settle_down(from, &self.state.live);
        }
    }

    /// A basic.get found nothing.
    pub fn got_nothing(&mut self) {
        self.totals.get_empty += 1;
    }

    /// What it has done.
    pub fn totals(&self) -> QueueTotals {
        self.totals
    }

    /// What is in it.
    pub fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready.count(),
            ready_bytes: self.ready_bytes,
            unacked: self.unacked_count,
            unacked_bytes: self.unacked_bytes,
            consumers: self.consumers.len() as u32,
            consumers_with_credit: self.consumers.iter().filter(|consumer| consumer.credit() > 0).count()
                as u32,
        }
    }

    /// Checks that counts and sets agree.
    ///
    /// # Panics
    /// When they do not: a programmer's error.
    pub fn validate(&self) {
        let live = self.state.live.count();
        let discarding = self.state.discarding.len() as u64;
        let held = self.ready.count() + self.unacked_count + self.pending.count;
        if self.following {
            assert_eq!(held, 0, "a mirror hands nothing out");
            return self.tail.validate(&self.state.live);
        }
        assert_eq!(live, held + discarding, "live = ready + unacked + pending + discarding");
        let bytes =
            |ranges: Vec<Range>| ranges.into_iter().map(|range| self.tail.body_bytes(range)).sum::<u64>();
        if !self.tail.estimates {
            assert_eq!(self.ready_bytes, bytes(self.ready.front(u64::MAX)), "ready bytes");
            let all = bytes(self.state.live.ranges().collect());
            let dead = bytes(self.state.discarding.keys().map(|index| (*index, index + 1)).collect());
            let held = self.ready_bytes + self.unacked_bytes + self.pending.bytes;
            assert_eq!(all, held + dead, "all bytes");
        }
        for (start, end) in self.state.live.ranges() {
            for index in start..end {
                let segment = self.tail.segment(index);
                let has_bytes = segment
                    .is_some_and(|segment| segment.stored.is_some() || segment.record(index).is_some());
                assert!(has_bytes, "{index} has no bytes");
            }
        }
        self.tail.validate(&self.state.live);
        for (_, index) in &self.deadlines {
            assert!(*index < self.state.next, "deadline of a message that never was");
        }
    }
}
