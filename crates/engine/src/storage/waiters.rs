//! Who waits for the write-ahead log: publishers of all queues in one list, so that a sync is told to
//! each of them once and no queue has to run for it.
//!
//! Invariant: ascending by sequence. Whoever adds looks whether the log has been faster; whoever takes
//! out does so under the lock: nobody is told twice or never.

use crate::outlet::Outlet;
use crate::queue::{Queue, Ticket};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use storage::wal::Sequence;
use tokio::sync::oneshot;

/// One who waits.
pub enum Waiter {
    /// A publisher, and which of its messages were refused.
    Ticket(Ticket, Vec<u64>),
    /// A barrier.
    Fence(oneshot::Sender<()>),
    /// A queue whose publishers wait for the log.
    Queue(Arc<Queue>),
}

/// All who wait.
#[derive(Default)]
pub(crate) struct CommitWaiters {
    waiting: Mutex<VecDeque<(Sequence, Waiter)>>,
}

/// What one channel is told.
struct Told {
    outlet: Arc<dyn Outlet>,
    ranges: Vec<(u64, u64)>,
    refused: Vec<u64>,
}

impl CommitWaiters {
    pub(crate) fn add(&self, sequence: Sequence, waiters: impl Iterator<Item = Waiter>) {
        let mut waiting = self.waiting.lock();
        // Appends of several threads come in nearly the order of their sequences.
        let mut at = waiting.len();
        while at > 0 && waiting[at - 1].0 > sequence {
            at -= 1;
        }
        for waiter in waiters {
            if at == waiting.len() {
                waiting.push_back((sequence, waiter));
            } else {
                waiting.insert(at, (sequence, waiter));
            }
            at += 1;
        }
    }

    /// Tells all who wait for `sequence` or an earlier one; gives queues to look at again.
    pub(crate) fn release(&self, sequence: Sequence) -> Vec<Arc<Queue>> {
        let done: Vec<(Sequence, Waiter)> = {
            let mut waiting = self.waiting.lock();
            let count = waiting.partition_point(|(at, _)| *at <= sequence);
            waiting.drain(..count).collect()
        };
        let mut told: Vec<Told> = Vec::new();
        let mut queues = Vec::new();
        for (_, waiter) in done {
            match waiter {
                Waiter::Ticket(ticket, refused) => tell(&mut told, ticket, refused),
                Waiter::Fence(reply) => {
                    let _ = reply.send(());
                }
                Waiter::Queue(queue) => queues.push(queue),
            }
        }
        for Told { outlet, ranges, refused } in told {
            outlet.confirmed(&ranges, &refused);
            crate::drive::touch(&outlet);
        }
        queues
    }
}

/// Adds a ticket to what its channel is told. There are few channels and the last one is the likeliest.
fn tell(told: &mut Vec<Told>, ticket: Ticket, refused: Vec<u64>) {
    let Ticket { outlet, ranges } = ticket;
    match told.iter_mut().rev().find(|told| Arc::ptr_eq(&told.outlet, &outlet)) {
        Some(told) => {
            for range in ranges {
                match told.ranges.last_mut() {
                    Some(last) if last.1 + 1 == range.0 => last.1 = range.1,
                    _ => told.ranges.push(range),
                }
            }
            told.refused.extend(refused);
        }
        None => told.push(Told { outlet, ranges, refused }),
    }
}
