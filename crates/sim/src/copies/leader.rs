//! Who leads the catalog, what becomes of what is proposed, and what the leader proposes itself.
//!
//! Invariant: nothing is decided while nobody reaches a majority of the machines.

use super::event::{Event, Micros};
use super::invariants::Seen;
use super::machine::Place;
use super::register::Change;
use super::walk;
use super::world::World;
use broker::catalog::copies::CopyStep;
use std::collections::BTreeMap;
use types::NodeId;

/// How often the leader looks around, milliseconds.
const LOOK_MS: u64 = 100;
/// Changes of a thousand that are held up on their way.
const HELD_UP: u32 = 40;
/// How long at most, milliseconds.
const HELD_UP_MS: u64 = 4_000;
/// Who is not reached for so long is lost, milliseconds.
const LOST_AFTER_MS: u64 = 1_500;

/// Who leads.
#[derive(Debug, Default)]
pub struct Leader {
    /// Where.
    pub place: Option<Place>,
    elects_at: Option<Micros>,
    silent_since: BTreeMap<NodeId, Micros>,
}

impl World {
    fn has_majority(&self, place: Place) -> bool {
        let reached = |other: &Place| self.awake(*other).is_some() && self.is_linked(place, *other);
        self.awake(place).is_some() && 2 * self.places().filter(reached).count() > self.machines.len()
    }

    /// A node proposes a change; it does not hear what it comes to.
    pub fn propose(&mut self, from: Place, change: Change) {
        let Some(leader) = self.leader.place.filter(|leader| self.is_linked(from, *leader)) else { return };
        if self.awake(leader).is_none() {
            return;
        }
        let is_held_up = self.is_troubled && self.dice.permille(HELD_UP);
        let pause = if is_held_up { self.pause(1, HELD_UP_MS) } else { self.pause(1, 8) };
        self.proposed += 1;
        self.agenda.after(pause, Event::Proposed(change));
    }

    /// A change is decided, or lost with its leader.
    pub fn decide(&mut self, change: &Change) {
        self.proposed -= 1;
        if self.leader.place.is_none_or(|leader| !self.has_majority(leader)) {
            return;
        }
        let before = self.register.latest();
        if self.register.apply(change) {
            let after = self.register.latest();
            self.say(|| format!("{}: {change:?}", after.version));
            self.show(&Seen::Changed { change, before: &before, after: &after });
        }
    }

    /// The leader looks around, or there is a new one.
    pub fn lead(&mut self) {
        self.agenda.after(LOOK_MS * 1_000, Event::Lead);
        let now = self.now();
        let Some(leader) = self.leader.place.filter(|leader| self.has_majority(*leader)) else {
            self.leader.place = None;
            let pause = self.pause(200, 700);
            if *self.leader.elects_at.get_or_insert(now + pause) <= now {
                let able: Vec<Place> = self.places().filter(|place| self.has_majority(*place)).collect();
                let place = self.dice.one(&able).copied();
                self.leader = Leader { place, ..Leader::default() };
                self.say(|| format!("{place:?} leads"));
            }
            return;
        };
        self.tell_of_lost(leader);
        if self.dice.permille(300) {
            self.walk(leader);
        }
    }

    fn tell_of_lost(&mut self, leader: Place) {
        let (picture, now) = (self.register.latest(), self.now());
        for (node, row) in picture.nodes.iter().filter(|(_, row)| row.up) {
            let answers = self
                .place_of(*node)
                .is_some_and(|place| self.awake(place).is_some() && self.is_linked(leader, place));
            if answers {
                self.leader.silent_since.remove(node);
                continue;
            }
            let since = *self.leader.silent_since.entry(*node).or_insert(now);
            if now - since >= LOST_AFTER_MS * 1_000 {
                self.propose(leader, Change::NodeLost { node: *node, boot: row.boot });
            }
        }
    }

    /// One step for each queue.
    fn walk(&mut self, leader: Place) {
        let picture = self.register.latest();
        for (queue, row) in &picture.queues {
            let moves = self.is_troubled && self.dice.permille(15);
            let first = self.dice.below(8);
            let to = self.dice.one(&row.copies.in_sync).copied();
            let step = match to {
                Some(to) if moves => Some(CopyStep::HandOver(to)),
                _ => walk::next_step(&picture, row, first),
            };
            if let Some(step) = step {
                let at = (row.copies.epoch, row.copies.version);
                self.propose(leader, Change::Step { queue: *queue, at, step });
            }
        }
    }
}
