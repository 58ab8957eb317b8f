//! Running queues on the thread that found them idle, and flushing the outlets they touched.
//!
//! Invariant: a turn never runs inside another one; what a turn wakes is run after it, from a list of
//! this thread. Work beyond a thread's share goes to the broker's runners, so that one busy queue does
//! not keep a thread from its sockets.

use crate::node::Broker;
use crate::outlet::Outlet;
use crate::queue::{Queue, QueueCommand, TurnEnd};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Turns a thread runs before it hands the rest over.
const TURNS_MAX: usize = 512;
/// Rounds of flushing and waking before the rest is handed over.
const FLUSH_ROUNDS_MAX: u32 = 16;
/// Outlets remembered before they are flushed in the middle of the work.
const TOUCHED_MAX: usize = 256;

#[derive(Default)]
struct ThreadWork {
    driving: bool,
    /// The share of this piece of work is used up: what is posted goes to the runners.
    used_up: bool,
    queues: VecDeque<Arc<Queue>>,
    touched: Vec<Arc<dyn Outlet>>,
    /// Links to other copies: flushed as soon as the turns of this thread are done, since what it does next may be to
    /// wait for them.
    urgent: Vec<Arc<dyn Outlet>>,
}

thread_local! {
    static WORK: RefCell<ThreadWork> = RefCell::default();
}

/// Remembers an outlet to be flushed when this thread's work is done.
pub(crate) fn touch(outlet: &Arc<dyn Outlet>) {
    WORK.with_borrow_mut(|work| {
        let known = work.touched.iter().rev().take(16).any(|other| Arc::ptr_eq(other, outlet));
        if !known {
            work.touched.push(outlet.clone());
        }
    });
}

/// Remembers an outlet to be flushed when this thread's turns are done.
pub(crate) fn touch_link(outlet: &Arc<dyn Outlet>) {
    WORK.with_borrow_mut(|work| {
        if !work.urgent.iter().any(|other| Arc::ptr_eq(other, outlet)) {
            work.urgent.push(outlet.clone());
        }
    });
}

/// Sends what turns have written for other copies; whether there was anything.
fn flush_links() -> bool {
    let urgent = WORK.with_borrow_mut(|work| std::mem::take(&mut work.urgent));
    urgent.iter().for_each(|outlet| outlet.flush());
    !urgent.is_empty()
}

impl Broker {
    /// Has an outlet flushed when this thread's work is done.
    pub fn touch(&self, outlet: &Arc<dyn Outlet>) {
        touch(outlet);
    }

    /// Posts a command and runs the queue here if nobody else does.
    pub fn post(&self, queue: &Arc<Queue>, command: QueueCommand) {
        if queue.post(command) {
            self.drive(queue.clone());
        }
    }

    /// Posts a command and leaves the running to `run_posted`.
    pub(crate) fn post_quietly(&self, queue: &Arc<Queue>, command: QueueCommand) {
        if queue.post(command) {
            WORK.with_borrow_mut(|work| work.queues.push_back(queue.clone()));
        }
    }

    /// Runs a queue whose running flag this thread has raised.
    fn drive(&self, queue: Arc<Queue>) {
        WORK.with_borrow_mut(|work| work.queues.push_back(queue));
        self.run_posted();
    }

    /// Runs what was posted, unless this thread is in the middle of doing so.
    pub(crate) fn run_posted(&self) {
        let nested = WORK.with_borrow_mut(|work| std::mem::replace(&mut work.driving, true));
        if nested {
            return;
        }
        let mut turns = 0;
        loop {
            let next = WORK.with_borrow_mut(|work| work.queues.pop_front());
            let Some(queue) = next else {
                // Flushing may wake queues again.
                if flush_links() {
                    continue;
                }
                break;
            };
            if turns >= TURNS_MAX || WORK.with_borrow(|work| work.used_up) {
                self.runners().hand_over(queue);
                continue;
            }
            turns += 1;
            if let TurnEnd::More = queue.turn(self) {
                WORK.with_borrow_mut(|work| work.queues.push_back(queue));
            }
            if WORK.with_borrow(|work| work.touched.len()) >= TOUCHED_MAX {
                flush_touched();
            }
        }
        WORK.with_borrow_mut(|work| work.driving = false);
    }

    /// Sends what this thread's turns have written. Called at the end of each piece of work; flushing
    /// may make room, and queues that waited for it run again.
    pub fn flush(&self) {
        let nested = WORK.with_borrow(|work| work.driving);
        if !nested {
            flush_touched();
        }
    }
}

/// Flushing may free outlets that queues wait for, whose turns touch outlets again: for some rounds
/// that is done here, then by the runners.
fn flush_touched() {
    for round in 0.. {
        let touched = WORK.with_borrow_mut(|work| std::mem::take(&mut work.touched));
        if touched.is_empty() {
            break;
        }
        if round == FLUSH_ROUNDS_MAX {
            WORK.with_borrow_mut(|work| work.used_up = true);
        }
        touched.iter().for_each(|outlet| outlet.flush());
    }
    WORK.with_borrow_mut(|work| work.used_up = false);
}
