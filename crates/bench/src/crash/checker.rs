//! Follows each message through every queue it went to, and says when a rule is broken.
//!
//! Invariant: a violation is certain from what the clients saw; what a crash may do, or what cannot be told from
//! outside, is only counted.

use std::collections::{HashMap, HashSet};

use super::history::{Delivered, Event, Id, QueueAt, Sent, SessionId};
use super::message::{Copy, Gone, Mark, Message, Outcome, Place, Step};
use super::moment::Moment;
use super::report::{Counts, Rule, Violations};
use crate::broker_process::Ending;

/// What the rules need to know of a queue.
#[derive(Debug, Clone, Default)]
pub struct QueueRules {
    pub name: String,
    /// Deliveries carry x-delivery-count, and returned messages need not go back to their old place.
    pub is_quorum: bool,
    /// It is purged with queue.delete: what was in it may never come back.
    pub is_deleted: bool,
}

#[derive(Debug, Default)]
pub struct Queue {
    pub rules: QueueRules,
    /// Something went back to it in this life: its order may be mixed up, and flags may be set.
    pub had_returns: bool,
    is_purging: bool,
    /// The newest life in which it was seen empty.
    pub drained_in: u32,
    /// What was sent to it since then.
    open: Vec<Id>,
}

/// Where a session stands in the messages of one publisher and priority.
type Order = HashMap<(SessionId, u32, u8), u32>;

#[derive(Debug, Default)]
pub struct Checker {
    queues: Vec<Queue>,
    messages: HashMap<Id, Message>,
    life: u32,
    /// How each life ended; the first life is number 1.
    endings: Vec<Ending>,
    order: Order,
    /// Acks that no answer has come behind yet.
    unsynced: HashMap<SessionId, Vec<(QueueAt, Id)>>,
    /// Sessions of this life that are gone: what was out on them is ready.
    closed: HashSet<SessionId>,
    counts: Counts,
}

impl Checker {
    pub fn new(queues: Vec<QueueRules>) -> Self {
        let queues = queues.into_iter().map(|rules| Queue { rules, ..Queue::default() }).collect();
        Self { queues, ..Self::default() }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn apply(&mut self, event: Event, violations: &mut Violations) {
        match event {
            Event::LifeBegan => {
                self.life += 1;
                self.counts.lives += 1;
            }
            Event::LifeEnded(ending) => self.end_life(ending),
            Event::Sent(sent) => self.send(sent),
            Event::Confirmed(id) => self.settle(&[id], Outcome::Confirmed),
            Event::Nacked(id) => self.settle(&[id], Outcome::Nacked),
            Event::Committing(ids) => self.settle(&ids, Outcome::Unknown),
            Event::Committed(ids) => self.settle(&ids, Outcome::Confirmed),
            Event::RolledBack(ids) => self.settle(&ids, Outcome::RolledBack),
            Event::Delivered(delivered) => self.deliver(delivered, violations),
            Event::Garbled { queue, text } => {
                violations.add(Rule::Garbage, self.name(queue), text);
            }
            Event::Acked { session, queue, id, in_tx } => self.ack(session, queue, id, in_tx),
            Event::Synced(session) => self.advance(session, Step::Processed),
            Event::AcksCommitting(session) => self.advance(session, Step::Committing),
            Event::AcksCommitted(session) => self.advance(session, Step::Committed),
            Event::Returned { queue, id } => self.give_back(queue, id),
            Event::Closing { session, queue } => self.close(session, queue),
            Event::Purging(queue) => {
                self.queue_mut(queue, |queue| queue.is_purging = true);
                self.purge(queue, Purge::Begins);
            }
            Event::Purged(queue) => {
                self.queue_mut(queue, |queue| queue.is_purging = false);
                self.purge(queue, Purge::Done);
            }
            Event::Drained(queue) => self.drained(queue, violations),
        }
    }

    fn name(&self, queue: QueueAt) -> &str {
        self.queues.get(usize::from(queue)).map_or("?", |queue| queue.rules.name.as_str())
    }

    fn queue_mut(&mut self, queue: QueueAt, change: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            change(queue);
        }
    }

