//! Runners: threads' help for queues with more work than their thread's share.
//!
//! Invariant: a queue in the list has its running flag raised and is in no other list, so the list is
//! never longer than there are queues.

use crate::node::Broker;
use crate::queue::{Queue, TurnEnd};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// Queues that wait for a runner.
#[derive(Default)]
pub(crate) struct Runners {
    waiting: Mutex<VecDeque<Arc<Queue>>>,
    wake: Notify,
}

/// Turns that are flushed together.
const TURNS_MAX: usize = 64;

impl Runners {
    fn next(&self) -> Option<Arc<Queue>> {
        self.waiting.lock().pop_front()
    }

    pub(crate) fn hand_over(&self, queue: Arc<Queue>) {
        self.waiting.lock().push_back(queue);
        self.wake.notify_one();
    }
}

impl Broker {
    /// Runs handed-over queues, a turn each; to be spawned once on every runtime that serves clients.
    pub async fn run_handed_over(self: Arc<Broker>) {
        loop {
            let mut turns = 0;
            while turns < TURNS_MAX
                && let Some(queue) = self.runners().next()
            {
                turns += 1;
                match queue.turn(&self) {
                    TurnEnd::Idle => {}
                    TurnEnd::More => {
                        self.runners().hand_over(queue);
                        // It had much to do: others of this thread come first.
                        break;
                    }
                }
            }
            if turns == 0 {
                self.runners().wake.notified().await;
                continue;
            }
            // Dead letters and unblocked consumers of those turns.
            self.run_posted();
            self.flush();
            tokio::task::yield_now().await;
        }
    }
}
