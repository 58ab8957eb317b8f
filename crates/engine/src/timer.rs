//! Deadlines of queues: one ordered index and one task, however many there are.
//!
//! Invariant: a deadline that was armed is ticked at most once, not before its time.

use crate::clock;
use crate::node::Broker;
use crate::queue::QueueCommand;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;
use types::QueueId;

/// Deadlines in order.
#[derive(Default)]
pub(crate) struct Timer {
    deadlines: Mutex<BTreeSet<(u64, QueueId)>>,
    earlier: Notify,
}

impl Timer {
    /// Ticks the queue at `at_ms` of queue time.
    pub(crate) fn arm(&self, queue: QueueId, at_ms: u64) {
        let mut deadlines = self.deadlines.lock();
        let first = deadlines.first().map(|(at, _)| *at);
        deadlines.insert((at_ms, queue));
        if first.is_none_or(|first| at_ms < first) {
            self.earlier.notify_one();
        }
    }

    fn take_due(&self, now_ms: u64) -> Vec<QueueId> {
        let mut deadlines = self.deadlines.lock();
        let mut due = Vec::new();
        while deadlines.first().is_some_and(|(at, _)| *at <= now_ms) {
            due.extend(deadlines.pop_first().map(|(_, queue)| queue));
        }
        due
    }

    fn next_ms(&self) -> Option<u64> {
        self.deadlines.lock().first().map(|(at, _)| *at)
    }
}

impl Broker {
    /// Ticks queues at their time; to be spawned once.
    pub async fn run_timer(self: Arc<Broker>) {
        loop {
            let now_ms = clock::now_ms();
            for id in self.timer().take_due(now_ms) {
                if let Some(queue) = self.queue(id) {
                    self.post(&queue, QueueCommand::Tick);
                }
            }
            self.flush();
            match self.timer().next_ms() {
                // A millisecond on top, since the clock counts whole ones.
                Some(at_ms) => {
                    let until = tokio::time::Instant::from_std(clock::instant_at(at_ms + 1));
                    let _ = tokio::time::timeout_at(until, self.timer().earlier.notified()).await;
                }
                None => self.timer().earlier.notified().await,
            }
        }
    }
}