    fn copy_mut(&mut self, queue: QueueAt, id: Id) -> Option<&mut Copy> {
        self.messages.get_mut(&id)?.copies.iter_mut().find(|copy| copy.queue == queue)
    }

    fn end_life(&mut self, ending: Ending) {
        self.endings.push(ending);
        self.counts.kills += u32::from(ending == Ending::Killed);
        for at in 0..self.queues.len() {
            let queue = at as QueueAt;
            if self.queues[at].is_purging {
                // Nobody knows whether it was done.
                self.purge(queue, Purge::Unknown);
            }
            self.queues[at].is_purging = false;
            self.queues[at].had_returns = false;
        }
        self.order.clear();
        self.unsynced.clear();
        self.closed.clear();
    }

    fn send(&mut self, sent: Sent) {
        self.counts.sent += 1;
        let copy = |queue: &QueueAt| {
            let mut copy = Copy::new(*queue);
            copy.mark(self.life, Mark::Sent);
            let is_purging = self.queues.get(usize::from(*queue)).is_some_and(|queue| queue.is_purging);
            copy.gone = is_purging.then_some(Gone::Maybe);
            copy
        };
        let message = Message {
            is_persistent: sent.is_persistent,
            priority: sent.priority,
            sent_in: self.life,
            outcome: if sent.in_tx { Outcome::InTx } else { Outcome::Unknown },
            copies: sent.queues.iter().map(copy).collect(),
        };
        self.messages.insert(sent.id, message);
        for queue in sent.queues {
            self.queue_mut(queue, |queue| queue.open.push(sent.id));
        }
    }

    fn settle(&mut self, ids: &[Id], outcome: Outcome) {
        for id in ids {
            if let Some(message) = self.messages.get_mut(id) {
                message.outcome = outcome;
                self.counts.confirmed += u64::from(outcome == Outcome::Confirmed);
                self.counts.nacked += u64::from(outcome == Outcome::Nacked);
            }
        }
    }

    /// Only what is confirmed is surely in the queue when a purge begins; the rest may arrive behind it.
    fn purge(&mut self, queue_at: QueueAt, purge: Purge) {
        let life = self.life;
        let Some(queue) = self.queues.get(usize::from(queue_at)) else { return };
        for id in &queue.open {
            let Some(message) = self.messages.get_mut(id) else { continue };
            let is_in = message.outcome == Outcome::Confirmed;
            for copy in message.copies.iter_mut().filter(|copy| copy.queue == queue_at) {
                match purge {
                    Purge::Begins if is_in => continue,
                    Purge::Done if copy.gone != Some(Gone::Maybe) => copy.gone = Some(Gone::Purged(life)),
                    _ => copy.gone = Some(Gone::Maybe),
                }
                if purge != Purge::Begins {
                    copy.mark(life, Mark::Purged);
                }
            }
        }
    }

    fn ack(&mut self, session: SessionId, queue: QueueAt, id: Id, in_tx: bool) {
        let life = self.life;
        self.counts.acked += 1;
        if let Some(copy) = self.copy_mut(queue, id) {
            copy.place = if in_tx { Place::AckedInTx(life, session) } else { Place::Acked(life, Step::Sent) };
            copy.mark(life, Mark::Acked);
        }
        self.unsynced.entry(session).or_default().push((queue, id));
    }

    fn advance(&mut self, session: SessionId, step: Step) {
        let life = self.life;
        let acks = self.unsynced.remove(&session).unwrap_or_default();
        for (queue, id) in &acks {
            if let Some(copy) = self.copy_mut(*queue, *id) {
                // An ack of a transaction is nothing before the commit.
                let is_open = matches!(copy.place, Place::AckedInTx(..));
                if is_open && step == Step::Processed {
                    continue;
                }
                let shown = if step == Step::Committing { Step::Sent } else { step };
                copy.place = Place::Acked(life, shown);
                copy.mark(life, if step == Step::Committed { Mark::Committed } else { Mark::Processed });
            }
        }
        match step {
            Step::Processed => self.counts.acks_processed += acks.len() as u64,
            Step::Committed => self.counts.acks_committed += acks.len() as u64,
            Step::Sent | Step::Committing => {
                self.unsynced.insert(session, acks);
            }
        }
    }

