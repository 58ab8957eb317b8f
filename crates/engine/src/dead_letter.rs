//! Dead letters: messages that left their queue, on the way to its dead-letter exchange; and delayed
//! messages on the way on from their exchange.
//!
//! Invariant: a letter leaves its queue when every queue it was routed to has committed it (or refused
//! it, as RabbitMQ does at most once), so a crash in between may double it but never lose it. A letter for a
//! queue whose home cannot be reached stays, and is tried again.

use crate::clock;
use crate::node::Broker;
use crate::outlet::Outlet;
use crate::publish::Made;
use crate::queue::{DeadLetterCopy, Queue, QueueCommand};
use broker::message::dead_letter;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

/// Waits for the commits of a queue's letters, which are numbered by their index.
struct LetterBox {
    broker: Weak<Broker>,
    queue: Arc<Queue>,
    state: Mutex<LetterState>,
}

#[derive(Default)]
struct LetterState {
    /// Commits that are still to come; negative while it is not known yet how many there will be.
    missing: HashMap<u64, i64>,
    arrived: Vec<u64>,
    /// Letters of which a target could not be reached.
    cut_off: BTreeSet<u64>,
    failed: Vec<u64>,
}

impl LetterState {
    fn count(&mut self, index: u64, commits: i64) {
        let missing = self.missing.entry(index).or_default();
        *missing += commits;
        if *missing == 0 {
            self.missing.remove(&index);
            let failed = self.cut_off.remove(&index);
            if failed { &mut self.failed } else { &mut self.arrived }.push(index);
        }
    }
}

impl Outlet for LetterBox {
    fn confirmed(&self, ranges: &[(u64, u64)], _refused: &[u64]) {
        let mut state = self.state.lock();
        ranges.iter().flat_map(|(first, last)| *first..=*last).for_each(|index| state.count(index, -1));
    }

    fn cut_off(&self, ranges: &[(u64, u64)]) {
        let mut state = self.state.lock();
        for index in ranges.iter().flat_map(|(first, last)| *first..=*last) {
            state.cut_off.insert(index);
            state.count(index, -1);
        }
    }

    fn flush(&self) {
        let (arrived, failed) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.arrived), std::mem::take(&mut state.failed))
        };
        let Some(broker) = self.broker.upgrade() else { return };
        if !arrived.is_empty() {
            broker.post(&self.queue, QueueCommand::DeadLettered(arrived));
        }
        if !failed.is_empty() {
            broker.post(&self.queue, QueueCommand::LettersCameBack(failed));
        }
    }
}

impl Broker {
    /// Publishes what left a queue. Runs without any queue's lock.
    pub(crate) fn publish_dead_letters(&self, queue: &Arc<Queue>, letters: Vec<DeadLetterCopy>) {
        let row = queue.row();
        let now_s = clock::wall_ms() / 1000;
        if row.config.release_by.is_none() {
            self.metrics().dead_lettered.add(letters.len() as u64);
        }
        let letter_box = Arc::new(LetterBox {
            broker: self.weak().clone(),
            queue: queue.clone(),
            state: Mutex::default(),
        });
        let outlet: Arc<dyn Outlet> = letter_box.clone();
        for letter in letters {
            let mut targets = 0;
            let record = letter.chunk.record(0);
            if let Some(exchange) = &row.config.release_by {
                let confirm = Some((&outlet, letter.index));
                targets = self.publish_due(&row.vhost, exchange.as_str(), &record, confirm);
            } else if let Some(exchange) = &row.config.dead_letter_exchange {
                let made = dead_letter(&record, row.name.as_str(), letter.reason, &row.config, now_s);
                tracing::trace!(queue = %row.name, index = letter.index, reason = letter.reason.as_str(), "dead letter");
                let made = Made {
                    exchange: exchange.as_str(),
                    key: &made.routing_key,
                    properties: &made.properties,
                    body: record.body,
                    without: &made.cycle_queues,
                };
                targets = self.publish_made(&row.vhost, &made, Some((&outlet, letter.index)));
            }
            // Nobody wants it: that is an arrival too.
            let mut state = letter_box.state.lock();
            state.count(letter.index, targets as i64 + 1);
            state.count(letter.index, -1);
        }
        crate::drive::touch(&outlet);
    }
}
