//! What happens in a play, by time.
//!
//! Invariant: the earliest first, of equals the one that was scheduled first.

use super::machine::Place;
use broker::catalog::Command;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Microseconds since the play began.
pub type Micros = u64;

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// A process looks at its catalog, its queues and its links.
    Look(Place, u64),
    /// What a process has written up to a number is on disk.
    Synced(Place, u64, u64),
    /// Something may have come over a link from one machine to another.
    Arrive(Place, Place),
    /// A change has reached the catalog's leader.
    Proposed(Box<Command>),
    /// The catalog's leader looks around.
    Lead,
    /// Links are looked at.
    Links,
    /// A client publishes.
    Publish(Place),
    /// A client has done its work on a message, or not.
    Worked(super::clients::Work),
    /// Something goes wrong, or is put right.
    Fault,
    /// Who was cut off is not any more.
    Reunion(Place),
    /// A process that stands still goes on.
    Resume(Place, u64),
}

#[derive(Debug)]
struct Due {
    at: Micros,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All that is to happen.
#[derive(Debug, Default)]
pub struct Agenda {
    /// The time.
    pub now: Micros,
    number: u64,
    due: BinaryHeap<Reverse<Due>>,
}

impl Agenda {
    /// Something happens later.
    pub fn after(&mut self, pause: Micros, event: Event) {
        self.number += 1;
        self.due.push(Reverse(Due { at: self.now + pause, number: self.number, event }));
    }

    /// The next thing, unless it is later than `until`; the time is then that one.
    pub fn next(&mut self, until: Micros) -> Option<Event> {
        if self.due.peek().is_none_or(|Reverse(due)| due.at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        self.now = self.now.max(due.at);
        Some(due.event)
    }
}
