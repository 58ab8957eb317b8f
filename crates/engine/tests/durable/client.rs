//! A channel's outlet that checks what it gets and remembers who it was.

use crate::message::Message;
use broker::message::Record;
use broker::queue::{Deliveries, Delivery};
use engine::{Outlet, Queue, Taken};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use types::{ConsumerId, QueueId};

/// A message as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: u64,
    pub index: u64,
    pub returns: u32,
    pub redelivered: bool,
    pub message: Message,
}

#[derive(Default)]
pub struct Client(Mutex<State>);

#[derive(Default)]
struct State {
    /// What it holds of each queue, in the order it came.
    held: HashMap<QueueId, Vec<Seen>>,
    /// Answers of basic.get.
    got: Vec<Option<Seen>>,
    /// Commits that are still to come, by publish.
    missing: HashMap<u64, usize>,
    confirmed: Vec<u64>,
    refused: BTreeSet<u64>,
    wrong: Vec<String>,
}

impl State {
    fn see(&mut self, delivery: &Delivery<'_>) -> Option<Seen> {
        match Message::of(delivery.record.properties, delivery.record.body) {
            Ok(message) if delivery.record.head.persistent == message.persistent => Some(Seen {
                id: message.id,
                index: delivery.index,
                returns: delivery.returns,
                redelivered: delivery.redelivered,
                message,
            }),
            Ok(message) => {
                self.wrong.push(format!("the record's head of {} is wrong", message.id));
                None
            }
            Err(wrong) => {
                self.wrong.push(wrong);
                None
            }
        }
    }
}

impl Client {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What it holds of a queue.
    pub fn held(&self, queue: QueueId) -> Vec<Seen> {
        self.state().held.get(&queue).cloned().unwrap_or_default()
    }

    /// It holds these no more.
    pub fn let_go(&self, queue: QueueId, indexes: &[u64]) {
        if let Some(held) = self.state().held.get_mut(&queue) {
            held.retain(|seen| !indexes.contains(&seen.index));
        }
    }

    /// The queue is gone.
    pub fn forget(&self, queue: QueueId) {
        self.state().held.remove(&queue);
    }

    /// A publish waits for so many queues.
    pub fn expect(&self, number: u64, commits: usize) {
        self.state().missing.insert(number, commits);
    }

    /// Publishes that all their queues have committed, each told once.
    pub fn take_confirmed(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().confirmed)
    }

    /// Whether every publish was confirmed or refused.
    pub fn is_confirmed(&self) -> bool {
        self.state().missing.is_empty()
    }

    pub fn refused(&self) -> BTreeSet<u64> {
        self.state().refused.clone()
    }

    pub fn take_got(&self) -> Option<Seen> {
        self.state().got.pop().flatten()
    }

    /// What was wrong with what it got.
    pub fn wrong(&self) -> Vec<String> {
        self.state().wrong.clone()
    }
}

impl Outlet for Client {
    fn deliver(&self, queue: &Arc<Queue>, _: ConsumerId, no_ack: bool, deliveries: &Deliveries<'_>) -> Taken {
        let mut state = self.state();
        let mut taken = Taken::default();
        deliveries.walk(|delivery| {
            taken.count += 1;
            taken.bytes += delivery.record.body.len() as u64;
            if let Some(seen) = state.see(&delivery)
                && !no_ack
            {
                state.held.entry(queue.id).or_default().push(seen);
            }
            true
        });
        taken
    }

    fn got(&self, queue: &Arc<Queue>, no_ack: bool, delivery: Option<Delivery<'_>>, _remaining: u64) {
        let mut state = self.state();
        let seen = delivery.and_then(|delivery| state.see(&delivery));
        if let Some(seen) = seen
            && !no_ack
        {
            state.held.entry(queue.id).or_default().push(seen);
        }
        state.got.push(seen);
    }

    fn cancelled(&self, _consumer: ConsumerId) {}

    fn confirmed(&self, ranges: &[(u64, u64)], refused: &[u64]) {
        let mut state = self.state();
        state.refused.extend(refused);
        for number in ranges.iter().flat_map(|(first, last)| *first..=*last) {
            match state.missing.get_mut(&number) {
                Some(1) => {
                    state.missing.remove(&number);
                    state.confirmed.push(number);
                }
                Some(missing) => *missing -= 1,
                None => state.wrong.push(format!("publish {number} was confirmed too often")),
            }
        }
    }

    fn reply(&self, _record: &Record<'_>) -> bool {
        false
    }

    fn flush(&self) {}
}