    fn give_back(&mut self, queue: QueueAt, id: Id) {
        let life = self.life;
        self.counts.returned += 1;
        self.queue_mut(queue, |queue| queue.had_returns = true);
        if let Some(copy) = self.copy_mut(queue, id) {
            copy.place = Place::Ready;
            copy.in_life(life).returns += 1;
            copy.mark(life, Mark::Returned);
        }
    }

    fn close(&mut self, session: SessionId, queue: QueueAt) {
        self.queue_mut(queue, |queue| queue.had_returns = true);
        self.unsynced.remove(&session);
        self.closed.insert(session);
    }

    fn deliver(&mut self, delivered: Delivered, violations: &mut Violations) {
        let Delivered { queue: queue_at, id, session, redelivered, .. } = delivered;
        self.counts.delivered += 1;
        self.counts.redelivered += u64::from(redelivered);
        let (life, queue) = (self.life, usize::from(queue_at));
        let (Some(message), Some(queue)) = (self.messages.get_mut(&id), self.queues.get(queue)) else {
            violations.add(Rule::Garbage, self.name(queue_at), format!("message {id} was never sent"));
            return;
        };
        let (outcome, priority, sent_in) = (message.outcome, message.priority, message.sent_in);
        let Some(copy) = message.copies.iter_mut().find(|copy| copy.queue == queue_at) else {
            violations.add(Rule::Garbage, &queue.rules.name, format!("message {id} belongs elsewhere"));
            return;
        };
        copy.mark(life, if redelivered { Mark::Redelivered } else { Mark::Delivered });
        let mut broken = Vec::new();
        let moment = Moment { life, endings: &self.endings, queue, closed: &self.closed, sent_in, delivered };
        moment.check_place(copy, &mut broken, &mut self.counts);
        moment.check_flags(copy, &mut broken, &mut self.counts);
        match outcome {
            Outcome::InTx | Outcome::RolledBack => broken.push(Rule::Uncommitted),
            Outcome::Nacked => self.counts.nacked_delivered += 1,
            Outcome::Unknown | Outcome::Confirmed => {}
        }
        let is_first = copy.deliveries == 0 && !redelivered;
        let is_in_order = is_first || (!queue.had_returns && !queue.rules.is_quorum);
        if is_in_order {
            let last = self.order.entry((session, id.publisher, priority)).or_insert(id.sequence);
            if *last > id.sequence {
                broken.push(Rule::Reordered);
            }
            *last = (*last).max(id.sequence);
        }
        copy.deliveries += 1;
        copy.in_life(life).deliveries += 1;
        copy.place = Place::Out(life, session);
        for rule in broken {
            violations.add(rule, &queue.rules.name, format!("message {id}: {copy}"));
        }
    }

    /// Everything the queue still owes must have been delivered and acked by now.
    fn drained(&mut self, queue_at: QueueAt, violations: &mut Violations) {
        self.counts.drains += 1;
        let life = self.life;
        let Some(queue) = self.queues.get_mut(usize::from(queue_at)) else { return };
        queue.drained_in = life;
        for id in std::mem::take(&mut queue.open) {
            let Some(message) = self.messages.get_mut(&id) else { continue };
            let must_be_there = message.is_persistent || message.sent_in == life;
            let is_owed = must_be_there && message.outcome == Outcome::Confirmed;
            for copy in message.copies.iter().filter(|copy| is_owed && copy.queue == queue_at) {
                let is_acked = matches!(copy.place_in(life, &self.closed), Place::Acked(..));
                if !is_acked && copy.gone.is_none() {
                    let name = &queue.rules.name;
                    violations.add(Rule::Lost, name, format!("message {id}: {copy}, empty in life {life}"));
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purge {
    Begins,
    Done,
    /// The broker ended before it answered.
    Unknown,
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
